// GET /api/v1/status: what an operator asks a node first, as JSON; and what is kept for it.
// Bounded: kMaxListed tables and batches.
#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "config/print.h"
#include "server/node.h"

namespace forebay::server {
namespace {

using nlohmann::json;

constexpr size_t kMaxListed = 1000;
// More live batches than that are not looked through for those that run.
constexpr size_t kMaxLiveBatches = 20'000;
constexpr std::chrono::seconds kDeadLetterAge{10};

json TablesJson(const std::vector<wal::TableBacklog>& backlog, size_t most) {
  json tables = json::array();
  for (const wal::TableBacklog& table : backlog) {
    if (tables.size() >= most) break;
    if (table.segments.empty()) continue;
    uint64_t rows = 0;
    uint64_t row_bytes = 0;
    uint64_t file_bytes = 0;
    for (const wal::SegmentPointer& segment : table.segments) {
      rows += segment->rows;
      row_bytes += segment->row_bytes;
      file_bytes += segment->file_bytes;
    }
    const wal::SegmentName& name = table.segments.front()->name;
    tables.push_back({{"database", name.database},
                      {"table", name.table},
                      {"schema", name.schema_hash},
                      {"segments", table.segments.size()},
                      {"rows", rows},
                      {"row_bytes", row_bytes},
                      {"file_bytes", file_bytes},
                      {"oldest", FormatRfc3339(table.segments.front()->created)}});
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

// Those that run come first, then those that failed; both, and the rest, oldest first.
json BatchesJson(std::vector<wal::BatchStatus> batches,
                 const std::vector<upload::DeliveryProgress>& running, size_t most) {
  const auto rank = [](const wal::BatchStatus& batch) {
    return batch.running ? 0 : batch.failures > 0 ? 1 : 2;
  };
  std::stable_sort(batches.begin(), batches.end(),
                   [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  if (batches.size() > most) batches.resize(most);
  json list = json::array();
  for (const wal::BatchStatus& batch : batches) {
    json deliveries = json::array();
    for (const upload::DeliveryProgress& delivery : running) {
      if (delivery.batch != batch.id) continue;
      deliveries.push_back({{"sink", delivery.sink},
                            {"read_bytes", delivery.read_bytes},
                            {"total_bytes", delivery.total_bytes},
                            {"seconds", delivery.seconds}});
    }
    list.push_back({{"id", batch.id},
                    {"database", batch.database},
                    {"table", batch.table},
                    {"reason", wal::Name(batch.reason)},
                    {"segments", batch.segments},
                    {"rows", batch.rows},
                    {"row_bytes", batch.row_bytes},
                    {"created", FormatRfc3339(batch.created)},
                    {"running", batch.running},
                    {"deliveries", std::move(deliveries)},
                    {"failures", batch.failures},
                    {"last_error", config::MaskSecrets(batch.last_error)}});
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
                  {"concurrency_limit", sink.concurrency_limit},
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

json DeadLettersJson(const upload::DeadLetterStatus& letters) {
  json entry = {{"batches", letters.totals.batches},
                {"bytes", letters.totals.bytes},
                {"max_bytes", letters.max_bytes},
                {"full", letters.waiting_batches > 0},
                {"waiting_batches", letters.waiting_batches}};
  if (letters.totals.oldest) entry["oldest"] = FormatRfc3339(*letters.totals.oldest);
  return entry;
}

json DiskClassesJson(const std::array<wal::DiskUsage, wal::kDiskClasses>& usage) {
  json classes = json::object();
  for (size_t i = 0; i < usage.size(); ++i) {
    classes[std::string(Name(static_cast<wal::DiskClass>(i)))] = {{"bytes", usage[i].bytes},
                                                                  {"files", usage[i].files}};
  }
  return classes;
}

json ClusterJson(const cluster::Membership& membership,
                 const std::map<std::string, uint64_t>& tables) {
  const auto set = membership.Snapshot();
  const cluster::Member* leader = set->Leader();
  json members = json::array();
  for (const cluster::Member& member : set->members()) {
    const auto owned = tables.find(member.name);
    members.push_back({{"name", member.name},
                       {"address", member.address},
                       {"ready", member.ready},
                       {"tables", owned == tables.end() ? 0 : owned->second}});
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

json Used(uint64_t used, uint64_t max) { return {{"used_bytes", used}, {"max_bytes", max}}; }

json DiskJson(const wal::DiskAccount& account, const wal::DiskStatus& status,
              const config::Storage& limits) {
  json disk = Used(account.used(), limits.max_disk.value);
  disk["full"] = status.shortage.any();
  disk["by_class"] = DiskClassesJson(account.usage());
  disk["high_watermark_percent"] = limits.high_watermark;
  disk["low_watermark_percent"] = limits.low_watermark;
  disk["short_of"] = json::array();
  if (status.shortage.limit) disk["short_of"].push_back("max_disk");
  if (status.shortage.volume) disk["short_of"].push_back("volume");
  if (status.shortage.inodes) disk["short_of"].push_back("inodes");
  if (status.figures.space_known) {
    disk["volume"] = {{"free_bytes", status.figures.space.available_bytes},
                      {"reserve_bytes", limits.reserve.value}};
  }
  return disk;
}

// One word for what the node is at.
std::string StateName(bool started, bool stopping, DrainState drain, bool ready) {
  if (!started) return "starting";
  if (stopping) return "stopping";
  if (drain != DrainState::kServing) return std::string(Name(drain));
  return ready ? "ready" : "not ready";
}

std::string_view DurabilityName(config::Durability durability) {
  switch (durability) {
    case config::Durability::kSync:
      return "sync";
    case config::Durability::kWrite:
      return "write";
    case config::Durability::kNone:
      return "none";
  }
  return "";
}

}  // namespace

void Node::OpenStatus() {
  history_ = std::make_unique<FlowHistory>(clock_);
  table_board_ = std::make_unique<TableBoard>(
      TableBoard::Parts{clock_, *store_, *activity_, *tables_, *membership_, [this] {
                          std::vector<std::string> leaving;
                          if (transfers_ != nullptr) leaving = transfers_->status().leaving_peers;
                          if (drainer_->state() != DrainState::kServing)
                            leaving.push_back(membership_->self());
                          return leaving;
                        }});
  dead_letters_ = std::make_unique<Cached<upload::DeadLetterStatus>>(
      clock_, kDeadLetterAge, [this] { return uploads_->DeadLettersNow(); });
  housekeeper_ = std::make_unique<Housekeeper>();
  housekeeper_->Add(FlowHistory::kInterval, [this] { history_->Sample(Flow()); });
  housekeeper_->Add(options_.config.storage.audit_interval, [this] {
    (void)disk_auditor_->Run();  // logs what it finds
  });
  housekeeper_->Add(DeadLetterReplayer::kInterval, [this] {
    (void)replayer_->Run();  // logs what fails
  });
}

FlowTotals Node::Flow() const {
  FlowTotals flow;
  for (const auto& [database, rows] : store_->rows().Snapshot()) {
    flow.received_rows += rows.received;
    flow.from_peers_rows += rows.from_peers;
    flow.uploaded_rows += rows.uploaded;
    flow.transferred_rows += rows.transferred;
    flow.refused_rows += rows.refused;
    flow.pending_rows += rows.pending();
  }
  const wal::WalStats wal = wal_->stats();
  const http::ServerStats http = ingest_->stats();
  flow.errors = http.responses[4] + http.responses[5] + wal.journal_errors + wal.seal_errors;
  for (const upload::SinkStatus& sink : uploads_->SinkStatuses()) flow.errors += sink.failures;
  flow.quarantine_bytes = quarantine_->bytes();
  flow.disk_bytes = disk_account_->used();
  flow.memory_bytes = wal.memory_bytes;
  return flow;
}

std::string Node::StatusJson(const StatusOptions& options) const {
  const config::Config running = config();
  const wal::StoreTotals totals = store_->Totals();
  const wal::WalStats wal = wal_->stats();
  const std::string not_ready = NotReady();
  const MonotonicTime now = clock_.Monotonic();
  json status;
  status["version"] = options_.version;
  status["started"] = FormatRfc3339(started_at_);
  status["ready"] = not_ready.empty();
  status["not_ready_reason"] = not_ready;
  status["node"] = {{"name", membership_->self()},
                    {"state", StateName(started_, stopping_, drainer_->state(), not_ready.empty())},
                    {"uptime_seconds",
                     std::chrono::duration_cast<std::chrono::seconds>(now - started_mark_).count()},
                    {"durability", DurabilityName(running.durability)},
                    {"time", FormatRfc3339(clock_.Now())}};
  status["series"] = {{"known", series_->size()},
                      {"memory_bytes", series_->bytes()},
                      {"max", running.limits.series_max},
                      {"max_bytes", running.limits.series_bytes.value}};
  const size_t most_tables = std::min(options.tables, kMaxListed);
  status["tables"] = {
      {"seen", tables_->size()},
      {"max", running.limits.tables_max},
      {"pending", most_tables == 0 ? json::array() : TablesJson(store_->Backlog(), most_tables)}};
  status["generations"] = GenerationsJson(wal);
  status["segments"] = {{"count", totals.segments},
                        {"rows", totals.rows},
                        {"row_bytes", totals.row_bytes},
                        {"file_bytes", totals.file_bytes},
                        {"unreadable", totals.unreadable}};
  status["batches"] = BatchesJson(queue_->Snapshot(kMaxLiveBatches), uploads_->Running(),
                                  std::min(options.batches, kMaxListed));
  status["queue"] = {{"batches", queue_->size()}, {"running", queue_->running()}};
  status["sinks"] = SinksJson(uploads_->SinkStatuses());
  status["dead_letters"] = DeadLettersJson(*dead_letters_->Get());
  status["cluster"] = ClusterJson(*membership_, table_board_->CountByOwner());
  status["drain"] = json::parse(drainer_->report().Json(), nullptr, /*allow_exceptions=*/false);
  if (transfers_ != nullptr) status["transfers"] = TransfersJson(transfers_->status());
  status["quarantine"] = {{"files", quarantine_->files()},
                          {"bytes", quarantine_->bytes()},
                          {"max_bytes", quarantine_->max_bytes()},
                          {"dropped", quarantine_->dropped_items()}};
  const receive::ReceiveMetrics& receiving = receive_state_->metrics();
  status["limits"] = {
      {"disk", DiskJson(*disk_account_, disk_budget_->status(), running.storage)},
      {"memory", Used(wal.memory_bytes, running.generation.max_memory.value)},
      {"in_flight_bodies",
       Used(receiving.in_flight_bytes.load(), running.limits.in_flight_bodies.value)},
      {"decoded_requests",
       Used(receiving.in_flight_decoded_bytes.load(), running.limits.in_flight_bodies.value)},
      {"connections",
       {{"open", ingest_->stats().connections_open}, {"max", running.http.max_connections}}}};
  if (options.config) {
    status["config"] = json::parse(config::PrintJson(running), nullptr, /*allow_exceptions=*/false);
  }
  // Values and labels are UTF-8 checked on the way in; whatever else may be in an error text is
  // replaced.
  return status.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace forebay::server
