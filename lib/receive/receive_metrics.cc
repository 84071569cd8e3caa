#include "receive/receive_metrics.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/check.h"

namespace forebay::receive {

std::string_view Name(Protocol protocol) {
  switch (protocol) {
    case Protocol::kRemoteWrite1:
      return "remote_write_1";
    case Protocol::kRemoteWrite2:
      return "remote_write_2";
    case Protocol::kUnknown:
      return "unknown";
  }
  FOREBAY_CHECK(false);
}

ReceiveMetrics::Kind ReceiveMetrics::MakeKind(const std::string& name, const std::string& what) {
  Kind kind;
  kind.received = registry_.AddCounter(fmt::format("forebay_receive_received_{}_total", name),
                                       fmt::format("{} in requests that could be decoded.", what));
  kind.stored = registry_.AddCounter(fmt::format("forebay_receive_{}_total", name),
                                     fmt::format("{} that were accepted and are durable.", what));
  kind.dropped = registry_.AddCounter(fmt::format("forebay_receive_dropped_{}_total", name),
                                      fmt::format("{} left out by a relabelling rule.", what));
  kind.refused = registry_.AddCounter(fmt::format("forebay_receive_refused_{}_total", name),
                                      fmt::format("{} refused, and said so to the sender.", what));
  kind.deduplicated =
      registry_.AddCounter(fmt::format("forebay_receive_deduplicated_{}_total", name),
                           fmt::format("{} of requests that were stored before.", what));
  return kind;
}

ReceiveMetrics::ReceiveMetrics(metrics::Registry& registry, wal::RowAccount* rows)
    : registry_(registry), rows_(rows) {
  for (size_t p = 0; p < kProtocols; ++p) {
    const std::string protocol(Name(static_cast<Protocol>(p)));
    for (size_t c = 0; c < kCodes.size(); ++c) {
      requests_[p][c] = registry.AddCounter(
          "forebay_receive_requests_total", "Remote-write requests by protocol and status code.",
          {{"protocol", protocol}, {"code", std::to_string(kCodes[c])}});
    }
    duration_[p] = registry.AddHistogram(
        "forebay_receive_request_duration_seconds",
        "Time from the end of the request's body to the answer, the group commit included.",
        metrics::ExponentialBuckets(0.0005, 2, 15), {{"protocol", protocol}});
  }
  for (size_t i = 0; i < kRefusalReasons; ++i) {
    refused_samples_[i] = registry.AddCounter(
        "forebay_receive_refused_samples_total", "Samples refused, and said so to the sender.",
        {{"reason", std::string(Name(static_cast<RefusalReason>(i)))}});
  }
  received_samples_ = registry.AddCounter("forebay_receive_received_samples_total",
                                          "Samples in requests that could be decoded.");
  deduplicated_samples_ =
      registry.AddCounter("forebay_receive_deduplicated_samples_total",
                          "Samples of requests that were stored before, as accepted then.");
  duplicate_requests_ =
      registry.AddCounter("forebay_receive_duplicate_requests_total",
                          "Requests that were stored before, answered like the first time.");
  undecodable_requests_ = registry.AddCounter(
      "forebay_receive_undecodable_requests_total",
      "Requests refused since their body is no snappy or no protobuf, or is too "
      "large decoded; what they held is in no other count.");
  const char* dropped = "Samples left out as the configuration says.";
  dropped_rule_ =
      registry.AddCounter("forebay_receive_dropped_samples_total", dropped, {{"reason", "rule"}});
  dropped_nan_ =
      registry.AddCounter("forebay_receive_dropped_samples_total", dropped, {{"reason", "nan"}});
  refused_series_ = registry.AddCounter("forebay_receive_refused_series_total",
                                        "Series of requests that were refused.");
  histograms_ = MakeKind("histograms", "Native histograms");
  exemplars_ = MakeKind("exemplars", "Exemplars");
  metadata_ = MakeKind("metadata", "Metadata entries");
  logs_ = MakeKind("logs", "Log records");
  spans_ = MakeKind("spans", "Spans");
  metadata_unchanged_ = registry.AddCounter(
      "forebay_receive_unchanged_metadata_total",
      "Accepted metadata entries for which no row was written since they were stored before.");
  stale_markers_ =
      registry.AddCounter("forebay_receive_stale_markers_total", "Stale markers received.");
  const char* special = "Samples received whose value is no finite number, stale markers apart.";
  const char* name = "forebay_receive_special_values_total";
  nans_ = registry.AddCounter(name, special, {{"value", "nan"}});
  positive_infinities_ = registry.AddCounter(name, special, {{"value", "positive_infinity"}});
  negative_infinities_ = registry.AddCounter(name, special, {{"value", "negative_infinity"}});
  const char* bytes = "Bytes of request bodies, as sent and decoded.";
  compressed_bytes =
      registry.AddCounter("forebay_receive_bytes_total", bytes, {{"state", "compressed"}});
  decoded_bytes = registry.AddCounter("forebay_receive_bytes_total", bytes, {{"state", "decoded"}});
  retried_requests = registry.AddCounter("forebay_receive_retried_requests_total",
                                         "Requests that the sender marked as a retry.");
  concurrent_requests =
      registry.AddCounter("forebay_receive_concurrent_requests_total",
                          "Requests answered 503 since another attempt of the same was under way.");
  slow_requests = registry.AddCounter("forebay_receive_slow_requests_total",
                                      "Requests that took longer than 10 s, which are logged.");
  table_name_collisions =
      registry.AddCounter("forebay_table_name_collisions_total",
                          "Metrics whose table name was taken by another metric before; both are "
                          "kept in the one table.");
  series_resolved = registry.AddCounter(
      "forebay_receive_series_resolved_total",
      "Label sets that were not known and went through validation and relabelling.");
  requests_gauge_ = registry.AddCallback(
      "forebay_receive_in_flight_requests", "Requests decoded and waiting for the group commit.",
      metrics::MetricType::kGauge,
      [this] { return static_cast<double>(in_flight_requests.load()); });
  bytes_gauge_ = registry.AddCallback(
      "forebay_receive_in_flight_bytes", "Bytes reserved for bodies in limits.in_flight_bodies.",
      metrics::MetricType::kGauge, [this] { return static_cast<double>(in_flight_bytes.load()); });
  decoded_gauge_ = registry.AddCallback(
      "forebay_receive_in_flight_decoded_bytes",
      "Bytes of decoded requests that wait for the group commit, at most as many again.",
      metrics::MetricType::kGauge,
      [this] { return static_cast<double>(in_flight_decoded_bytes.load()); });
}

void ReceiveMetrics::CountRequest(Protocol protocol, int code, std::chrono::nanoseconds duration) {
  const auto p = static_cast<size_t>(protocol);
  const auto* found = std::find(kCodes.begin(), kCodes.end(), code);
  if (found == kCodes.end()) found = std::find(kCodes.begin(), kCodes.end(), 500);
  const auto index = static_cast<size_t>(found - kCodes.begin());
  requests_[p][index]->Increment();
  duration_[p]->Observe(duration);
}

metrics::Counter* ReceiveMetrics::StoredSamples(const std::string& database) {
  MutexLock lock(mutex_);
  metrics::Counter*& counter = stored_samples_[database];
  if (counter == nullptr) {
    counter = registry_.AddCounter("forebay_receive_samples_total",
                                   "Samples that were accepted and are durable, by database.",
                                   {{"database", database}});
  }
  return counter;
}

void ReceiveMetrics::CountKind(const Kind& kind, const ItemCounts& counts, bool committed) {
  if (counts.received == 0) return;
  kind.received->Increment(counts.received);
  kind.dropped->Increment(counts.dropped);
  kind.refused->Increment(counts.refused + (committed ? 0 : counts.stored));
  if (committed) kind.stored->Increment(counts.stored);
}

void ReceiveMetrics::CountDuplicate(const wal::RequestOutcome& outcome,
                                    const std::string& database) {
  if (rows_ != nullptr) {
    const uint64_t rows = uint64_t{outcome.samples} + outcome.histograms + outcome.exemplars;
    rows_->Arrived(database, {.received = rows, .deduplicated = rows});
  }
  duplicate_requests_->Increment();
  received_samples_->Increment(outcome.samples);
  deduplicated_samples_->Increment(outcome.samples);
  histograms_.received->Increment(outcome.histograms);
  histograms_.deduplicated->Increment(outcome.histograms);
  exemplars_.received->Increment(outcome.exemplars);
  exemplars_.deduplicated->Increment(outcome.exemplars);
}

void ReceiveMetrics::CountDuplicateRecords(const Kind& kind, uint64_t records,
                                           const std::string& database) {
  if (rows_ != nullptr) {
    rows_->Arrived(database, {.received = records, .deduplicated = records});
  }
  duplicate_requests_->Increment();
  kind.received->Increment(records);
  kind.deduplicated->Increment(records);
}

void ReceiveMetrics::CountDuplicateLogs(uint64_t records, const std::string& database) {
  CountDuplicateRecords(logs_, records, database);
}

void ReceiveMetrics::CountDuplicateSpans(uint64_t records, const std::string& database) {
  CountDuplicateRecords(spans_, records, database);
}

// What is stored belongs to the database it is stored in, everything else to the tenant's.
void ReceiveMetrics::CountRows(const StagedWrite& staged, bool committed) {
  if (rows_ == nullptr) return;
  const auto& databases = staged.rules_used->databases();
  wal::ArrivedRows rest;
  for (const ItemCounts* kind : {&staged.samples, &staged.histograms, &staged.exemplars,
                                 &staged.metadata, &staged.logs, &staged.spans}) {
    rest.received += kind->received;
    rest.dropped += kind->dropped;
    rest.refused += kind->refused;
  }
  rest.deduplicated = committed ? staged.metadata_unchanged : 0;
  if (!committed) rest.refused += staged.metadata_unchanged;
  for (size_t i = 0; i < databases.size(); ++i) {
    uint64_t rows = staged.database_samples[i];
    for (size_t side = 0; side < kSideTables; ++side) {
      rows += staged.side_rows[i * kSideTables + side].rows();
    }
    for (size_t table = 0; table < staged.record_tables; ++table) {
      const StagedRecords& records = staged.records[table];
      if (records.database == i) rows += records.rows.rows();
    }
    if (rows == 0) continue;
    rest.received -= rows;
    wal::ArrivedRows arrived{.received = rows};
    (committed ? arrived.stored : arrived.refused) = rows;
    rows_->Arrived(databases[i].name, arrived);
  }
  rows_->Arrived(databases[staged.routed_database].name, rest);
}

void ReceiveMetrics::CountWrite(const StagedWrite& staged, bool committed, RefusalReason why) {
  received_samples_->Increment(staged.samples.received);
  dropped_nan_->Increment(staged.samples_dropped_nan);
  dropped_rule_->Increment(staged.samples.dropped - staged.samples_dropped_nan);
  for (size_t i = 0; i < kRefusalReasons; ++i) {
    if (staged.refused_samples[i] != 0) refused_samples_[i]->Increment(staged.refused_samples[i]);
  }
  if (!committed) {
    refused_samples_[static_cast<size_t>(why)]->Increment(staged.samples.stored);
  } else {
    for (size_t i = 0; i < staged.database_samples.size(); ++i) {
      if (staged.database_samples[i] == 0) continue;
      StoredSamples(staged.rules_used->databases()[i].name)->Increment(staged.database_samples[i]);
    }
    metadata_unchanged_->Increment(staged.metadata_unchanged);
  }
  refused_series_->Increment(staged.refused.size());
  CountKind(histograms_, staged.histograms, committed);
  CountKind(exemplars_, staged.exemplars, committed);
  CountKind(metadata_, staged.metadata, committed);
  CountKind(logs_, staged.logs, committed);
  CountKind(spans_, staged.spans, committed);
  stale_markers_->Increment(staged.stale_markers);
  nans_->Increment(staged.nans);
  positive_infinities_->Increment(staged.positive_infinities);
  negative_infinities_->Increment(staged.negative_infinities);
  decoded_bytes->Increment(staged.decoded_bytes);
  CountRows(staged, committed);
}

}  // namespace forebay::receive
