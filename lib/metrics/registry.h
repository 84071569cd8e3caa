// The process's own metrics: counters, gauges and histograms with cheap lock-free handles, and
// values asked for at scrape time, written out in Prometheus' text format 0.0.4. Place: one
// Registry per server, given to components by reference; components keep the handles. Limits:
// series are made at start by code, never by input, so their number is bounded by the code;
// callbacks must bound what they return. prometheus-cpp stays in registry.cc.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace forebay::metrics {

// Label names and values, in any order; at most one value per name.
using Labels = std::vector<std::pair<std::string, std::string>>;

// A number of things that only grows. Threads: any, wait-free.
class Counter {
 public:
  void Increment(uint64_t by = 1) { value_.fetch_add(by, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Time spent that only grows, exposed in seconds. Threads: any, wait-free.
class TimeCounter {
 public:
  void Increment(std::chrono::nanoseconds by) {
    if (by.count() > 0)
      nanos_.fetch_add(static_cast<uint64_t>(by.count()), std::memory_order_relaxed);
  }
  std::chrono::nanoseconds value() const {
    return std::chrono::nanoseconds(static_cast<int64_t>(nanos_.load(std::memory_order_relaxed)));
  }

 private:
  std::atomic<uint64_t> nanos_{0};
};

// A value that goes up and down. Threads: any, lock-free.
class Gauge {
 public:
  void Set(double value) { value_.store(value, std::memory_order_relaxed); }
  void Add(double by) { value_.fetch_add(by, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0.0};
};

// Counts of observed values per bucket. Observe: threads any, lock-free; a scrape that runs at the
// same time sees each observation either in its bucket or not yet, and count is always the sum of
// the buckets.
class Histogram {
 public:
  // upper_bounds: finite, strictly increasing, not empty; the +Inf bucket is added.
  explicit Histogram(std::vector<double> upper_bounds);

  void Observe(double value);
  void Observe(std::chrono::nanoseconds value) {
    Observe(std::chrono::duration<double>(value).count());
  }

  std::span<const double> upper_bounds() const { return upper_bounds_; }
  // Not cumulative; index upper_bounds().size() is the +Inf bucket.
  uint64_t bucket_count(size_t index) const {
    return counts_[index].load(std::memory_order_relaxed);
  }
  uint64_t count() const;
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  const std::vector<double> upper_bounds_;
  std::unique_ptr<std::atomic<uint64_t>[]> counts_;  // upper_bounds_.size() + 1
  std::atomic<double> sum_{0.0};
};

// Bucket bounds start, start*factor, ... `count` of them.
std::vector<double> ExponentialBuckets(double start, double factor, int count);

enum class MetricType { kCounter, kGauge };

// One series of a callback.
struct Sample {
  Labels labels;
  double value = 0;
};

// Threads: any. Handles and pointers stay good as long as the registry lives.
// Families: a name has one type and one HELP text, the first one's; adding the same name and labels
// again returns the same handle. Broken rules are programmers' errors and end the process: a bad
// metric or label name, a counter whose name does not end in `_total` (or another type's that
// does), an empty or multi-line help, one name with two types.
class Registry {
 public:
  // A registered callback; destroyed, it is no longer called, and is not running any more.
  // Must not be destroyed by the callback itself.
  class [[nodiscard]] Callback {
   public:
    struct State;
    Callback();
    Callback(Callback&&) noexcept;
    Callback& operator=(Callback&&) noexcept;
    ~Callback();
    explicit Callback(std::shared_ptr<State> state);

   private:
    void Cancel();
    std::shared_ptr<State> state_;
  };

  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  Counter* AddCounter(std::string_view name, std::string_view help, const Labels& labels = {});
  // Exposed in seconds; the name ends in `_seconds_total`.
  TimeCounter* AddTimeCounter(std::string_view name, std::string_view help,
                              const Labels& labels = {});
  Gauge* AddGauge(std::string_view name, std::string_view help, const Labels& labels = {});
  // All series of one name have the bounds of the first.
  Histogram* AddHistogram(std::string_view name, std::string_view help,
                          std::vector<double> upper_bounds, const Labels& labels = {});

  // Calls `collect` at every scrape for the series of `name`. It runs without a lock of the
  // registry, on the scraping thread, one call at a time; it may take the component's locks but
  // must not wait long. A series that an earlier one has already given is left out.
  Callback AddCallback(std::string_view name, std::string_view help, MetricType type,
                       std::function<std::vector<Sample>()> collect);
  // As above, for one series without labels.
  Callback AddCallback(std::string_view name, std::string_view help, MetricType type,
                       std::function<double()> value);

  // Calls `refresh` at the begin of every scrape, before the other callbacks: for what several
  // families take from one snapshot. The same rules as for AddCallback.
  Callback AddRefresh(std::function<void()> refresh);

  // Everything in text format 0.0.4, families by name, series by labels.
  // Content type: "text/plain; version=0.0.4; charset=utf-8".
  std::string Expose() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forebay::metrics
