#include "metrics/registry.h"

#include <limits>
#include <stop_token>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

#include "metrics/process.h"
#include "support/death.h"

namespace forebay::metrics {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("registry: counter, gauge and histogram are written in text format, families by name") {
  Registry registry;
  registry.AddGauge("forebay_queue_items", "Items queued.")->Set(2.5);
  registry.AddCounter("forebay_requests_total", "Requests.", {{"code", "204"}})->Increment(3);
  registry.AddCounter("forebay_requests_total", "Requests.", {{"code", "200"}})->Increment();
  Histogram* latency = registry.AddHistogram("forebay_latency_seconds", "Latency.", {0.5, 1});
  latency->Observe(0.5);
  latency->Observe(0.75);
  latency->Observe(8);
  CHECK(registry.Expose() ==
        "# HELP forebay_latency_seconds Latency.\n"
        "# TYPE forebay_latency_seconds histogram\n"
        "forebay_latency_seconds_count 3\n"
        "forebay_latency_seconds_sum 9.25\n"
        "forebay_latency_seconds_bucket{le=\"0.5\"} 1\n"
        "forebay_latency_seconds_bucket{le=\"1\"} 2\n"
        "forebay_latency_seconds_bucket{le=\"+Inf\"} 3\n"
        "# HELP forebay_queue_items Items queued.\n"
        "# TYPE forebay_queue_items gauge\n"
        "forebay_queue_items 2.5\n"
        "# HELP forebay_requests_total Requests.\n"
        "# TYPE forebay_requests_total counter\n"
        "forebay_requests_total{code=\"200\"} 1\n"
        "forebay_requests_total{code=\"204\"} 3\n");
}

TEST_CASE("registry: label values with quotes, backslashes and newlines are escaped") {
  Registry registry;
  registry.AddGauge("g", "Help.", {{"a", "x\"y\\z\nw"}})->Set(1);
  CHECK_THAT(registry.Expose(), Contains("g{a=\"x\\\"y\\\\z\\nw\"} 1\n"));
}

TEST_CASE("registry: the same name and labels in any order give the same handle") {
  Registry registry;
  Counter* first = registry.AddCounter("a_total", "Help.", {{"x", "1"}, {"y", "2"}});
  CHECK(first == registry.AddCounter("a_total", "Other help.", {{"y", "2"}, {"x", "1"}}));
  CHECK(first != registry.AddCounter("a_total", "Help.", {{"x", "1"}}));
  CHECK_THAT(registry.Expose(), Contains("# HELP a_total Help.\n"));
  CHECK_THAT(registry.Expose(), !Contains("Other"));
}

TEST_CASE("registry: a time counter is exposed in seconds and never goes back") {
  Registry registry;
  TimeCounter* spent = registry.AddTimeCounter("fsync_seconds_total", "Time in fsync.");
  spent->Increment(std::chrono::milliseconds(1500));
  spent->Increment(std::chrono::nanoseconds(-5));
  CHECK(spent->value() == std::chrono::milliseconds(1500));
  CHECK_THAT(registry.Expose(), Contains("fsync_seconds_total 1.5\n"));
}

TEST_CASE("registry: large counts are written without an exponent or rounding") {
  Registry registry;
  registry.AddCounter("bytes_total", "Bytes.")->Increment(1'234'567'890'123'456);
  CHECK_THAT(registry.Expose(), Contains("bytes_total 1234567890123456\n"));
}

TEST_CASE("registry: special gauge values are written as Prometheus reads them") {
  Registry registry;
  const auto text_of = [&](double value) {
    registry.AddGauge("g", "Help.")->Set(value);
    return registry.Expose();
  };
  CHECK_THAT(text_of(std::numeric_limits<double>::infinity()), Contains("\ng +Inf\n"));
  CHECK_THAT(text_of(-std::numeric_limits<double>::infinity()), Contains("\ng -Inf\n"));
  CHECK_THAT(text_of(std::numeric_limits<double>::quiet_NaN()), Contains("\ng Nan\n"));
}

TEST_CASE("registry: gauges add from several threads without loss") {
  Registry registry;
  Gauge* gauge = registry.AddGauge("g", "Help.");
  Counter* counter = registry.AddCounter("c_total", "Help.");
  Histogram* histogram = registry.AddHistogram("h", "Help.", {10});
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i) {
          gauge->Add(1);
          counter->Increment();
          histogram->Observe(2.0);
        }
      });
    }
  }
  CHECK(gauge->value() == 4000);
  CHECK(counter->value() == 4000);
  CHECK(histogram->count() == 4000);
  CHECK(histogram->sum() == 8000);
}

TEST_CASE("registry: a callback is asked at each scrape and no more after its handle is gone") {
  Registry registry;
  int calls = 0;
  {
    const Registry::Callback callback =
        registry.AddCallback("forebay_tables", "Tables.", MetricType::kGauge, [&calls] {
          ++calls;
          return std::vector<Sample>{{{{"db", "b"}}, 2}, {{{"db", "a"}}, 1}, {{{"db", "b"}}, 9}};
        });
    CHECK(registry.Expose() ==
          "# HELP forebay_tables Tables.\n"
          "# TYPE forebay_tables gauge\n"
          "forebay_tables{db=\"a\"} 1\n"
          "forebay_tables{db=\"b\"} 2\n");
    CHECK(calls == 1);
  }
  CHECK(registry.Expose().empty());
  CHECK(calls == 1);
}

TEST_CASE("registry: callbacks and handles of one family share its HELP and TYPE lines") {
  Registry registry;
  registry.AddCounter("a_total", "Help.", {{"x", "own"}})->Increment(1);
  const auto one = registry.AddCallback("a_total", "Help.", MetricType::kCounter, [] {
    return std::vector<Sample>{{{{"x", "one"}}, 2}};
  });
  const auto two = registry.AddCallback("a_total", "Help.", MetricType::kCounter, [] {
    return std::vector<Sample>{{{{"x", "two"}}, 3}};
  });
  CHECK(registry.Expose() ==
        "# HELP a_total Help.\n"
        "# TYPE a_total counter\n"
        "a_total{x=\"one\"} 2\n"
        "a_total{x=\"own\"} 1\n"
        "a_total{x=\"two\"} 3\n");
}

TEST_CASE("registry: a callback may itself add to the registry") {
  Registry registry;
  const auto callback = registry.AddCallback("a", "Help.", MetricType::kGauge, [&registry] {
    return static_cast<double>(registry.AddCounter("b_total", "Help.")->value());
  });
  CHECK_THAT(registry.Expose(), Contains("\na 0\n"));
}

TEST_CASE(
    "registry: a refresh runs once per scrape, before the callbacks, and ends with its handle") {
  Registry registry;
  int refreshes = 0;
  const auto first = registry.AddCallback("a", "Help.", MetricType::kGauge,
                                          [&] { return static_cast<double>(refreshes); });
  const auto second = registry.AddCallback("b", "Help.", MetricType::kGauge,
                                           [&] { return static_cast<double>(refreshes); });
  Registry::Callback refresh = registry.AddRefresh([&] { ++refreshes; });
  CHECK_THAT(registry.Expose(), Contains("\na 1\n") && Contains("\nb 1\n"));
  CHECK_THAT(registry.Expose(), Contains("\na 2\n") && Contains("\nb 2\n"));
  refresh = Registry::Callback();
  CHECK_THAT(registry.Expose(), Contains("\na 2\n"));
}

TEST_CASE("registry: assigning over a callback ends the old one") {
  Registry registry;
  Registry::Callback callback =
      registry.AddCallback("a", "Help.", MetricType::kGauge, [] { return 1.0; });
  callback = registry.AddCallback("b", "Help.", MetricType::kGauge, [] { return 2.0; });
  CHECK_THAT(registry.Expose(), !Contains("\na 1"));
  CHECK_THAT(registry.Expose(), Contains("\nb 2\n"));
}

TEST_CASE("registry: a callback that goes while scrapes run is never called afterwards") {
  Registry registry;
  std::jthread scraper([&registry](const std::stop_token& stop) {
    while (!stop.stop_requested()) (void)registry.Expose();
  });
  for (int i = 0; i < 200; ++i) {
    auto alive = std::make_unique<double>(1.0);
    const auto callback = registry.AddCallback("a", "Help.", MetricType::kGauge,
                                               [value = alive.get()] { return *value; });
    (void)registry.Expose();
  }
  scraper.request_stop();
  scraper.join();
  CHECK(registry.Expose().empty());
}

TEST_CASE("registry: broken names, helps and types end the process") {
  Registry registry;
  registry.AddGauge("known", "Help.");
  CHECK(test::Dies([&] { registry.AddGauge("bad-name", "Help."); }));
  CHECK(test::Dies([&] { registry.AddGauge("", "Help."); }));
  CHECK(test::Dies([&] { registry.AddGauge("g", ""); }));
  CHECK(test::Dies([&] { registry.AddGauge("g", "two\nlines"); }));
  CHECK(test::Dies([&] { registry.AddGauge("g_total", "Help."); }));
  CHECK(test::Dies([&] { registry.AddCounter("requests", "Help."); }));
  CHECK(test::Dies([&] { registry.AddTimeCounter("requests_total", "Help."); }));
  CHECK(test::Dies([&] { registry.AddGauge("g", "Help.", {{"1x", "v"}}); }));
  CHECK(test::Dies([&] { registry.AddGauge("g", "Help.", {{"x", "1"}, {"x", "2"}}); }));
  CHECK(test::Dies([&] { registry.AddHistogram("h", "Help.", {1}, {{"le", "1"}}); }));
  CHECK(test::Dies([&] { registry.AddHistogram("h", "Help.", {}); }));
  CHECK(test::Dies([&] { registry.AddHistogram("h", "Help.", {2, 1}); }));
  CHECK(test::Dies([&] { registry.AddHistogram("known", "Help.", {1}); }));
  CHECK_FALSE(test::Dies([&] { registry.AddGauge("fine", "Help."); }));
}

TEST_CASE("histogram: a value on a bound belongs to it, and NaN only to +Inf") {
  Histogram histogram({1, 2});
  histogram.Observe(1.0);
  histogram.Observe(-5.0);
  histogram.Observe(2.0);
  histogram.Observe(std::numeric_limits<double>::quiet_NaN());
  CHECK(histogram.bucket_count(0) == 2);
  CHECK(histogram.bucket_count(1) == 1);
  CHECK(histogram.bucket_count(2) == 1);
}

TEST_CASE("histogram: durations are observed in seconds") {
  Histogram histogram({0.01});
  histogram.Observe(std::chrono::milliseconds(5));
  CHECK(histogram.bucket_count(0) == 1);
  CHECK(histogram.sum() == Approx(0.005));
}

TEST_CASE("histogram: all series of a family have the bounds of the first") {
  Registry registry;
  registry.AddHistogram("h", "Help.", {1, 2}, {{"a", "1"}});
  const Histogram* second = registry.AddHistogram("h", "Help.", {7}, {{"a", "2"}});
  CHECK(second->upper_bounds().size() == 2);
}

TEST_CASE("exponential buckets: start, factor and count") {
  CHECK(ExponentialBuckets(0.5, 2, 4) == std::vector<double>{0.5, 1, 2, 4});
}

TEST_CASE("process metrics: the standard names with plausible values", "[native]") {
  Registry registry;
  const ProcessMetrics process(registry, "1.2.3");
  const std::string text = registry.Expose();
  const auto value = [&text](const std::string& name) {
    const size_t at = text.find("\n" + name + " ");
    REQUIRE(at != std::string::npos);
    return std::stod(text.substr(at + name.size() + 2));
  };
  CHECK(value("process_cpu_seconds_total") >= 0);
  CHECK(value("process_resident_memory_bytes") > 1e5);
  CHECK(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
  CHECK(value("process_open_fds") >= 3);
  CHECK(value("process_max_fds") >= value("process_open_fds"));
  CHECK(value("process_threads") >= 1);
  CHECK(value("process_start_time_seconds") > 1.6e9);
  CHECK_THAT(text, Contains("version=\"1.2.3\""));
  CHECK_THAT(text, Contains("forebay_build_info{compiler="));
}

}  // namespace
}  // namespace forebay::metrics
