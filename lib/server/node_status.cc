// GET /api/v1/status: what an operator asks a node first, as JSON. Bounded: kMaxListed tables and
// batches.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "config/print.h"
#include "server/node.h"

namespace forebay::server {
namespace {

using nlohmann::json;

constexpr size_t kMaxListed = 1000;

json TablesJson(const std::vector<wal::TableBacklog>& backlog) {
  json tables = json::array();
  for (const wal::TableBacklog& table : backlog) {
    if (tables.size() >= kMaxListed || table.segments.empty()) continue;
    uint64_t rows = 0;
    uint64_t row_bytes = 0;
    uint64_t file_bytes = 0;
    for (const wal::SegmentInfo& segment : table.segments) {
      rows += segment.rows;
      row_bytes += segment.row_bytes;
      file_bytes += segment.file_bytes;
    }
    const wal::SegmentName& name = table.segments.front().name;
    tables.push_back({{"database", name.database},
                      {"table", name.table},
                      {"schema", name.schema_hash},
                      {"segments", table.segments.size()},
                      {"rows", rows},
                      {"row_bytes", row_bytes},
                      {"file_bytes", file_bytes},
                      {"oldest", FormatRfc3339(table.segments.front().created)}});
  }
  return tables;
}

json GenerationsJson(const wal::WalStats& stats) {
  return {
      {"open",
       {{"samples", stats.open_generation_samples}, {"memory_bytes", stats.open_generation_bytes}}},
      {"sealing", stats.sealing_generations},
      {"sealed_total", stats.generations_sealed},
      {"memory_bytes", stats.memory_bytes},
      {"journal_bytes", stats.journal_bytes},
      {"journal_errors", stats.journal_errors},
      {"seal_errors", stats.seal_errors},
      {"oldest_unsealed_seconds", stats.oldest_unsealed_seconds},
      {"recovering", stats.recovering},
      {"replayed_records", stats.replayed_records},
      {"quarantined_records", stats.quarantined_records}};
}

json BatchesJson(const std::vector<wal::BatchStatus>& batches) {
  json list = json::array();
  for (const wal::BatchStatus& batch : batches) {
    list.push_back({{"id", batch.id},
                    {"database", batch.database},
                    {"table", batch.table},
                    {"reason", wal::Name(batch.reason)},
                    {"segments", batch.segments},
                    {"rows", batch.rows},
                    {"row_bytes", batch.row_bytes},
                    {"created", FormatRfc3339(batch.created)},
                    {"running", batch.running},
                    {"failures", batch.failures},
                    {"last_error", batch.last_error}});
  }
  return list;
}

json SinksJson(const std::vector<upload::SinkStatus>& sinks) {
  json list = json::array();
  for (const upload::SinkStatus& sink : sinks) {
    json entry = {{"database", sink.database},
                  {"name", sink.name},
                  {"healthy", sink.healthy},
                  {"in_flight", sink.in_flight},
                  {"delivered_batches", sink.delivered_batches},
                  {"delivered_rows", sink.delivered_rows},
                  {"failures", sink.failures},
                  {"last_error", config::MaskSecrets(sink.last_error)}};
    if (sink.last_error_time) entry["last_error_time"] = FormatRfc3339(*sink.last_error_time);
    if (sink.last_success_time) entry["last_success_time"] = FormatRfc3339(*sink.last_success_time);
    list.push_back(std::move(entry));
  }
  return list;
}

json DiskClassesJson(const std::array<wal::DiskUsage, wal::kDiskClasses>& usage) {
  json classes = json::object();
  for (size_t i = 0; i < usage.size(); ++i) {
    classes[std::string(Name(static_cast<wal::DiskClass>(i)))] = {{"bytes", usage[i].bytes},
                                                                  {"files", usage[i].files}};
  }
  return classes;
}

json ClusterJson(const cluster::Membership& membership) {
  const auto set = membership.Snapshot();
  const cluster::Member* leader = set->Leader();
  json members = json::array();
  for (const cluster::Member& member : set->members()) {
    members.push_back(
        {{"name", member.name}, {"address", member.address}, {"ready", member.ready}});
  }
  return {{"self", membership.self()},
          {"leader", leader == nullptr ? json() : json(leader->name)},
          {"changes", membership.changes()},
          {"members", std::move(members)}};
}

json TransfersJson(const transfer::PoolStatus& status) {
  return {{"batches_waiting", status.waiting},     {"batches_running", status.running},
          {"open_rows", status.open_rows},         {"avoided_peers", status.avoided_peers},
          {"leaving_peers", status.leaving_peers}, {"last_error", status.last_error}};
}

}  // namespace

std::string Node::StatusJson() const {
  const config::Config running = config();
  const wal::StoreTotals totals = store_->Totals();
  const std::string not_ready = NotReady();
  json status;
  status["version"] = options_.version;
  status["started"] = FormatRfc3339(started_at_);
  status["ready"] = not_ready.empty();
  status["not_ready_reason"] = not_ready;
  status["series"] = {{"known", series_->size()},
                      {"memory_bytes", series_->bytes()},
                      {"max", running.limits.series_max},
                      {"max_bytes", running.limits.series_bytes.value}};
  status["tables"] = {{"seen", tables_->size()},
                      {"max", running.limits.tables_max},
                      {"pending", TablesJson(store_->Backlog())}};
  status["generations"] = GenerationsJson(wal_->stats());
  status["segments"] = {{"count", totals.segments},
                        {"rows", totals.rows},
                        {"row_bytes", totals.row_bytes},
                        {"file_bytes", totals.file_bytes}};
  status["batches"] = BatchesJson(queue_->Snapshot(kMaxListed));
  status["sinks"] = SinksJson(uploads_->SinkStatuses());
  status["cluster"] = ClusterJson(*membership_);
  status["drain"] = json::parse(drainer_->report().Json(), nullptr, /*allow_exceptions=*/false);
  if (transfers_ != nullptr) status["transfers"] = TransfersJson(transfers_->status());
  status["quarantine"] = {{"files", quarantine_->files()},
                          {"bytes", quarantine_->bytes()},
                          {"max_bytes", quarantine_->max_bytes()},
                          {"dropped", quarantine_->dropped_items()}};
  status["limits"] = {
      {"disk",
       {{"used_bytes", disk_account_->used()},
        {"max_bytes", running.storage.max_disk.value},
        {"full", disk_budget_->full()},
        {"by_class", DiskClassesJson(disk_account_->usage())}}},
      {"memory",
       {{"used_bytes", wal_->stats().memory_bytes},
        {"max_bytes", running.generation.max_memory.value}}},
      {"connections",
       {{"open", ingest_->stats().connections_open}, {"max", running.http.max_connections}}}};
  // Values and labels are UTF-8 checked on the way in; whatever else may be in an error text is
  // replaced.
  status["config"] = json::parse(config::PrintJson(running), nullptr, /*allow_exceptions=*/false);
  return status.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace forebay::server
