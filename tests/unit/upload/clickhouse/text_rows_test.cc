#include "upload/clickhouse/text_rows.h"

#include <bit>
#include <catch2/catch.hpp>

#include "table/number_text.h"

namespace forebay::upload {
namespace {

const table::Schema kSchema = *table::Schema::ParseHeaderLine(
    "Timestamp:datetime,N:long,I:int,B:bool,Value:real,Text:string");

TEST_CASE("clickhouse text rows: every type is read") {
  TextRowParser parser(kSchema);
  parser.Begin(
      "2026-11-01T00:00:00.123Z,-9223372036854775808,7,true,1.5,\"a\"\"b,\nc\"\r\n"
      "1969-12-31T23:59:59Z,,,,,\n"
      ",1,1,1,1,t\n");
  REQUIRE(parser.Next());
  CHECK(parser.problem().empty());
  REQUIRE(parser.fields().size() == 6);
  CHECK(parser.fields()[0].number == 1'793'491'200'123);
  CHECK(static_cast<int64_t>(parser.fields()[1].number) == INT64_MIN);
  CHECK(parser.fields()[2].number == 7);
  CHECK(parser.fields()[3].number == 1);
  CHECK(std::bit_cast<double>(parser.fields()[4].number) == 1.5);
  CHECK(parser.fields()[5].text == "a\"b,\nc");
  REQUIRE(parser.Next());
  CHECK(parser.problem().empty());
  CHECK(static_cast<int64_t>(parser.fields()[0].number) == -1000);
  CHECK(parser.fields()[4].number == table::kStaleMarkerBits);
  REQUIRE(parser.Next());
  CHECK(parser.problem().empty());
  CHECK(parser.fields()[0].number == 0);
  CHECK_FALSE(parser.Next());
}

TEST_CASE("clickhouse text rows: a bad row is told with the reason, the next one is good") {
  const std::pair<const char*, const char*> cases[] = {
      {"x,1,1,1,1,t\n", "column Timestamp: \"x\" is no datetime"},
      {"2026-02-30,1,1,1,1,t\n", "column Timestamp"},
      {"2026-11-01,1.5,1,1,1,t\n", "column N"},
      {"2026-11-01,1,3000000000,1,1,t\n", "column I"},
      {"2026-11-01,1,1,maybe,1,t\n", "column B"},
      {"2026-11-01,1,1,1,abc,t\n", "column Value"},
      {"2026-11-01,1,1,1,1\n", "5 fields for 6 columns"},
      {"2026-11-01,1,1,1,1,t,u\n", "7 fields for 6 columns"},
      {"2026-11-01,1,1,1,1,\"t\"x\n", "behind a closing quote"},
      {"\n", "1 fields for 6 columns"},
  };
  for (const auto& [row, problem] : cases) {
    INFO(row);
    TextRowParser parser(kSchema);
    const std::string text = std::string(row) + "2026-11-01,1,1,1,1,good\n";
    parser.Begin(text);
    REQUIRE(parser.Next());
    CHECK(parser.problem().find(problem) != std::string::npos);
    CHECK(parser.row() == row);
    REQUIRE(parser.Next());
    CHECK(parser.problem().empty());
    CHECK(parser.fields()[5].text == "good");
    CHECK_FALSE(parser.Next());
  }
}

TEST_CASE("clickhouse text rows: a quote that is never closed costs its line only") {
  TextRowParser parser(kSchema);
  parser.Begin("2026-11-01,1,1,1,1,\"open\n2026-11-01,1,1,1,1,good");
  REQUIRE(parser.Next());
  CHECK(parser.problem() == "a quote is not closed");
  REQUIRE(parser.Next());
  CHECK(parser.problem().empty());
  CHECK(parser.fields()[5].text == "good");
  CHECK_FALSE(parser.Next());
}

TEST_CASE("clickhouse text rows: times in RFC 3339") {
  CHECK(ParseRfc3339("1970-01-01T00:00:00.0009Z") == 0);
  CHECK(ParseRfc3339("1970-01-01T01:30:00.5+01:30") == 500);
  CHECK(ParseRfc3339("1970-01-01 00:00:01") == 1000);
  CHECK(ParseRfc3339("0000-01-01T00:00:00Z") == -62'167'219'200'000);
  for (const char* bad :
       {"", "1970", "1970-13-01", "1970-01-01T24:00:00Z", "1970-01-01T00:00Z",
        "1970-01-01T00:00:00.Z", "1970-01-01T00:00:00+1", "1970-01-01T00:00:00Zx"}) {
    INFO(bad);
    CHECK_FALSE(ParseRfc3339(bad));
  }
}

}  // namespace
}  // namespace forebay::upload
