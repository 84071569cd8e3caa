#include "http/retry.h"

#include <curl/curl.h>

#include <algorithm>
#include <string>

namespace forebay::http {

using std::chrono::milliseconds;

milliseconds RetryPolicy::Bound(uint32_t attempt) const {
  milliseconds bound = std::min(initial, max);
  for (uint32_t i = 0; i < attempt && bound < max; ++i) {
    if (bound <= milliseconds(0)) return bound;
    bound = bound > max / 2 ? max : bound * 2;
  }
  return bound;
}

milliseconds RetryPolicy::Delay(uint32_t attempt, double random) const {
  const double wait = static_cast<double>(Bound(attempt).count()) * std::clamp(random, 0.0, 1.0);
  return milliseconds(static_cast<int64_t>(wait));
}

milliseconds RetryPolicy::Delay(uint32_t attempt, double random,
                                std::optional<milliseconds> retry_after) const {
  const milliseconds own = Delay(attempt, random);
  // The jitter stays on top: everyone was told the same time.
  return retry_after ? *retry_after + std::min(own, *retry_after) : own;
}

std::optional<milliseconds> ParseRetryAfter(std::string_view value, UnixMillis now) {
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  if (value.empty()) return std::nullopt;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (std::all_of(value.begin(), value.end(), is_digit)) {
    int64_t seconds = 0;
    for (const char c : value) seconds = std::min<int64_t>(seconds * 10 + (c - '0'), 1'000'000'000);
    return std::min<milliseconds>(std::chrono::seconds(seconds), kMaxRetryAfter);
  }
  if (value.find(':') == std::string_view::npos) return std::nullopt;  // no time of day, no date
  const time_t at = ::curl_getdate(std::string(value).c_str(), nullptr);
  if (at < 0) return std::nullopt;
  const milliseconds wait(static_cast<int64_t>(at) * 1000 - now.value);
  return std::clamp<milliseconds>(wait, milliseconds(0), kMaxRetryAfter);
}

}  // namespace forebay::http
