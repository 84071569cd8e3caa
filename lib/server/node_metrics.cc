// The node's own families, asked for at scrape time from the components' statistics.
#include <utility>

#include "http/certificate.h"
#include "server/node.h"

namespace forebay::server {
namespace {

using metrics::MetricType;
using metrics::Sample;

}  // namespace

void Node::AddMetrics() {
  reload_ok_ = registry_.AddGauge("forebay_config_last_reload_successful",
                                  "1 when the last load of the configuration succeeded.");
  reload_ok_->Set(1);
  reload_time_ = registry_.AddGauge("forebay_config_last_reload_success_timestamp_seconds",
                                    "When the configuration was last loaded with success.");
  reload_time_->Set(static_cast<double>(clock_.Now().value) / 1000);
  reloads_failed_ = registry_.AddCounter("forebay_config_reload_failures_total",
                                         "Reloads that failed and changed nothing.");

  callbacks_.push_back(registry_.AddRefresh([this] {
    const wal::WalStats wal = wal_->stats();
    const wal::StoreTotals store = store_->Totals();
    MutexLock lock(scraped_.mutex);
    scraped_.wal = wal;
    scraped_.store = store;
  }));
  AddRowMetrics();
  const auto add = [this](std::string_view name, std::string_view help, MetricType type,
                          std::function<double()> value) {
    callbacks_.push_back(registry_.AddCallback(name, help, type, std::move(value)));
  };
  const auto wal = [&](std::string_view name, std::string_view help, MetricType type, auto member) {
    add(name, help, type, [this, member] {
      MutexLock lock(scraped_.mutex);
      return static_cast<double>(scraped_.wal.*member);
    });
  };
  using S = wal::WalStats;
  constexpr auto kCounter = MetricType::kCounter;
  constexpr auto kGauge = MetricType::kGauge;
  wal("forebay_wal_generation_samples", "Samples in the open generation.", kGauge,
      &S::open_generation_samples);
  wal("forebay_wal_memory_bytes", "Memory of the columns of all generations.", kGauge,
      &S::memory_bytes);
  wal("forebay_wal_generations_sealing", "Generations that are being sealed or replayed.", kGauge,
      &S::sealing_generations);
  wal("forebay_wal_generations_sealed_total", "Generations sealed.", kCounter,
      &S::generations_sealed);
  wal("forebay_wal_oldest_unsealed_seconds", "Age of the oldest data that is in no segment yet.",
      kGauge, &S::oldest_unsealed_seconds);
  wal("forebay_wal_recovering", "1 while journals of an earlier run are replayed.", kGauge,
      &S::recovering);
  wal("forebay_wal_replayed_records_total", "Journal records replayed at start.", kCounter,
      &S::replayed_records);
  wal("forebay_wal_quarantined_records_total",
      "Journal records that could not be replayed and were kept aside.", kCounter,
      &S::quarantined_records);
  wal("forebay_wal_journal_bytes", "Bytes of the journals on disk, with what is reserved.", kGauge,
      &S::journal_bytes);
  wal("forebay_wal_journal_spare_bytes", "Bytes of files kept for the next journals.", kGauge,
      &S::journal_spare_bytes);
  wal("forebay_wal_journals_recycled_total", "Journals begun in the file of an earlier one.",
      kCounter, &S::journals_recycled);
  wal("forebay_wal_torn_tails_total", "Journals found at start that ended in an unfinished write.",
      kCounter, &S::torn_tails);
  wal("forebay_wal_journal_written_bytes_total", "Bytes written to journals.", kCounter,
      &S::journal_bytes_written);
  wal("forebay_wal_journal_records_total", "Records made durable in journals.", kCounter,
      &S::journal_records);
  wal("forebay_wal_journal_commits_total", "Group commits.", kCounter, &S::journal_commits);
  wal("forebay_wal_journal_errors_total", "Failed writes, syncs and creations of journals.",
      kCounter, &S::journal_errors);
  wal("forebay_wal_seal_errors_total", "Attempts to seal a generation that failed.", kCounter,
      &S::seal_errors);
  wal("forebay_wal_sealed_rows_total", "Rows written to segments.", kCounter, &S::sealed_rows);
  wal("forebay_wal_sealed_bytes_total", "Bytes of the segments written.", kCounter,
      &S::sealed_file_bytes);
  wal("forebay_series_evicted_total", "Series forgotten because they were idle.", kCounter,
      &S::series_evicted);

  wal("forebay_wal_deduplicated_records_total",
      "Journal records not replayed since another generation has their request.", kCounter,
      &S::deduplicated_records);
  add("forebay_idempotency_entries", "Requests that are known when they come again.", kGauge,
      [this] { return static_cast<double>(ledger_->size()); });

  add("forebay_drain_state", "0: in service; 1: draining; 2: drained; 3: draining, overdue.",
      kGauge, [this] { return static_cast<double>(drainer_->state()); });
  const auto left = [&](std::string_view name, std::string_view help, auto value) {
    add(name, help, kGauge, [this, value] {
      const DrainReport report = drainer_->report();
      return report.state == DrainState::kServing ? 0.0 : static_cast<double>(value(report.left));
    });
  };
  left("forebay_drain_left_rows", "Rows that a drain has not brought away yet; 0 in service.",
       [](const DrainLeft& rest) { return rest.rows + rest.unsealed_rows; });
  left("forebay_drain_left_bytes", "Bytes of the segments that a drain has not brought away yet.",
       [](const DrainLeft& rest) { return rest.bytes; });
  left("forebay_drain_left_oldest_seconds", "Age of the oldest of these segments.",
       [](const DrainLeft& rest) { return rest.oldest_seconds; });

  add("forebay_series", "Series known now.", kGauge,
      [this] { return static_cast<double>(series_->size()); });
  add("forebay_series_memory_bytes", "Memory of the series table.", kGauge,
      [this] { return static_cast<double>(series_->bytes()); });
  add("forebay_tables", "Tables seen by this process.", kGauge,
      [this] { return static_cast<double>(tables_->size()); });

  const auto store = [&](std::string_view name, std::string_view help, auto member) {
    add(name, help, kGauge, [this, member] {
      MutexLock lock(scraped_.mutex);
      return static_cast<double>(scraped_.store.*member);
    });
  };
  store("forebay_wal_segments", "Sealed segments on disk.", &wal::StoreTotals::segments);
  store("forebay_wal_unreadable_segments",
        "Files named as segments in which nothing could be read at start; they are left alone.",
        &wal::StoreTotals::unreadable);
  store("forebay_wal_segment_bytes", "Bytes of the sealed segments on disk.",
        &wal::StoreTotals::file_bytes);
  store("forebay_wal_segment_row_bytes",
        "Bytes that the rows of the sealed segments take as CSV, at most.",
        &wal::StoreTotals::row_bytes);
  callbacks_.push_back(registry_.AddCallback(
      "forebay_wal_pending_rows", "Rows in sealed segments that wait for upload.", kGauge,
      [this]() -> std::vector<Sample> {
        std::vector<Sample> samples;
        for (const auto& [database, rows] : store_->PendingRows()) {
          samples.push_back({{{"database", database}}, static_cast<double>(rows)});
        }
        return samples;
      }));
  add("forebay_ready", "1 when the node takes requests.", kGauge,
      [this] { return NotReady().empty() ? 1.0 : 0.0; });

  AddDiskMetrics();

  const auto http = [this](std::string_view name, std::string_view help, MetricType type,
                           auto member) {
    callbacks_.push_back(
        registry_.AddCallback(name, help, type, [this, member]() -> std::vector<Sample> {
          return {{{{"port", "ingest"}}, static_cast<double>(ingest_->stats().*member)},
                  {{{"port", "admin"}}, static_cast<double>(admin_->stats().*member)}};
        }));
  };
  using H = http::ServerStats;
  http("forebay_http_connections", "Connections open now.", kGauge, &H::connections_open);
  http("forebay_http_connections_accepted_total", "Connections accepted.", kCounter,
       &H::connections_accepted);
  http("forebay_http_connections_refused_total", "Connections above http.max_connections.",
       kCounter, &H::connections_refused);
  http("forebay_http_requests_total", "Requests whose head was read.", kCounter, &H::requests);
  http("forebay_http_requests_in_flight", "Requests handled and not yet answered.", kGauge,
       &H::requests_in_flight);
  http("forebay_http_requests_malformed_total", "Requests that are not HTTP as served here.",
       kCounter, &H::requests_malformed);
  http("forebay_http_requests_unauthenticated_total", "Requests answered 401.", kCounter,
       &H::requests_unauthenticated);
  http("forebay_http_timeouts_total", "Connections closed for a time limit.", kCounter,
       &H::timeouts);
  http("forebay_http_received_bytes_total", "Bytes received.", kCounter, &H::bytes_received);
  http("forebay_http_sent_bytes_total", "Bytes sent.", kCounter, &H::bytes_sent);
  http("forebay_http_tls_handshake_failures_total", "TLS handshakes that failed.", kCounter,
       &H::tls_handshake_failures);
  add("forebay_time_seconds", "The node's clock, to be compared with that of who asks.", kGauge,
      [this] { return static_cast<double>(clock_.Now().value) / 1000; });
  callbacks_.push_back(registry_.AddCallback(
      "forebay_tls_certificate_expiry_timestamp_seconds",
      "End of the certificate that new connections are shown; ports with TLS only.", kGauge,
      [this] { return CertificateSamples(); }));
}

std::vector<Sample> Node::CertificateSamples() const {
  std::vector<Sample> samples;
  const auto add = [&](const char* port, UnixMillis end) {
    samples.push_back({{{"port", port}}, static_cast<double>(end.value) / 1000});
  };
  if (const auto end = ingest_->stats().certificate_end) add("ingest", *end);
  if (const auto end = admin_->stats().certificate_end) add("admin", *end);
  const config::TransferTls& transfer = options_.config.cluster.transfer_tls;
  if (transfer_server_ != nullptr && transfer.enabled()) {
    // gRPC reads the file again when it changes, and does not tell what it has.
    if (const auto end = http::CertificateEnd(transfer.cert_file); end.ok()) add("transfer", *end);
  }
  return samples;
}

void Node::AddRowMetrics() {
  callbacks_.push_back(
      registry_.AddCallback("forebay_conservation_rows",
                            "Rows since the start by what became of them; per database side in and "
                            "side out have the same sum while no request is in flight.",
                            MetricType::kGauge, [this] { return RowSamples(); }));
}

std::vector<Sample> Node::RowSamples() const {
  std::vector<Sample> samples;
  for (const auto& [database, rows] : store_->rows().Snapshot()) {
    const auto add = [&, &database = database](const char* side, const char* state,
                                               uint64_t count) {
      samples.push_back(
          {{{"database", database}, {"side", side}, {"state", state}}, static_cast<double>(count)});
    };
    add("in", "received", rows.received);
    add("in", "from_peers", rows.from_peers);
    add("in", "recovered", rows.recovered);
    add("out", "deduplicated", rows.deduplicated);
    add("out", "dropped", rows.dropped);
    add("out", "refused", rows.refused);
    add("out", "uploaded", rows.uploaded);
    add("out", "transferred", rows.transferred);
    add("out", "pending", rows.pending());
    add("out", "quarantined", rows.quarantined);
    add("out", "dead_lettered", rows.dead_lettered);
  }
  return samples;
}

void Node::AddDiskMetrics() {
  const auto add = [this](std::string_view name, std::string_view help, MetricType type,
                          std::function<double()> value) {
    callbacks_.push_back(registry_.AddCallback(name, help, type, std::move(value)));
  };
  constexpr auto kCounter = MetricType::kCounter;
  constexpr auto kGauge = MetricType::kGauge;
  const auto by_class = [this](std::string_view name, std::string_view help, auto member) {
    callbacks_.push_back(
        registry_.AddCallback(name, help, kGauge, [this, member]() -> std::vector<Sample> {
          const auto usage = disk_account_->usage();
          std::vector<Sample> samples;
          for (size_t i = 0; i < usage.size(); ++i) {
            const std::string label(Name(static_cast<wal::DiskClass>(i)));
            samples.push_back({{{"class", label}}, static_cast<double>(usage[i].*member)});
          }
          return samples;
        }));
  };
  by_class("forebay_disk_bytes", "Bytes of the files below storage.dir, in blocks of 4 KiB.",
           &wal::DiskUsage::bytes);
  by_class("forebay_disk_files", "Files below storage.dir.", &wal::DiskUsage::files);
  const config::Storage storage = options_.config.storage;
  add("forebay_disk_limit_bytes", "storage.max_disk.", kGauge,
      [storage] { return static_cast<double>(storage.max_disk.value); });
  add("forebay_disk_volume_free_bytes", "Free bytes of the volume, as this process may use them.",
      kGauge,
      [this] { return static_cast<double>(disk_budget_->status().figures.space.available_bytes); });
  add("forebay_disk_volume_free_inodes", "Free inodes of the volume; 0 where they have no number.",
      kGauge,
      [this] { return static_cast<double>(disk_budget_->status().figures.space.available_files); });
  add("forebay_disk_volume_reserve_bytes", "storage.reserve.", kGauge,
      [storage] { return static_cast<double>(storage.reserve.value); });
  callbacks_.push_back(
      registry_.AddCallback("forebay_disk_full", "1 while writes are refused for want of this.",
                            kGauge, [this]() -> std::vector<Sample> {
                              const wal::DiskShortage shortage = disk_budget_->status().shortage;
                              return {{{{"cause", "max_disk"}}, shortage.limit ? 1.0 : 0.0},
                                      {{{"cause", "volume"}}, shortage.volume ? 1.0 : 0.0},
                                      {{{"cause", "inodes"}}, shortage.inodes ? 1.0 : 0.0}};
                            }));
  add("forebay_disk_state_seconds", "Time since the storage became full or had room again.", kGauge,
      [this] { return disk_budget_->status().state_seconds; });
  add("forebay_disk_full_seconds_total", "Time in which writes were refused for a full disk.",
      kCounter, [this] { return disk_budget_->status().full_seconds_total; });
  add("forebay_disk_state_changes_total", "Changes between full and not full.", kCounter,
      [this] { return static_cast<double>(disk_budget_->status().changes); });
  add("forebay_disk_reserve_ready", "1 while the reserve for manifests is held.", kGauge,
      [this] { return disk_reserve_->ready() ? 1.0 : 0.0; });
  add("forebay_disk_reserve_given_up_total", "Times that the reserve was given up.", kCounter,
      [this] { return static_cast<double>(disk_reserve_->given_up()); });
  add("forebay_quarantine_limit_bytes", "storage.quarantine_max.", kGauge,
      [this] { return static_cast<double>(quarantine_->max_bytes()); });
  add("forebay_quarantine_files", "Items in the quarantine directory.", kGauge,
      [this] { return static_cast<double>(quarantine_->files()); });
  add("forebay_quarantine_dropped_total",
      "Damaged parts that were not kept: the quarantine was full.", kCounter,
      [this] { return static_cast<double>(quarantine_->dropped_items()); });
  add("forebay_quarantine_dropped_bytes_total", "Bytes of these.", kCounter,
      [this] { return static_cast<double>(quarantine_->dropped_bytes()); });
}

}  // namespace forebay::server
