#include "table/number_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <string_view>

namespace forebay::table {
namespace {

constexpr uint64_t kSignBit = 0x8000'0000'0000'0000;
constexpr uint64_t kExponentBits = 0x7ff0'0000'0000'0000;
constexpr double kTwoPow53 = 9007199254740992.0;

bool IsFinite(uint64_t bits) { return (bits & kExponentBits) != kExponentBits; }

char* Put(std::string_view text, char* out) {
  std::memcpy(out, text.data(), text.size());
  return out + text.size();
}

char* WriteSpecial(uint64_t bits, char* out) {
  if (IsStaleMarker(bits)) return out;
  if (IsNan(bits)) return Put("NaN", out);
  return Put((bits & kSignBit) != 0 ? "-Infinity" : "Infinity", out);
}

// True for whole numbers below 2^53; -0 is not one, it has its own text.
bool IsSmallWhole(uint64_t bits, double value) {
  if (bits == kSignBit || !(std::abs(value) < kTwoPow53)) return false;
  return static_cast<double>(static_cast<int64_t>(value)) == value;
}

constexpr std::array<uint64_t, 17> kPowersOfTen = [] {
  std::array<uint64_t, 17> powers{};
  uint64_t power = 1;
  for (uint64_t& entry : powers) {
    entry = power;
    power *= 10;
  }
  return powers;
}();

// Of a value below 2^53. bits * 1233 / 4096 is log10(2^bits), exact enough below 64 bits to be
// right or one too many, which the comparison settles.
size_t DecimalDigits(uint64_t value) {
  const auto estimate = static_cast<size_t>(std::bit_width(value | 1)) * 1233 >> 12;
  return estimate + ((value | 1) >= kPowersOfTen[estimate] ? 1 : 0);
}

// Of a value that a decimal with at most three places reads back as, without its sign; 0 for
// others.
size_t ShortDecimalChars(double magnitude) {
  constexpr double kThousand = 1000;
  if (!(magnitude < kTwoPow53 / kThousand)) return 0;
  const auto thousandths = static_cast<uint64_t>(std::nearbyint(magnitude * kThousand));
  // Both are exact and the division rounds as reading the decimal does.
  if (static_cast<double>(thousandths) / kThousand != magnitude) return 0;
  return std::max<size_t>(DecimalDigits(thousandths), std::string_view("0000").size()) + 1;
}

}  // namespace

char* WriteDouble(uint64_t bits, char* out) {
  if (!IsFinite(bits)) return WriteSpecial(bits, out);
  const auto value = std::bit_cast<double>(bits);
  if (IsSmallWhole(bits, value)) {
    const auto whole = static_cast<int64_t>(value);
    // With five zeros at the end or more the scientific form may be shorter ("1e+05"): left to
    // to_chars, so that the text does not depend on the path taken here.
    if (whole % 100'000 != 0 || whole == 0)
      return std::to_chars(out, out + kMaxDoubleChars, whole).ptr;
  }
  return std::to_chars(out, out + kMaxDoubleChars, value).ptr;
}

size_t DoubleCharsUpperBound(uint64_t bits) {
  if (!IsFinite(bits)) return IsStaleMarker(bits) ? 0 : std::string_view("-Infinity").size();
  const auto value = std::bit_cast<double>(bits);
  const size_t sign = bits >> 63;
  if (!IsSmallWhole(bits, value)) {
    const size_t chars = ShortDecimalChars(std::abs(value));
    return chars == 0 ? kMaxDoubleChars : sign + chars;
  }
  const auto whole = static_cast<int64_t>(value);
  return sign + DecimalDigits(static_cast<uint64_t>(whole < 0 ? -whole : whole));
}

}  // namespace forebay::table
