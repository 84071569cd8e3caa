#include "receive/tenant_limits.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "receive/refusal.h"

namespace forebay::receive {
namespace {

constexpr size_t kMaxTenantText = 64;  // bytes of a tenant's name in labels and answers
constexpr std::chrono::minutes kLogEvery{1};
constexpr std::string_view kOtherTenants = "(others)";

struct Hash {
  // NOLINTNEXTLINE(readability-identifier-naming): the name that the library looks for
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

TokenRate RateOf(uint64_t per_second, uint64_t burst) {
  return {per_second, burst != 0 ? burst : per_second};
}

bool AnyLimit(const config::TenantLimits& limits) {
  return limits.requests_per_second != 0 || limits.samples_per_second != 0 ||
         limits.bytes_per_second.value != 0 || limits.series_max != 0;
}

bool Same(const config::TenantLimits& a, const config::TenantLimits& b) {
  return a.requests_per_second == b.requests_per_second && a.requests_burst == b.requests_burst &&
         a.samples_per_second == b.samples_per_second && a.samples_burst == b.samples_burst &&
         a.bytes_per_second == b.bytes_per_second && a.bytes_burst == b.bytes_burst &&
         a.series_max == b.series_max;
}

}  // namespace

struct TenantLimits::Rates {
  explicit Rates(const config::TenantLimits& limits)
      : requests(RateOf(limits.requests_per_second, limits.requests_burst)),
        samples(RateOf(limits.samples_per_second, limits.samples_burst)),
        bytes(RateOf(limits.bytes_per_second.value, limits.bytes_burst.value)),
        series_max(limits.series_max),
        any(AnyLimit(limits)) {}
  TokenRate requests;
  TokenRate samples;
  TokenRate bytes;
  uint64_t series_max = 0;
  bool any = false;
};

// Immutable.
struct TenantLimits::Settings {
  explicit Settings(const config::Config& config)
      : source(config.tenants), header(config.remote_write.tenant_header), standard(source.limits) {
    for (const config::TenantOverride& one : source.overrides) {
      overrides.emplace(one.name, Rates(one.limits));
    }
  }
  const Rates& RatesOf(std::string_view tenant) const {
    if (overrides.empty()) return standard;
    const auto found = overrides.find(tenant);
    return found == overrides.end() ? standard : found->second;
  }
  bool any() const {
    return standard.any || std::any_of(overrides.begin(), overrides.end(),
                                       [](const auto& one) { return one.second.any; });
  }
  bool SameAs(const Settings& other) const {
    const auto same = [](const config::TenantOverride& a, const config::TenantOverride& b) {
      return a.name == b.name && Same(a.limits, b.limits);
    };
    return header == other.header && source.max == other.source.max &&
           Same(source.limits, other.source.limits) &&
           std::equal(source.overrides.begin(), source.overrides.end(),
                      other.source.overrides.begin(), other.source.overrides.end(), same);
  }

  const config::Tenants source;
  const std::string header;
  const Rates standard;
  std::unordered_map<std::string, Rates, Hash, std::equal_to<>> overrides;
};

struct TenantLimits::Tenant {
  std::string name;
  const Settings* settings = nullptr;  // that `rates` is from
  const Rates* rates = nullptr;
  table::SeriesOwner owner = table::kNoOwner;
  std::array<TokenBucket, kLimits> buckets;
  RefusalCounters refused{};  // null until the first refusal
  MonotonicTime next_log{};   // the log names the tenant once a minute

  bool IsIdle(MonotonicTime now) const {
    return std::all_of(buckets.begin(), buckets.end(),
                       [now](const TokenBucket& bucket) { return bucket.IsFull(now); });
  }
};

struct TenantLimits::Shard {
  // Null: there is no place for one more.
  Tenant* FindOrAdd(TenantLimits& all, const Settings& settings, std::string_view name,
                    MonotonicTime now) REQUIRES(mutex);
  // Forgets tenants that are as good as new.
  bool MakeRoom(TenantLimits& all, MonotonicTime now) REQUIRES(mutex);

  Mutex mutex;
  std::unordered_map<std::string, Tenant, Hash, std::equal_to<>> tenants GUARDED_BY(mutex);
};

TenantLimits::TenantLimits(table::SeriesTable& series, metrics::Registry& registry)
    : series_(series), registry_(registry), overflow_(std::make_unique<Shard>()) {
  for (auto& shard : shards_) shard = std::make_unique<Shard>();
  overflow_requests_ =
      registry.AddCounter("forebay_receive_tenant_overflow_requests_total",
                          "Requests of tenants beyond tenants.max, which share one limit.");
  tenants_gauge_ = registry.AddCallback(
      "forebay_receive_tenants", "Tenants whose limits are followed.", metrics::MetricType::kGauge,
      [this] { return static_cast<double>(size()); });
}

TenantLimits::~TenantLimits() = default;

void TenantLimits::Configure(const config::Config& config) {
  auto fresh = std::make_unique<const Settings>(config);
  MutexLock lock(mutex_);
  if (!fresh->any()) {
    settings_.store(nullptr, std::memory_order_release);
    return;
  }
  if (history_.empty() || !history_.back()->SameAs(*fresh)) history_.push_back(std::move(fresh));
  settings_.store(history_.back().get(), std::memory_order_release);
}

std::string_view TenantLimits::header() const {
  const Settings* now = settings();
  return now == nullptr ? std::string_view() : std::string_view(now->header);
}

table::SeriesOwner TenantLimits::TakeOwner() {
  MutexLock lock(mutex_);
  if (free_owners_.empty()) return next_owner_++;
  const table::SeriesOwner owner = free_owners_.back();
  free_owners_.pop_back();
  return owner;
}

void TenantLimits::GiveBackOwner(table::SeriesOwner owner) {
  MutexLock lock(mutex_);
  free_owners_.push_back(owner);
}

bool TenantLimits::Shard::MakeRoom(TenantLimits& all, MonotonicTime now) {
  bool room = false;
  for (auto at = tenants.begin(); at != tenants.end();) {
    const Tenant& tenant = at->second;
    if (!tenant.IsIdle(now) || all.series_.OwnerSize(tenant.owner) != 0) {
      ++at;
      continue;
    }
    all.GiveBackOwner(tenant.owner);
    at = tenants.erase(at);
    all.tenants_.fetch_sub(1, std::memory_order_relaxed);
    room = true;
  }
  return room;
}

TenantLimits::Tenant* TenantLimits::Shard::FindOrAdd(TenantLimits& all, const Settings& settings,
                                                     std::string_view name, MonotonicTime now) {
  auto found = tenants.find(name);
  if (found == tenants.end()) {
    const bool shared = this == all.overflow_.get();
    if (!shared && all.size() >= settings.source.max && !MakeRoom(all, now)) return nullptr;
    found = tenants.try_emplace(std::string(name)).first;
    found->second.name = name;
    found->second.owner = all.TakeOwner();
    if (!shared) all.tenants_.fetch_add(1, std::memory_order_relaxed);
  }
  Tenant& tenant = found->second;
  if (tenant.settings != &settings) {
    tenant.settings = &settings;
    tenant.rates = &settings.RatesOf(name);
  }
  return &tenant;
}

template <typename Visitor>
void TenantLimits::With(std::string_view tenant, MonotonicTime now, const Visitor& visit) {
  const Settings* settings = this->settings();
  if (settings == nullptr || !settings->RatesOf(tenant).any) return;
  {
    Shard& shard = *shards_[Hash()(tenant) % kShards];
    MutexLock lock(shard.mutex);
    if (Tenant* found = shard.FindOrAdd(*this, *settings, tenant, now)) return visit(*found);
  }
  MutexLock lock(overflow_->mutex);
  visit(*overflow_->FindOrAdd(*this, *settings, kOtherTenants, now));
}

TenantLimits::RefusalCounters TenantLimits::CountersOf(std::string_view tenant) {
  MutexLock lock(mutex_);
  auto found = refused_.find(tenant);
  if (found != refused_.end()) return found->second;
  if (refused_.size() >= kMaxTenantLabels) tenant = kOtherTenants;
  found = refused_.try_emplace(std::string(tenant)).first;
  constexpr std::array<const char*, kLimits> kNames = {"requests", "samples", "bytes"};
  for (size_t i = 0; i < kLimits; ++i) {
    found->second[i] =
        registry_.AddCounter("forebay_receive_tenant_refused_requests_total",
                             "Requests answered 429 since their tenant was above a limit.",
                             {{"tenant", Printable(tenant, kMaxTenantText)}, {"limit", kNames[i]}});
  }
  return found->second;
}

std::optional<TenantRefusal> TenantLimits::Admit(std::string_view tenant, uint64_t bytes,
                                                 MonotonicTime now) {
  std::optional<TenantRefusal> refusal;
  bool log = false;
  With(tenant, now, [&](Tenant& state) {
    if (state.name != tenant) overflow_requests_->Increment();
    const Rates& rates = *state.rates;
    struct Asked {
      const TokenRate& rate;
      uint64_t tokens;
      const char* name;
    };
    const std::array<Asked, kLimits> asked = {{{rates.requests, 1, "requests_per_second"},
                                               {rates.samples, 1, "samples_per_second"},
                                               {rates.bytes, bytes, "bytes_per_second"}}};
    for (const Limit limit : {kRequests, kSamples, kBytes}) {
      const auto wait = state.buckets[limit].Wait(asked[limit].rate, asked[limit].tokens, now);
      if (wait.count() == 0) continue;
      if (state.refused[limit] == nullptr) state.refused = CountersOf(state.name);
      state.refused[limit]->Increment();
      refusal.emplace();
      refusal->retry_after = std::chrono::ceil<std::chrono::milliseconds>(wait);
      refusal->text = fmt::format(
          "tenant \"{}\" sends more than tenants {} allows ({}); send again later",
          Printable(state.name, kMaxTenantText), asked[limit].name, asked[limit].rate.per_second);
      log = now >= state.next_log;
      if (log) state.next_log = now + kLogEvery;
      return;
    }
    // Samples are known when the body is decoded.
    state.buckets[kRequests].Take(rates.requests, 1, now);
    state.buckets[kBytes].Take(rates.bytes, bytes, now);
  });
  if (log) {
    LogWarn("requests of a tenant are refused for its limits",
            {{"tenant", Printable(tenant, kMaxTenantText)}, {"reason", refusal->text}});
  }
  return refusal;
}

void TenantLimits::Charge(std::string_view tenant, uint64_t samples, uint64_t bytes,
                          MonotonicTime now) {
  With(tenant, now, [&](Tenant& state) {
    state.buckets[kSamples].Take(state.rates->samples, samples, now);
    if (bytes != 0) state.buckets[kBytes].Take(state.rates->bytes, bytes, now);
  });
}

TenantLimits::SeriesQuota TenantLimits::QuotaOf(std::string_view tenant, MonotonicTime now) {
  SeriesQuota quota;
  With(tenant, now, [&](Tenant& state) {
    if (state.rates->series_max == 0) return;
    quota = {state.owner, state.rates->series_max};
  });
  return quota;
}

}  // namespace forebay::receive
