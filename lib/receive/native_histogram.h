// Native histograms of remote write 1.0 and 2.0: decoding from wire bytes, the checks that decide
// whether one is stored, and its absolute bucket counts. Place: under decode_worker, which renders
// what was accepted as a row (side_rows.h).
// Limits: buckets by the request's size; spans, deltas and counts are never expanded beyond what
// the message itself holds. Source: Prometheus remote write 2.0, message Histogram.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace forebay::receive {

struct BucketSpan {
  int32_t offset = 0;
  uint32_t length = 0;
};

// Buckets of one sign, as sent. Doubles are kept as bits.
struct HistogramBuckets {
  std::vector<BucketSpan> spans;
  std::vector<int64_t> deltas;   // integer flavour
  std::vector<uint64_t> counts;  // float flavour
};

// Schema -53: custom bucket bounds.
inline constexpr int32_t kCustomBucketsSchema = -53;
inline constexpr int32_t kMinExponentialSchema = -4;
inline constexpr int32_t kMaxExponentialSchema = 8;

enum class ResetHint : uint8_t { kUnknown = 0, kYes = 1, kNo = 2, kGauge = 3 };

// One histogram. Decode() again to reuse its memory. Threads: one at a time.
class NativeHistogram {
 public:
  // Of spans, buckets of a sign, or custom bounds; senders keep to some hundreds.
  static constexpr size_t kMaxBuckets = 65'536;

  // Reads one Histogram message, replacing what was there.
  // Returns: false when the bytes are no such message; the members are then unspecified.
  [[nodiscard]] bool Decode(std::string_view message);

  // What is wrong with it by the rules of the format, in words, or nothing. Float histograms: the
  // sum of the buckets is not compared with the count, since rounding makes it differ rightly.
  std::optional<std::string_view> FindProblem() const;

  bool is_float = false;
  uint64_t count = 0;       // integer: the number; float: bits of the double
  uint64_t zero_count = 0;  // likewise
  uint64_t sum_bits = 0;
  uint64_t zero_threshold_bits = 0;
  int32_t schema = 0;
  ResetHint reset_hint = ResetHint::kUnknown;
  int64_t timestamp = 0;        // Unix ms
  int64_t start_timestamp = 0;  // Unix ms, 0: unset
  HistogramBuckets positive;
  HistogramBuckets negative;
  std::vector<uint64_t> custom_values;  // bits

 private:
  void Clear();
  std::optional<std::string_view> FindSpanProblem(const HistogramBuckets& buckets) const;
  std::optional<std::string_view> FindCustomProblem() const;
  std::optional<std::string_view> FindIntegerProblem() const;
  std::optional<std::string_view> FindFloatProblem() const;
};

// Calls visit(index, count) for every bucket, in order; count is an int64 of the running sum of the
// deltas (integer flavour) or the bits of a double. Shape: buckets without a problem.
template <typename Visitor>
void ForEachBucket(const HistogramBuckets& buckets, bool is_float, Visitor visit) {
  int64_t index = 0;
  int64_t running = 0;
  size_t position = 0;
  for (const BucketSpan& span : buckets.spans) {
    index += span.offset;
    for (uint32_t i = 0; i < span.length; ++i, ++index, ++position) {
      if (is_float) {
        visit(index, buckets.counts[position]);
      } else {
        running += buckets.deltas[position];
        visit(index, static_cast<uint64_t>(running));
      }
    }
  }
}

}  // namespace forebay::receive
