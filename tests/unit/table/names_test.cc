#include "table/names.h"

#include <catch2/catch.hpp>
#include <string>

namespace forebay::table {
namespace {

TEST_CASE("proper case: metric names become table names as adx-mon makes them") {
  struct Case {
    std::string metric, table;
  };
  const Case test = GENERATE(values<Case>({
      {"http_requests_total", "HttpRequestsTotal"},
      {"a::b", "AB"},
      {"_x", "X"},
      {"a_1b", "A1b"},
      {"__redis__", "Redis"},
      {"used_cpu_user_children", "UsedCpuUserChildren"},
      {"host_1", "Host1"},
      {"region-._", "Region"},
      {"region_\xe2\x8c\x98"
       "1",
       "Region1"},
      {"Job:etcdRequestLatency:75pctlrate5m", "JobEtcdRequestLatency75pctlrate5m"},
      {"Test$limit", "TestLimit"},
      {"a_B", "AB"},
      {"9lives", "9lives"},
      {"process.cpu.time", "ProcessCpuTime"},
      {"", ""},
      {"_", ""},
  }));
  CHECK(ProperCase(test.metric) == test.table);
}

TEST_CASE("proper case: cut at 1024 characters of the result, dropped ones not counted") {
  CHECK(ProperCase(std::string(1025, 'a')) == "A" + std::string(1023, 'a'));
  CHECK(ProperCase("aaaa_" + std::string(1025, 'a')) == "AaaaA" + std::string(1019, 'a'));
  CHECK(ProperCase(std::string(5000, '_') + "x") == "X");
}

TEST_CASE("clean identifier: everything but ASCII letters and digits is removed") {
  CHECK(CleanIdentifier("$Redis::/Requests") == "RedisRequests");
  CHECK(CleanIdentifier("_Re-d.is") == "Redis");
  CHECK(CleanIdentifier("9Redis") == "9Redis");
  CHECK(CleanIdentifier("Redis\xc3\x28Requests") == "RedisRequests");
  CHECK(CleanIdentifier("\xe6\x97\xa5\xe6\x9c\xac").empty());
  CHECK(CleanIdentifier("b_" + std::string(1025, 'a')) == "b" + std::string(1023, 'a'));
}

TEST_CASE("identifier: 1 to 1024 ASCII letters and digits") {
  CHECK(IsIdentifier("Metrics"));
  CHECK(IsIdentifier("0"));
  CHECK(IsIdentifier(std::string(1024, 'z')));
  CHECK_FALSE(IsIdentifier(""));
  CHECK_FALSE(IsIdentifier(std::string(1025, 'z')));
  CHECK_FALSE(IsIdentifier("a_b"));
  CHECK_FALSE(IsIdentifier("../x"));
  CHECK_FALSE(IsIdentifier("\xc3\xa9"));
  CHECK_FALSE(IsIdentifier(std::string_view("a\0b", 3)));
}

TEST_CASE(
    "table name: a metric without a letter or digit is refused with its name in the message") {
  CHECK(TableName("up").value() == "Up");
  const auto symbols = TableName("::__::");
  REQUIRE_FALSE(symbols.ok());
  CHECK(symbols.error().code() == ErrorCode::kInvalidArgument);
  CHECK(symbols.error().message().find("::__::") != std::string::npos);
  CHECK_FALSE(TableName("\xe6\x97\xa5\xe6\x9c\xac").ok());
  CHECK_FALSE(TableName("").ok());
}

TEST_CASE("database name: cleaned, refused when nothing is left") {
  CHECK(DatabaseName("team-a_metrics").value() == "teamametrics");
  CHECK_FALSE(DatabaseName("--").ok());
}

TEST_CASE("base 36: lower-case digits without leading zeros") {
  CHECK(Base36(0) == "0");
  CHECK(Base36(35) == "z");
  CHECK(Base36(36) == "10");
  CHECK(Base36(0xffffffffffffffff) == "3w5e11264sgsf");
}

}  // namespace
}  // namespace forebay::table
