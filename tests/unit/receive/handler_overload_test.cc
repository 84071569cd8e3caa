// The handler when there is too much: tenants above their limits, decoded requests beyond the
// budget, and what happens to requests that are never answered.
#include <catch2/catch.hpp>
#include <thread>

#include "handler_harness.h"

using namespace forebay;           // NOLINT
using namespace forebay::receive;  // NOLINT
using namespace forebay::testing;  // NOLINT
using Node = HandlerNode;

namespace {

// A 1.0 series with so many samples.
std::string ManySamples(const TextLabels& labels, size_t samples) {
  std::string rest;
  for (size_t i = 1; i < samples; ++i) rest += BytesField(2, SampleMessage(1.0));
  return Series1(labels, 1, rest);
}

config::Config TenantConfig(const config::TenantLimits& limits) {
  config::Config config;
  config.tenants.limits = limits;
  config.idempotency.window = std::chrono::milliseconds(0);
  return config;
}

}  // namespace

TEST_CASE("handler: a tenant above its rate is 429 with Retry-After, before its body is read") {
  config::TenantLimits limits;
  limits.requests_per_second = 1;
  limits.requests_burst = 2;
  io::MemoryFileSystem fs;
  Node node(fs, TenantConfig(limits));
  const std::string body = Node::Compress(Request2().Add(kUp, Sample2(1)).Encode());
  const auto send = [&](const char* tenant) {
    return node.Send(body, {{"Content-Type", kV2Type}, {"X-Scope-OrgID", tenant}});
  };
  CHECK(send("greedy").status == 204);
  CHECK(send("greedy").status == 204);
  const auto head = http::RequestHead::Make(
      "POST", "/api/v1/write", {{"Content-Length", "10"}, {"X-Scope-OrgID", "greedy"}});
  CHECK(node.handler->Admit(head));
  CHECK(node.state->metrics().in_flight_bytes == 0);
  const auto refused = send("greedy");
  CHECK(refused.status == 429);
  CHECK(refused.Header("Retry-After") == "1");
  CHECK(Written(refused) == "0 0 0");
  CHECK_THAT(refused.body, Catch::Contains("requests_per_second"));
  CHECK(send("modest").status == 204);
  CHECK(node.StoredRows() == 3);
  CHECK(node.Exposes("forebay_receive_requests_total{code=\"429\",protocol=\"remote_write_2\"} 1"));
  CHECK(node.Exposes("forebay_receive_received_samples_total 3"));
}

TEST_CASE("handler: samples of a tenant are charged when they are known, and paid for later") {
  config::TenantLimits limits;
  limits.samples_per_second = 1;
  limits.samples_burst = 10;
  io::MemoryFileSystem fs;
  Node node(fs, TenantConfig(limits));
  CHECK(node.Send1(ManySamples(kUp, 500)).status == 204);
  const auto refused = node.Send1(Series1(kUp));
  CHECK(refused.status == 429);
  CHECK(std::stoi(std::string(refused.Header("Retry-After").value())) > 400);
  CHECK(node.StoredRows() == 500);
}

TEST_CASE("handler: a tenant's series limit refuses its new series alone, with 400") {
  config::TenantLimits limits;
  limits.series_max = 2;
  io::MemoryFileSystem fs;
  Node node(fs, TenantConfig(limits));
  const auto series = [](int n) { return Series1({{"__name__", "up"}, {"n", std::to_string(n)}}); };
  const auto send = [&](const char* tenant, const std::string& message) {
    return node.Send(Node::Compress(message), {{"X-Scope-OrgID", tenant}});
  };
  CHECK(send("a", series(1) + series(2)).status == 204);
  const auto third = send("a", series(1) + series(3));
  CHECK(third.status == 400);
  CHECK_THAT(third.body, Catch::Contains("1 of 2 series refused: 1 tenant_series_limit; the rest"));
  CHECK(send("b", series(3)).status == 204);
  // It is known now, and b's.
  CHECK(send("a", series(3)).status == 204);
  CHECK(node.StoredRows() == 5);
  CHECK(node.Exposes("forebay_receive_refused_samples_total{reason=\"tenant_series_limit\"} 1"));
}

TEST_CASE("handler: series that replay brings back count for their tenant") {
  config::TenantLimits limits;
  limits.series_max = 1;
  io::MemoryFileSystem fs;
  const auto send = [&](Node& node, const char* name) {
    return node.Send(Node::Compress(Series1({{"__name__", name}})), {{"X-Scope-OrgID", "a"}})
        .status;
  };
  {
    Node node(fs, TenantConfig(limits));
    CHECK(send(node, "one") == 204);
    node.disk_is_gone = true;
    fs.FailAlways(io::FileOperation::kAny, Error(ErrorCode::kIo, "the disk is gone"));
  }
  fs.Crash({.keep_probability = 0});
  Node again(fs, TenantConfig(limits));
  CHECK(again.StoredRows() == 1);
  CHECK(send(again, "two") == 400);
  CHECK(send(again, "one") == 204);
}

TEST_CASE("handler: decoded requests that wait for the disk are bounded, 503 beyond") {
  config::Config config;
  config.limits.in_flight_bodies = {100'000};
  io::MemoryFileSystem fs;
  Node node(fs, config);
  node.wal->commit_held = true;
  int first_status = 0;
  std::thread first([&] { first_status = node.Send1(ManySamples(kUp, 4000)).status; });
  while (node.wal->held == nullptr) std::this_thread::yield();
  CHECK(node.state->metrics().in_flight_decoded_bytes == 4000 * kStagedSampleBytes);
  const auto client = Node::Must(http::Client::Create({}));
  http::ClientRequest request;
  request.method = "POST";
  request.url = "http://127.0.0.1:" + std::to_string(node.server->port()) + "/api/v1/write";
  const std::string body = Node::Compress(ManySamples(kUp, 3000));
  request.body = body;
  const auto second = Node::Must(client->Do(request));
  CHECK(second.status == 503);
  CHECK(second.Header("Retry-After").has_value());
  CHECK(node.Exposes("forebay_receive_refused_samples_total{reason=\"overloaded\"} 3000"));
  wal::PendingRecord* const record = node.wal->held;
  node.wal->commit_held = false;
  record->done(record);
  first.join();
  CHECK(first_status == 204);
  CHECK(node.state->metrics().in_flight_decoded_bytes == 0);
  CHECK(Node::Must(client->Do(request)).status == 204);
  CHECK(node.StoredRows() == 7000);
}

TEST_CASE("handler: a large request leaves no large buffers behind") {
  io::MemoryFileSystem fs;
  Node node(fs);
  node.wal->commit_fails = true;  // only what is kept is of interest
  CHECK(node.Send1(ManySamples(kUp, 600'000)).status == 503);
  CHECK(node.state->metrics().in_flight_decoded_bytes == 0);
  StagedWrite staged;
  for (int i = 0; i < 600'000; ++i) {
    staged.timestamps.push_back(i);
    staged.values.push_back(1);
  }
  staged.refs.Resize(600'000);
  CHECK(staged.used_bytes() == 600'000 * kStagedSampleBytes);
  staged.Clear();
  CHECK(staged.held_bytes() < (8U << 20));
}

TEST_CASE("handler: Stop stores what was committed and never answered") {
  io::MemoryFileSystem fs;
  Node node(fs);
  node.wal->commit_held = true;
  std::thread sender([&] {
    http::ClientRequest request;
    request.method = "POST";
    request.url = "http://127.0.0.1:" + std::to_string(node.server->port()) + "/api/v1/write";
    const std::string body = Node::Compress(Series1(kUp));
    request.body = body;
    // The exchange is never answered; the sender gives up.
    http::ClientOptions options;
    options.total_timeout = std::chrono::seconds(1);
    const auto client = Node::Must(http::Client::Create(options));
    CHECK_FALSE(client->Do(request).ok());
  });
  while (node.wal->held == nullptr) std::this_thread::yield();
  wal::PendingRecord* const record = node.wal->held;
  // The log is asked only now, so that the server gives up on the exchange before it is committed.
  CHECK(node.server->Stop(node.clock.Monotonic()).error().code() == ErrorCode::kDeadlineExceeded);
  record->done(record);
  node.handler->Stop();
  sender.join();
  CHECK(node.state->metrics().in_flight_requests == 0);
  CHECK(node.state->metrics().in_flight_bytes == 0);
  CHECK(node.StoredRows() == 1);
  node.handler->Stop();
  CHECK(node.StoredRows() == 1);
  CHECK(node.Exposes("forebay_receive_samples_total{database=\"Metrics\"} 1"));
}

TEST_CASE("handler: every durability answers, and its rows are stored") {
  for (const auto durability :
       {config::Durability::kNone, config::Durability::kWrite, config::Durability::kSync}) {
    INFO("durability " << static_cast<int>(durability));
    config::Config config;
    config.durability = durability;
    io::MemoryFileSystem fs;
    Node node(fs, config);
    CHECK(node.Send1(Series1(kUp)).status == 204);
    const TextLabels nameless = {{"job", "x"}};
    const auto partly =
        node.Send2(Request2().Add(kUp, Sample2(5)).Add(nameless, Sample2(2)).Encode());
    CHECK(partly.status == 400);
    CHECK(Written(partly) == "1 0 0");
    CHECK(node.Send1(Series1(kUp)).status == 204);  // known
    CHECK(node.StoredRows() == 2);
    CHECK(node.state->metrics().in_flight_requests == 0);
  }
}
