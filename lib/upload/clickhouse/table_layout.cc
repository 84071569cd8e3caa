#include "upload/clickhouse/table_layout.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

#include "upload/clickhouse/row_chunk.h"
#include "upload/sink.h"

namespace forebay::upload {
namespace {

constexpr std::string_view kTimeColumn = "Timestamp";
constexpr std::string_view kSeriesColumn = "SeriesId";
// Inserts that a plain table remembers by their token, of servers that can.
constexpr int kDeduplicationWindow = 1000;

std::string Escaped(std::string_view text, char quote) {
  std::string out(1, quote);
  for (const char c : text) {
    if (c == '\\' || c == quote) out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\0') {
      out += "\\0";
    } else {
      out += c;
    }
  }
  out += quote;
  return out;
}

// Backslash escapes of TabSeparated.
std::string Unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    out += c == 'n' ? '\n' : c == 't' ? '\t' : c == '0' ? '\0' : c;
  }
  return out;
}

// "Wrapper(X)" to "X".
bool Unwrap(std::string_view wrapper, std::string_view& type) {
  if (!type.starts_with(wrapper) || !type.ends_with(')')) return false;
  if (type.size() <= wrapper.size() + 1 || type[wrapper.size()] != '(') return false;
  type = type.substr(wrapper.size() + 1, type.size() - wrapper.size() - 2);
  return true;
}

bool IsOneOf(std::string_view text, std::initializer_list<std::string_view> those) {
  return std::find(those.begin(), those.end(), text) != those.end();
}

// "DateTime64(3, 'UTC')": 1000.
std::optional<int64_t> TicksOf(std::string_view type) {
  constexpr std::string_view kDateTime64 = "DateTime64(";
  if (!type.starts_with(kDateTime64) || type.size() == kDateTime64.size()) return std::nullopt;
  const char digit = type[kDateTime64.size()];
  if (digit < '0' || digit > '9') return std::nullopt;
  int64_t ticks = 1;
  for (char d = '0'; d < digit; ++d) ticks *= 10;
  return ticks;
}

std::optional<WireKind> KindFor(table::ColumnType ours, std::string_view type, int64_t& scale) {
  if (IsTextType(ours)) {
    return type == "String" ? std::optional(WireKind::kText) : std::nullopt;
  }
  switch (ours) {
    case table::ColumnType::kDatetime: {
      if (type == "DateTime" || type.starts_with("DateTime(")) return WireKind::kSeconds;
      if (const auto ticks = TicksOf(type)) {
        scale = *ticks;
        return WireKind::kMillis;
      }
      return type == "Int64" ? std::optional(WireKind::kInteger64) : std::nullopt;
    }
    case table::ColumnType::kLong:
      if (IsOneOf(type, {"Int64", "UInt64"})) return WireKind::kInteger64;
      break;
    case table::ColumnType::kInt:
      if (type == "Int32") return WireKind::kInteger32;
      if (type == "Int64") return WireKind::kInteger64;
      break;
    case table::ColumnType::kBool:
      if (IsOneOf(type, {"UInt8", "Bool", "Int8"})) return WireKind::kInteger8;
      break;
    case table::ColumnType::kReal:
      if (type == "Float64") return WireKind::kFloat64;
      if (type == "Float32") return WireKind::kFloat32;
      break;
    default:
      break;
  }
  return std::nullopt;
}

}  // namespace

std::string QuoteName(std::string_view name) { return Escaped(name, '`'); }
std::string QuoteText(std::string_view text) { return Escaped(text, '\''); }

Result<ServerVersion> ParseServerVersion(std::string_view text) {
  ServerVersion version;
  const char* const end = text.data() + text.size();
  const auto major = std::from_chars(text.data(), end, version.major);
  if (major.ec == std::errc() && major.ptr != end && *major.ptr == '.') {
    if (std::from_chars(major.ptr + 1, end, version.minor).ec == std::errc()) return version;
  }
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("\"{}\" is no version of a ClickHouse server", text.substr(0, 80)));
}

std::vector<ServerColumn> ParseDescription(std::string_view text) {
  std::vector<ServerColumn> columns;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    std::string fields[3];
    for (std::string& field : fields) {
      const size_t tab = std::min(line.find('\t'), line.size());
      field = Unescaped(line.substr(0, tab));
      line.remove_prefix(std::min(tab + 1, line.size()));
    }
    if (fields[0].empty()) continue;
    const bool computed = IsOneOf(fields[2], {"MATERIALIZED", "ALIAS"});
    columns.push_back({fields[0], fields[1], computed});
  }
  return columns;
}

bool TableLayout::DateTime64() const {
  return config.timestamp_type == "datetime64" ||
         (config.timestamp_type == "auto" && version >= kHasDateTime64);
}

std::string TableLayout::TypeOf(const table::Column& column) const {
  switch (column.type) {
    case table::ColumnType::kDatetime:
      if (DateTime64()) return "DateTime64(3, 'UTC')";
      return config.timestamp_type == "datetime" ? "DateTime('UTC')" : "Int64";
    case table::ColumnType::kLong:
      // The hash of the labels: adx-mon's tables have it unsigned too.
      return column.name == kSeriesColumn ? "UInt64" : "Int64";
    case table::ColumnType::kInt:
      return "Int32";
    case table::ColumnType::kBool:
      return "UInt8";
    case table::ColumnType::kReal:
      return "Float64";
    default:
      return "String";
  }
}

std::string TableLayout::NameOf(const table::Schema& schema, const table::Column& column) const {
  const auto& all = schema.columns();
  for (const ColumnRename& rename : renames) {
    if (column.name != rename.ours) continue;
    // A lifted attribute may have that name already.
    const bool taken = std::any_of(all.begin(), all.end(), [&](const table::Column& other) {
      return other.name == rename.theirs;
    });
    return taken ? column.name : std::string(rename.theirs);
  }
  return column.name;
}

std::vector<ServerColumn> TableLayout::Columns(const table::Schema& schema) const {
  std::vector<ServerColumn> columns;
  if (!name_column.empty()) columns.push_back({std::string(name_column), "String"});
  for (const table::Column& column : schema.columns()) {
    columns.push_back({NameOf(schema, column), TypeOf(column)});
  }
  if (config.row_identity) {
    columns.push_back({std::string(kBatchColumn), "UInt64"});
    columns.push_back({std::string(kRowColumn), "UInt32"});
  }
  return columns;
}

std::string TableLayout::OnCluster() const {
  return config.cluster.empty() ? "" : " ON CLUSTER " + QuoteName(config.cluster);
}

std::string TableLayout::SecondsOfTime() const {
  if (DateTime64() || config.timestamp_type == "datetime") return QuoteName(kTimeColumn);
  return fmt::format("toDateTime(intDiv({}, 1000), 'UTC')", QuoteName(kTimeColumn));
}

Result<std::string> TableLayout::CreateStatement(const table::Schema& schema) const {
  if (config.timestamp_type == "datetime64" && version < kHasDateTime64) {
    return Error(ErrorCode::kFailedPrecondition,
                 "timestamp_type: datetime64 needs ClickHouse 20.1; use auto, int64 or datetime");
  }
  if (config.ttl.count() > 0 && version < kHasTableTtl) {
    return Error(ErrorCode::kFailedPrecondition, "ttl needs ClickHouse 19.6; leave it out");
  }
  std::string sql = fmt::format("CREATE TABLE IF NOT EXISTS {}{} (", FullName(), OnCluster());
  bool has_time = false;
  bool has_series = false;
  for (const ServerColumn& column : Columns(schema)) {
    if (sql.back() != '(') sql += ", ";
    sql += QuoteName(column.name) + " " + column.type;
    const bool time = column.name == kTimeColumn;
    has_time = has_time || time;
    has_series = has_series || column.name == kSeriesColumn;
    if (version < kHasCodecs) continue;
    if (time) sql += " CODEC(DoubleDelta, ZSTD(1))";
    if (column.name == kRowColumn) sql += " CODEC(Delta(4), ZSTD(1))";
    if (column.name == kBatchColumn || column.type == "String") sql += " CODEC(ZSTD(1))";
  }
  const bool merge_tree = config.engine.find("MergeTree") != std::string::npos;
  const bool arguments = config.engine.find('(') != std::string::npos;
  sql += fmt::format(") ENGINE = {}{}", config.engine, merge_tree && !arguments ? "()" : "");
  if (!merge_tree) return sql;
  if (has_time && config.partition_by != "none") {
    const std::string_view function = config.partition_by == "hour"  ? "toStartOfHour"
                                      : config.partition_by == "day" ? "toYYYYMMDD"
                                                                     : "toYYYYMM";
    sql += fmt::format(" PARTITION BY {}({})", function, SecondsOfTime());
  }
  std::string order = config.order_by;
  if (order.empty()) {
    std::vector<std::string_view> keys;
    if (!name_column.empty()) keys.push_back(name_column);
    if (has_series) keys.push_back(kSeriesColumn);
    if (has_time) keys.push_back(kTimeColumn);
    for (const std::string_view key : keys) order += (order.empty() ? "" : ", ") + QuoteName(key);
    order = keys.empty() ? "tuple()" : fmt::format("({})", order);
  }
  sql += " ORDER BY " + order;
  if (config.ttl.count() > 0 && has_time) {
    sql += fmt::format(" TTL toDateTime({}) + toIntervalSecond({})", SecondsOfTime(),
                       std::chrono::duration_cast<std::chrono::seconds>(config.ttl).count());
  }
  const bool plain = config.engine.starts_with("MergeTree");
  if (plain && version >= kHasDeduplicationToken) {
    sql += fmt::format(" SETTINGS non_replicated_deduplication_window = {}", kDeduplicationWindow);
  }
  return sql;
}

std::optional<std::string> TableLayout::AddColumnsStatement(
    const table::Schema& schema, const std::vector<ServerColumn>& there) const {
  std::string sql;
  const std::string_view guard = version >= kHasAddIfNotExists ? "IF NOT EXISTS " : "";
  for (const ServerColumn& wanted : Columns(schema)) {
    const bool found = std::any_of(there.begin(), there.end(), [&](const ServerColumn& column) {
      return column.name == wanted.name;
    });
    if (found) continue;
    sql += fmt::format("{} ADD COLUMN {}{} {}", sql.empty() ? "" : ",", guard,
                       QuoteName(wanted.name), wanted.type);
  }
  if (sql.empty()) return std::nullopt;
  return fmt::format("ALTER TABLE {}{}{}", FullName(), OnCluster(), sql);
}

Result<std::vector<WireColumn>> TableLayout::Match(const table::Schema& schema,
                                                   const std::vector<ServerColumn>& there) const {
  std::vector<WireColumn> columns;
  const auto add = [&](const std::string& name, std::optional<table::ColumnType> ours,
                       WireKind fixed, std::string_view wanted, size_t source) -> Status {
    const auto found = std::find_if(there.begin(), there.end(), [&](const ServerColumn& column) {
      return column.name == name;
    });
    if (found == there.end()) {
      return Error(ErrorCode::kNotFound, fmt::format("table {} has no column {}", table, name))
          .WithRetryable(true);
    }
    WireColumn column;
    column.name = name;
    column.type = found->type;
    column.source = source;
    std::string_view type = found->type;
    column.dictionary = Unwrap("LowCardinality", type);
    column.nullable = !column.dictionary && Unwrap("Nullable", type);
    const auto kind = ours             ? KindFor(*ours, type, column.scale)
                      : type == wanted ? std::optional(fixed)
                                       : std::nullopt;
    const bool text = kind == WireKind::kText || kind == WireKind::kName;
    if (!kind || found->computed || (column.dictionary && !text)) {
      return SchemaConflict(fmt::format(
          "column {} of table {} is {}{}, which {} does not fit", name, table, found->type,
          found->computed ? ", computed by the server" : "", ours ? Name(*ours) : wanted));
    }
    column.kind = *kind;
    columns.push_back(std::move(column));
    return OkStatus();
  };
  if (!name_column.empty()) {
    FOREBAY_RETURN_IF_ERROR(
        add(std::string(name_column), std::nullopt, WireKind::kName, "String", 0));
  }
  for (size_t i = 0; i < schema.columns().size(); ++i) {
    const table::Column& column = schema.columns()[i];
    FOREBAY_RETURN_IF_ERROR(add(NameOf(schema, column), column.type, WireKind::kText, "", i));
  }
  if (config.row_identity) {
    FOREBAY_RETURN_IF_ERROR(
        add(std::string(kBatchColumn), std::nullopt, WireKind::kBatch, "UInt64", 0));
    FOREBAY_RETURN_IF_ERROR(
        add(std::string(kRowColumn), std::nullopt, WireKind::kRow, "UInt32", 0));
  }
  return columns;
}

std::string TableLayout::TimeCondition(const std::vector<WireColumn>& columns, int64_t first_ms,
                                       int64_t last_ms) const {
  for (const WireColumn& column : columns) {
    if (column.name != kTimeColumn) continue;
    const std::string name = QuoteName(column.name);
    // What the server's types cannot hold is wrapped there: no condition then.
    constexpr int64_t kLastSecond = 4'294'967'295;
    if (first_ms < 0 || last_ms / 1000 > kLastSecond) return "";
    if (column.kind == WireKind::kInteger64) {
      return fmt::format(" AND {0} >= {1} AND {0} <= {2}", name, first_ms, last_ms);
    }
    return fmt::format(" AND {0} >= toDateTime({1}, 'UTC') AND {0} <= toDateTime({2}, 'UTC')", name,
                       first_ms / 1000, std::min(last_ms / 1000 + 1, kLastSecond));
  }
  return "";
}

}  // namespace forebay::upload
