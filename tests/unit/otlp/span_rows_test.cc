#include <catch2/catch.hpp>

#include "worker_harness.h"

namespace forebay {
namespace {

using namespace testing::otlp_wire;  // NOLINT: the builders are what these tests are written in
using testing::WorkerHarness;

TEST_CASE("span rows: a span becomes a row with events and links as JSON") {
  WorkerHarness node;
  const std::string event = Fixed64(1, 1'500'000'000) + Bytes(2, "went \"wrong\"") +
                            Attribute(3, "n", Int(1)) + Number(4, 2);
  const std::string link = Bytes(1, kTraceId) + Bytes(2, kSpanId) + Bytes(3, "a=b") +
                           Attribute(4, "k", Text("v")) + Number(5, 6) + Fixed32(6, 257);
  const std::string span = Bytes(1, kTraceId) + Bytes(2, kSpanId) + Bytes(3, "x=1,y=2") +
                           Bytes(4, "76543210") + Bytes(5, "GET /a") + Number(6, 2) +
                           Fixed64(7, 1'000'000'000) + Fixed64(8, 3'000'000'500) +
                           Attribute(9, "http.status", Int(200)) + Number(10, 1) +
                           Bytes(11, event) + Number(12, 4) + Bytes(13, link) + Number(14, 5) +
                           Bytes(15, Bytes(2, "broke") + Number(3, 2)) + Fixed32(16, 0xFFFFFFFF);
  REQUIRE(
      node.Spans(Request(Attribute(1, "service.name", Text("shop")), Record(span), Bytes(1, "lib")))
          .ok());
  CHECK(node.Rows() ==
        "1970-01-01T00:00:01Z,1970-01-01T00:00:03.0000005Z,2000000500,"
        "30313233343536373839616263646566,3031323334353637,3736353433323130,\"x=1,y=2\",GET /a,"
        "Server,4294967295,Error,broke,shop,\"{\"\"http.status\"\":200}\","
        "\"[{\"\"timestamp\"\":\"\"1970-01-01T00:00:01.5Z\"\",\"\"name\"\":"
        "\"\"went \\\"\"wrong\\\"\"\"\",\"\"attributes\"\":{\"\"n\"\":1},"
        "\"\"dropped_attributes_count\"\":2}]\","
        "\"[{\"\"trace_id\"\":\"\"30313233343536373839616263646566\"\","
        "\"\"span_id\"\":\"\"3031323334353637\"\",\"\"trace_state\"\":\"\"a=b\"\","
        "\"\"attributes\"\":{\"\"k\"\":\"\"v\"\"},\"\"dropped_attributes_count\"\":6,"
        "\"\"flags\"\":257}]\","
        "\"{\"\"service.name\"\":\"\"shop\"\"}\",\"{\"\"name\"\":\"\"lib\"\"}\",1,4,5\n");
  CHECK(node.Table().key.starts_with("Metrics_OtelTraces_"));
  CHECK(node.Table().schema.columns().size() == 21);
  CHECK(node.staged.spans.stored == 1);
  CHECK(node.staged.logs.received == 0);
}

TEST_CASE("span rows: an empty span has empty fields, unknown enumerators are numbers") {
  WorkerHarness node;
  REQUIRE(node.Spans(Request("", Record("") + Record(Number(6, 77) + Fixed64(7, 5) +
                                                     Bytes(15, Number(3, 9)))))
              .ok());
  CHECK(
      node.Rows() ==
      ",,0,,,,,,Unspecified,0,Unset,,,\"{}\",\"[]\",\"[]\",\"{}\",\"{}\",0,0,0\n"
      "1970-01-01T00:00:00.000000005Z,,0,,,,,,77,0,9,,,\"{}\",\"[]\",\"[]\",\"{}\",\"{}\",0,0,0\n");
}

TEST_CASE("span rows: the ids of span and parent are checked, the others go on") {
  WorkerHarness node;
  REQUIRE(node.Spans(Request("", Record(Bytes(1, "x")) + Record(Bytes(4, "x")) +
                                     Record(Bytes(2, kSpanId))))
              .ok());
  CHECK(node.staged.spans.refused == 2);
  CHECK(node.staged.refused_records == std::vector<uint32_t>{0, 1});
  CHECK(node.staged.spans.stored == 1);
}

TEST_CASE("span rows: events above 1 MiB are cut at an event, the JSON stays whole") {
  std::string span;
  for (int i = 0; i < 60; ++i) {
    span += Bytes(11, Bytes(2, "e") + Attribute(3, "a", Text(std::string(40'000, 'x'))));
  }
  WorkerHarness node;
  REQUIRE(node.Spans(Request("", Record(span))).ok());
  CHECK(node.worker->counts(otlp::Signal::kTraces).cut == 1);
  CHECK(node.Rows().size() < otlp::kMaxValueBytes + 200);
  CHECK(node.Rows().find("}},\"\"\"\"]\",\"[]\"") != std::string::npos);
}

TEST_CASE("span rows: every cut off request is refused as a whole") {
  const std::string span = Bytes(1, kTraceId) + Bytes(11, Bytes(2, "event")) +
                           Bytes(13, Bytes(1, kTraceId)) + Bytes(15, Number(3, 1)) + Fixed32(16, 1);
  const std::string whole = Request(Attribute(1, "a", Text("b")), Record(span), Bytes(1, "s"));
  WorkerHarness node;
  REQUIRE(node.Spans(whole).ok());
  for (size_t size = 1; size + 1 < whole.size(); ++size) {
    CHECK_FALSE(node.Spans(std::string_view(whole).substr(0, size)).ok());
    CHECK(node.staged.nothing_to_store());
  }
}

}  // namespace
}  // namespace forebay
