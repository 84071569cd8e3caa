// When to try again: exponential backoff with full jitter, and what a server asks for in
// Retry-After. Pure; the caller sleeps. Source: RFC 9110 10.2.3; "Exponential Backoff And Jitter",
// AWS, 2015.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/time.h"

namespace forebay::http {

// A longer Retry-After is cut to this, so that one odd answer cannot park a sender for days.
inline constexpr std::chrono::milliseconds kMaxRetryAfter = std::chrono::hours(1);

struct RetryPolicy {
  std::chrono::milliseconds initial{500};        // upper bound of the first wait
  std::chrono::milliseconds max{5 * 60 * 1000};  // upper bound of every wait

  // The upper bound before the retry number `attempt` (0: the first): initial * 2^attempt, at most
  // max.
  std::chrono::milliseconds Bound(uint32_t attempt) const;
  // A wait between 0 and Bound(attempt); `random` is uniform in [0, 1).
  std::chrono::milliseconds Delay(uint32_t attempt, double random) const;
  // As Delay(), but not before the server's wish.
  std::chrono::milliseconds Delay(uint32_t attempt, double random,
                                  std::optional<std::chrono::milliseconds> retry_after) const;
};

// The value of a Retry-After header: seconds or an HTTP date (a past one: 0). Nothing when it is
// neither. Threads: any.
std::optional<std::chrono::milliseconds> ParseRetryAfter(std::string_view value, UnixMillis now);

}  // namespace forebay::http
