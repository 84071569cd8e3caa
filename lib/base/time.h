// Points in time as distinct types, and the RFC 3339 text that rows and logs use.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace forebay {

// Milliseconds since 1970-01-01T00:00:00Z, UTC, no leap seconds. Any int64 is legal (bad senders).
struct UnixMillis {
  int64_t value = 0;
  auto operator<=>(const UnixMillis&) const = default;
};

// Longest text of FormatRfc3339: years beyond 9999 are clamped, so 24 characters.
inline constexpr int kMaxRfc3339Chars = 24;

// Writes `2026-11-01T00:00:00.123Z` at out: UTC; the fraction in ms without trailing zeros, none
// when zero. Values outside 0000-01-01 .. 9999-12-31T23:59:59.999Z are clamped to that range.
// Shape: out must hold kMaxRfc3339Chars. Returns the end. Source: docs/format/rows.md. Threads:
// any.
char* FormatRfc3339(UnixMillis time, char* out);
std::string FormatRfc3339(UnixMillis time);

}  // namespace forebay
