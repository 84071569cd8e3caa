#include "base/time.h"

#include <ctime>
#include <limits>
#include <random>
#include <string>
#include <string_view>

#include <catch2/catch.hpp>

#include "base/clock.h"

namespace forebay {
namespace {

TEST_CASE("time: RFC 3339 vectors, fraction in ms without trailing zeros") {
  struct Row {
    int64_t millis;
    std::string_view text;
  };
  const Row rows[] = {
      {0, "1970-01-01T00:00:00Z"},
      {1, "1970-01-01T00:00:00.001Z"},
      {10, "1970-01-01T00:00:00.01Z"},
      {100, "1970-01-01T00:00:00.1Z"},
      {120, "1970-01-01T00:00:00.12Z"},
      {-1, "1969-12-31T23:59:59.999Z"},
      {-86'400'000, "1969-12-31T00:00:00Z"},
      {951'782'400'000, "2000-02-29T00:00:00Z"},
      {1'709'251'199'999, "2024-02-29T23:59:59.999Z"},
      {4'107'542'400'000, "2100-03-01T00:00:00Z"},
      {1'793'491'200'123, "2026-11-01T00:00:00.123Z"},
      {-62'135'596'800'000, "0001-01-01T00:00:00Z"},
  };
  for (const Row& row : rows) CHECK(FormatRfc3339(UnixMillis{row.millis}) == row.text);
}

TEST_CASE("time: values outside the years 0 to 9999 are clamped to their ends") {
  const std::string first = "0000-01-01T00:00:00Z";
  const std::string last = "9999-12-31T23:59:59.999Z";
  CHECK(FormatRfc3339({-62'167'219'200'000}) == first);
  CHECK(FormatRfc3339({-62'167'219'200'001}) == first);
  CHECK(FormatRfc3339({std::numeric_limits<int64_t>::min()}) == first);
  CHECK(FormatRfc3339({253'402'300'799'999}) == last);
  CHECK(FormatRfc3339({253'402'300'800'000}) == last);
  CHECK(FormatRfc3339({std::numeric_limits<int64_t>::max()}) == last);
  CHECK(last.size() == static_cast<size_t>(kMaxRfc3339Chars));
}

TEST_CASE("time: agrees with the C library on random dates") {
  std::mt19937_64 random(3);
  std::uniform_int_distribution<int64_t> seconds(-62'135'596'800, 253'402'300'799);
  for (int i = 0; i < 5000; ++i) {
    const std::time_t time = seconds(random);
    std::tm parts{};
    REQUIRE(gmtime_r(&time, &parts) != nullptr);
    char rest[32];
    std::strftime(rest, sizeof(rest), "-%m-%dT%H:%M:%SZ", &parts);
    // strftime's %Y does not pad years below 1000.
    const std::string year = std::to_string(parts.tm_year + 1900);
    REQUIRE(FormatRfc3339({time * 1000}) == std::string(4 - year.size(), '0') + year + rest);
  }
}

TEST_CASE("time: the buffer form returns the end and writes no more than promised") {
  char buffer[kMaxRfc3339Chars + 1];
  buffer[kMaxRfc3339Chars] = '#';
  char* end = FormatRfc3339({253'402'300'799'999}, buffer);
  CHECK(end == buffer + kMaxRfc3339Chars);
  CHECK(buffer[kMaxRfc3339Chars] == '#');
}

TEST_CASE("clock: the manual clock moves when told, and the wall may jump alone") {
  ManualClock clock({1000});
  const MonotonicTime start = clock.Monotonic();
  clock.Advance(std::chrono::milliseconds(500));
  CHECK(clock.Now() == UnixMillis{1500});
  CHECK(clock.Monotonic() - start == std::chrono::milliseconds(500));
  clock.JumpWall(std::chrono::hours(-1));
  CHECK(clock.Now() == UnixMillis{1500 - 3'600'000});
  CHECK(clock.Monotonic() - start == std::chrono::milliseconds(500));
}

TEST_CASE("clock: the system clock counts milliseconds since 1970 and never goes back") {
  const SystemClock clock;
  CHECK(std::abs(clock.Now().value / 1000 - std::time(nullptr)) <= 1);
  const MonotonicTime first = clock.Monotonic();
  CHECK(clock.Monotonic() >= first);
}

}  // namespace
}  // namespace forebay
