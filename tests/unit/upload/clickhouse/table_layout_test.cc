#include "upload/clickhouse/table_layout.h"

#include <catch2/catch.hpp>

namespace forebay::upload {
namespace {

const table::Schema& Metrics() { return table::DefaultMetricsSchema(); }

TEST_CASE("clickhouse table: an old server gets Int64 timestamps and no codecs") {
  config::ClickHouseSink config;
  const TableLayout layout{config, {18, 16}, "db", "Up", {}};
  CHECK(*layout.CreateStatement(Metrics()) ==
        "CREATE TABLE IF NOT EXISTS `db`.`Up` (`Timestamp` Int64, `SeriesId` UInt64, `Labels` "
        "String, `Value` Float64, `forebay_batch` UInt64, `forebay_row` UInt32) ENGINE = "
        "MergeTree() PARTITION BY toYYYYMMDD(toDateTime(intDiv(`Timestamp`, 1000), 'UTC')) ORDER "
        "BY (`SeriesId`, `Timestamp`)");
}

TEST_CASE("clickhouse table: a new server gets DateTime64, codecs and a window for tokens") {
  config::ClickHouseSink config;
  config.ttl = std::chrono::hours(48);
  config.partition_by = "month";
  config.cluster = "all";
  const TableLayout layout{config, {24, 8}, "d`b", "metrics_samples", kMetricColumn};
  CHECK(*layout.CreateStatement(Metrics()) ==
        "CREATE TABLE IF NOT EXISTS `d\\`b`.`metrics_samples` ON CLUSTER `all` (`Metric` String "
        "CODEC(ZSTD(1)), `Timestamp` DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)), `SeriesId` "
        "UInt64, `Labels` String CODEC(ZSTD(1)), `Value` Float64, `forebay_batch` UInt64 "
        "CODEC(ZSTD(1)), `forebay_row` UInt32 CODEC(Delta(4), ZSTD(1))) ENGINE = MergeTree() "
        "PARTITION BY toYYYYMM(`Timestamp`) ORDER BY (`Metric`, `SeriesId`, `Timestamp`) TTL "
        "toDateTime(`Timestamp`) + toIntervalSecond(172800) SETTINGS "
        "non_replicated_deduplication_window = 1000");
}

TEST_CASE("clickhouse table: what the server is too old for is refused") {
  config::ClickHouseSink config;
  config.timestamp_type = "datetime64";
  CHECK_FALSE(TableLayout{config, {18, 16}, "db", "t", {}}.CreateStatement(Metrics()).ok());
  CHECK(TableLayout{config, {20, 1}, "db", "t", {}}.CreateStatement(Metrics()).ok());
  config.timestamp_type = "auto";
  config.ttl = std::chrono::hours(1);
  CHECK_FALSE(TableLayout{config, {18, 16}, "db", "t", {}}.CreateStatement(Metrics()).ok());
}

TEST_CASE("clickhouse table: only columns that are missing are added") {
  config::ClickHouseSink config;
  const TableLayout layout{config, {18, 16}, "db", "Up", {}};
  CHECK_FALSE(layout.AddColumnsStatement(Metrics(), layout.Columns(Metrics())));
  const auto wider = *table::Schema::ParseHeaderLine(
      "Timestamp:datetime,SeriesId:long,Labels:dynamic,Value:real,Host:string,Zone:string");
  CHECK(layout.AddColumnsStatement(wider, layout.Columns(Metrics())) ==
        "ALTER TABLE `db`.`Up` ADD COLUMN `Host` String, ADD COLUMN `Zone` String");
}

TEST_CASE("clickhouse table: columns go as the server has them") {
  config::ClickHouseSink config;
  config.row_identity = false;
  const TableLayout layout{config, {24, 8}, "db", "Up", {}};
  const auto there = ParseDescription(
      "Timestamp\tDateTime64(6, \\'UTC\\')\t\t\nSeriesId\tInt64\t\t\t\nLabels\t"
      "LowCardinality(String)\t\t\nValue\tNullable(Float64)\t\t\nMore\tDate\tMATERIALIZED\tx\n");
  REQUIRE(there.size() == 5);
  CHECK(there[0].type == "DateTime64(6, 'UTC')");
  CHECK(there[4].computed);
  const auto columns = layout.Match(Metrics(), there);
  REQUIRE(columns.ok());
  REQUIRE(columns->size() == 4);
  CHECK((*columns)[0].kind == WireKind::kMillis);
  CHECK((*columns)[0].scale == 1'000'000);
  CHECK((*columns)[1].kind == WireKind::kInteger64);
  CHECK((*columns)[2].dictionary);
  CHECK((*columns)[3].nullable);
  CHECK((*columns)[3].kind == WireKind::kFloat64);
}

TEST_CASE("clickhouse table: a type that does not fit is for good, a missing column is not") {
  config::ClickHouseSink config;
  config.row_identity = false;
  const TableLayout layout{config, {24, 8}, "db", "Up", {}};
  const auto wrong = layout.Match(
      Metrics(), ParseDescription("Timestamp\tInt64\t\nSeriesId\tUInt64\t\nLabels\tString\t\n"
                                  "Value\tString\t\n"));
  REQUIRE_FALSE(wrong.ok());
  CHECK_FALSE(wrong.error().retryable());
  CHECK(wrong.error().message() == "column Value of table Up is String, which real does not fit");
  const auto missing = layout.Match(Metrics(), ParseDescription("Timestamp\tInt64\t\n"));
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().retryable());
}

TEST_CASE(
    "clickhouse table: columns take the names of another's tables, but not one that is taken") {
  config::ClickHouseSink config;
  config.row_identity = false;
  const TableLayout layout{config, {18, 16}, "db", "otel_logs", kLogColumn, kLogRenames};
  const auto logs = *table::Schema::ParseHeaderLine(
      "Timestamp:datetime,Body:dynamic,Resource:dynamic,Attributes:dynamic,LogAttributes:string");
  const auto columns = layout.Columns(logs);
  std::string names;
  for (const ServerColumn& column : columns) names += column.name + " ";
  CHECK(names == "LogTable Timestamp Body ResourceAttributes Attributes LogAttributes ");
  CHECK_FALSE(layout.AddColumnsStatement(logs, columns));
  const auto match = layout.Match(logs, columns);
  REQUIRE(match.ok());
  CHECK((*match)[3].name == "ResourceAttributes");
  CHECK((*match)[3].source == 2);
}

TEST_CASE("clickhouse table: versions") {
  CHECK((ParseServerVersion("18.16.1\n").value() == ServerVersion{18, 16}));
  CHECK((ParseServerVersion("24.8.4.13").value() > ServerVersion{24, 7}));
  CHECK_FALSE(ParseServerVersion("Ok.").ok());
}

}  // namespace
}  // namespace forebay::upload
