#include "base/time.h"

#include <algorithm>

namespace forebay {
namespace {

constexpr int64_t kMillisPerDay = 86'400'000;
constexpr int64_t kFirstMillis = -62'167'219'200'000;  // 0000-01-01T00:00:00Z
constexpr int64_t kLastMillis = 253'402'300'799'999;   // 9999-12-31T23:59:59.999Z

struct CivilDate {
  int year;
  unsigned month;
  unsigned day;
};

// Days since 1970-01-01 to a Gregorian date (Howard Hinnant, "chrono-compatible low-level date
// algorithms", civil_from_days).
CivilDate CivilFromDays(int64_t days) {
  days += 719'468;
  const int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
  const auto day_of_era = static_cast<unsigned>(days - era * 146'097);
  const unsigned year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const unsigned day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const unsigned shifted_month = (5 * day_of_year + 2) / 153;
  const unsigned day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
  const unsigned month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
  const int year =
      static_cast<int>(year_of_era) + static_cast<int>(era * 400) + (month <= 2 ? 1 : 0);
  return {year, month, day};
}

char* PutDigits(char* out, unsigned value, int digits) {
  for (int i = digits - 1; i >= 0; --i) {
    out[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
  return out + digits;
}

}  // namespace

char* FormatRfc3339(UnixMillis time, char* out) {
  const int64_t clamped = std::clamp(time.value, kFirstMillis, kLastMillis);
  int64_t days = clamped / kMillisPerDay;
  int64_t rest = clamped % kMillisPerDay;
  if (rest < 0) {
    rest += kMillisPerDay;
    --days;
  }
  const CivilDate date = CivilFromDays(days);
  const auto of_day = static_cast<unsigned>(rest);
  out = PutDigits(out, static_cast<unsigned>(date.year), 4);
  *out++ = '-';
  out = PutDigits(out, date.month, 2);
  *out++ = '-';
  out = PutDigits(out, date.day, 2);
  *out++ = 'T';
  out = PutDigits(out, of_day / 3'600'000, 2);
  *out++ = ':';
  out = PutDigits(out, of_day / 60'000 % 60, 2);
  *out++ = ':';
  out = PutDigits(out, of_day / 1000 % 60, 2);
  const unsigned millis = of_day % 1000;
  if (millis != 0) {
    *out++ = '.';
    out = PutDigits(out, millis, 3);
    while (out[-1] == '0') --out;
  }
  *out++ = 'Z';
  return out;
}

std::string FormatRfc3339(UnixMillis time) {
  char buffer[kMaxRfc3339Chars];
  return std::string(buffer, FormatRfc3339(time, buffer));
}

}  // namespace forebay
