#include "base/units.h"

#include <fmt/core.h>

#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace forebay {
namespace {

struct ByteUnit {
  std::string_view name;
  uint64_t factor;
};

// Larger first within equal exactness: FormatByteCount takes the first that divides.
constexpr std::array<ByteUnit, 9> kByteUnits{{
    {"TiB", 1ULL << 40},
    {"TB", 1'000'000'000'000ULL},
    {"GiB", 1ULL << 30},
    {"GB", 1'000'000'000ULL},
    {"MiB", 1ULL << 20},
    {"MB", 1'000'000ULL},
    {"KiB", 1ULL << 10},
    {"KB", 1'000ULL},
    {"B", 1},
}};

struct DurationUnit {
  std::string_view name;
  int64_t millis;
};

constexpr std::array<DurationUnit, 5> kDurationUnits{{
    {"d", 86'400'000},
    {"h", 3'600'000},
    {"m", 60'000},
    {"s", 1000},
    {"ms", 1},
}};

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

bool IsNumberChar(char c) { return (c >= '0' && c <= '9') || c == '.'; }

// Splits the leading number off text. Returns false when there is none.
bool TakeNumber(std::string_view& text, double& number) {
  size_t length = 0;
  while (length < text.size() && IsNumberChar(text[length])) ++length;
  if (length == 0) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + length, number);
  if (error != std::errc() || end != text.data() + length) return false;
  text.remove_prefix(length);
  return true;
}

}  // namespace

Result<ByteCount> ParseByteCount(std::string_view text) {
  const auto bad = [text] {
    return Error(
        ErrorCode::kInvalidArgument,
        fmt::format("\"{}\" is not a size: write a number and a unit, for example 100MB or 10GiB",
                    text));
  };
  std::string_view rest = text;
  double number = 0;
  const bool integral = text.find('.') == std::string_view::npos;
  if (!TakeNumber(rest, number)) return bad();
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  uint64_t factor = 1;
  if (!rest.empty()) {
    factor = 0;
    for (const ByteUnit& unit : kByteUnits) {
      if (EqualsIgnoreCase(rest, unit.name)) factor = unit.factor;
    }
    if (factor == 0) return bad();
  }
  if (integral) {
    uint64_t whole = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
    if (error != std::errc() || whole > std::numeric_limits<uint64_t>::max() / factor) return bad();
    return ByteCount{whole * factor};
  }
  const double bytes = number * static_cast<double>(factor);
  if (!(bytes < 9.2e18)) return bad();
  return ByteCount{static_cast<uint64_t>(std::llround(bytes))};
}

std::string FormatByteCount(ByteCount bytes) {
  if (bytes.value == 0) return "0";
  for (const ByteUnit& unit : kByteUnits) {
    if (unit.factor > 1 && bytes.value % unit.factor == 0) {
      return fmt::format("{}{}", bytes.value / unit.factor, unit.name);
    }
  }
  return fmt::format("{}", bytes.value);
}

Result<std::chrono::milliseconds> ParseDuration(std::string_view text) {
  const auto bad = [text] {
    return Error(
        ErrorCode::kInvalidArgument,
        fmt::format("\"{}\" is not a duration: write numbers with units ms, s, m, h or d, for "
                    "example 90s or 1h30m",
                    text));
  };
  if (text == "0") return std::chrono::milliseconds(0);
  if (text.empty()) return bad();
  double total = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    double number = 0;
    if (!TakeNumber(rest, number)) return bad();
    size_t length = 0;
    while (length < rest.size() && !IsNumberChar(rest[length])) ++length;
    const std::string_view name = rest.substr(0, length);
    double factor = 0;
    for (const DurationUnit& unit : kDurationUnits) {
      if (name == unit.name) factor = static_cast<double>(unit.millis);
    }
    if (factor == 0) return bad();
    total += number * factor;
    rest.remove_prefix(length);
  }
  if (!(total < 9.2e18)) return bad();
  return std::chrono::milliseconds(std::llround(total));
}

std::string FormatDuration(std::chrono::milliseconds duration) {
  if (duration.count() == 0) return "0s";
  std::string text;
  // Unsigned, so that the least int64 has a magnitude too.
  auto rest = static_cast<uint64_t>(duration.count());
  if (duration.count() < 0) {
    text = "-";
    rest = 0 - rest;
  }
  for (const DurationUnit& unit : kDurationUnits) {
    const auto millis = static_cast<uint64_t>(unit.millis);
    if (rest >= millis) {
      text += fmt::format("{}{}", rest / millis, unit.name);
      rest %= millis;
    }
  }
  return text;
}

}  // namespace forebay
