// The receiver's own metrics. Samples: received = deduplicated + dropped + refused + stored,
// always, where stored is forebay_receive_samples_total over all databases. Place: made once;
// handler and shared state hold it. Limits: series are bounded by the answers, reasons and
// databases there are.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "metrics/registry.h"
#include "receive/refusal.h"
#include "receive/staged_write.h"
#include "wal/journal_format.h"
#include "wal/request_ledger.h"
#include "wal/row_account.h"

namespace forebay::receive {

// Which protocol a request spoke; kUnknown when the negotiation failed.
enum class Protocol : uint8_t { kRemoteWrite1, kRemoteWrite2, kUnknown };
inline constexpr size_t kProtocols = 3;
std::string_view Name(Protocol protocol);

inline Protocol ProtocolOf(wal::RecordKind kind) {
  return kind == wal::RecordKind::kRemoteWrite2 ? Protocol::kRemoteWrite2 : Protocol::kRemoteWrite1;
}

// Threads: any.
class ReceiveMetrics {
 public:
  // rows: the node's account of rows; null: there is none. Both outlive this.
  ReceiveMetrics(metrics::Registry& registry, wal::RowAccount* rows);

  // Counts an answered request. Codes that are not used by the handler are counted as 500.
  void CountRequest(Protocol protocol, int code, std::chrono::nanoseconds duration);
  // Counts what a request came to, once its fate is known. committed: false when the group commit
  // failed, or was not tried; what would have been stored is then counted as refused by `why`.
  void CountWrite(const StagedWrite& staged, bool committed,
                  RefusalReason why = RefusalReason::kCommitFailed);
  // Counts a request that was stored before: what was accepted of it then is received again.
  // database: of the request's tenant.
  void CountDuplicate(const wal::RequestOutcome& outcome, const std::string& database);
  // The same for log records or spans.
  void CountDuplicateLogs(uint64_t records, const std::string& database);
  void CountDuplicateSpans(uint64_t records, const std::string& database);
  // Counts a request that could not be decoded: its rows are in no account.
  void CountUndecodable() { undecodable_requests_->Increment(); }

  metrics::Counter* compressed_bytes;
  metrics::Counter* decoded_bytes;
  metrics::Counter* retried_requests;
  metrics::Counter* concurrent_requests;
  metrics::Counter* slow_requests;
  metrics::Counter* table_name_collisions;
  metrics::Counter* series_resolved;
  // Now; read by the gauges below.
  std::atomic<uint64_t> in_flight_requests{0};
  std::atomic<uint64_t> in_flight_bytes{0};
  std::atomic<uint64_t> in_flight_decoded_bytes{0};

 private:
  static constexpr std::array<int, 7> kCodes = {204, 400, 413, 415, 429, 500, 503};
  metrics::Counter* StoredSamples(const std::string& database) EXCLUDES(mutex_);

  metrics::Registry& registry_;
  wal::RowAccount* const rows_;
  std::array<std::array<metrics::Counter*, kCodes.size()>, kProtocols> requests_{};
  std::array<metrics::Histogram*, kProtocols> duration_{};
  metrics::Counter* duplicate_requests_;
  metrics::Counter* undecodable_requests_;
  metrics::Counter* received_samples_;
  metrics::Counter* deduplicated_samples_;
  metrics::Counter* dropped_rule_;
  metrics::Counter* dropped_nan_;
  std::array<metrics::Counter*, kRefusalReasons> refused_samples_{};
  metrics::Counter* refused_series_;
  struct Kind {
    metrics::Counter* received;
    metrics::Counter* stored;
    metrics::Counter* dropped;
    metrics::Counter* refused;
    metrics::Counter* deduplicated;
  };
  Kind MakeKind(const std::string& name, const std::string& what);
  static void CountKind(const Kind& kind, const ItemCounts& counts, bool committed);
  void CountRows(const StagedWrite& staged, bool committed);
  void CountDuplicateRecords(const Kind& kind, uint64_t records, const std::string& database);
  Kind histograms_;
  Kind exemplars_;
  Kind metadata_;
  Kind logs_;
  Kind spans_;
  metrics::Counter* metadata_unchanged_;
  metrics::Counter* stale_markers_;
  metrics::Counter* nans_;
  metrics::Counter* positive_infinities_;
  metrics::Counter* negative_infinities_;
  metrics::Registry::Callback requests_gauge_;
  metrics::Registry::Callback bytes_gauge_;
  metrics::Registry::Callback decoded_gauge_;

  Mutex mutex_;
  std::map<std::string, metrics::Counter*, std::less<>> stored_samples_ GUARDED_BY(mutex_);
};

}  // namespace forebay::receive
