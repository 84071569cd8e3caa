// Table ids: dense, one per database, name and schema, bounded, stable while others are added.
#include "table/table_registry.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace forebay::table {
namespace {

TEST_CASE("table registry: ids are dense and one per database, name and schema") {
  TableRegistry registry(10);
  const auto other_schema = Schema::Create({{"A", ColumnType::kString}});
  REQUIRE(other_schema.ok());
  CHECK(*registry.Intern("Db", "Cpu", DefaultMetricsSchema()) == 0);
  CHECK(*registry.Intern("Db", "Mem", DefaultMetricsSchema()) == 1);
  CHECK(*registry.Intern("Other", "Cpu", DefaultMetricsSchema()) == 2);
  CHECK(*registry.Intern("Db", "Cpu", *other_schema) == 3);
  CHECK(*registry.Intern("Db", "Cpu", DefaultMetricsSchema()) == 0);
  CHECK(registry.size() == 4);
  const TableInfo& info = registry.Get(0);
  CHECK(info.database == "Db");
  CHECK(info.name == "Cpu");
  CHECK(info.key == "Db_Cpu_2cawzsrvl4mw4");
  CHECK(info.schema.header_line() == DefaultMetricsSchema().header_line());
  CHECK(registry.Get(3).schema.header_line() == "A:string\n");
}

TEST_CASE("table registry: the bound refuses new tables and keeps serving known ones") {
  TableRegistry registry(2);
  REQUIRE(registry.Intern("Db", "A", DefaultMetricsSchema()).ok());
  REQUIRE(registry.Intern("Db", "B", DefaultMetricsSchema()).ok());
  const auto refused = registry.Intern("Db", "C", DefaultMetricsSchema());
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code() == ErrorCode::kResourceExhausted);
  CHECK(std::string(refused.error().message()).find("limits.tables_max") != std::string::npos);
  CHECK(*registry.Intern("Db", "B", DefaultMetricsSchema()) == 1);
  CHECK(registry.size() == 2);
}

TEST_CASE("table registry: names that would not fit into a file name are refused") {
  TableRegistry registry(10);
  const std::string longest(kMaxTableKeyBytes - 2, 'a');
  CHECK(registry.Intern("Db", longest, DefaultMetricsSchema()).ok());
  const auto refused = registry.Intern("Db", longest + "a", DefaultMetricsSchema());
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code() == ErrorCode::kInvalidArgument);
  CHECK(registry.size() == 1);
}

TEST_CASE("table registry: tables are read while others are added, by several threads") {
  constexpr uint32_t kTables = 3000;  // more than one chunk
  TableRegistry registry(kTables);
  const TableId first = *registry.Intern("Db", "T0", DefaultMetricsSchema());
  const TableInfo* const place = &registry.Get(first);
  std::atomic<uint64_t> wrong{0};
  const auto work = [&] {
    for (uint32_t i = 0; i < kTables; ++i) {
      const std::string name = "T" + std::to_string(i);
      const auto id = registry.Intern("Db", name, DefaultMetricsSchema());
      if (!id.ok() || registry.Get(*id).name != name) wrong.fetch_add(1);
    }
  };
  std::thread other(work);
  work();
  other.join();
  CHECK(wrong.load() == 0);
  CHECK(registry.size() == kTables);
  CHECK(&registry.Get(first) == place);
}

}  // namespace
}  // namespace forebay::table
