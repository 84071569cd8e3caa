#include "base/units.h"

#include <cstdint>
#include <limits>
#include <random>
#include <string_view>

#include <catch2/catch.hpp>

namespace forebay {
namespace {

using std::chrono::milliseconds;

TEST_CASE("units: sizes that are understood") {
  struct Row {
    std::string_view text;
    uint64_t bytes;
  };
  const Row rows[] = {
      {"0", 0},
      {"1500", 1500},
      {"7B", 7},
      {"100MB", 100'000'000},
      {"100 MB", 100'000'000},
      {"10GiB", 10ULL << 30},
      {"10gib", 10ULL << 30},
      {"1.5GiB", 3ULL << 29},
      {".5KiB", 512},
      {"0.1KB", 100},
      {"2TB", 2'000'000'000'000},
      {"1TiB", 1ULL << 40},
      {"18446744073709551615", std::numeric_limits<uint64_t>::max()},
      {"16777215TiB", 16'777'215ULL << 40},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const Result<ByteCount> parsed = ParseByteCount(row.text);
    REQUIRE(parsed.ok());
    CHECK(parsed->value == row.bytes);
  }
}

TEST_CASE("units: sizes that are refused, with the text in the message") {
  const std::string_view rows[] = {"",
                                   "MB",
                                   "-1",
                                   "+1",
                                   "1e5",
                                   "1.2.3GB",
                                   "10 M",
                                   "10GBs",
                                   "1,5GB",
                                   " 1GB",
                                   ".",
                                   "GiB10",
                                   "0x10",
                                   "1PB",
                                   "inf",
                                   "nan",
                                   "10G",
                                   "1 G B",
                                   "18446744073709551616",
                                   "16777216TiB",
                                   "99999999.5TiB"};
  for (const std::string_view text : rows) {
    INFO(text);
    const Result<ByteCount> parsed = ParseByteCount(text);
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().code() == ErrorCode::kInvalidArgument);
    CHECK_THAT(parsed.error().message(),
               Catch::Matchers::StartsWith("\"" + std::string(text) + "\""));
  }
}

TEST_CASE("units: sizes are written in the largest unit that is exact") {
  CHECK(FormatByteCount({0}) == "0");
  CHECK(FormatByteCount({1500}) == "1500");
  CHECK(FormatByteCount(KB(2)) == "2KB");
  CHECK(FormatByteCount(MB(100)) == "100MB");
  CHECK(FormatByteCount(MiB(256)) == "256MiB");
  CHECK(FormatByteCount(GiB(10)) == "10GiB");
  CHECK(FormatByteCount({1ULL << 40}) == "1TiB");
}

TEST_CASE("units: a written size reads back the same") {
  std::mt19937_64 random(7);
  for (int i = 0; i < 2000; ++i) {
    const ByteCount bytes{random() >> (random() % 64)};
    REQUIRE(*ParseByteCount(FormatByteCount(bytes)) == bytes);
  }
}

TEST_CASE("units: durations that are understood") {
  struct Row {
    std::string_view text;
    int64_t millis;
  };
  const Row rows[] = {
      {"0", 0},          {"0s", 0},      {"90s", 90'000},       {"1h30m", 5'400'000},
      {"250ms", 250},    {"1.5s", 1500}, {"5m", 300'000},       {"2d", 172'800'000},
      {"1m1ms", 60'001}, {"0.5ms", 1},   {"10m10m", 1'200'000},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    const Result<milliseconds> parsed = ParseDuration(row.text);
    REQUIRE(parsed.ok());
    CHECK(parsed->count() == row.millis);
  }
}

TEST_CASE("units: durations that are refused") {
  const std::string_view rows[] = {
      "",   "5",   "m",  "5 m",   "-5s", "5S",  "5us",  "5ns",
      "1w", "1h5", "s5", "1..5s", " 5s", "5s ", "1e3s", "99999999999999d"};
  for (const std::string_view text : rows) {
    INFO(text);
    const Result<milliseconds> parsed = ParseDuration(text);
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().code() == ErrorCode::kInvalidArgument);
  }
}

TEST_CASE("units: durations are written with each unit at most once") {
  CHECK(FormatDuration(milliseconds(0)) == "0s");
  CHECK(FormatDuration(milliseconds(250)) == "250ms");
  CHECK(FormatDuration(milliseconds(60'000)) == "1m");
  CHECK(FormatDuration(milliseconds(90'000)) == "1m30s");
  CHECK(FormatDuration(milliseconds(90'000'000)) == "1d1h");
  CHECK(FormatDuration(milliseconds(-1500)) == "-1s500ms");
  CHECK_THAT(FormatDuration(milliseconds::min()), Catch::Matchers::StartsWith("-106751991167d"));
}

TEST_CASE("units: a written duration reads back the same") {
  std::mt19937_64 random(11);
  for (int i = 0; i < 2000; ++i) {
    // Up to 2^52 ms: the parser adds in double.
    const milliseconds duration(static_cast<int64_t>(random() >> (12 + random() % 50)));
    REQUIRE(*ParseDuration(FormatDuration(duration)) == duration);
  }
}

}  // namespace
}  // namespace forebay
