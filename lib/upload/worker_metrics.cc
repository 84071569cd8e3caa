// What the pool counts.
#include <utility>
#include <vector>

#include "upload/internal/upload_target.h"
#include "upload/worker.h"

namespace forebay::upload {

void UploadPool::AddMetrics() {
  metrics::Registry& registry = parts_.registry;
  damage_ =
      registry.AddCounter("forebay_wal_corrupt_blocks_total",
                          "Damaged places found in segments; the bytes are in the quarantine.");
  dead_lettered_ = registry.AddCounter("forebay_upload_dead_letter_batches_total",
                                       "Batches moved to the dead-letter queue.");
  rejected_rows_ = registry.AddCounter("forebay_upload_rejected_rows_total",
                                       "Rows that a sink refused while it took their batch; they "
                                       "are in the dead letters.");
  row_mismatches_ = registry.AddCounter(
      "forebay_upload_row_mismatch_total",
      "Undamaged batches that gave another number of rows than their segments say.");
  const auto special = [&](const char* kind) {
    return registry.AddCounter("forebay_upload_special_values_total",
                               "Delivered values that are not numbers.", {{"kind", kind}});
  };
  stale_markers_ = special("stale_marker");
  nans_ = special("nan");
  infinities_ = special("infinity");
  quarantine_bytes_ = registry.AddCallback(
      "forebay_quarantine_bytes", "Bytes in the quarantine directory.", metrics::MetricType::kGauge,
      [&quarantine = parts_.quarantine] { return static_cast<double>(quarantine.bytes()); });
  const auto gauge = [&](const char* name, const char* help, auto value) {
    dead_letter_gauges_.push_back(
        registry.AddCallback(name, help, metrics::MetricType::kGauge,
                             [this, value] { return value(dead_letters_.Totals()); }));
  };
  dead_letter_gauges_.push_back(registry.AddCallback(
      "forebay_dead_letter_limit_bytes", "storage.dead_letters_max, or what stands for it.",
      metrics::MetricType::kGauge,
      [this] { return static_cast<double>(dead_letters_.max_bytes()); }));
  dead_letter_gauges_.push_back(registry.AddCallback(
      "forebay_dead_letter_waiting_batches",
      "Refused batches that wait for room among the dead letters.", metrics::MetricType::kGauge,
      [this] { return static_cast<double>(WaitingForRoom()); }));
  dead_letter_gauges_.push_back(registry.AddCallback(
      "forebay_dead_letters_full", "1 while refused batches wait for room among the dead letters.",
      metrics::MetricType::kGauge, [this] { return WaitingForRoom() > 0 ? 1.0 : 0.0; }));
  gauge("forebay_dead_letter_batches", "Batches with dead letters, rows alone included.",
        [](const DeadLetterTotals& totals) { return static_cast<double>(totals.batches); });
  gauge("forebay_dead_letter_bytes", "Bytes of the dead letters' files.",
        [](const DeadLetterTotals& totals) { return static_cast<double>(totals.bytes); });
  gauge("forebay_dead_letter_oldest_age_seconds",
        "Age of the oldest batch among the dead letters; 0: there is none.",
        [&clock = parts_.clock](const DeadLetterTotals& totals) {
          if (!totals.oldest) return 0.0;
          return static_cast<double>(clock.Now().value - totals.oldest->value) / 1000;
        });
}

void UploadPool::AddCounters(Target& target) {
  metrics::Registry& registry = parts_.registry;
  const std::string& sink = target.sink.name();
  const metrics::Labels labels = {{"database", target.database}, {"sink", sink}};
  target.rows = registry.AddCounter("forebay_upload_rows_total", "Rows delivered.", labels);
  const auto bytes = [&](const char* state) {
    return registry.AddCounter("forebay_upload_bytes_total",
                               "Bytes delivered: of the rows as rendered, and as sent or stored.",
                               {{"sink", sink}, {"state", state}});
  };
  target.row_bytes = bytes("rows");
  target.stored_bytes = bytes("compressed");
  target.retries = registry.AddCounter("forebay_upload_retries_total",
                                       "Tries that failed and will be repeated.", labels);
  target.drifts = registry.AddCounter(
      "forebay_schema_drift_batches_total",
      "Batches refused because the table has columns that theirs do not fit.", labels);
  target.concurrency = registry.AddCallback(
      "forebay_upload_concurrency_limit",
      "Batches that the sink may have at once: fewer after an overload, one after an outage.",
      metrics::MetricType::kGauge,
      [&health = target.health, labels]() -> std::vector<metrics::Sample> {
        return {{labels, static_cast<double>(health.status().concurrency_limit)}};
      });
  target.batch_bytes =
      registry.AddHistogram("forebay_upload_batch_bytes", "Size of delivered batches as rows.",
                            metrics::ExponentialBuckets(10e3, 10, 6), labels);
  target.duration = registry.AddHistogram("forebay_upload_duration_seconds",
                                          "Time of a delivery, failed ones included.",
                                          metrics::ExponentialBuckets(0.01, 4, 9), labels);
  for (const wal::BatchReason reason : wal::kBatchReasons) {
    const auto outcome = [&](const char* name) {
      return registry.AddCounter("forebay_upload_batches_total",
                                 "Tries to deliver a batch, by end.",
                                 {{"database", target.database},
                                  {"sink", sink},
                                  {"reason", std::string(Name(reason))},
                                  {"outcome", name}});
    };
    target.outcomes[reason] = {outcome("delivered"), outcome("already_there"), outcome("failed"),
                               outcome("refused")};
  }
}

}  // namespace forebay::upload
