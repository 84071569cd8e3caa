#include "table/schema.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace forebay::table {
namespace {

using config::LiftLabel;

MetricsLayout Layout(std::vector<LiftLabel> lifts,
                     std::vector<std::string> prefixes = {"adxmon_"}) {
  auto layout = MetricsLayout::Create(lifts, std::move(prefixes));
  REQUIRE(layout.ok());
  return *std::move(layout);
}

TEST_CASE("schema: the default metrics schema has adx-mon's hash and header line") {
  const Schema& schema = DefaultMetricsSchema();
  CHECK(schema.hash_text() == "2cawzsrvl4mw4");
  CHECK(schema.header_line() == "Timestamp:datetime,SeriesId:long,Labels:dynamic,Value:real\n");
  CHECK(schema.columns().size() == kMetricsColumns);
}

TEST_CASE("schema: a header line reads back to the same schema, with every kind of end") {
  for (const std::string_view end : {"", "\n", "\r\n", "\n2026-11-01T00:00:00Z,1,{},2\n"}) {
    const auto schema = Schema::ParseHeaderLine(
        "Timestamp:datetime,SeriesId:long,Labels:dynamic,Value:real" + std::string(end));
    REQUIRE(schema.ok());
    CHECK(*schema == DefaultMetricsSchema());
    CHECK(schema->hash() == DefaultMetricsSchema().hash());
  }
}

TEST_CASE("schema: every type name reads back") {
  for (const std::string_view name : {"bool", "datetime", "decimal", "dynamic", "guid", "int",
                                      "long", "real", "string", "timespan"}) {
    const auto type = ParseColumnType(name);
    REQUIRE(type.has_value());
    CHECK(Name(*type) == name);
  }
  CHECK_FALSE(ParseColumnType("String").has_value());
  CHECK_FALSE(ParseColumnType("").has_value());
}

TEST_CASE("schema: header lines that are none are refused") {
  const std::string line =
      GENERATE(as<std::string>(), "", "\n", "Timestamp", "Timestamp:datetime,",
               ",Timestamp:datetime", "A:int,,B:int", "A:number", "A:int:int", ":int", "A b:int",
               "A:int,A:long", "2026-11-01T00:00:00Z,1,{},2", std::string(2000, 'a') + ":int");
  const auto schema = Schema::ParseHeaderLine(line);
  REQUIRE_FALSE(schema.ok());
  CHECK(schema.error().code() == ErrorCode::kInvalidArgument);
  CHECK(schema.error().message().size() < 300);
}

TEST_CASE("schema: the number of columns is bounded") {
  std::string line;
  for (size_t i = 0; i < kMaxColumns; ++i) line += "c" + std::to_string(i) + ":int,";
  CHECK(Schema::ParseHeaderLine(std::string_view(line).substr(0, line.size() - 1)).ok());
  CHECK_FALSE(Schema::ParseHeaderLine(line + "last:int").ok());
}

TEST_CASE(
    "metrics layout: lifted columns are ordered by lower-cased label and named in ProperCase") {
  const auto layout = Layout({{"zone", ""}, {"Host", ""}, {"k8s_node", ""}, {"cluster", "Cl"}});
  CHECK(layout.schema().header_line() ==
        "Timestamp:datetime,SeriesId:long,Labels:dynamic,Value:real,Cl:string,Host:string,K8sNode:"
        "string,"
        "Zone:string\n");
  CHECK(layout.lifted_count() == 4);
  CHECK(layout.schema().hash() != DefaultMetricsSchema().hash());
}

TEST_CASE("metrics layout: without lifted labels the schema is the default one") {
  CHECK(Layout({}).schema() == DefaultMetricsSchema());
}

TEST_CASE("metrics layout: lifts that cannot be columns are refused") {
  const auto fails = [](std::vector<LiftLabel> lifts) {
    return !MetricsLayout::Create(lifts, {}).ok();
  };
  CHECK(fails({{"", ""}}));
  CHECK(fails({{"host", ""}, {"HOST", "Other"}}));
  CHECK(fails({{"value", ""}}));
  CHECK(fails({{"a", "X"}, {"b", "X"}}));
  CHECK(fails({{"\xe6\x97\xa5", ""}}));
  CHECK(fails({{"host", "Host Name"}}));
  CHECK(fails({{"host", "a,b"}}));
  CHECK_FALSE(fails({{"\xe6\x97\xa5", "Day"}}));
}

TEST_CASE("metrics layout: labels are shared out over Labels, lifted columns and nowhere") {
  const auto layout = Layout({{"HOST", ""}, {"region", ""}, {"absent", ""}});
  const std::vector<Label> labels = {{"__name__", "up"},  {"adxmon_database", "M"},
                                     {"adxmonitor", "y"}, {"host", "h1"},
                                     {"job", "j"},        {"region", "eu"}};
  const RowLabels row = layout.Split(labels);
  CHECK(row.labels == std::vector<Label>{{"adxmonitor", "y"}, {"job", "j"}});
  CHECK(row.lifted == std::vector<std::string_view>{"", "h1", "eu"});
}

TEST_CASE(
    "metrics layout: of labels that differ in case only the first is lifted, the others stay") {
  const auto layout = Layout({{"host", ""}});
  const std::vector<Label> labels = {{"HOST", "1"}, {"Host", "2"}, {"host", "3"}};
  const RowLabels row = layout.Split(labels);
  CHECK(row.lifted == std::vector<std::string_view>{"1"});
  CHECK(row.labels == std::vector<Label>{{"Host", "2"}, {"host", "3"}});
}

TEST_CASE(
    "metrics layout: what is lifted by name is not dropped, and an empty prefix drops nothing") {
  const auto layout = Layout({{"__name__", "Metric"}, {"adxmon_database", ""}}, {"adxmon_", ""});
  const std::vector<Label> labels = {
      {"__name__", "up"}, {"adxmon_database", "M"}, {"adxmon_x", "1"}, {"b", "2"}};
  const RowLabels row = layout.Split(labels);
  CHECK(row.lifted == std::vector<std::string_view>{"up", "M"});
  CHECK(row.labels == std::vector<Label>{{"b", "2"}});
}

}  // namespace
}  // namespace forebay::table
