#include "loadgen/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace forebay::loadgen {

// Values below 2 * kSteps have a bucket each; above, the highest bit and the next kStepBits choose
// it.
size_t LatencyHistogram::Bucket(uint64_t value) {
  if (value < 2 * kSteps) return static_cast<size_t>(value);
  const int shift = static_cast<int>(std::bit_width(value)) - 1 - kStepBits;
  return static_cast<size_t>(static_cast<uint64_t>(shift) * kSteps + (value >> shift));
}

uint64_t LatencyHistogram::UpperBound(size_t bucket) {
  if (bucket < 2 * kSteps) return bucket;
  const uint64_t shift = bucket / kSteps - 1;
  const uint64_t step = bucket - shift * kSteps;
  return ((step + 1) << shift) - 1;
}

void LatencyHistogram::Add(std::chrono::nanoseconds latency) {
  const int64_t value = std::max<int64_t>(latency.count(), 0);
  ++buckets_[Bucket(static_cast<uint64_t>(value))];
  ++count_;
  max_ = std::max(max_, value);
  sum_ += static_cast<double>(value);
}

void LatencyHistogram::Merge(const LatencyHistogram& other) {
  for (size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
}

std::chrono::nanoseconds LatencyHistogram::Mean() const {
  return std::chrono::nanoseconds(
      count_ == 0 ? 0 : static_cast<int64_t>(sum_ / static_cast<double>(count_)));
}

std::chrono::nanoseconds LatencyHistogram::Percentile(double percent) const {
  if (count_ == 0) return std::chrono::nanoseconds{0};
  const double wanted =
      std::ceil(static_cast<double>(count_) * std::clamp(percent, 0.0, 100.0) / 100);
  const uint64_t rank = std::clamp<uint64_t>(static_cast<uint64_t>(wanted), 1, count_);
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= rank)
      return std::chrono::nanoseconds(std::min(static_cast<int64_t>(UpperBound(i)), max_));
  }
  return max();
}

}  // namespace forebay::loadgen
