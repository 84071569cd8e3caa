// What each tenant may send: requests, samples and bytes a second, and series. The tenant is the
// value of remote_write.tenant_header; requests without it are the tenant "".
// Place: RemoteWriteState owns it; the handler asks before a body is read, and says afterwards what
// was in it. Limits: config tenants.max tenants are followed; when all of these are busy, further
// ones share one bucket. kMaxTenantLabels tenants have counters of their own. Without any limit
// configured it costs one load of a flag.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "config/config.h"
#include "metrics/registry.h"
#include "receive/token_bucket.h"
#include "table/series_table.h"

namespace forebay::receive {

// A refusal of a whole request: 429.
struct TenantRefusal {
  std::chrono::milliseconds retry_after{0};
  std::string text;
};

// Threads: any. Tenants are spread over shards with a mutex each, so that io threads seldom meet.
class TenantLimits {
 public:
  static constexpr size_t kMaxTenantLabels = 100;

  TenantLimits(table::SeriesTable& series, metrics::Registry& registry);
  ~TenantLimits();

  // Puts `tenants` and the header's name in force; what tenants have used so far stays.
  void Configure(const config::Config& config) EXCLUDES(mutex_);

  // False: no tenant has a limit, and nothing below needs to be asked.
  bool enabled() const { return settings() != nullptr; }
  // remote_write.tenant_header. Good while this object lives. Only when enabled.
  std::string_view header() const;

  // Takes one request and its bytes, when the tenant has them, and any sample at all, left.
  std::optional<TenantRefusal> Admit(std::string_view tenant, uint64_t bytes, MonotonicTime now);
  // Takes what turned out to be in an admitted request, into debt if need be.
  void Charge(std::string_view tenant, uint64_t samples, uint64_t bytes, MonotonicTime now);

  // Whose the new series of a request are, for SeriesTable::Add.
  struct SeriesQuota {
    table::SeriesOwner owner = table::kNoOwner;
    uint64_t max = UINT64_MAX;
  };
  SeriesQuota QuotaOf(std::string_view tenant, MonotonicTime now);

  // Tenants followed now.
  uint64_t size() const { return tenants_.load(std::memory_order_relaxed); }

 private:
  struct Settings;
  struct Tenant;
  struct Shard;
  struct Rates;
  enum Limit : uint8_t { kRequests, kSamples, kBytes };
  static constexpr size_t kLimits = 3;
  static constexpr size_t kShards = 64;

  const Settings* settings() const { return settings_.load(std::memory_order_acquire); }
  // Calls visit(Tenant&) under the shard's mutex; not at all for a tenant without limits.
  template <typename Visitor>
  void With(std::string_view tenant, MonotonicTime now, const Visitor& visit);
  table::SeriesOwner TakeOwner() EXCLUDES(mutex_);
  void GiveBackOwner(table::SeriesOwner owner) EXCLUDES(mutex_);
  using RefusalCounters = std::array<metrics::Counter*, kLimits>;
  RefusalCounters CountersOf(std::string_view tenant) EXCLUDES(mutex_);

  table::SeriesTable& series_;
  metrics::Registry& registry_;
  std::atomic<const Settings*> settings_{nullptr};  // null: no limits
  std::array<std::unique_ptr<Shard>, kShards> shards_;
  std::unique_ptr<Shard> overflow_;  // one tenant for all that have no place
  std::atomic<uint64_t> tenants_{0};
  metrics::Counter* overflow_requests_;
  metrics::Registry::Callback tenants_gauge_;

  // Taken under a shard's mutex.
  Mutex mutex_;
  // All that were ever in force, since readers take no lock; one per reload that changed them.
  std::vector<std::unique_ptr<const Settings>> history_ GUARDED_BY(mutex_);
  std::vector<table::SeriesOwner> free_owners_ GUARDED_BY(mutex_);
  table::SeriesOwner next_owner_ GUARDED_BY(mutex_) = table::kNoOwner + 1;
  std::map<std::string, RefusalCounters, std::less<>> refused_ GUARDED_BY(mutex_);
};

}  // namespace forebay::receive
