#include "table/schema.h"

#include <fmt/core.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "table/internal/short_text.h"
#include "table/names.h"

namespace forebay::table {
namespace {

constexpr std::array<std::pair<ColumnType, std::string_view>, 10> kTypeNames = {{
    {ColumnType::kBool, "bool"},
    {ColumnType::kDatetime, "datetime"},
    {ColumnType::kDecimal, "decimal"},
    {ColumnType::kDynamic, "dynamic"},
    {ColumnType::kGuid, "guid"},
    {ColumnType::kInt, "int"},
    {ColumnType::kLong, "long"},
    {ColumnType::kReal, "real"},
    {ColumnType::kString, "string"},
    {ColumnType::kTimespan, "timespan"},
}};

char ToLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string ToLower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return ToLower(c); });
  return lower;
}

bool IsColumnName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxIdentifierChars &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (ToLower(c) >= 'a' && ToLower(c) <= 'z') || (c >= '0' && c <= '9') || c == '_';
         });
}

Error BadSchema(std::string message) {
  return Error(ErrorCode::kInvalidArgument, std::move(message));
}

std::vector<Column> MetricsColumns() {
  return {{"Timestamp", ColumnType::kDatetime},
          {"SeriesId", ColumnType::kLong},
          {"Labels", ColumnType::kDynamic},
          {"Value", ColumnType::kReal}};
}

Status CheckColumns(const std::vector<Column>& columns) {
  if (columns.empty()) return BadSchema("schema has no columns");
  if (columns.size() > kMaxColumns) {
    return BadSchema(fmt::format("schema has {} columns, at most {}", columns.size(), kMaxColumns));
  }
  std::vector<std::string_view> names;
  names.reserve(columns.size());
  for (const Column& column : columns) {
    if (!IsColumnName(column.name)) {
      return BadSchema(
          fmt::format("column name \"{}\" is not 1 to {} ASCII letters, digits or underscores",
                      column.name.substr(0, 64), kMaxIdentifierChars));
    }
    names.push_back(column.name);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) return BadSchema(fmt::format("column \"{}\" stands twice", *twice));
  return OkStatus();
}

}  // namespace

std::string_view Name(ColumnType type) {
  for (const auto& [known, name] : kTypeNames) {
    if (known == type) return name;
  }
  FOREBAY_CHECK(false);
}

std::optional<ColumnType> ParseColumnType(std::string_view name) {
  for (const auto& [type, known] : kTypeNames) {
    if (known == name) return type;
  }
  return std::nullopt;
}

Result<Schema> Schema::Create(std::vector<Column> columns) {
  FOREBAY_RETURN_IF_ERROR(CheckColumns(columns));
  Schema schema;
  std::string hashed;
  for (const Column& column : columns) {
    hashed.append(column.name).append(Name(column.type));
    if (!schema.header_line_.empty()) schema.header_line_ += ',';
    schema.header_line_.append(column.name).append(":").append(Name(column.type));
  }
  schema.header_line_ += '\n';
  schema.hash_ = XXH64(hashed.data(), hashed.size(), 0);
  schema.hash_text_ = Base36(schema.hash_);
  schema.columns_ = std::move(columns);
  return schema;
}

Result<Schema> Schema::ParseHeaderLine(std::string_view line) {
  line = line.substr(0, line.find('\n'));
  if (line.ends_with('\r')) line.remove_suffix(1);
  std::vector<Column> columns;
  while (true) {
    const size_t comma = line.find(',');
    const std::string_view field = line.substr(0, comma);
    const size_t colon = field.find(':');
    if (colon == std::string_view::npos) {
      return BadSchema(fmt::format("header field \"{}\" is not name:type", field.substr(0, 64)));
    }
    const std::optional<ColumnType> type = ParseColumnType(field.substr(colon + 1));
    if (!type) {
      return BadSchema(fmt::format("header field \"{}\" has an unknown type", field.substr(0, 64)));
    }
    if (columns.size() == kMaxColumns) {
      return BadSchema(fmt::format("header has more than {} columns", kMaxColumns));
    }
    columns.push_back({std::string(field.substr(0, colon)), *type});
    if (comma == std::string_view::npos) break;
    line.remove_prefix(comma + 1);
  }
  return Create(std::move(columns));
}

const Schema& DefaultMetricsSchema() {
  static const Schema schema = [] {
    Result<Schema> created = Schema::Create(MetricsColumns());
    FOREBAY_CHECK(created.ok());
    return *std::move(created);
  }();
  return schema;
}

const Schema& DefaultLogsSchema() {
  static const Schema schema = [] {
    Result<Schema> created = Schema::Create({{"Timestamp", ColumnType::kDatetime},
                                             {"ObservedTimestamp", ColumnType::kDatetime},
                                             {"TraceId", ColumnType::kString},
                                             {"SpanId", ColumnType::kString},
                                             {"SeverityText", ColumnType::kString},
                                             {"SeverityNumber", ColumnType::kInt},
                                             {"Body", ColumnType::kDynamic},
                                             {"Resource", ColumnType::kDynamic},
                                             {"Attributes", ColumnType::kDynamic}});
    FOREBAY_CHECK(created.ok());
    return *std::move(created);
  }();
  return schema;
}

const Schema& DefaultTracesSchema() {
  static const Schema schema = [] {
    Result<Schema> created = Schema::Create({{"Timestamp", ColumnType::kDatetime},
                                             {"EndTimestamp", ColumnType::kDatetime},
                                             {"Duration", ColumnType::kLong},
                                             {"TraceId", ColumnType::kString},
                                             {"SpanId", ColumnType::kString},
                                             {"ParentSpanId", ColumnType::kString},
                                             {"TraceState", ColumnType::kString},
                                             {"Name", ColumnType::kString},
                                             {"Kind", ColumnType::kString},
                                             {"Flags", ColumnType::kLong},
                                             {"StatusCode", ColumnType::kString},
                                             {"StatusMessage", ColumnType::kString},
                                             {"ServiceName", ColumnType::kString},
                                             {"Attributes", ColumnType::kDynamic},
                                             {"Events", ColumnType::kDynamic},
                                             {"Links", ColumnType::kDynamic},
                                             {"Resource", ColumnType::kDynamic},
                                             {"Scope", ColumnType::kDynamic},
                                             {"DroppedAttributesCount", ColumnType::kLong},
                                             {"DroppedEventsCount", ColumnType::kLong},
                                             {"DroppedLinksCount", ColumnType::kLong}});
    FOREBAY_CHECK(created.ok());
    return *std::move(created);
  }();
  return schema;
}

MetricsLayout::MetricsLayout(Schema schema, std::vector<std::string> lift_names,
                             std::vector<std::string> drop_prefixes)
    : schema_(std::move(schema)),
      lift_names_(std::move(lift_names)),
      drop_prefixes_(std::move(drop_prefixes)) {}

Result<MetricsLayout> MetricsLayout::Create(std::span<const config::LiftLabel> lift_labels,
                                            std::vector<std::string> drop_label_prefixes) {
  std::vector<std::pair<std::string, std::string>> lifts;  // lower-cased label name, column
  for (const config::LiftLabel& lift : lift_labels) {
    if (lift.name.empty()) return BadSchema("lift_labels: name is empty");
    lifts.emplace_back(ToLower(lift.name),
                       lift.column.empty() ? ProperCase(lift.name) : lift.column);
  }
  std::sort(lifts.begin(), lifts.end());
  std::vector<Column> columns = MetricsColumns();
  std::vector<std::string> names;
  for (auto& [name, column] : lifts) {
    if (!names.empty() && names.back() == name) {
      return BadSchema(fmt::format("lift_labels: \"{}\" stands twice", name));
    }
    columns.push_back({std::move(column), ColumnType::kString});
    names.push_back(std::move(name));
  }
  Result<Schema> schema = Schema::Create(std::move(columns));
  if (!schema.ok()) return std::move(schema.error()).WithContext("lift_labels");
  std::erase_if(drop_label_prefixes, [](const std::string& prefix) { return prefix.empty(); });
  return MetricsLayout(*std::move(schema), std::move(names), std::move(drop_label_prefixes));
}

RowLabels MetricsLayout::Split(LabelSpan labels) const {
  RowLabels row;
  Split(labels, row);
  return row;
}

void MetricsLayout::Split(LabelSpan labels, RowLabels& row) const {
  row.labels.clear();
  row.labels.reserve(labels.size());
  row.lifted.assign(lift_names_.size(), {});
  for (const Label& label : labels) {
    if (!lift_names_.empty()) {
      const std::string lower = ToLower(label.name);
      const auto found = std::lower_bound(lift_names_.begin(), lift_names_.end(), lower);
      const auto index = static_cast<size_t>(found - lift_names_.begin());
      // Values of canonical labels are not empty, so an empty one says that the column is still
      // free.
      if (found != lift_names_.end() && *found == lower && row.lifted[index].empty()) {
        row.lifted[index] = label.value;
        continue;
      }
    }
    const bool dropped =
        internal::Same(label.name, kMetricNameLabel) ||
        std::any_of(drop_prefixes_.begin(), drop_prefixes_.end(), [&](const std::string& prefix) {
          return internal::Same(label.name.substr(0, prefix.size()), prefix);
        });
    if (!dropped) row.labels.push_back(label);
  }
}

}  // namespace forebay::table
