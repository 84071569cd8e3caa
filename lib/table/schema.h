// Columns of a table: names and types, the hash that names them in segment files, the header line
// of version 1 blocks, and how the labels of a series are shared out over the columns.
// Limits: kMaxColumns columns, each name 1 to 1024 letters, digits or underscores.
// Source: adx-mon, schema/schema.go; byte layout in docs/format/rows.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "table/labels.h"

namespace forebay::table {

inline constexpr size_t kMaxColumns = 1024;

// The scalar types of Kusto, which header lines name.
enum class ColumnType {
  kBool,
  kDatetime,
  kDecimal,
  kDynamic,
  kGuid,
  kInt,
  kLong,
  kReal,
  kString,
  kTimespan,
};

// As in header lines and hashed: "datetime", "long", ...
std::string_view Name(ColumnType type);
// Exactly such a name; others: nullopt.
std::optional<ColumnType> ParseColumnType(std::string_view name);

struct Column {
  std::string name;
  ColumnType type = ColumnType::kString;
  bool operator==(const Column&) const = default;
};

// Immutable once made. Copying is cheap enough for once per table. Threads: any.
class Schema {
 public:
  // No columns: a place to assign to.
  Schema() = default;

  // Errors: kInvalidArgument: no column, too many, a bad or repeated name.
  static Result<Schema> Create(std::vector<Column> columns);

  // Reads `Name:type,Name:type...`, with or without the line's end (LF or CR LF); what follows the
  // first LF is not looked at. Errors: kInvalidArgument as above, or a field without a known type.
  static Result<Schema> ParseHeaderLine(std::string_view line);

  const std::vector<Column>& columns() const { return columns_; }
  // xxhash64 (seed 0) of name, type, name, type ... without separators.
  uint64_t hash() const { return hash_; }
  // hash() in base 36: the third field of a segment's name.
  const std::string& hash_text() const { return hash_text_; }
  // "Timestamp:datetime,SeriesId:long,Labels:dynamic,Value:real\n"
  const std::string& header_line() const { return header_line_; }

  bool operator==(const Schema& other) const { return columns_ == other.columns_; }

 private:
  std::vector<Column> columns_;
  uint64_t hash_ = 0;
  std::string hash_text_;
  std::string header_line_;
};

// The columns before the lifted ones, in order.
inline constexpr size_t kMetricsColumns = 4;

// Timestamp:datetime, SeriesId:long, Labels:dynamic, Value:real. hash_text() is 2cawzsrvl4mw4.
const Schema& DefaultMetricsSchema();
// Logs as adx-mon's collectors write them, whose segments name no schema: Timestamp and
// ObservedTimestamp, TraceId, SpanId, SeverityText, SeverityNumber, Body, Resource, Attributes.
const Schema& DefaultLogsSchema();
// Spans of OTLP: Timestamp, EndTimestamp, Duration, TraceId ... (docs/otlp.md).
const Schema& DefaultTracesSchema();

// The labels of one series as the columns want them. Views into the labels given to Split.
struct RowLabels {
  std::vector<Label> labels;             // of the Labels column, in the order given
  std::vector<std::string_view> lifted;  // one per lifted column, in column order; absent: empty
};

// The columns of a metrics table and which label goes where. Made once per database and reload.
// Immutable. Threads: any.
class MetricsLayout {
 public:
  // The default columns and a string column per lifted label, ordered by the lower-cased label
  // name; the column's name is `column`, else the label name in ProperCase. Errors:
  // kInvalidArgument: a label lifted twice (case does not matter), a column name that is empty, not
  // an identifier, or taken.
  static Result<MetricsLayout> Create(std::span<const config::LiftLabel> lift_labels,
                                      std::vector<std::string> drop_label_prefixes);

  const Schema& schema() const { return schema_; }
  size_t lifted_count() const { return lift_names_.size(); }

  // Shares out the labels of a series: __name__ and labels with a dropped prefix go nowhere, the
  // first label that a lifted column matches (ASCII case ignored) goes there, all others to Labels.
  // Shape: canonical labels. Returns views into `labels`.
  RowLabels Split(LabelSpan labels) const;
  // The same, in place of what `row` held, with its memory.
  void Split(LabelSpan labels, RowLabels& row) const;

 private:
  MetricsLayout(Schema schema, std::vector<std::string> lift_names,
                std::vector<std::string> drop_prefixes);

  Schema schema_;
  std::vector<std::string> lift_names_;     // lower-cased, sorted
  std::vector<std::string> drop_prefixes_;  // empty ones removed
};

}  // namespace forebay::table
