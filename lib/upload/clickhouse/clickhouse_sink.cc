// Tables and their columns; what is sent to them is in delivery.cc.
#include "upload/clickhouse/clickhouse_sink.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/log.h"
#include "upload/clickhouse/delivery.h"

namespace forebay::upload {
namespace {

// A database that is not there: made, where we may.
constexpr int kUnknownDatabase = 81;

std::string KeyOf(const TableTarget& target) {
  return target.table + ' ' + target.columns().hash_text();
}

// No statement of ours is refused because of a row: an operator or time mends it.
Error WaitingError(const ServerAnswer& answer, std::string_view context) {
  return answer.ToError(context).WithRetryable(true);
}

}  // namespace

Result<std::unique_ptr<ClickHouseSink>> ClickHouseSink::Create(
    std::string name, const config::ClickHouseSink& config) {
  FOREBAY_ASSIGN_OR_RETURN(ClickHouseDsn dsn, ParseClickHouseDsn(config.dsn));
  if (dsn.mapped) {
    LogWarn("the sink's dsn names ClickHouse's native protocol; its HTTP interface is used",
            {{"sink", name}, {"url", dsn.base_url}});
  }
  return std::unique_ptr<ClickHouseSink>(
      new ClickHouseSink(std::move(name), config, std::move(dsn)));
}

ClickHouseSink::ClickHouseSink(std::string name, const config::ClickHouseSink& config,
                               ClickHouseDsn dsn)
    : name_(std::move(name)), config_(config), dsn_(std::move(dsn)) {}

TableLayout ClickHouseSink::LayoutOf(const TableTarget& target, ServerVersion version) const {
  TableLayout layout{config_, version, dsn_.database, target.table, {}};
  const auto& ours = target.columns().columns();
  const auto begins_like = [&](const table::Schema& kind, size_t columns) {
    return ours.size() >= columns &&
           std::equal(ours.begin(), ours.begin() + static_cast<ptrdiff_t>(columns),
                      kind.columns().begin());
  };
  const auto share = [&layout](const std::string& table, std::string_view name_column,
                               std::span<const ColumnRename> renames) {
    if (table.empty()) return;
    layout.table = table;
    layout.name_column = name_column;
    layout.renames = renames;
  };
  if (begins_like(table::DefaultMetricsSchema(), table::kMetricsColumns)) {
    share(config_.samples_table, kMetricColumn, {});
  } else if (begins_like(table::DefaultLogsSchema(), kRecordKeyColumns)) {
    share(config_.logs_table, kLogColumn, kLogRenames);
  } else if (begins_like(table::DefaultTracesSchema(), kRecordKeyColumns)) {
    share(config_.traces_table, kTraceColumn, kTraceRenames);
  }
  return layout;
}

std::shared_ptr<const ClickHouseSink::Table> ClickHouseSink::Find(const TableTarget& target) const {
  MutexLock lock(mutex_);
  const auto found = tables_.find(KeyOf(target));
  return found == tables_.end() ? nullptr : found->second;
}

Status ClickHouseSink::Prepare(const TableTarget& target) {
  FOREBAY_ASSIGN_OR_RETURN(const auto session,
                           ClickHouseSession::Open(config_, dsn_, std::stop_token()));
  const auto table = PrepareTable(*session, target);
  return table.ok() ? OkStatus() : Status(table.error());
}

Status ClickHouseSink::CreateTable(ClickHouseSession& session, const TableLayout& layout,
                                   const TableTarget& target) const {
  auto sql = layout.CreateStatement(target.columns());
  if (!sql.ok()) return std::move(sql.error()).WithRetryable(true);
  ServerAnswer made = session.Query(*sql);
  if (made.server_error && made.server_error->code == kUnknownDatabase) {
    const ServerAnswer database =
        session.Query("CREATE DATABASE IF NOT EXISTS " + QuoteName(layout.database));
    if (!database.ok()) return WaitingError(database, "create database " + layout.database);
    made = session.Query(*sql);
  }
  if (!made.ok()) return WaitingError(made, "create table " + layout.table);
  LogInfo("table created",
          {{"sink", name_}, {"database", layout.database}, {"table", layout.table}});
  return OkStatus();
}

Result<std::vector<ServerColumn>> ClickHouseSink::Describe(ClickHouseSession& session,
                                                           const TableLayout& layout,
                                                           const TableTarget& target) const {
  const std::string sql = fmt::format("DESCRIBE TABLE {} FORMAT TabSeparated", layout.FullName());
  ServerAnswer answer = session.Query(sql);
  const bool absent = answer.server_error && (answer.Is(ServerErrorKind::kNoTable) ||
                                              answer.server_error->code == kUnknownDatabase);
  if (absent && config_.create_tables) {
    FOREBAY_RETURN_IF_ERROR(CreateTable(session, layout, target));
    answer = session.Query(sql);
  }
  if (!answer.ok()) return WaitingError(answer, "describe table " + layout.table);
  return ParseDescription(answer.body);
}

Result<std::shared_ptr<const ClickHouseSink::Table>> ClickHouseSink::PrepareTable(
    ClickHouseSession& session, const TableTarget& target) {
  const ServerAnswer answer = session.Query("SELECT version()");
  if (!answer.ok()) return WaitingError(answer, "select version");
  auto version = ParseServerVersion(answer.body);
  if (!version.ok()) return std::move(version.error()).WithRetryable(true);
  auto table = std::make_shared<Table>(Table{LayoutOf(target, *version), {}});
  const TableLayout& layout = table->layout;
  FOREBAY_ASSIGN_OR_RETURN(auto there, Describe(session, layout, target));
  if (const auto sql = layout.AddColumnsStatement(target.columns(), there);
      sql && config_.create_tables) {
    const ServerAnswer altered = session.Query(*sql);
    FOREBAY_ASSIGN_OR_RETURN(there, Describe(session, layout, target));
    // Another worker may have added them in between: then all is well.
    if (!altered.ok() && layout.AddColumnsStatement(target.columns(), there)) {
      return WaitingError(altered, "add columns to table " + layout.table);
    }
    LogInfo("columns added", {{"sink", name_}, {"table", layout.table}, {"statement", *sql}});
  }
  auto columns = layout.Match(target.columns(), there);
  if (!columns.ok()) return columns.error();
  table->columns = *std::move(columns);
  MutexLock lock(mutex_);
  if (!told_ && config_.timestamp_type == "auto" && *version < kHasDateTime64) {
    LogWarn("the ClickHouse server has no DateTime64: timestamps are Int64, ms since 1970",
            {{"sink", name_}, {"version", fmt::format("{}.{}", version->major, version->minor)}});
    told_ = true;
  }
  tables_[KeyOf(target)] = table;
  return std::shared_ptr<const Table>(table);
}

Result<Receipt> ClickHouseSink::Upload(const BatchHeader& header, BatchReader& reader) {
  FOREBAY_ASSIGN_OR_RETURN(const auto session,
                           ClickHouseSession::Open(config_, dsn_, reader.stop()));
  auto table = Find(header.target);
  if (!table) {
    FOREBAY_ASSIGN_OR_RETURN(table, PrepareTable(*session, header.target));
  }
  Delivery delivery(config_, dsn_, header, *session, table,
                    [&] { return PrepareTable(*session, header.target); });
  return delivery.Run(reader);
}

}  // namespace forebay::upload
