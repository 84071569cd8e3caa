// Valid names both ways, and everything that must not become a path.
#include "wal/segment_name.h"

#include <catch2/catch.hpp>
#include <string>

namespace forebay::wal {

TEST_CASE("segment name: four fields parse and format to the same name") {
  const std::string text = "Metrics_CpuBest_2cawzsrvl4mw4_2f24a73200006000.wal";
  const auto name = ParseSegmentName(text);
  REQUIRE(name.ok());
  CHECK(name->database == "Metrics");
  CHECK(name->table == "CpuBest");
  CHECK(name->schema_hash == "2cawzsrvl4mw4");
  CHECK(name->id == 0x2f24a73200006000);
  CHECK(*FormatSegmentName(*name) == text);
  CHECK(SegmentKey(*name) == "Metrics_CpuBest_2cawzsrvl4mw4");
}

TEST_CASE("segment name: three fields are a name without schema hash") {
  const auto name = ParseSegmentName("Logs_App_2f24a73200006002.wal");
  REQUIRE(name.ok());
  CHECK(name->schema_hash.empty());
  CHECK(*FormatSegmentName(*name) == "Logs_App_2f24a73200006002.wal");
  CHECK(SegmentKey(*name) == "Logs_App");
}

TEST_CASE("segment name: ids are hex of any width, formatted without padding") {
  CHECK(ParseSegmentName("a_b_0.wal")->id == 0);
  CHECK(ParseSegmentName("a_b_ffffffffffffffff.wal")->id == UINT64_MAX);
  CHECK(ParseSegmentName("a_b_00FF.wal")->id == 255);
  CHECK(*FormatSegmentName({.database = "a", .table = "b", .schema_hash = "", .id = 255}) ==
        "a_b_ff.wal");
}

TEST_CASE("segment name: what is not a name is refused") {
  for (const std::string text : {"",
                                 ".wal",
                                 "a.wal",
                                 "a_b.wal",
                                 "a_b_c_d_1.wal",
                                 "a_b_1",
                                 "a_b_1.wal.gz",
                                 "a_b_1.WAL",
                                 "a__1.wal",
                                 "_b_1.wal",
                                 "a_b_.wal",
                                 "a_b_h_.wal",
                                 "a_b__1.wal",
                                 "a_b_xyz.wal",
                                 "a_b_1ffffffffffffffff.wal",
                                 "a_b_-1.wal",
                                 "a_b_0x1.wal",
                                 "../a_b_1.wal",
                                 "a/b_c_1.wal",
                                 "a_b/c_1.wal",
                                 "a\\b_c_1.wal",
                                 "a_b.c_1.wal",
                                 "a-b_c_1.wal",
                                 "a_b c_1.wal",
                                 "a_b_1.wal/",
                                 "\xC3\xA4_b_1.wal"}) {
    INFO(text);
    CHECK_FALSE(ParseSegmentName(text).ok());
  }
  CHECK_FALSE(ParseSegmentName(std::string("a_b\0c_1.wal", 11)).ok());
  CHECK_FALSE(ParseSegmentName(std::string(300, 'a') + "_b_1.wal").ok());
}

TEST_CASE("segment name: a refusal shows no control characters and not all of a long name") {
  const auto name = ParseSegmentName("\n\x1b[31m" + std::string(5000, 'x'));
  REQUIRE_FALSE(name.ok());
  CHECK(name.error().message().size() < 200);
  CHECK(name.error().message().find('\n') == std::string::npos);
  CHECK(name.error().message().find('\x1b') == std::string::npos);
}

TEST_CASE("segment name: fields that do not parse back are not formatted") {
  CHECK_FALSE(FormatSegmentName({.database = "", .table = "b", .schema_hash = "", .id = 1}).ok());
  CHECK_FALSE(
      FormatSegmentName({.database = "a", .table = "b_c", .schema_hash = "", .id = 1}).ok());
  CHECK_FALSE(FormatSegmentName({.database = "a", .table = "b", .schema_hash = "/", .id = 1}).ok());
  CHECK_FALSE(FormatSegmentName(
                  {.database = "a", .table = std::string(250, 'b'), .schema_hash = "", .id = 1})
                  .ok());
}

}  // namespace forebay::wal
