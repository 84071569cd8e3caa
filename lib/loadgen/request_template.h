// A remote-write request that is encoded once and then sent many times: only timestamps and values
// are written over in place, so making the next body costs little more than its snappy compression.
//
// That works because both have a fixed width: values are fixed64, and timestamps are varints of six
// bytes, which every time from 1971 to 2109 in ms has anyway. The labels are those of one churn
// generation per target; a request whose targets have churned is encoded anew. Source:
// the messages of Prometheus remote write 1.0 and 2.0. Limits: kMaxSamplesPerRequest.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/byte_buffer.h"
#include "loadgen/options.h"
#include "loadgen/series_model.h"

namespace forebay::loadgen {

// Timestamps that a template can hold, in Unix ms: [2^35, 2^42).
inline constexpr int64_t kMinTimestamp = int64_t{1} << 35;
inline constexpr int64_t kMaxTimestamp = (int64_t{1} << 42) - 1;

// IEEE 754 bits of the value of sample number `sample` (from 0) of series number `series`.
uint64_t SampleValueBits(ValueMode mode, const SeriesModel& model, uint64_t series,
                         uint64_t sample);

// What a request holds, for the account.
struct RequestContents {
  uint64_t samples = 0;
  uint64_t histograms = 0;
  uint64_t exemplars = 0;
};

// Threads: one at a time.
class RequestTemplate {
 public:
  struct Shape {
    Protocol protocol = Protocol::kRemoteWrite1;
    ValueMode values = ValueMode::kCounter;
    uint64_t first_series = 0;
    uint32_t series = 1;  // of the request
    uint32_t samples_per_series = 1;
    double histogram_share = 0;
    double exemplar_share = 0;
  };

  // `model` must outlive the template.
  RequestTemplate(const SeriesModel& model, const Shape& shape);

  // Writes the samples of round `round` (from 0) into the body, after encoding it anew if targets
  // were replaced by `elapsed`. Sample j of every series is number round * samples_per_series + j
  // and gets timestamps[j]. Shape: samples_per_series timestamps from kMinTimestamp to
  // kMaxTimestamp. Returns the protobuf bytes, good until the next call.
  std::string_view Fill(uint64_t round, std::span<const int64_t> timestamps,
                        std::chrono::milliseconds elapsed);

  const RequestContents& contents() const { return contents_; }
  uint32_t series() const { return shape_.series; }
  // How often the labels were encoded: 1 and once more for every Fill that found churn.
  uint64_t encodings() const { return encodings_; }

 private:
  // Where one sample's value and timestamp stand.
  struct Slot {
    uint32_t value_at = 0;
    uint32_t time_at = 0;
    uint32_t series = 0;  // within the request
    uint32_t sample = 0;  // within the series and request
  };

  void Encode();
  void EncodeLabels1(std::span<const Label> labels);
  void EncodeSeries(uint32_t index, bool histogram, bool exemplar);

  const SeriesModel& model_;
  const Shape shape_;
  RequestContents contents_;
  uint64_t encodings_ = 0;
  std::vector<uint32_t> generations_;  // of the request's targets, in order
  ByteBuffer body_;
  ByteBuffer series_bytes_;    // scratch of Encode: one TimeSeries without its head
  std::vector<Label> labels_;  // scratch of Encode
  std::vector<Slot> slots_;
};

// Writes a varint of six bytes; leading zero groups are kept. Shape: value below 2^42; six bytes at
// out.
void WriteFixedVarint6(uint64_t value, char* out);

// Replaces `out` by the snappy block of `raw`. Keeps its memory.
void CompressSnappy(std::string_view raw, ByteBuffer& out);

}  // namespace forebay::loadgen
