#include <catch2/catch.hpp>

#include "otlp/metric_names.h"

namespace forebay {
namespace {

using otlp::LabelName;
using otlp::MetricKind;
using otlp::MetricName;
using otlp::Naming;
using otlp::ParseNaming;

TEST_CASE("metric names: units and _total, once, in underscores") {
  const Naming both;
  const auto counter = [&](const char* name, const char* unit) {
    return MetricName(name, unit, MetricKind::kCounter, both);
  };
  const auto gauge = [&](const char* name, const char* unit) {
    return MetricName(name, unit, MetricKind::kGauge, both);
  };
  CHECK(counter("http.server.requests", "{requests}") == "http_server_requests_total");
  CHECK(counter("http.server.time", "s") == "http_server_time_seconds_total");
  CHECK(counter("requests_total", "1") == "requests_total");
  CHECK(counter("disk.io", "By") == "disk_io_bytes_total");
  CHECK(gauge("http.server.duration", "ms") == "http_server_duration_milliseconds");
  CHECK(gauge("wait_seconds", "s") == "wait_seconds");
  CHECK(gauge("speed", "m/s") == "speed_meters_per_second");
  CHECK(gauge("rate", "{packets}/s") == "rate_per_second");
  CHECK(gauge("cpu.utilization", "1") == "cpu_utilization_ratio");
  CHECK(gauge("level", "%") == "level_percent");
  CHECK(gauge("odd", "furlong") == "odd_furlong");
  CHECK(gauge("a..b--c", "") == "a_b_c");
  CHECK(gauge("5xx", "") == "_5xx");
  CHECK(gauge("ns:x", "") == "ns:x");
  CHECK(MetricName("delta.sum", "By", MetricKind::kOther, both) == "delta_sum_bytes");
}

TEST_CASE("metric names: each choice of otlp.metrics.naming") {
  const auto name = [](const char* naming) {
    return MetricName("http.time", "s", MetricKind::kCounter, ParseNaming(naming));
  };
  CHECK(name("underscores_suffixes") == "http_time_seconds_total");
  CHECK(name("underscores") == "http_time");
  CHECK(name("suffixes") == "http.time_seconds_total");
  CHECK(name("none") == "http.time");
  CHECK(LabelName("a.b-c", ParseNaming("underscores")) == "a_b_c");
  CHECK(LabelName("1a", ParseNaming("underscores")) == "key_1a");
  CHECK(LabelName("a.b", ParseNaming("none")) == "a.b");
}

}  // namespace
}  // namespace forebay
