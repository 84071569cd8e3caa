#include "upload/bad_rows.h"

#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>

namespace forebay::upload {
namespace {

std::string Filtered(const std::vector<RowRange>& ranges, std::string_view text, size_t step) {
  std::string out;
  RowFilter filter(ranges, [&out](std::string_view piece) {
    out += piece;
    return OkStatus();
  });
  for (size_t at = 0; at < text.size(); at += step) {
    REQUIRE(filter.Write(text.substr(at, step)).ok());
  }
  CHECK(filter.bytes() == out.size());
  return out;
}

TEST_CASE("bad rows: a range of rows is let through, however the text is cut") {
  const std::vector<std::string> rows = {"1,a\n", "2,\"two\nlines, \"\"quoted\"\"\"\n", "\n",
                                         "3,\"\"\n", "4,\"\n\n\"\n"};
  std::string text;
  for (const std::string& row : rows) text += row;
  for (uint64_t first = 0; first < rows.size(); ++first) {
    std::string expected;
    for (uint64_t count = 1; first + count <= rows.size(); ++count) {
      expected += rows[first + count - 1];
      for (const size_t step : {1U, 2U, 3U, 7U, 1000U}) {
        CAPTURE(first, count, step);
        CHECK(Filtered({{first, count}}, text, step) == expected);
      }
    }
  }
}

TEST_CASE("bad rows: several ranges are let through in one go") {
  const std::string text = "0\n1\n2,\"\n\"\n3\n4\n5\n";
  for (const size_t step : {1U, 4U, 1000U}) {
    CHECK(Filtered({{0, 1}, {2, 2}, {5, 1}}, text, step) == "0\n2,\"\n\"\n3\n5\n");
    CHECK(Filtered({{1, 1}, {2, 1}}, text, step) == "1\n2,\"\n\"\n");
  }
}

TEST_CASE("bad rows: an error of the consumer ends the filter") {
  RowFilter filter({{0, 2}}, [](std::string_view) -> Status { return Error(ErrorCode::kIo, "x"); });
  CHECK(filter.Write("1\n2\n").error().code() == ErrorCode::kIo);
}

// A backend that refuses a range with one of these rows, and counts how often it gets each.
struct StrictBackend {
  std::set<uint64_t> bad;
  std::map<uint64_t, int> got = {};
  int tries = 0;

  Status Deliver(RowRange range) {
    ++tries;
    for (uint64_t row = range.first; row < range.first + range.count; ++row) {
      if (bad.contains(row)) return Error(ErrorCode::kInvalidArgument, "bad row");
    }
    for (uint64_t row = range.first; row < range.first + range.count; ++row) ++got[row];
    return OkStatus();
  }
};

TEST_CASE("bad rows: they stand alone at the end, and every other one is delivered once") {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const uint64_t rows = 2 + random() % 400;
    StrictBackend backend;
    for (uint64_t i = 0; i < 1 + random() % 6; ++i) backend.bad.insert(random() % rows);
    const auto found =
        FindBadRows(rows, 1'000'000, [&](RowRange range) { return backend.Deliver(range); });
    REQUIRE(found.ok());
    std::vector<RowRange> expected;
    for (const uint64_t row : backend.bad) expected.push_back({row, 1});
    CHECK(found->ranges == expected);
    CHECK(found->delivered == rows - backend.bad.size());
    CHECK(backend.got.size() == found->delivered);
    for (const auto& [row, times] : backend.got) CHECK(times == 1);
  }
}

TEST_CASE("bad rows: one of a million is found in 40 tries") {
  StrictBackend backend{{765'432}};
  const auto found =
      FindBadRows(1'000'000, 100, [&](RowRange range) { return backend.Deliver(range); });
  REQUIRE(found.ok());
  CHECK(found->ranges == std::vector<RowRange>{{765'432, 1}});
  CHECK(backend.tries <= 40);
}

TEST_CASE("bad rows: when the tries are used up, what was not tried is left aside") {
  StrictBackend backend;
  for (uint64_t row = 0; row < 1000; row += 10) backend.bad.insert(row);
  const auto found = FindBadRows(1000, 60, [&](RowRange range) { return backend.Deliver(range); });
  REQUIRE(found.ok());
  CHECK(backend.tries == 60);
  uint64_t aside = 0;
  uint64_t end = 0;
  for (const RowRange& range : found->ranges) {
    CHECK(range.first >= end);
    end = range.first + range.count;
    aside += range.count;
    for (uint64_t row = range.first; row < end; ++row) CHECK(backend.got.count(row) == 0);
  }
  CHECK(aside + found->delivered == 1000);
}

TEST_CASE("bad rows: an error that passes ends the search") {
  int tries = 0;
  const auto found = FindBadRows(8, 100, [&](RowRange) -> Status {
    return ++tries == 2 ? Error(ErrorCode::kUnavailable, "later").WithRetryable(true)
                        : Error(ErrorCode::kInvalidArgument, "bad").WithRetryable(false);
  });
  REQUIRE_FALSE(found.ok());
  CHECK(found.error().code() == ErrorCode::kUnavailable);
  CHECK(tries == 2);
}

}  // namespace
}  // namespace forebay::upload
