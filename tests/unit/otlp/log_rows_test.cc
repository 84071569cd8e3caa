#include <catch2/catch.hpp>

#include "worker_harness.h"

namespace forebay {
namespace {

using namespace testing::otlp_wire;  // NOLINT: the builders are what these tests are written in
using otlp::Signal;
using testing::WorkerHarness;

std::string FullRecord(const std::string& more = "") {
  return Record(Fixed64(1, kNanos) + Number(2, 9) + Bytes(3, "INFO") + Bytes(5, Text("hello")) +
                Attribute(6, "n", Int(-7)) + Number(7, 3) + Fixed32(8, 1) + Bytes(9, kTraceId) +
                Bytes(10, kSpanId) + Fixed64(11, kNanos + 1) + Bytes(12, "started") + more);
}

std::string ResourceOf(std::string_view key, const std::string& value) {
  return Attribute(1, key, value);
}

TEST_CASE("log rows: a record becomes a row of adx-mon's nine columns") {
  WorkerHarness node;
  REQUIRE(node.Logs(Request(ResourceOf("service.name", Text("shop")), FullRecord())).ok());
  CHECK(node.Rows() ==
        "2025-11-01T12:26:40.123456789Z,2025-11-01T12:26:40.12345679Z,"
        "30313233343536373839616263646566,3031323334353637,INFO,9,\"\"\"hello\"\"\","
        "\"{\"\"service.name\"\":\"\"shop\"\"}\",\"{\"\"n\"\":-7}\"\n");
  CHECK(node.Table().key == "Metrics_OtelLogs_" + table::DefaultLogsSchema().hash_text());
  CHECK(node.staged.logs.received == 1);
  CHECK(node.staged.logs.stored == 1);
}

TEST_CASE("log rows: columns: full adds scope, flags, event name and dropped attributes") {
  auto config = WorkerHarness::DefaultConfig();
  config.otlp.logs.columns = "full";
  WorkerHarness node(config);
  const std::string scope = Bytes(1, "lib") + Bytes(2, "1.2") + Attribute(3, "a", Text("b"));
  REQUIRE(node.Logs(Request("", FullRecord(), scope)).ok());
  CHECK(node.Rows().ends_with(
      ",\"{}\",\"{\"\"n\"\":-7}\",\"{\"\"name\"\":\"\"lib\"\",\"\"version\"\":\"\"1.2\"\","
      "\"\"attributes\"\":{\"\"a\"\":\"\"b\"\"}}\",1,started,3\n"));
  CHECK(node.Table().schema.columns().size() == 13);
}

TEST_CASE("log rows: without a time the observed one counts, without both that of receipt") {
  WorkerHarness node;
  REQUIRE(node.Logs(Request("", Record(Fixed64(11, 1'000'000'000)) + Record(""))).ok());
  CHECK(node.Rows() ==
        "1970-01-01T00:00:01Z,1970-01-01T00:00:01Z,,,,0,,\"{}\",\"{}\"\n"
        "2025-11-01T12:26:40.999Z,,,,,0,,\"{}\",\"{}\"\n");
}

TEST_CASE("log rows: a resource that stands behind its records is theirs") {
  WorkerHarness node;
  const std::string message =
      Bytes(1, Bytes(2, Record(Fixed64(1, kNanos))) + Bytes(1, ResourceOf("k", Text("v"))));
  REQUIRE(node.Logs(message).ok());
  CHECK(node.Rows().find("\"{\"\"k\"\":\"\"v\"\"}\"") != std::string::npos);
}

TEST_CASE("log rows: bodies are any value as JSON") {
  const auto body = [](const std::string& value) {
    WorkerHarness node;
    REQUIRE(node.Logs(Request("", Record(Fixed64(1, 1) + Bytes(5, value)))).ok());
    const std::string row = node.Rows();
    const size_t begin = row.find(",0,") + 3;
    return row.substr(begin, row.find(",\"{}\",\"{}\"\n") - begin);
  };
  CHECK(body(Text("a,\"b\"\n\\ \x01 \xC3\xA4")) ==
        "\"\"\"a,\\\"\"b\\\"\"\\n\\\\ \\u0001 \xC3\xA4\"\"\"");
  CHECK(body(Text(std::string("n\0l", 3))) == "\"\"\"n\\u0000l\"\"\"");
  CHECK(body(Text("\xFF!")) == "\"\"\"\xEF\xBF\xBD!\"\"\"");
  CHECK(body(Number(2, 1)) == "\"true\"");
  CHECK(body(Int(INT64_MIN)) == "\"-9223372036854775808\"");
  CHECK(body(Double(4, 0.1)) == "\"0.1\"");
  CHECK(body(Double(4, std::numeric_limits<double>::quiet_NaN())) == "\"\"\"NaN\"\"\"");
  CHECK(body(Fixed64(4, 0x7ff0000000000002)) == "\"\"\"NaN\"\"\"");  // Prometheus' stale marker
  CHECK(body(Double(4, -std::numeric_limits<double>::infinity())) == "\"\"\"-Infinity\"\"\"");
  CHECK(body(Bytes(7, "\x01\x02\x03\x04")) == "\"\"\"AQIDBA==\"\"\"");
  CHECK(body(Bytes(5, Bytes(1, Int(1)) + Bytes(1, ""))) == "\"[1,null]\"");
  CHECK(body(Bytes(6, Attribute(1, "a", Bytes(6, Attribute(1, "b", Text("c")))))) ==
        "\"{\"\"a\"\":{\"\"b\"\":\"\"c\"\"}}\"");
}

TEST_CASE("log rows: attributes name table and database, the record before its resource") {
  WorkerHarness node;
  const std::string resource = Attribute(1, "kusto.table", Text("FromResource")) +
                               Attribute(1, "kusto.database", Text("Other"));
  const std::string named = Attribute(6, "adxmon_destination_table", Text("my-logs"));
  REQUIRE(node.Logs(Request(resource, FullRecord() + FullRecord(named) + FullRecord())).ok());
  REQUIRE(node.staged.record_tables == 2);
  CHECK(node.Table(0).key.starts_with("Other_FromResource_"));
  CHECK(node.staged.records[0].rows.rows() == 2);
  CHECK(node.Table(1).key.starts_with("Other_mylogs_"));
  // Of the names in the list the first counts, wherever it stands.
  const std::string both = Attribute(6, "kusto.table", Text("Second")) + named;
  REQUIRE(node.Logs(Request("", FullRecord(both))).ok());
  CHECK(node.Table(0).name == "mylogs");
  CHECK(node.Table(0).database == "Metrics");
}

TEST_CASE("log rows: an unknown database or a table without letters refuses the record alone") {
  WorkerHarness node;
  const std::string bad = FullRecord(Attribute(6, "kusto.database", Text("Nowhere")));
  const std::string odd = FullRecord(Attribute(6, "kusto.table", Text("-/-")));
  REQUIRE(node.Logs(Request("", FullRecord() + bad + odd)).ok());
  CHECK(node.staged.logs.stored == 1);
  CHECK(node.staged.logs.refused == 2);
  CHECK(node.staged.refused_records == std::vector<uint32_t>{1, 2});
  CHECK(node.staged.first_refusal.find("Nowhere") != std::string::npos);
}

TEST_CASE("log rows: ids of another length refuse the record, ids of zeros are none") {
  WorkerHarness node;
  const std::string zeros =
      Record(Bytes(9, std::string(16, '\0')) + Bytes(10, std::string(8, '\0')));
  REQUIRE(node.Logs(Request("", Record(Bytes(9, "short")) + Record(Bytes(10, "123456789")) + zeros))
              .ok());
  CHECK(node.staged.logs.refused == 2);
  CHECK(node.Rows() == "2025-11-01T12:26:40.999Z,,,,,0,,\"{}\",\"{}\"\n");
}

TEST_CASE("log rows: lifted attributes become columns, any case, the record before its resource") {
  auto config = WorkerHarness::DefaultConfig();
  config.otlp.logs.lift_attributes = {{"service.name", ""}, {"code", "Code"}};
  WorkerHarness node(config);
  const std::string resource =
      Attribute(1, "Service.Name", Text("shop, \"1\"")) + Attribute(1, "code", Int(1));
  REQUIRE(
      node.Logs(Request(resource, FullRecord() + FullRecord(Attribute(6, "code", Int(2))))).ok());
  const std::string rows = node.Rows();
  CHECK(rows.find(",\"{}\",\"{\"\"n\"\":-7}\",\"shop, \"\"1\"\"\",\"1\"\n") != std::string::npos);
  CHECK(rows.ends_with(",\"{}\",\"{\"\"n\"\":-7}\",\"shop, \"\"1\"\"\",\"2\"\n"));
  CHECK(node.Table().schema.columns().back().name == "Code");
}

TEST_CASE("log rows: a value above 1 MiB is cut, marked and counted, the JSON stays whole") {
  WorkerHarness node;
  const std::string quotes(300'000, '"');
  REQUIRE(node.Logs(Request("", Record(Fixed64(1, 1) + Bytes(5, Text(quotes))))).ok());
  // Six hundred thousand bytes of JSON, though the row has more.
  CHECK(node.worker->counts(Signal::kLogs).cut == 0);
  const std::string two_byte = [] {
    std::string text;
    while (text.size() < 1'500'000) text += "\xC3\xA4";
    return text;
  }();
  REQUIRE(node.Logs(Request("", Record(Fixed64(1, 1) + Bytes(5, Text(two_byte))))).ok());
  CHECK(node.worker->counts(Signal::kLogs).cut == 1);
  CHECK(node.Rows().size() < otlp::kMaxValueBytes + 100);
  CHECK(node.Rows().size() > otlp::kMaxValueBytes * 8 / 10);
  CHECK(node.Rows().find("\xC3\xA4 [cut by forebay]\"\"\",\"{}\"") != std::string::npos);
  CHECK(node.Rows().find("\xEF\xBF\xBD") == std::string::npos);
  // Many attributes that are too long together.
  std::string many;
  for (int i = 0; i < 40; ++i) {
    many += Attribute(6, "key" + std::to_string(i), Text(std::string(50'000, 'x')));
  }
  REQUIRE(node.Logs(Request("", Record(Fixed64(1, 1) + many))).ok());
  CHECK(node.worker->counts(Signal::kLogs).cut == 1);
  CHECK(node.Rows().ends_with(",\"\"forebay.cut\"\":true}\"\n"));
  CHECK(node.Rows().size() < otlp::kMaxValueBytes + 100);
  // A string column.
  REQUIRE(
      node.Logs(Request("", Record(Fixed64(1, 1) + Bytes(3, std::string(2'000'000, 'y'))))).ok());
  CHECK(node.Rows().find("yyy [cut by forebay],0,") != std::string::npos);
}

TEST_CASE("log rows: values nested too deep are cut, not followed") {
  std::string value = Text("x");
  for (int i = 0; i < 3000; ++i) value = Bytes(5, Bytes(1, value));
  WorkerHarness node;
  REQUIRE(node.Logs(Request("", Record(Fixed64(1, 1) + Bytes(5, value)))).ok());
  CHECK(node.worker->counts(Signal::kLogs).cut == 1);
  CHECK(node.Rows().find("[cut by forebay]") != std::string::npos);
}

TEST_CASE("log rows: unknown fields are passed over, broken messages refuse the request") {
  WorkerHarness node;
  const std::string unknown = Number(90, 1) + Fixed64(91, 2) + Bytes(92, "x") + Fixed32(93, 4);
  REQUIRE(node.Logs(Request("", FullRecord(unknown)) + unknown).ok());
  CHECK(node.staged.logs.stored == 1);
  const std::string whole = Request(ResourceOf("a", Text("b")), FullRecord());
  for (size_t size = 1; size + 1 < whole.size(); ++size) {
    const Status status = node.Logs(std::string_view(whole).substr(0, size));
    CHECK_FALSE(status.ok());
    CHECK(node.staged.nothing_to_store());
  }
  // Broken inside of a value that is only written as JSON.
  CHECK_FALSE(node.Logs(Request("", Record(Bytes(5, "\x0a\x7f")))).ok());
}

TEST_CASE("log rows: more text than is allowed refuses the request, replay takes it") {
  auto config = WorkerHarness::DefaultConfig();
  config.http.max_decoded_body = MiB(64);
  WorkerHarness node(config);
  // A small request asks for a large resource in each of many rows.
  std::string records;
  for (int i = 0; i < 1000; ++i) records += Record("");
  const std::string request = Request(ResourceOf("a", Text(std::string(400'000, 'x'))), records);
  const Status status = node.Logs(request);
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().code() == ErrorCode::kOutOfRange);
  CHECK(node.staged.nothing_to_store());
}

TEST_CASE("log rows: a replay leaves out what was refused, whatever the rules say now") {
  WorkerHarness node;
  const std::string body = Request(
      "", FullRecord() + FullRecord(Attribute(6, "kusto.database", Text("Later"))) + FullRecord());
  REQUIRE(node.Logs(body).ok());
  const std::string rows = node.Rows();
  const std::vector<uint32_t> refused = node.staged.refused_records;
  CHECK(refused == std::vector<uint32_t>{1});
  auto config = WorkerHarness::DefaultConfig();
  config.databases.push_back(
      {.name = "Later", .relabel_configs = {}, .lift_labels = {}, .sinks = {}});
  REQUIRE(node.state->SetRules(config).ok());
  otlp::WorkerInput input;
  input.replay = true;
  input.refused = refused;
  REQUIRE(node.Decode(Signal::kLogs, body, input).ok());
  CHECK(node.Rows() == rows);
  // What was accepted and is refused now is an error of the whole: nothing is left out silently.
  input.refused = {};
  config.databases.pop_back();
  REQUIRE(node.state->SetRules(config).ok());
  const Status status = node.Decode(Signal::kLogs, body, input);
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().code() == ErrorCode::kFailedPrecondition);
}

TEST_CASE("log rows: the tenant's database takes what no attribute and no key assigns") {
  WorkerHarness node;
  otlp::WorkerInput input;
  input.tenant = "Other";
  REQUIRE(node.Decode(Signal::kLogs, Request("", FullRecord()), input).ok());
  CHECK(node.Table().database == "Other");
  auto config = WorkerHarness::DefaultConfig();
  config.otlp.logs.database = "Metrics";
  REQUIRE(node.state->SetRules(config).ok());
  REQUIRE(node.Decode(Signal::kLogs, Request("", FullRecord()), input).ok());
  CHECK(node.Table().database == "Metrics");
}

TEST_CASE("log rows: rows end where they are said to end, empty requests have none") {
  WorkerHarness node;
  REQUIRE(node.Logs("").ok());
  CHECK(node.staged.nothing_to_store());
  CHECK(node.staged.logs.received == 0);
  REQUIRE(node.Logs(Request("", "")).ok());
  CHECK(node.staged.nothing_to_store());
  REQUIRE(node.Logs(Request("", FullRecord() + FullRecord())).ok());
  const auto ends = node.staged.records[0].rows.row_ends.span();
  REQUIRE(ends.size() == 2);
  CHECK(ends[1] == 2 * ends[0]);
  CHECK(ends[1] == node.Rows().size());
}

}  // namespace
}  // namespace forebay
