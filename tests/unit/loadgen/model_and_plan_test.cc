#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

#include "loadgen/latency_histogram.h"
#include "loadgen/options.h"
#include "loadgen/plan.h"
#include "loadgen/series_model.h"

using namespace forebay;
using namespace forebay::loadgen;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

namespace {

std::string Key(const SeriesModel& model, uint64_t series, uint32_t generation) {
  std::vector<Label> labels;
  model.Labels(series, generation, labels);
  std::string key;
  for (const Label& label : labels) key += label.name + '=' + label.value + ';';
  return key;
}

// What a table name keeps of a metric name.
std::string LettersAndDigits(std::string name) {
  name.erase(std::remove(name.begin(), name.end(), '_'), name.end());
  return name;
}

LoadOptions Resolved(LoadOptions options) {
  auto resolved = ResolveOptions(std::move(options));
  REQUIRE(resolved.ok());
  return *resolved;
}

}  // namespace

TEST_CASE(
    "series model: every series is distinct, also after churn, and every metric is a table of its "
    "own") {
  const uint32_t shapes[][3] = {{5000, 200, 10}, {5000, 7, 3}, {4000, 4000, 20}, {999, 1, 64}};
  for (const auto& [series, tables, labels] : shapes) {
    const SeriesModel model({series, tables, labels, 0});
    std::set<std::string> keys;
    std::set<std::string> names;
    for (uint64_t i = 0; i < series; ++i) {
      keys.insert(Key(model, i, 0));
      keys.insert(Key(model, i, 1));
      names.insert(LettersAndDigits(model.MetricName(model.Metric(i))));
    }
    CHECK(keys.size() == 2 * series);
    CHECK(names.size() == tables);
  }
}

TEST_CASE("series model: labels are sorted, unique and as many as asked for") {
  for (const uint32_t count : {3U, 7U, 12U, 20U, 40U}) {
    const SeriesModel model({100, 10, count, 0});
    std::vector<Label> labels;
    model.Labels(42, 0, labels);
    REQUIRE(labels.size() == count);
    CHECK(labels[0].name == "__name__");
    for (size_t i = 1; i < labels.size(); ++i) CHECK(labels[i - 1].name < labels[i].name);
    for (const Label& label : labels) CHECK_FALSE(label.value.empty());
  }
}

TEST_CASE("series model: churn replaces the asked share of targets each minute, evenly") {
  const SeriesModel model({100'000, 200, 10, 5});
  REQUIRE(model.targets() == 500);
  uint64_t last = 0;
  for (int minute = 1; minute <= 40; ++minute) {
    uint64_t replacements = 0;
    for (uint64_t t = 0; t < model.targets(); ++t)
      replacements += model.Generation(t, milliseconds(minute * 60'000));
    CHECK(replacements - last == 25);
    last = replacements;
  }
  for (uint64_t t = 0; t < model.targets(); ++t) CHECK(model.Generation(t, milliseconds(0)) == 0);
}

TEST_CASE("plan: a run by samples is rounded up to whole requests and simulated time ends now") {
  LoadOptions options;
  options.series = 5000;
  options.samples = 11'000;
  options.step = milliseconds(15'000);
  const UnixMillis now{1'790'000'000'000};
  const RequestPlan plan(Resolved(options), now);
  CHECK(plan.groups() == 3);
  CHECK(plan.group_series(0) == 2000);
  CHECK(plan.group_series(2) == 1000);
  CHECK(plan.max_requests() == 7);  // two rounds of three and one request of the third
  int64_t time = 0;
  plan.Timestamps(0, now, 0, std::span(&time, 1));
  CHECK(time == now.value - 30'000);
  plan.Timestamps(2, now, 0, std::span(&time, 1));
  CHECK(time == now.value);
}

TEST_CASE(
    "plan: real timestamps rise strictly per series even when requests come faster than the "
    "clock") {
  LoadOptions options;
  options.series = 10;
  options.samples_per_series = 4;
  const RequestPlan plan(Resolved(options), UnixMillis{1'790'000'000'000});
  int64_t last = 0;
  std::vector<int64_t> times(4);
  for (uint64_t round = 0; round < 50; ++round) {
    const UnixMillis now{1'790'000'000'000 + static_cast<int64_t>(round)};
    plan.Timestamps(round, now, last, times);
    for (const int64_t time : times) {
      REQUIRE(time > last);
      last = time;
    }
  }
  plan.Timestamps(50, UnixMillis{1'790'000'060'000}, last, times);
  CHECK(times.front() > last);
  CHECK(times.back() == 1'790'000'060'000);
}

TEST_CASE("plan: requests are due by the samples before them") {
  LoadOptions options;
  options.series = 5000;
  options.rate = 10'000;
  const RequestPlan plan(Resolved(options), UnixMillis{1'790'000'000'000});
  CHECK(plan.Due(0) == nanoseconds(0));
  CHECK(plan.Due(1) == milliseconds(200));
  CHECK(plan.Due(2) == milliseconds(400));
  CHECK(plan.Due(3) == milliseconds(500));  // the third group has 1000 series
}

TEST_CASE("options: what cannot be done is refused by name, and defaults follow the series") {
  const auto refused = [](auto change) {
    LoadOptions options;
    change(options);
    const auto resolved = ResolveOptions(options);
    return !resolved.ok() && resolved.error().code() == ErrorCode::kInvalidArgument;
  };
  CHECK(refused([](LoadOptions& o) { o.series = 0; }));
  CHECK(refused([](LoadOptions& o) { o.tables = 20'000; }));
  CHECK(refused([](LoadOptions& o) { o.labels = 2; }));
  CHECK(refused([](LoadOptions& o) { o.samples_per_series = 1000; }));
  CHECK(refused([](LoadOptions& o) { o.connections = 0; }));
  CHECK(refused([](LoadOptions& o) { o.histogram_share = 1.5; }));
  CHECK(refused([](LoadOptions& o) { o.start = UnixMillis{1}; }));
  CHECK(refused([](LoadOptions& o) { o.tenant = "a\r\nEvil: 1"; }));
  CHECK(refused([](LoadOptions& o) { o.tls.certificate_file = "c.pem"; }));
  LoadOptions options;
  CHECK(Resolved(options).tables == 20);
  options.series = 1'000'000;
  CHECK(Resolved(options).tables == 200);
  options.series = 3;
  CHECK(Resolved(options).tables == 1);
}

TEST_CASE("latency histogram: percentiles are at most 1.6 percent above the exact ones") {
  LatencyHistogram histogram;
  for (int64_t i = 1; i <= 100'000; ++i) histogram.Add(nanoseconds(i * 1000));
  for (const double percent : {1.0, 50.0, 90.0, 99.0, 99.9}) {
    const double exact = percent * 1'000'000;
    const auto got = static_cast<double>(histogram.Percentile(percent).count());
    CHECK(got >= exact);
    CHECK(got <= exact * 1.016);
  }
  CHECK(histogram.Percentile(100) == histogram.max());
  CHECK(histogram.max() == milliseconds(100));
  CHECK(histogram.Mean() == nanoseconds(50'000'500));
}

TEST_CASE("latency histogram: merging equals adding, extremes are kept, empty is zero") {
  LatencyHistogram a;
  LatencyHistogram b;
  CHECK(a.Percentile(99) == nanoseconds(0));
  a.Add(nanoseconds(-5));
  a.Add(nanoseconds(127));
  b.Add(nanoseconds::max());
  b.Add(nanoseconds(128));
  a.Merge(b);
  CHECK(a.count() == 4);
  CHECK(a.Percentile(25) == nanoseconds(0));
  CHECK(a.Percentile(50) == nanoseconds(127));
  CHECK(a.Percentile(75) == nanoseconds(129));  // the bucket holds 128 and 129
  CHECK(a.Percentile(100) == nanoseconds::max());
}
