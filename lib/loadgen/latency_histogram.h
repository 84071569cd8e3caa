// Latencies counted in buckets that grow with the value, as HdrHistogram does: 64 steps per power
// of two, so a percentile is at most 1.6 % too high. Fixed memory of about 30 KB, no allocation,
// mergeable. Source: Gil Tene, HdrHistogram.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>

namespace forebay::loadgen {

// Threads: one at a time.
class LatencyHistogram {
 public:
  // Negative ones count as zero.
  void Add(std::chrono::nanoseconds latency);
  void Merge(const LatencyHistogram& other);

  uint64_t count() const { return count_; }
  std::chrono::nanoseconds max() const { return std::chrono::nanoseconds(max_); }
  std::chrono::nanoseconds Mean() const;
  // The least bucket bound that at least `percent` of the latencies do not exceed; never above
  // max(). Shape: percent in 0..100. Zero when empty.
  std::chrono::nanoseconds Percentile(double percent) const;

 private:
  static constexpr int kStepBits = 6;
  static constexpr uint64_t kSteps = 1U << kStepBits;
  static constexpr size_t kBuckets = (64 - kStepBits) * kSteps;  // values are below 2^63

  static size_t Bucket(uint64_t value);
  static uint64_t UpperBound(size_t bucket);

  std::array<uint64_t, kBuckets> buckets_{};
  uint64_t count_ = 0;
  int64_t max_ = 0;  // ns
  double sum_ = 0;   // ns
};

}  // namespace forebay::loadgen
