// A token bucket that may go into debt. Place: receive/tenant_limits.h, under its mutex.
// What asks for more than the burst is let in when the bucket is full, and its debt keeps others
// waiting; so the rate holds on average and nothing is refused for ever. Time is kept instead of
// tokens: the moment at which the bucket would be full again, in nanoseconds.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/clock.h"

namespace forebay::receive {

// Tokens each second, and at once. per_second 0: no limit.
struct TokenRate {
  uint64_t per_second = 0;
  uint64_t burst = 0;  // at least 1
};

// Threads: one at a time.
class TokenBucket {
 public:
  using Nanos = std::chrono::nanoseconds;

  // How long until `tokens` (of more than the burst: the burst) are there; 0: they are.
  Nanos Wait(const TokenRate& rate, uint64_t tokens, MonotonicTime now) const {
    if (rate.per_second == 0) return Nanos(0);
    const Nanos missing = std::max(full_at_ - now, Nanos(0));
    const Nanos wait =
        missing + TimeOf(rate, std::min(tokens, rate.burst)) - TimeOf(rate, rate.burst);
    return std::max(wait, Nanos(0));
  }
  // Takes them whether they are there or not.
  void Take(const TokenRate& rate, uint64_t tokens, MonotonicTime now) {
    if (rate.per_second != 0) full_at_ = std::max(full_at_, now) + TimeOf(rate, tokens);
  }
  bool IsFull(MonotonicTime now) const { return full_at_ <= now; }

 private:
  // In which so many tokens come; rounded up, at most a hundred years.
  static Nanos TimeOf(const TokenRate& rate, uint64_t tokens) {
    constexpr double kMost = 3.2e18;
    constexpr uint64_t kSecond = 1'000'000'000;
    if (tokens <= UINT64_MAX / kSecond - 1) [[likely]] {
      const uint64_t time = (tokens * kSecond + rate.per_second - 1) / rate.per_second;
      return Nanos(static_cast<int64_t>(std::min<uint64_t>(time, static_cast<uint64_t>(kMost))));
    }
    const double time =
        static_cast<double>(tokens) / static_cast<double>(rate.per_second) * double{kSecond};
    return Nanos(static_cast<int64_t>(std::min(time, kMost)));
  }

  MonotonicTime full_at_{};
};

}  // namespace forebay::receive
