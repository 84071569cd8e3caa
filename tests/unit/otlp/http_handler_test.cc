#include <catch2/catch.hpp>
#include <thread>

#include "http_node.h"

namespace forebay {
namespace {

using namespace testing::otlp_wire;  // NOLINT: the builders are what these tests are written in
using testing::OtlpNode;

const std::string kRecord = Record(Fixed64(1, kNanos) + Bytes(5, Text("hello")));
const std::string kBadRecord = Record(Bytes(9, "short"));

std::string TypeOf(const http::ClientResponse& response) {
  return std::string(response.Header("Content-Type").value_or(""));
}

TEST_CASE("otlp handler: a good request is 200 with an empty message in its encoding, and stored") {
  io::MemoryFileSystem fs;
  OtlpNode node(fs);
  const auto protobuf = node.Logs(Request("", kRecord + kRecord));
  CHECK(protobuf.status == 200);
  CHECK(protobuf.body.empty());
  CHECK(TypeOf(protobuf) == "application/x-protobuf");
  const auto json = node.Json(otlp::kTracesPath,
                              R"({"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"a"}]}]}]})");
  CHECK(json.status == 200);
  CHECK(json.body == "{}");
  CHECK(TypeOf(json) == "application/json");
  CHECK(node.StoredRows() == 3);
  CHECK(node.Rows().sealed == 3);
  CHECK(node.Exposes("forebay_receive_logs_total 2"));
  CHECK(node.Exposes("forebay_receive_spans_total 1"));
  CHECK(node.Exposes("forebay_receive_in_flight_requests 0"));
  CHECK(node.Exposes("forebay_receive_in_flight_bytes 0"));
}

TEST_CASE("otlp handler: empty requests are 200 and store nothing") {
  io::MemoryFileSystem fs;
  OtlpNode node(fs);
  CHECK(node.Logs("").status == 200);
  CHECK(node.Json(otlp::kLogsPath, "{}").status == 200);
  CHECK(node.StoredRows() == 0);
  CHECK(node.Rows().received == 0);
}

TEST_CASE("otlp handler: rejected records are 200 with partial success, the rest is stored") {
  io::MemoryFileSystem fs;
  OtlpNode node(fs);
  const std::string body = Request("", kRecord + kBadRecord + kBadRecord);
  const auto first = node.Logs(body);
  CHECK(first.status == 200);
  CHECK(first.body.starts_with("\x0a"));
  CHECK(first.body.substr(2, 3) == std::string("\x08\x02\x12", 3));
  CHECK(first.body.find("2 of 3 log records refused: 2 bad_id; first: ") != std::string::npos);
  // It comes again: the same answer, nothing more is stored.
  const auto again = node.Logs(body);
  CHECK(again.status == 200);
  CHECK(again.body.substr(2, 3) == std::string("\x08\x02\x12", 3));
  const auto json = node.Json(
      otlp::kTracesPath, R"({"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"ab"}]}]}]})");
  CHECK(json.status == 200);
  CHECK(json.body.starts_with(R"({"partialSuccess":{"rejectedSpans":"1","errorMessage":"1 of 1 )"));
  CHECK(node.StoredRows() == 1);
  const auto rows = node.Rows();
  CHECK(rows.received == 5);
  CHECK(rows.refused == 3);
  CHECK(rows.deduplicated == 1);
}

TEST_CASE("otlp handler: what cannot be decoded is 400 with a status in the request's encoding") {
  io::MemoryFileSystem fs;
  OtlpNode node(fs);
  const auto protobuf = node.Logs("\x0a\x7f");
  CHECK(protobuf.status == 400);
  CHECK(TypeOf(protobuf) == "application/x-protobuf");
  CHECK(protobuf.body.starts_with("\x08\x03\x12"));
  const auto json = node.Json(otlp::kLogsPath, R"({"resourceLogs":1})");
  CHECK(json.status == 400);
  CHECK(TypeOf(json) == "application/json");
  CHECK(json.body == R"({"code":3,"message":"the JSON at resourceLogs must be an array"})");
  CHECK(node.Logs(Request("", kRecord), {{"Content-Encoding", "gzip"}}).status == 400);
  CHECK(node.Logs(Request("", kRecord), {{"Content-Encoding", "zstd"}}).status == 400);
  CHECK(node.StoredRows() == 0);
  CHECK(node.Rows().received == 0);
  CHECK(node.Exposes("forebay_receive_undecodable_requests_total 4"));
}

TEST_CASE("otlp handler: other media types and encodings are 415") {
  io::MemoryFileSystem fs;
  OtlpNode node(fs);
  const std::string body = Request("", kRecord);
  CHECK(node.Send(otlp::kLogsPath, body, {{"Content-Type", "text/plain"}}).status == 415);
  CHECK(node.Send(otlp::kLogsPath, body, {{"Content-Type", ""}}).status == 415);
  const auto snappy = node.Logs(body, {{"Content-Encoding", "snappy"}});
  CHECK(snappy.status == 415);
  CHECK(snappy.body.find("gzip, zstd or none") != std::string::npos);
  CHECK(
      node.Send(otlp::kLogsPath, body, {{"Content-Type", "Application/X-Protobuf; a=b"}}).status ==
      200);
  CHECK(node.Send(otlp::kLogsPath, body + body,
                  {{"Content-Type", "application/protobuf"}, {"Content-Encoding", "identity"}})
            .status == 200);
  CHECK(node.Exposes("forebay_otlp_unsupported_requests_total{transport=\"http\"} 3"));
}

TEST_CASE("otlp handler: bodies too large, as sent or decoded, are 413") {
  io::MemoryFileSystem fs;
  config::Config config;
  config.http.max_body = KiB(64);
  config.http.max_decoded_body = KiB(32);
  OtlpNode node(fs, config);
  const auto sent = node.Logs(std::string(65 << 10, 'x'));
  CHECK(sent.status == 413);
  CHECK(sent.body.starts_with("\x08\x08\x12"));
  CHECK(sent.body.find("http.max_body") != std::string::npos);
  const std::string large = Request("", Record(Bytes(5, Text(std::string(40 << 10, 'x')))));
  CHECK(node.Logs(large).status == 413);
  CHECK(node.StoredRows() == 0);
}

TEST_CASE("otlp handler: a log that cannot be entered is 503 with Retry-After") {
  io::MemoryFileSystem fs;
  OtlpNode node(fs);
  node.wal->enter_fails = true;
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto response = node.Json(otlp::kLogsPath, "{}");
    CHECK(response.status == 503);
    CHECK(response.Header("Retry-After") == "5");
    CHECK(TypeOf(response) == "application/json");
    CHECK(response.body == R"({"code":14,"message":"disk above storage.max_disk"})");
  }
  node.wal->enter_fails = false;
  CHECK(node.Logs(Request("", kRecord)).status == 200);
  CHECK(node.StoredRows() == 1);
}

TEST_CASE("otlp handler: a failed commit is 503, never 500, and its retry is new") {
  io::MemoryFileSystem fs;
  OtlpNode node(fs);
  node.wal->commit_fails = true;
  const auto failed = node.Logs(Request("", kRecord));
  CHECK(failed.status == 503);
  CHECK(failed.body.find("type.googleapis.com/google.rpc.RetryInfo") != std::string::npos);
  CHECK(node.Rows().refused == 1);
  node.wal->commit_fails = false;
  CHECK(node.Logs(Request("", kRecord)).status == 200);
  CHECK(node.StoredRows() == 1);
  CHECK(node.Exposes("forebay_receive_in_flight_bytes 0"));
  CHECK(node.Exposes("forebay_receive_in_flight_decoded_bytes 0"));
}

TEST_CASE("otlp handler: bodies beyond the budget are 503, and the budget is given back") {
  io::MemoryFileSystem fs;
  config::Config config;
  config.limits.in_flight_bodies = {2000};
  OtlpNode node(fs, config);
  node.wal->commit_held = true;
  const auto client = OtlpNode::Must(http::Client::Create({}));
  std::thread first([&] {
    http::ClientRequest request;
    request.method = "POST";
    request.url = "http://127.0.0.1:" + std::to_string(node.server->port()) + otlp::kLogsPath;
    request.headers = {{"Content-Type", "application/x-protobuf"}};
    const std::string body = Request("", kRecord);
    request.body = body;
    const auto response = OtlpNode::Must(client->Do(request));
    CHECK(response.status == 200);
    CHECK(response.body == "");
  });
  while (node.wal->held.load() == nullptr) std::this_thread::yield();
  const std::string large = Request("", Record(Bytes(5, Text(std::string(3000, 'x')))));
  CHECK(node.Logs(large).status == 503);
  node.wal->commit_held = false;
  node.wal->held.load()->done(node.wal->held.load());
  first.join();
  CHECK(node.Logs(large).status == 200);
  CHECK(node.Exposes("forebay_receive_in_flight_bytes 0"));
}

TEST_CASE("otlp handler: a tenant above its rate is 429 with Retry-After") {
  io::MemoryFileSystem fs;
  config::Config config;
  config.tenants.limits.requests_per_second = 1;
  OtlpNode node(fs, config);
  CHECK(node.Logs(Request("", kRecord), {{"X-Scope-OrgID", "a"}}).status == 200);
  const auto response = node.Logs(Request("", kRecord + kRecord), {{"X-Scope-OrgID", "a"}});
  CHECK(response.status == 429);
  CHECK(response.Header("Retry-After") == "1");
  CHECK(response.body.starts_with("\x08\x08\x12"));
  CHECK(node.Logs(Request("", kRecord), {{"X-Scope-OrgID", "b"}}).status == 200);
}

TEST_CASE("otlp handler: records of a tenant are charged when they are known") {
  io::MemoryFileSystem fs;
  config::Config config;
  config.tenants.limits.samples_per_second = 2;
  OtlpNode node(fs, config);
  CHECK(node.Logs(Request("", kRecord + kRecord + kRecord)).status == 200);
  CHECK(node.Logs(Request("", kRecord)).status == 429);
}

TEST_CASE("otlp handler: a request that comes again is stored once; an Idempotency-Key names it") {
  io::MemoryFileSystem fs;
  OtlpNode node(fs);
  for (int attempt = 0; attempt < 3; ++attempt) {
    CHECK(node.Logs(Request("", kRecord)).status == 200);
  }
  CHECK(node.StoredRows() == 1);
  CHECK(node.Logs(Request("a", kRecord), {{"Idempotency-Key", "k"}}).status == 400);
  CHECK(node.Logs(Request("", kRecord), {{"Idempotency-Key", "k"}}).status == 200);
  CHECK(node.Logs(Request("", kRecord + kRecord), {{"Idempotency-Key", "k"}}).status == 200);
  CHECK(node.Logs(Request("", kRecord), {{"Idempotency-Key", std::string(256, 'k')}}).status ==
        400);
  // The same bytes as spans are another request.
  CHECK(node.Send(otlp::kTracesPath, Request("", Record("")),
                  {{"Content-Type", "application/x-protobuf"}})
            .status == 200);
  CHECK(node.Logs(Request("", Record(""))).status == 200);
  CHECK(node.StoredRows() == 4);
  CHECK(node.Rows().deduplicated == 3);
}

TEST_CASE("otlp handler: what was acknowledged and not sealed comes back by replay, alike") {
  io::MemoryFileSystem fs;
  {
    OtlpNode node(fs);
    CHECK(node.Logs(Request("", kRecord + kBadRecord + kRecord)).status == 200);
    CHECK(node.Json(otlp::kLogsPath, R"({"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}]})")
              .status == 200);
    CHECK(node.Json(otlp::kTracesPath, R"({"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]})")
              .status == 200);
    // Nothing can be written any more: ending this node seals nothing.
    node.disk_is_gone = true;
    fs.FailAlways(io::FileOperation::kAny, Error(ErrorCode::kIo, "the disk is gone"));
  }
  fs.Crash({.keep_probability = 0});
  OtlpNode node(fs);
  CHECK(node.StoredRows() == 4);
  CHECK(node.real_wal->stats().replayed_records == 3);
  CHECK(node.real_wal->stats().quarantined_records == 0);
  // A retry of what was acknowledged is known.
  CHECK(node.Logs(Request("", kRecord + kBadRecord + kRecord)).status == 200);
  CHECK(node.StoredRows() == 4);
}

TEST_CASE("otlp handler: Stop stores what was committed and never answered") {
  io::MemoryFileSystem fs;
  OtlpNode node(fs);
  node.wal->commit_held = true;
  std::thread sender([&] {
    http::ClientRequest request;
    request.method = "POST";
    request.url = "http://127.0.0.1:" + std::to_string(node.server->port()) + otlp::kLogsPath;
    request.headers = {{"Content-Type", "application/x-protobuf"}};
    const std::string body = Request("", kRecord);
    request.body = body;
    CHECK_FALSE(node.client->Do(request).ok());
  });
  while (node.wal->held.load() == nullptr) std::this_thread::yield();
  (void)node.server->Stop(node.clock.Monotonic());
  sender.join();
  node.wal->held.load()->done(node.wal->held.load());
  node.handler->Stop();
  node.wal->commit_held = false;
  CHECK(node.StoredRows() == 1);
}

}  // namespace
}  // namespace forebay
