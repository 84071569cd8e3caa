// What a table of ours looks like at a ClickHouse server: the statements that make and widen it,
// and how each column goes over the wire, given what the server says it has. Pure: text in, text
// out. The rules with reasons: docs/clickhouse.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "table/schema.h"

namespace forebay::upload {

// What a row is known again by: hash of the batch's id, and the row's number in the batch.
inline constexpr std::string_view kBatchColumn = "forebay_batch";
inline constexpr std::string_view kRowColumn = "forebay_row";
// The name of what a row came from, in the one table for all metrics, all logs or all spans.
inline constexpr std::string_view kMetricColumn = "Metric";
inline constexpr std::string_view kLogColumn = "LogTable";
inline constexpr std::string_view kTraceColumn = "TraceTable";
// So many columns tell that rows are logs, or spans.
inline constexpr size_t kRecordKeyColumns = 4;

// A column of ours, and what those who know the OpenTelemetry exporter's tables call it.
struct ColumnRename {
  std::string_view ours;
  std::string_view theirs;
};
inline constexpr std::array kLogRenames{ColumnRename{"Resource", "ResourceAttributes"},
                                        ColumnRename{"Attributes", "LogAttributes"},
                                        ColumnRename{"Flags", "TraceFlags"}};
inline constexpr std::array kTraceRenames{
    ColumnRename{"Resource", "ResourceAttributes"}, ColumnRename{"Attributes", "SpanAttributes"},
    ColumnRename{"Name", "SpanName"}, ColumnRename{"Kind", "SpanKind"}};

struct ServerVersion {
  int major = 0;
  int minor = 0;
  auto operator<=>(const ServerVersion&) const = default;
};
// "18.16.1", "24.8.4.13". Errors: kInvalidArgument.
Result<ServerVersion> ParseServerVersion(std::string_view text);

inline constexpr ServerVersion kHasDateTime64{20, 1};
inline constexpr ServerVersion kHasCodecs{20, 3};
inline constexpr ServerVersion kHasTableTtl{19, 6};
inline constexpr ServerVersion kHasAddIfNotExists{19, 4};
inline constexpr ServerVersion kHasAsyncInsert{21, 11};
inline constexpr ServerVersion kHasDeduplicationToken{22, 2};

// `name` in backticks, with escapes. Text in quotes.
std::string QuoteName(std::string_view name);
std::string QuoteText(std::string_view text);

// A column as a DESCRIBE says it.
struct ServerColumn {
  std::string name;
  std::string type;
  bool computed = false;  // MATERIALIZED or ALIAS: nobody may insert it
};
// The answer of DESCRIBE TABLE in TabSeparated. Threads: any.
std::vector<ServerColumn> ParseDescription(std::string_view text);

// How the numbers or texts of a column of ours are written.
enum class WireKind {
  kText,
  kName,      // the same text in every row
  kInteger8,  // of that many bits
  kInteger32,
  kInteger64,
  kFloat32,
  kFloat64,
  kSeconds,  // datetime as u32 seconds
  kMillis,   // datetime as i64 in 1/scale seconds
  kBatch,
  kRow,
};

struct WireColumn {
  std::string name;
  std::string type;  // as the server has it
  WireKind kind = WireKind::kText;
  size_t source = 0;        // of RowChunk::columns()
  int64_t scale = 1000;     // kMillis: ticks a second
  bool nullable = false;    // a byte per row goes before
  bool dictionary = false;  // LowCardinality
};

// A table of one schema.
struct TableLayout {
  const config::ClickHouseSink& config;
  ServerVersion version;
  std::string database;
  std::string table;
  std::string_view name_column;  // empty: the table is of one name alone
  std::span<const ColumnRename> renames{};

  std::string FullName() const { return QuoteName(database) + "." + QuoteName(table); }
  // Name and type of every column that we want there.
  std::vector<ServerColumn> Columns(const table::Schema& schema) const;
  // Errors: kFailedPrecondition: the server is too old for what the configuration asks.
  Result<std::string> CreateStatement(const table::Schema& schema) const;
  // Nothing: no column is missing.
  std::optional<std::string> AddColumnsStatement(const table::Schema& schema,
                                                 const std::vector<ServerColumn>& there) const;
  // The columns of an insert. Errors: SchemaConflict: a column has a type that ours does not fit;
  // kNotFound: one is missing.
  Result<std::vector<WireColumn>> Match(const table::Schema& schema,
                                        const std::vector<ServerColumn>& there) const;
  // A condition on Timestamp for rows between the two, so that only their partitions are read.
  std::string TimeCondition(const std::vector<WireColumn>& columns, int64_t first_ms,
                            int64_t last_ms) const;

 private:
  // What a column is called there.
  std::string NameOf(const table::Schema& schema, const table::Column& column) const;
  std::string TypeOf(const table::Column& column) const;
  bool DateTime64() const;
  std::string SecondsOfTime() const;
  std::string OnCluster() const;
};

}  // namespace forebay::upload
