// Sizes and durations as users write them ("10GiB", "100MB", "90s") and as types that do not mix.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace forebay {

// A count of bytes.
struct ByteCount {
  uint64_t value = 0;
  auto operator<=>(const ByteCount&) const = default;
};

inline constexpr ByteCount KiB(uint64_t n) { return {n << 10}; }
inline constexpr ByteCount MiB(uint64_t n) { return {n << 20}; }
inline constexpr ByteCount GiB(uint64_t n) { return {n << 30}; }
inline constexpr ByteCount KB(uint64_t n) { return {n * 1000}; }
inline constexpr ByteCount MB(uint64_t n) { return {n * 1000 * 1000}; }
inline constexpr ByteCount GB(uint64_t n) { return {n * 1000 * 1000 * 1000}; }

// Shape: decimal number, optional fraction, optional unit B KB MB GB TB (1000) or KiB MiB GiB TiB
// (1024), optional blank before the unit, case as written here or lower. No unit: bytes. Errors:
// kInvalidArgument naming what was expected. Threads: any.
Result<ByteCount> ParseByteCount(std::string_view text);
// The shortest exact form ("10GiB", "100MB", "1500").
std::string FormatByteCount(ByteCount bytes);

// Shape: one or more <number><unit>, units ms s m h d ("90s", "1h30m"); "0" alone is legal.
// Errors: kInvalidArgument. Threads: any.
Result<std::chrono::milliseconds> ParseDuration(std::string_view text);
// The form with the largest units, each at most once: "1m", "1m30s", "1d1h", "250ms", "0s".
// ParseDuration reads it back; a negative one starts with "-", which ParseDuration does not take.
std::string FormatDuration(std::chrono::milliseconds duration);

}  // namespace forebay
