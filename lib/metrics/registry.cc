#include "metrics/registry.h"

#include <prometheus/check_names.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <sstream>
#include <variant>

#include "base/check.h"
#include "base/mutex.h"

namespace forebay::metrics {
namespace {

using PromLabels = std::vector<prometheus::ClientMetric::Label>;

enum class FamilyType { kCounter, kTimeCounter, kGauge, kHistogram };

constexpr double kNanosPerSecond = 1e9;

// Sorted by name and checked.
Labels Normalise(const Labels& labels, FamilyType type) {
  Labels sorted = labels;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size(); ++i) {
    FOREBAY_CHECK(prometheus::CheckLabelName(sorted[i].first));
    FOREBAY_CHECK(type != FamilyType::kHistogram || sorted[i].first != "le");
    FOREBAY_CHECK(i == 0 || sorted[i - 1].first != sorted[i].first);
  }
  return sorted;
}

PromLabels ToPrometheus(const Labels& labels) {
  PromLabels converted;
  converted.reserve(labels.size());
  for (const auto& [name, value] : labels) converted.push_back({name, value});
  return converted;
}

prometheus::MetricType ToPrometheus(FamilyType type) {
  switch (type) {
    case FamilyType::kCounter:
    case FamilyType::kTimeCounter:
      return prometheus::MetricType::Counter;
    case FamilyType::kGauge:
      return prometheus::MetricType::Gauge;
    case FamilyType::kHistogram:
      return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Untyped;
}

prometheus::ClientMetric Collect(const Counter& counter) {
  prometheus::ClientMetric metric;
  metric.counter.value = static_cast<double>(counter.value());
  return metric;
}

prometheus::ClientMetric Collect(const TimeCounter& counter) {
  prometheus::ClientMetric metric;
  metric.counter.value = static_cast<double>(counter.value().count()) / kNanosPerSecond;
  return metric;
}

prometheus::ClientMetric Collect(const Gauge& gauge) {
  prometheus::ClientMetric metric;
  metric.gauge.value = gauge.value();
  return metric;
}

prometheus::ClientMetric Collect(const Histogram& histogram) {
  prometheus::ClientMetric metric;
  metric.histogram.sample_sum = histogram.sum();
  uint64_t cumulative = 0;
  const std::span<const double> bounds = histogram.upper_bounds();
  for (size_t i = 0; i <= bounds.size(); ++i) {
    cumulative += histogram.bucket_count(i);
    const double bound = i < bounds.size() ? bounds[i] : std::numeric_limits<double>::infinity();
    metric.histogram.bucket.push_back({cumulative, bound});
  }
  metric.histogram.sample_count = cumulative;
  return metric;
}

using Series = std::variant<std::unique_ptr<Counter>, std::unique_ptr<TimeCounter>,
                            std::unique_ptr<Gauge>, std::unique_ptr<Histogram>>;

}  // namespace

// What a callback and its handle share. `collect` is empty once the handle is gone.
struct Registry::Callback::State {
  Mutex mutex;  // held while `collect` runs, so that Cancel waits for it
  std::function<std::vector<Sample>()> collect GUARDED_BY(mutex);
};

namespace {

struct Family {
  std::string help;
  FamilyType type;
  std::map<Labels, Series> series;
  std::vector<std::weak_ptr<Registry::Callback::State>> callbacks;
};

// What Expose needs of a family after the registry's lock is released.
struct Snapshot {
  prometheus::MetricFamily family;
  std::vector<std::shared_ptr<Registry::Callback::State>> callbacks;
};

void AppendCallbackSeries(Registry::Callback::State& state, prometheus::MetricFamily& family) {
  std::vector<Sample> samples;
  {
    MutexLock lock(state.mutex);
    if (state.collect) samples = state.collect();
  }
  const bool counter = family.type == prometheus::MetricType::Counter;
  for (const Sample& sample : samples) {
    prometheus::ClientMetric metric;
    metric.label = ToPrometheus(Normalise(sample.labels, FamilyType::kGauge));
    (counter ? metric.counter.value : metric.gauge.value) = sample.value;
    family.metric.push_back(std::move(metric));
  }
}

// Orders by labels; of equal ones the first stays.
void SortAndDeduplicate(std::vector<prometheus::ClientMetric>& metrics) {
  std::stable_sort(metrics.begin(), metrics.end(),
                   [](const auto& a, const auto& b) { return a.label < b.label; });
  const auto end = std::unique(metrics.begin(), metrics.end(),
                               [](const auto& a, const auto& b) { return a.label == b.label; });
  metrics.erase(end, metrics.end());
}

}  // namespace

Histogram::Histogram(std::vector<double> upper_bounds)
    : upper_bounds_(std::move(upper_bounds)),
      counts_(std::make_unique<std::atomic<uint64_t>[]>(upper_bounds_.size() + 1)) {
  FOREBAY_CHECK(!upper_bounds_.empty());
  for (size_t i = 0; i < upper_bounds_.size(); ++i) {
    FOREBAY_CHECK(std::isfinite(upper_bounds_[i]));
    FOREBAY_CHECK(i == 0 || upper_bounds_[i - 1] < upper_bounds_[i]);
  }
}

void Histogram::Observe(double value) {
  // NaN compares false with every bound and so lands in +Inf, as in Prometheus' own client.
  size_t index = 0;
  while (index < upper_bounds_.size() && !(value <= upper_bounds_[index])) ++index;
  counts_[index].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

uint64_t Histogram::count() const {
  uint64_t total = 0;
  for (size_t i = 0; i <= upper_bounds_.size(); ++i) total += bucket_count(i);
  return total;
}

std::vector<double> ExponentialBuckets(double start, double factor, int count) {
  FOREBAY_CHECK(start > 0 && factor > 1 && count > 0);
  std::vector<double> bounds;
  bounds.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    bounds.push_back(start);
    start *= factor;
  }
  return bounds;
}

Registry::Callback::Callback() = default;
Registry::Callback::Callback(std::shared_ptr<State> state) : state_(std::move(state)) {}
Registry::Callback::Callback(Callback&&) noexcept = default;

Registry::Callback& Registry::Callback::operator=(Callback&& other) noexcept {
  if (this != &other) {
    Cancel();
    state_ = std::move(other.state_);
  }
  return *this;
}

Registry::Callback::~Callback() { Cancel(); }

void Registry::Callback::Cancel() {
  if (state_ == nullptr) return;
  {
    MutexLock lock(state_->mutex);
    state_->collect = nullptr;
  }
  state_.reset();
}

struct Registry::Impl {
  mutable Mutex mutex;
  std::map<std::string, Family, std::less<>> families GUARDED_BY(mutex);
  std::vector<std::weak_ptr<Callback::State>> refreshes GUARDED_BY(mutex);

  Family& FindOrAdd(std::string_view name, std::string_view help, FamilyType type) REQUIRES(mutex) {
    const auto found = families.find(name);
    if (found != families.end()) {
      FOREBAY_CHECK(found->second.type == type);
      return found->second;
    }
    FOREBAY_CHECK(prometheus::CheckMetricName(std::string(name)));
    const bool counts = type == FamilyType::kCounter || type == FamilyType::kTimeCounter;
    FOREBAY_CHECK(name.ends_with("_total") == counts);
    FOREBAY_CHECK(type != FamilyType::kTimeCounter || name.ends_with("_seconds_total"));
    // The text format escapes these two in HELP, prometheus-cpp does not.
    FOREBAY_CHECK(!help.empty() && help.find_first_of("\n\\") == std::string_view::npos);
    return families.emplace(std::string(name), Family{std::string(help), type, {}, {}})
        .first->second;
  }

  // The handle of name and labels, made by `make` when new.
  template <typename T, typename Make>
  T* FindOrAddSeries(std::string_view name, std::string_view help, FamilyType type,
                     const Labels& labels, Make make) EXCLUDES(mutex) {
    Labels key = Normalise(labels, type);
    MutexLock lock(mutex);
    Family& family = FindOrAdd(name, help, type);
    const auto found = family.series.find(key);
    if (found != family.series.end()) return std::get<std::unique_ptr<T>>(found->second).get();
    std::unique_ptr<T> made = make(family);
    T* handle = made.get();
    family.series.emplace(std::move(key), std::move(made));
    return handle;
  }

  std::vector<Snapshot> TakeSnapshots() EXCLUDES(mutex);
  std::vector<std::shared_ptr<Callback::State>> TakeRefreshes() EXCLUDES(mutex);
};

std::vector<std::shared_ptr<Registry::Callback::State>> Registry::Impl::TakeRefreshes() {
  MutexLock lock(mutex);
  std::vector<std::shared_ptr<Callback::State>> taken;
  std::erase_if(refreshes, [&taken](const auto& weak) {
    std::shared_ptr<Callback::State> state = weak.lock();
    if (state == nullptr) return true;
    taken.push_back(std::move(state));
    return false;
  });
  return taken;
}

std::vector<Snapshot> Registry::Impl::TakeSnapshots() {
  MutexLock lock(mutex);
  std::vector<Snapshot> snapshots;
  snapshots.reserve(families.size());
  for (auto& [name, family] : families) {
    Snapshot snapshot;
    snapshot.family.name = name;
    snapshot.family.help = family.help;
    snapshot.family.type = ToPrometheus(family.type);
    for (const auto& [labels, series] : family.series) {
      prometheus::ClientMetric metric =
          std::visit([](const auto& handle) { return Collect(*handle); }, series);
      metric.label = ToPrometheus(labels);
      snapshot.family.metric.push_back(std::move(metric));
    }
    std::erase_if(family.callbacks, [&snapshot](const auto& weak) {
      std::shared_ptr<Callback::State> state = weak.lock();
      if (state == nullptr) return true;
      snapshot.callbacks.push_back(std::move(state));
      return false;
    });
    snapshots.push_back(std::move(snapshot));
  }
  return snapshots;
}

Registry::Registry() : impl_(std::make_unique<Impl>()) {}
Registry::~Registry() = default;

Counter* Registry::AddCounter(std::string_view name, std::string_view help, const Labels& labels) {
  return impl_->FindOrAddSeries<Counter>(name, help, FamilyType::kCounter, labels,
                                         [](const Family&) { return std::make_unique<Counter>(); });
}

TimeCounter* Registry::AddTimeCounter(std::string_view name, std::string_view help,
                                      const Labels& labels) {
  return impl_->FindOrAddSeries<TimeCounter>(
      name, help, FamilyType::kTimeCounter, labels,
      [](const Family&) { return std::make_unique<TimeCounter>(); });
}

Gauge* Registry::AddGauge(std::string_view name, std::string_view help, const Labels& labels) {
  return impl_->FindOrAddSeries<Gauge>(name, help, FamilyType::kGauge, labels,
                                       [](const Family&) { return std::make_unique<Gauge>(); });
}

Histogram* Registry::AddHistogram(std::string_view name, std::string_view help,
                                  std::vector<double> upper_bounds, const Labels& labels) {
  return impl_->FindOrAddSeries<Histogram>(
      name, help, FamilyType::kHistogram, labels, [&upper_bounds](const Family& family) {
        if (family.series.empty()) return std::make_unique<Histogram>(std::move(upper_bounds));
        const auto& first =
            std::get<std::unique_ptr<Histogram>>(family.series.begin()->second)->upper_bounds();
        return std::make_unique<Histogram>(std::vector<double>(first.begin(), first.end()));
      });
}

Registry::Callback Registry::AddCallback(std::string_view name, std::string_view help,
                                         MetricType type,
                                         std::function<std::vector<Sample>()> collect) {
  auto state = std::make_shared<Callback::State>();
  {
    MutexLock lock(state->mutex);
    state->collect = std::move(collect);
  }
  const FamilyType family_type =
      type == MetricType::kCounter ? FamilyType::kCounter : FamilyType::kGauge;
  MutexLock lock(impl_->mutex);
  impl_->FindOrAdd(name, help, family_type).callbacks.push_back(state);
  return Callback(std::move(state));
}

Registry::Callback Registry::AddCallback(std::string_view name, std::string_view help,
                                         MetricType type, std::function<double()> value) {
  return AddCallback(name, help, type, [value = std::move(value)] {
    return std::vector<Sample>{{{}, value()}};
  });
}

Registry::Callback Registry::AddRefresh(std::function<void()> refresh) {
  auto state = std::make_shared<Callback::State>();
  {
    MutexLock lock(state->mutex);
    state->collect = [refresh = std::move(refresh)] {
      refresh();
      return std::vector<Sample>{};
    };
  }
  MutexLock lock(impl_->mutex);
  impl_->refreshes.push_back(state);
  return Callback(std::move(state));
}

std::string Registry::Expose() const {
  for (const auto& state : impl_->TakeRefreshes()) {
    MutexLock lock(state->mutex);
    if (state->collect) (void)state->collect();
  }
  std::vector<prometheus::MetricFamily> families;
  for (Snapshot& snapshot : impl_->TakeSnapshots()) {
    for (const auto& state : snapshot.callbacks) AppendCallbackSeries(*state, snapshot.family);
    if (snapshot.family.metric.empty()) continue;
    SortAndDeduplicate(snapshot.family.metric);
    families.push_back(std::move(snapshot.family));
  }
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, families);
  return std::move(text).str();
}

}  // namespace forebay::metrics
