// What all remote-write decoders of a process share: the series and table registries, the rules in
// force, the metadata seen, table names taken, and the metrics.
// Place: made before the write-ahead log is opened (recovery decodes by it) and before the handler.
// Limits: kMaxNamedTables tables are watched for collisions.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "base/mutex.h"
#include "base/result.h"
#include "receive/metadata_cache.h"
#include "receive/receive_metrics.h"
#include "receive/rules.h"
#include "receive/tenant_limits.h"
#include "table/series_table.h"
#include "table/table_registry.h"

namespace forebay::receive {

// Threads: any. References outlive the state.
class RemoteWriteState {
 public:
  static constexpr size_t kMaxNamedTables = 65'536;

  // rows: see ReceiveMetrics. Errors: those of Rules::Compile.
  static Result<std::unique_ptr<RemoteWriteState>> Create(const config::Config& config,
                                                          table::SeriesTable& series,
                                                          table::TableRegistry& tables,
                                                          metrics::Registry& registry,
                                                          wal::RowAccount* rows = nullptr);

  // Puts the rules of a new configuration in force: remote_write.*, limits.*, tenants.* and
  // databases' rules.
  // Requests that are being decoded finish with the old ones. Errors: those of Rules::Compile; the
  // old rules then stay.
  Status SetRules(const config::Config& config) EXCLUDES(mutex_);

  std::shared_ptr<const Rules> rules() const EXCLUDES(mutex_);
  // Of rules(), without a lock: whoever keeps a copy asks whether it is still good.
  uint64_t rules_version() const { return rules_version_.load(std::memory_order_acquire); }

  // Notes that a metric's rows go to a table; counts when another metric's do already.
  void NoteTable(table::TableId table, std::string_view metric) EXCLUDES(mutex_);

  table::SeriesTable& series() { return series_; }
  table::TableRegistry& tables() { return tables_; }
  MetadataCache& metadata() { return metadata_; }
  ReceiveMetrics& metrics() { return metrics_; }
  TenantLimits& tenants() { return tenants_; }
  uint64_t max_decoded_body() const { return max_decoded_body_.load(std::memory_order_relaxed); }

 private:
  RemoteWriteState(table::SeriesTable& series, table::TableRegistry& tables,
                   metrics::Registry& registry, wal::RowAccount* rows);

  table::SeriesTable& series_;
  table::TableRegistry& tables_;
  MetadataCache metadata_;
  ReceiveMetrics metrics_;
  TenantLimits tenants_;
  std::atomic<uint64_t> rules_version_{0};
  std::atomic<uint64_t> max_decoded_body_{0};  // bytes

  mutable Mutex mutex_;
  std::shared_ptr<const Rules> rules_ GUARDED_BY(mutex_);
  std::unordered_map<table::TableId, std::string> table_metrics_ GUARDED_BY(mutex_);
  std::unordered_set<std::string> collisions_ GUARDED_BY(mutex_);  // metrics that were counted
};

}  // namespace forebay::receive
