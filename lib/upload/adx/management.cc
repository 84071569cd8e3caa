#include "upload/adx/management.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "config/print.h"
#include "http/message.h"
#include "upload/adx/names.h"
#include "upload/sink.h"

namespace forebay::upload::adx {
namespace {

using nlohmann::json;

std::string CellText(const json& cell) {
  if (cell.is_string()) return cell.get<std::string>();
  return cell.is_null() ? std::string() : cell.dump();
}

Error BadResult(std::string_view what) {
  return Error(ErrorCode::kCorruption, fmt::format("answer to a command: {}", what));
}

}  // namespace

std::string_view CommandResult::Cell(size_t row, std::string_view column) const {
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i] == column && i < rows[row].size()) return rows[row][i];
  }
  return {};
}

Result<CommandResult> ReadCommandResult(std::string_view body) {
  const json document = json::parse(body, nullptr, false);
  if (!document.is_object()) return BadResult("not a JSON object");
  if (const auto failed = document.find("Exceptions"); failed != document.end()) {
    return Error(ErrorCode::kFailedPrecondition,
                 config::MaskSecrets(failed->dump().substr(0, 300)));
  }
  const auto tables = document.find("Tables");
  if (tables == document.end() || !tables->is_array() || tables->empty()) {
    return BadResult("no Tables");
  }
  const json& first = tables->front();
  if (!first.is_object() || !first.contains("Columns") || !first.contains("Rows") ||
      !first["Columns"].is_array() || !first["Rows"].is_array()) {
    return BadResult("a table without Columns or Rows");
  }
  CommandResult result;
  for (const json& column : first["Columns"]) {
    if (!column.is_object() || !column.contains("ColumnName")) return BadResult("a bad column");
    result.columns.push_back(CellText(column["ColumnName"]));
  }
  for (const json& row : first["Rows"]) {
    if (row.is_object() && row.contains("Exceptions")) {
      return Error(ErrorCode::kFailedPrecondition,
                   config::MaskSecrets(row["Exceptions"].dump().substr(0, 300)));
    }
    if (!row.is_array()) return BadResult("a bad row");
    auto& cells = result.rows.emplace_back();
    for (const json& cell : row) cells.push_back(CellText(cell));
  }
  return result;
}

CommandReply RunCommand(const RestClient& client, const std::string& database,
                        const std::string& command, const RetryRule& rule, std::stop_token stop) {
  const std::string body = json({{"db", database}, {"csl", command}})
                               .dump(-1, ' ', false, json::error_handler_t::replace);
  RestRequest request;
  request.method = "POST";
  request.path = "/v1/rest/mgmt";
  request.body = body;
  request.content_type = "application/json; charset=utf-8";
  request.stop = std::move(stop);
  Reply reply = client.CallWithRetry(request, rule);
  CommandReply out;
  if (!reply.ok()) {
    out.fault = std::move(reply.fault);
    return out;
  }
  auto result = ReadCommandResult(reply.body);
  if (result.ok()) {
    out.result = *std::move(result);
  } else {
    Fault fault;
    fault.status = reply.status;
    fault.message = result.error().message();
    fault.permanent = false;
    out.fault = std::move(fault);
  }
  return out;
}

TableKeeper::TableKeeper(const RestClient& engine, std::string database)
    : engine_(engine), database_(std::move(database)) {}

Status TableKeeper::Ensure(const std::string& table, const table::Schema& schema, bool with_mapping,
                           const std::stop_token& stop) {
  const std::string name = MappingName(table, schema);
  {
    MutexLock lock(mutex_);
    while (true) {
      if (ready_.contains(name)) return OkStatus();
      if (!busy_) break;
      if (stop.stop_requested()) {
        return Error(ErrorCode::kCancelled, "stopping").WithRetryable(true);
      }
      (void)changed_.WaitUntil(lock, std::chrono::steady_clock::now() + std::chrono::seconds(1));
    }
    busy_ = true;
  }
  Status status = with_mapping ? Prime(stop) : OkStatus();
  bool found = false;
  if (status.ok()) {
    MutexLock lock(mutex_);
    found = ready_.contains(name);
  }
  if (status.ok() && !found) status = Make(table, schema, with_mapping, stop);
  MutexLock lock(mutex_);
  busy_ = false;
  if (status.ok()) ready_.insert(name);
  changed_.NotifyAll();
  return status;
}

void TableKeeper::Forget(const std::string& table, const table::Schema& schema) {
  MutexLock lock(mutex_);
  ready_.erase(MappingName(table, schema));
}

Status TableKeeper::Prime(const std::stop_token& stop) {
  {
    MutexLock lock(mutex_);
    if (primed_) return OkStatus();
  }
  const CommandReply reply = RunCommand(
      engine_, database_, fmt::format(".show database {} ingestion mappings", QuoteName(database_)),
      {}, stop);
  if (!reply.ok()) {
    return reply.fault->ToError(fmt::format("database {}: list of mappings", database_))
        .WithRetryable(true);
  }
  MutexLock lock(mutex_);
  primed_ = true;
  for (size_t row = 0; row < reply.result.rows.size(); ++row) {
    const std::string_view name = reply.result.Cell(row, "Name");
    const std::string prefix = fmt::format("{}_", reply.result.Cell(row, "Table"));
    // Of our own naming only: the hash tells the columns.
    if (name.starts_with(prefix) && http::EqualsIgnoreCase(reply.result.Cell(row, "Kind"), "csv"))
      ready_.insert(std::string(name));
  }
  return OkStatus();
}

Status TableKeeper::Make(const std::string& table, const table::Schema& schema, bool with_mapping,
                         const std::stop_token& stop) const {
  CommandReply reply = RunCommand(engine_, database_, CreateTableCommand(table, schema), {}, stop);
  if (reply.ok() && with_mapping) {
    reply = RunCommand(engine_, database_, CreateMappingCommand(table, schema), {}, stop);
  }
  if (reply.ok()) return OkStatus();
  const Fault& fault = *reply.fault;
  const std::string context = fmt::format("table {}.{}", database_, table);
  if (fault.status != 400 || fault.Transient()) return fault.ToError(context);
  if (fault.Names("DatabaseNotExist") || fault.Names("DatabaseNotFound") ||
      fault.Names("EntityNotFound")) {
    // An operator makes the database.
    return fault.ToError(context).WithRetryable(true);
  }
  return SchemaConflict(fmt::format("{}: its columns cannot become those of the batch: {} {}",
                                    context, fault.code, fault.message));
}

}  // namespace forebay::upload::adx
