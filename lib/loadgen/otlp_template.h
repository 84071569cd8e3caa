// An OTLP export request that is encoded once and then sent many times: times, values and numbers
// have a fixed width and are written over in place, as request_template.h does for remote write.
//
// A target of the fleet is a resource, a stream (series) of it a data point of a cumulative sum, a
// log record or a span. Record n of series s is number n * series + s: a log's body begins with it
// (16 digits), a span's id is it plus one, so each can be found again. Source: the messages of
// opentelemetry-proto 1.x. Limits: kMaxSamplesPerRequest, kMaxRecordBytes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "loadgen/options.h"
#include "loadgen/request_template.h"
#include "loadgen/series_model.h"

namespace forebay::loadgen {

// Digits of a log record's number.
inline constexpr size_t kNumberDigits = 16;

// Threads: one at a time.
class OtlpTemplate {
 public:
  struct Shape {
    Signal signal = Signal::kMetrics;
    ValueMode values = ValueMode::kCounter;
    uint64_t first_series = 0;
    uint32_t series = 1;  // of the request
    uint32_t samples_per_series = 1;
    uint32_t record_bytes = 300;
  };

  // `model` must outlive the template.
  OtlpTemplate(const SeriesModel& model, const Shape& shape);

  // As RequestTemplate::Fill.
  std::string_view Fill(uint64_t round, std::span<const int64_t> timestamps,
                        std::chrono::milliseconds elapsed);

  // Data points, records and spans count as samples.
  const RequestContents& contents() const { return contents_; }

 private:
  // Where the changing bytes of one record stand; 0: none of that kind.
  struct Slot {
    uint32_t time_at = 0;    // fixed64, ns
    uint32_t second_at = 0;  // fixed64, ns: observed time or end
    uint32_t value_at = 0;   // double, digits or span id
    uint32_t series = 0;     // within the request
    uint32_t sample = 0;     // within the series and request
  };
  // A message whose length is not known yet.
  struct Open {
    size_t at = 0;
    size_t first_slot = 0;
  };

  void Encode();
  void PutResource();
  void PutMetric(uint32_t first, uint32_t end);
  void PutPoint(uint32_t index, uint32_t sample);
  void PutLog(uint32_t index, uint32_t sample);
  void PutSpan(uint32_t index, uint32_t sample);
  void PutAttribute(uint32_t field, std::string_view key, std::string_view value);
  void PutPointAttributes(uint32_t field);
  void PutVarint(uint64_t value);
  void PutUint(uint32_t field, uint64_t value);
  void PutBytes(uint32_t field, std::string_view bytes);
  uint32_t PutFixed64(uint32_t field);
  Open Begin(uint32_t field);
  void End(const Open& open);

  const SeriesModel& model_;
  const Shape shape_;
  RequestContents contents_;
  std::vector<uint32_t> generations_;  // of the request's targets, in order
  std::string body_;
  std::vector<Label> labels_;  // scratch of Encode: of the current series
  std::vector<Slot> slots_;
};

}  // namespace forebay::loadgen
