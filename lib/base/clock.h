// The clock seam: wall time for names and rows, monotonic time for ages and deadlines.
#pragma once

#include <atomic>
#include <chrono>

#include "base/time.h"

namespace forebay {

using MonotonicTime = std::chrono::steady_clock::time_point;

class Clock {
 public:
  virtual ~Clock() = default;
  // Wall clock. May jump in both directions; never used for ages.
  virtual UnixMillis Now() const = 0;
  virtual MonotonicTime Monotonic() const = 0;
};

class SystemClock final : public Clock {
 public:
  UnixMillis Now() const override;
  MonotonicTime Monotonic() const override;
};

// A clock that moves only when told. Threads: any.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(UnixMillis start) : wall_(start.value) {}
  UnixMillis Now() const override { return {wall_.load()}; }
  MonotonicTime Monotonic() const override {
    return MonotonicTime(std::chrono::milliseconds(monotonic_.load()));
  }
  // Moves both clocks forward.
  void Advance(std::chrono::milliseconds step) {
    wall_ += step.count();
    monotonic_ += step.count();
  }
  // Moves the wall clock alone, also backwards.
  void JumpWall(std::chrono::milliseconds step) { wall_ += step.count(); }

 private:
  std::atomic<int64_t> wall_;
  std::atomic<int64_t> monotonic_{0};
};

}  // namespace forebay
