#include <catch2/catch.hpp>

#include "worker_harness.h"

namespace forebay {
namespace {

using namespace testing::otlp_wire;  // NOLINT: the builders are what these tests are written in
using otlp::Signal;
using receive::SideTable;
using testing::WorkerHarness;
using Lines = std::vector<std::string>;

const std::string kAt = Fixed64(3, kNanos);

// Metric with data in its field; its points are fields 1 of the data.
std::string Metric(const std::string& name, uint32_t field, const std::string& data,
                   const std::string& unit = "") {
  return Record(Bytes(1, name) + Bytes(3, unit) + Bytes(field, data));
}
std::string Point(const std::string& fields) { return Bytes(1, fields); }
std::string Packed64(uint32_t field, std::initializer_list<uint64_t> values) {
  std::string packed;
  for (const uint64_t value : values) packed += Raw64(value);
  return Bytes(field, packed);
}
std::string PackedDoubles(uint32_t field, std::initializer_list<double> values) {
  std::string packed;
  for (const double value : values) packed += Raw64(std::bit_cast<uint64_t>(value));
  return Bytes(field, packed);
}

config::Config WithoutTargetInfo() {
  auto config = WorkerHarness::DefaultConfig();
  config.otlp.metrics.target_info = false;
  return config;
}

TEST_CASE("metrics: gauges and sums become samples with the labels of resource, scope and point") {
  WorkerHarness node;
  const std::string resource =
      Attribute(1, "service.name", Text("shop")) + Attribute(1, "service.namespace", Text("eu")) +
      Attribute(1, "service.instance.id", Text("i-1")) + Attribute(1, "host.name", Text("h"));
  const std::string metrics =
      Metric("cpu.load", 5, Point(kAt + Double(4, 0.5) + Attribute(7, "cpu.id", Int(3)))) +
      Metric("http.requests", 7, Point(kAt + Fixed64(6, 42)) + Number(2, 2) + Number(3, 1)) +
      Metric("queue", 7, Point(kAt + Fixed64(6, static_cast<uint64_t>(-7))) + Number(2, 2));
  REQUIRE(node.Metrics(Request(resource, metrics, Bytes(1, "lib") + Bytes(2, "1.0"))).ok());
  const std::string common = "instance=i-1,job=eu/shop,otel_scope_name=lib,otel_scope_version=1.0";
  CHECK(node.Samples() ==
        Lines{"CpuLoad{cpu_id=3," + common + "} 0.5 @1762000000123",
              "HttpRequestsTotal{" + common + "} 42 @1762000000123",
              "Queue{" + common + "} -7 @1762000000123",
              "TargetInfo{host_name=h,instance=i-1,job=eu/shop} 1 @1762000000123"});
  CHECK(node.staged.points == 3);
  CHECK(node.staged.samples.received == 4);
  CHECK(node.staged.samples.stored == 4);
  // Known series are found again without being resolved.
  const auto before = node.staged.refs.span();
  std::vector<table::SeriesRef> first(before.begin(), before.end());
  REQUIRE(node.Metrics(Request(resource, metrics, Bytes(1, "lib") + Bytes(2, "1.0"))).ok());
  const auto again = node.staged.refs.span();
  CHECK(std::vector<table::SeriesRef>(again.begin(), again.end()) == first);
  CHECK(node.registry.Expose().find("forebay_receive_series_resolved_total 4\n") !=
        std::string::npos);
}

TEST_CASE("metrics: names that become one are joined, promoted and reserved labels win") {
  auto config = WithoutTargetInfo();
  config.otlp.metrics.promote_resource_attributes = {"k8s.pod"};
  config.otlp.metrics.scope_labels = false;
  WorkerHarness node(config);
  const std::string resource =
      Attribute(1, "service.name", Text("shop")) + Attribute(1, "k8s.pod", Text("p"));
  const std::string attributes =
      Attribute(7, "a_b", Text("2")) + Attribute(7, "a.b", Text("1")) +
      Attribute(7, "job", Text("x")) + Attribute(7, "k8s_pod", Text("y")) +
      Attribute(7, "__name__", Text("z")) +
      Attribute(7, "list", Bytes(5, Bytes(1, Text("q\"")) + Bytes(1, Int(1)))) +
      Attribute(7, "bytes", Bytes(7, "\x01")) + Attribute(7, "empty", "");
  REQUIRE(node.Metrics(Request(resource, Metric("m", 5, Point(kAt + Double(4, 1) + attributes)),
                               Bytes(1, "lib")))
              .ok());
  CHECK(node.Samples() == Lines{R"(M{a_b=1;2,bytes=AQ==,job=shop,k8s_pod=p,list=["q\"",1]} 1 @)"
                                "1762000000123"});
}

TEST_CASE("metrics: histograms become cumulative buckets, sum and count") {
  WorkerHarness node(WithoutTargetInfo());
  const auto histogram = [&](const std::string& counts, const std::string& bounds) {
    return Request(
        "",
        Metric("h", 9,
               Point(kAt + Fixed64(4, 10) + Double(5, 2.5) + counts + bounds) + Number(2, 2), "s"));
  };
  const Lines expected = {"HSecondsBucket{le=+Inf} 10 @1762000000123",
                          "HSecondsBucket{le=0.5} 3 @1762000000123",
                          "HSecondsBucket{le=1} 7 @1762000000123",
                          "HSecondsCount{} 10 @1762000000123", "HSecondsSum{} 2.5 @1762000000123"};
  REQUIRE(node.Metrics(histogram(Packed64(6, {3, 4, 3}), PackedDoubles(7, {0.5, 1}))).ok());
  CHECK(node.Samples() == expected);
  // Repeated fields may come one by one.
  REQUIRE(node.Metrics(histogram(Fixed64(6, 3) + Fixed64(6, 4) + Fixed64(6, 3),
                                 Double(7, 0.5) + Double(7, 1)))
              .ok());
  CHECK(node.Samples() == expected);
  REQUIRE(node.Metrics(histogram("", "")).ok());
  CHECK(node.Samples().size() == 3);
  REQUIRE(node.Metrics(histogram(Packed64(6, {3, 4}), PackedDoubles(7, {0.5, 1}))).ok());
  CHECK(node.Samples().empty());
  CHECK(node.staged.points_refused == 1);
  CHECK(node.staged.first_refusal.find("2 buckets and 2 bounds") != std::string::npos);
  CHECK_FALSE(node.Metrics(histogram(Bytes(6, "1234567"), "")).ok());
}

TEST_CASE("metrics: summaries become quantiles, sum and count") {
  WorkerHarness node(WithoutTargetInfo());
  const std::string quantiles = Bytes(6, Double(1, 0.5) + Double(2, 7)) + Bytes(6, Double(1, 1));
  REQUIRE(node.Metrics(Request("", Metric("s", 11,
                                          Point(kAt + Fixed64(4, 2) + Double(5, 9) + quantiles))))
              .ok());
  CHECK(node.Samples() == Lines{"SCount{} 2 @1762000000123", "SSum{} 9 @1762000000123",
                                "S{quantile=0.5} 7 @1762000000123",
                                "S{quantile=1} 0 @1762000000123"});
}

TEST_CASE("metrics: delta temporality is kept and marked by a label, without _total") {
  WorkerHarness node(WithoutTargetInfo());
  const std::string delta = Metric("d", 7, Point(kAt + Double(4, 5)) + Number(2, 1) + Number(3, 1));
  REQUIRE(node.Metrics(Request("", delta)).ok());
  CHECK(node.Samples() == Lines{"D{otel_temporality=delta} 5 @1762000000123"});
  auto config = WithoutTargetInfo();
  config.otlp.metrics.temporality_label = "";
  REQUIRE(node.state->SetRules(config).ok());
  REQUIRE(node.Metrics(Request("", delta)).ok());
  CHECK(node.Samples() == Lines{"D{} 5 @1762000000123"});
}

TEST_CASE("metrics: points without a recorded value are stale markers") {
  WorkerHarness node(WithoutTargetInfo());
  const std::string metrics =
      Metric("g", 5, Point(kAt + Number(8, 1))) +
      Metric("h", 9, Point(kAt + Number(10, 1) + PackedDoubles(7, {1})) + Number(2, 2));
  REQUIRE(node.Metrics(Request("", metrics)).ok());
  CHECK(node.staged.stale_markers == 5);
  CHECK(node.Samples().front() == "G{}  @1762000000123");
  // Without the flag a value must be there.
  REQUIRE(node.Metrics(Request("", Metric("g", 5, Point(kAt)))).ok());
  CHECK(node.staged.points_refused == 1);
}

TEST_CASE("metrics: exponential histograms become native ones, scaled down to schema 8") {
  WorkerHarness node(WithoutTargetInfo());
  const auto exponential = [&](int64_t scale, const std::string& more, uint64_t count) {
    const auto zigzag = static_cast<uint64_t>((scale << 1) ^ (scale >> 63));
    return Request(
        "", Metric("e", 10,
                   Point(kAt + Fixed64(4, count) + Double(5, 1.5) + Number(6, zigzag) + more) +
                       Number(2, 2)));
  };
  // Offset 1 (zigzag 2), counts 1 0 2; one at zero.
  const std::string buckets = Bytes(8, Number(1, 2) + Bytes(2, std::string("\x01\x00\x02", 3)));
  REQUIRE(node.Metrics(exponential(3, buckets + Fixed64(7, 1), 4)).ok());
  CHECK(node.staged.histograms.stored == 1);
  CHECK(
      node.Side(SideTable::kHistograms)
          .find(
              ",e,\"{}\",3,4,1.5,1e-128,1,\"[[2,1],[3,0],[4,2]]\",\"[]\",\"[]\",false,unknown\n") !=
      std::string::npos);
  // Scale 9: pairs are merged; buckets 1, 2 and 3 of OTLP are 0 1 1 halved, native 1 and 2.
  REQUIRE(node.Metrics(exponential(9, buckets, 3)).ok());
  CHECK(node.Side(SideTable::kHistograms).find("\"{}\",8,3,1.5,1e-128,0,\"[[1,1],[2,2]]\"") !=
        std::string::npos);
  // Negative buckets with a negative offset: -3 is zigzag 5.
  REQUIRE(node.Metrics(exponential(0, Bytes(9, Number(1, 5) + Number(2, 3)), 3)).ok());
  CHECK(node.Side(SideTable::kHistograms).find("\"[]\",\"[[-2,3]]\"") != std::string::npos);
  // A count that is not that of the buckets, a scale that no native histogram has.
  REQUIRE(node.Metrics(exponential(3, buckets, 9)).ok());
  CHECK(node.staged.histograms.refused == 1);
  CHECK(node.staged.points_refused == 1);
  REQUIRE(node.Metrics(exponential(-5, buckets, 3)).ok());
  CHECK(node.staged.histograms.received == 0);
  CHECK(node.staged.points_refused == 1);
}

TEST_CASE("metrics: exemplars stand in their table, those of histograms at their bucket") {
  WorkerHarness node(WithoutTargetInfo());
  const std::string exemplar = Fixed64(2, 1'000'000'000) + Double(3, 0.7) + Bytes(4, kSpanId) +
                               Bytes(5, kTraceId) + Attribute(7, "user.id", Text("u"));
  const std::string metrics =
      Metric("g", 7, Point(kAt + Double(4, 1) + Bytes(5, exemplar)) + Number(2, 2)) +
      Metric("h", 9,
             Point(kAt + Fixed64(4, 1) + Packed64(6, {0, 1, 0}) + PackedDoubles(7, {0.5, 1}) +
                   Bytes(8, exemplar)) +
                 Number(2, 2));
  REQUIRE(node.Metrics(Request("", metrics)).ok());
  CHECK(node.staged.exemplars.stored == 2);
  const std::string rows = node.Side(SideTable::kExemplars);
  const std::string labels =
      ",\"{\"\"span_id\"\":\"\"3031323334353637\"\",\"\"trace_id\"\":"
      "\"\"30313233343536373839616263646566\"\",\"\"user_id\"\":\"\"u\"\"}\",0.7\n";
  CHECK(rows.starts_with("1970-01-01T00:00:01Z,"));
  CHECK(rows.find(",g,\"{}\"" + labels) != std::string::npos);
  CHECK(rows.find(",h_bucket,\"{\"\"le\"\":\"\"1\"\"}\"" + labels) != std::string::npos);
}

TEST_CASE("metrics: type, help and unit are metadata rows, once") {
  WorkerHarness node(WithoutTargetInfo());
  const std::string metric =
      Record(Bytes(1, "up.time") + Bytes(2, "how, long") + Bytes(3, "s") +
             Bytes(7, Point(kAt + Double(4, 1)) + Number(2, 2) + Number(3, 1)));
  REQUIRE(node.Metrics(Request("", metric + metric)).ok());
  CHECK(node.Side(SideTable::kMetadata)
            .ends_with(",up_time_seconds_total,counter,\"how, long\",s\n"));
  CHECK(node.staged.metadata.received == 2);
  CHECK(node.staged.metadata_unchanged == 1);
  REQUIRE(node.Metrics(Request("", metric)).ok());
  CHECK(node.Side(SideTable::kMetadata).empty());
}

TEST_CASE("metrics: relabelling drops and refuses as for remote write, points are counted once") {
  auto config = WithoutTargetInfo();
  config::RelabelConfig drop;
  drop.source_labels = {"__name__"};
  drop.regex = "drop.*";
  drop.action = "drop";
  config.remote_write.relabel_configs = {drop};
  config.limits.label_value_bytes = {4};
  WorkerHarness node(config);
  const auto gauge = [](const std::string& name, const std::string& value) {
    return Metric(name, 5, Point(kAt + Double(4, 1) + Attribute(7, "a", Text(value))));
  };
  REQUIRE(
      node.Metrics(Request("", gauge("drop", "x") + gauge("k", "x") + gauge("l", "long!"))).ok());
  CHECK(node.Samples() == Lines{"K{a=x} 1 @1762000000123"});
  CHECK(node.staged.samples.dropped == 1);
  CHECK(node.staged.samples.refused == 1);
  CHECK(node.staged.points_refused == 1);
  CHECK(node.staged.refused == std::vector<uint32_t>{2});
}

TEST_CASE("metrics: a replay leaves out what was refused and takes the rest") {
  auto config = WithoutTargetInfo();
  config.limits.label_value_bytes = {4};
  WorkerHarness node(config);
  const auto gauge = [](const std::string& value) {
    return Metric("m", 5, Point(kAt + Double(4, 1) + Attribute(7, "a", Text(value))));
  };
  const std::string body =
      Request(Attribute(1, "service.name", Text("s")) + Attribute(1, "b", Text("c")),
              gauge("long!")) +
      Request("", gauge("long!") + gauge("x"));
  REQUIRE(node.Metrics(body).ok());
  const std::vector<uint32_t> refused = node.staged.refused;
  // The second resource's first series: the first one's target_info has a number, though not made.
  CHECK(refused == std::vector<uint32_t>{0, 2});
  const Lines samples = node.Samples();
  WorkerHarness fresh;  // other limits, and target_info is on
  otlp::WorkerInput input;
  input.replay = true;
  input.refused = refused;
  REQUIRE(fresh.Decode(Signal::kMetrics, body, input).ok());
  Lines expected = samples;
  expected.push_back("TargetInfo{b=c,job=s} 1 @1762000000123");
  std::sort(expected.begin(), expected.end());
  CHECK(fresh.Samples() == expected);
}

TEST_CASE("metrics: every cut off request is refused as a whole") {
  WorkerHarness node;
  const std::string exemplar = Bytes(5, Fixed64(2, 1) + Double(3, 0.7));
  const std::string whole =
      Request(Attribute(1, "service.name", Text("shop")),
              Metric("g", 5, Point(kAt + Double(4, 1) + Attribute(7, "a", Text("b")) + exemplar)) +
                  Metric("e", 10, Point(kAt + Bytes(8, Number(1, 2) + Bytes(2, "\x01")))),
              Bytes(1, "s"));
  REQUIRE(node.Metrics(whole).ok());
  for (size_t size = 1; size + 1 < whole.size(); ++size) {
    CHECK_FALSE(node.Metrics(std::string_view(whole).substr(0, size)).ok());
    CHECK(node.staged.nothing_to_store());
  }
}

TEST_CASE("metrics: the specification's JSON example gives the same samples as its protobuf") {
  WorkerHarness node(WithoutTargetInfo());
  // Of examples/metrics.json of the protocol's repository, one of each kind.
  REQUIRE(node.Json(Signal::kMetrics, R"({"resourceMetrics":[{"resource":{"attributes":[{"key":
    "service.name","value":{"stringValue":"my.service"}}]},"scopeMetrics":[{"scope":{"name":
    "my.library","version":"1.0.0"},"metrics":[
    {"name":"my.counter","unit":"1","description":"I am a Counter","sum":{
     "aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{"asDouble":5,
     "startTimeUnixNano":"1544712660300000000","timeUnixNano":"1544712660300000000",
     "attributes":[{"key":"my.counter.attr","value":{"stringValue":"some value"}}]}]}},
    {"name":"my.gauge","unit":"1","gauge":{"dataPoints":[{"asDouble":10,
     "timeUnixNano":"1544712660300000000"}]}},
    {"name":"my.histogram","unit":"1","histogram":{"aggregationTemporality":1,"dataPoints":[{
     "timeUnixNano":"1544712660300000000","count":"2","sum":2,"bucketCounts":["1","1"],
     "explicitBounds":[1],"min":0,"max":2}]}},
    {"name":"my.exponential.histogram","unit":"1","exponentialHistogram":{
     "aggregationTemporality":1,"dataPoints":[{"timeUnixNano":"1544712660300000000","count":"3",
     "sum":10,"scale":0,"zeroCount":"1","positive":{"offset":1,"bucketCounts":["0","2"]},
     "min":0,"max":5,"zeroThreshold":0}]}}]}]}]})")
              .ok());
  const std::string scope =
      "otel_scope_name=my.library,otel_scope_version=1.0.0,"
      "otel_temporality=delta";
  const std::string at = " @1544712660300";
  CHECK(
      node.Samples() ==
      Lines{"MyCounter{job=my.service,my_counter_attr=some value," + scope + "} 5" + at,
            "MyGaugeRatio{job=my.service,otel_scope_name=my.library,otel_scope_version=1.0.0} 10" +
                at,
            "MyHistogramBucket{job=my.service,le=+Inf," + scope + "} 2" + at,
            "MyHistogramBucket{job=my.service,le=1," + scope + "} 1" + at,
            "MyHistogramCount{job=my.service," + scope + "} 2" + at,
            "MyHistogramSum{job=my.service," + scope + "} 2" + at});
  CHECK(node.Side(SideTable::kHistograms).find("\"[[2,0],[3,2]]\"") != std::string::npos);
}

}  // namespace
}  // namespace forebay
