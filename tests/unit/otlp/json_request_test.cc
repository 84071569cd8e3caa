#include <catch2/catch.hpp>

#include "worker_harness.h"

namespace forebay {
namespace {

using namespace testing::otlp_wire;  // NOLINT: the builders are what these tests are written in
using otlp::Signal;
using testing::WorkerHarness;

std::string Log(const std::string& fields) {
  return R"({"resourceLogs":[{"scopeLogs":[{"logRecords":[{)" + fields + "}]}]}]}";
}

TEST_CASE("json: the same record in both encodings gives the same row") {
  const std::string json = R"({"resourceLogs":[{
    "scopeLogs":[{"logRecords":[{
      "timeUnixNano":"1762000000123456789","observedTimeUnixNano":1762000000123456790,
      "severityNumber":9,"severityText":"INFO","body":{"stringValue":"hello"},
      "attributes":[
        {"key":"i","value":{"intValue":"-7"}},{"key":"j","value":{"intValue":8}},
        {"key":"b","value":{"boolValue":false}},{"key":"d","value":{"doubleValue":0.5}},
        {"key":"nan","value":{"doubleValue":"NaN"}},
        {"key":"inf","value":{"doubleValue":"-Infinity"}},
        {"key":"a","value":{"arrayValue":{"values":[{"stringValue":""},{}]}}},
        {"key":"k","value":{"kvlistValue":{"values":[{"key":"x","value":{"intValue":1}}]}}},
        {"key":"y","value":{"bytesValue":"AQIDBA=="}}],
      "traceId":"30313233343536373839616263646566","spanId":"3031323334353637",
      "flags":1,"droppedAttributesCount":3,"unknownKey":{"a":[1]}}]}],
    "resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]}}]})";
  const std::string attributes =
      Attribute(6, "i", Int(-7)) + Attribute(6, "j", Int(8)) + Attribute(6, "b", Number(2, 0)) +
      Attribute(6, "d", Double(4, 0.5)) +
      Attribute(6, "nan", Double(4, std::numeric_limits<double>::quiet_NaN())) +
      Attribute(6, "inf", Double(4, -std::numeric_limits<double>::infinity())) +
      Attribute(6, "a", Bytes(5, Bytes(1, Text("")) + Bytes(1, ""))) +
      Attribute(6, "k", Bytes(6, Attribute(1, "x", Int(1)))) +
      Attribute(6, "y", Bytes(7, "\x01\x02\x03\x04"));
  const std::string record = Fixed64(1, kNanos) + Fixed64(11, kNanos + 1) + Number(2, 9) +
                             Bytes(3, "INFO") + Bytes(5, Text("hello")) + attributes +
                             Bytes(9, kTraceId) + Bytes(10, kSpanId) + Fixed32(8, 1) + Number(7, 3);
  WorkerHarness node;
  REQUIRE(node.Logs(Request(Attribute(1, "service.name", Text("shop")), Record(record))).ok());
  const std::string expected = node.Rows();
  CHECK(expected.find("{\"\"i\"\":-7,\"\"j\"\":8,") != std::string::npos);
  REQUIRE(node.Json(Signal::kLogs, json).ok());
  CHECK(node.Rows() == expected);
}

TEST_CASE("json: the specification's example of a trace") {
  // examples/trace.json of the protocol's repository.
  const std::string json = R"({"resourceSpans":[{"resource":{"attributes":[{"key":"service.name",
    "value":{"stringValue":"my.service"}}]},"scopeSpans":[{"scope":{"name":"my.library",
    "version":"1.0.0","attributes":[{"key":"my.scope.attribute","value":{"stringValue":
    "some scope attribute"}}]},"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":
    "EEE19B7EC3C1B174","parentSpanId":"EEE19B7EC3C1B173","name":"I'm a server span",
    "startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000","kind":2,
    "attributes":[{"key":"my.span.attr","value":{"stringValue":"some value"}}]}]}]}]})";
  WorkerHarness node;
  REQUIRE(node.Json(Signal::kTraces, json).ok());
  CHECK(node.Rows() ==
        "2018-12-13T14:51:00Z,2018-12-13T14:51:01Z,1000000000,5b8efff798038103d269b633813fc60c,"
        "eee19b7ec3c1b174,eee19b7ec3c1b173,,I'm a server span,Server,0,Unset,,my.service,"
        "\"{\"\"my.span.attr\"\":\"\"some value\"\"}\",\"[]\",\"[]\","
        "\"{\"\"service.name\"\":\"\"my.service\"\"}\",\"{\"\"name\"\":\"\"my.library\"\","
        "\"\"version\"\":\"\"1.0.0\"\",\"\"attributes\"\":{\"\"my.scope.attribute\"\":"
        "\"\"some scope attribute\"\"}}\",0,0,0\n");
}

TEST_CASE("json: ids are hex in either case") {
  WorkerHarness node;
  REQUIRE(node.Json(Signal::kLogs, Log(R"("timeUnixNano":1,"spanId":"ABCDEF0123456789")")).ok());
  CHECK(node.Rows().find(",abcdef0123456789,") != std::string::npos);
  REQUIRE(node.Json(Signal::kLogs, Log(R"("timeUnixNano":1,"spanId":"abcdef0123456789")")).ok());
  CHECK(node.Rows().find(",abcdef0123456789,") != std::string::npos);
  // Well-formed, of another length: the record alone.
  REQUIRE(node.Json(Signal::kLogs, Log(R"("spanId":"abcd")")).ok());
  CHECK(node.staged.logs.refused == 1);
}

TEST_CASE("json: whole numbers may be numbers, strings, and doubles without a fraction") {
  for (const char* time : {"1000000000", "\"1000000000\"", "1e9", "1000000000.0"}) {
    WorkerHarness node;
    REQUIRE(node.Json(Signal::kLogs, Log(std::string("\"timeUnixNano\":") + time)).ok());
    CHECK(node.Rows().starts_with("1970-01-01T00:00:01Z,"));
  }
  WorkerHarness node;
  REQUIRE(node.Json(Signal::kLogs, Log(R"("timeUnixNano":"18446744073709551615")")).ok());
  CHECK(node.Rows().starts_with("2554-07-21T23:34:33.709551615Z,"));
}

TEST_CASE("json: what does not fit its field is refused, and the answer names the field") {
  const auto problem = [](const std::string& fields) {
    WorkerHarness node;
    const Status status = node.Json(Signal::kLogs, Log(fields));
    REQUIRE_FALSE(status.ok());
    CHECK(status.error().code() == ErrorCode::kInvalidArgument);
    CHECK(node.staged.nothing_to_store());
    return status.error().message();
  };
  const std::string at = "the JSON at resourceLogs.scopeLogs.logRecords.";
  CHECK(problem(R"("traceId":"W47/95gDgQPSabYzgT/GDA==")") == at + "traceId must be an id in hex");
  CHECK(problem(R"("severityNumber":"SEVERITY_NUMBER_INFO")") ==
        at + "severityNumber must be the enumerator's number");
  CHECK(problem(R"("timeUnixNano":-1)") ==
        at + "timeUnixNano must be a whole number, not negative");
  CHECK(problem(R"("timeUnixNano":1.5)") ==
        at + "timeUnixNano must be a whole number, not negative");
  CHECK(problem(R"("flags":4294967296)") == at + "flags must be a whole number, not negative");
  CHECK(problem(R"("attributes":{})") == at + "attributes must be an array");
  CHECK(problem(R"("body":"text")") == at + "body must be an object");
  CHECK(problem(R"("body":{"intValue":"1x"})") ==
        at + "body.intValue must be a whole number of 64 bits");
  CHECK(problem(R"("severityText":1)") == at + "severityText must be a string");
  CHECK(problem(R"("attributes":[{"key":"a","value":{"bytesValue":"*"}}])") ==
        at + "attributes.value.bytesValue must be base64");
}

TEST_CASE("json: nulls and keys in snake case are passed over, no JSON is refused") {
  WorkerHarness node;
  REQUIRE(node.Json(Signal::kLogs, Log(R"("body":null,"severity_number":9)")).ok());
  CHECK(node.Rows() == "2025-11-01T12:26:40.999Z,,,,,0,,\"{}\",\"{}\"\n");
  REQUIRE(node.Json(Signal::kLogs, "{}").ok());
  REQUIRE(node.Json(Signal::kLogs, R"({"resourceLogs":[]})").ok());
  CHECK(node.staged.nothing_to_store());
  for (const char* text : {"", "[]", "1", "{", R"({"resourceLogs":)", "{}{}", "\xFF{}",
                           R"({"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityText":")"
                           "\xC3\x28"
                           R"("}]}]}]})"}) {
    CHECK_FALSE(node.Json(Signal::kLogs, text).ok());
  }
  std::string deep;
  for (int i = 0; i < 2000; ++i) deep += R"({"a":)";
  CHECK_FALSE(node.Json(Signal::kLogs, deep + "1" + std::string(2000, '}')).ok());
}

}  // namespace
}  // namespace forebay
