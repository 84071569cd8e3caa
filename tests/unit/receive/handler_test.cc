#include "receive/remote_write_handler.h"

#include <catch2/catch.hpp>
#include <thread>

#include "handler_harness.h"

using namespace forebay;           // NOLINT
using namespace forebay::receive;  // NOLINT
using namespace forebay::testing;  // NOLINT
using Node = HandlerNode;

TEST_CASE("handler: a good 1.0 request is 204 without Written headers, and its row is stored") {
  io::MemoryFileSystem fs;
  Node node(fs);
  const auto response = node.Send1(Series1(kUp));
  CHECK(response.status == 204);
  CHECK(response.body.empty());
  CHECK(Written(response).empty());
  CHECK(node.StoredRows() == 1);
}

TEST_CASE("handler: a request without any header is 1.0 in snappy") {
  io::MemoryFileSystem fs;
  Node node(fs);
  CHECK(node.Send(Node::Compress(Series1(kUp)), {}).status == 204);
  CHECK(node.StoredRows() == 1);
}

TEST_CASE("handler: a good 2.0 request is 204 with the three counts, zeros included") {
  io::MemoryFileSystem fs;
  Node node(fs);
  const auto samples = node.Send2(Request2().Add(kUp, Sample2(1) + Sample2(2)).Encode());
  CHECK(samples.status == 204);
  CHECK(Written(samples) == "2 0 0");
  const auto histogram =
      node.Send2(Request2()
                     .Add(kUp, BytesField(3, HistogramMessage()) + BytesField(4, DoubleField(2, 1)))
                     .Encode());
  CHECK(histogram.status == 204);
  CHECK(Written(histogram) == "0 1 1");
  const auto empty = node.Send2("");
  CHECK(empty.status == 204);
  CHECK(Written(empty) == "0 0 0");
  CHECK(node.StoredRows() == 4);
}

TEST_CASE("handler: what is refused in part is 400 with the reason, and the rest is stored") {
  io::MemoryFileSystem fs;
  Node node(fs);
  const TextLabels nameless = {{"job", "x"}};
  const auto second =
      node.Send2(Request2().Add(kUp, Sample2(1)).Add(nameless, Sample2(2)).Encode());
  CHECK(second.status == 400);
  CHECK(Written(second) == "1 0 0");
  CHECK_THAT(second.body, Catch::StartsWith("1 of 2 series refused: 1 no_metric_name; the rest"));
  const auto first = node.Send1(Series1(kUp) + Series1(nameless));
  CHECK(first.status == 400);
  CHECK(Written(first).empty());
  const auto none = node.Send2(Request2().Add(nameless, Sample2(2)).Encode());
  CHECK(none.status == 400);
  CHECK(Written(none) == "0 0 0");
  CHECK_THAT(none.body, Catch::Contains("nothing was kept"));
  CHECK(node.StoredRows() == 2);
  CHECK(node.Exposes("forebay_receive_received_samples_total 5"));
  CHECK(node.Exposes("forebay_receive_samples_total{database=\"Metrics\"} 2"));
  CHECK(node.Exposes("forebay_receive_refused_samples_total{reason=\"no_metric_name\"} 3"));
}

TEST_CASE("handler: all kinds of rows are accounted for, metadata that repeats itself as such") {
  io::MemoryFileSystem fs;
  config::Config config;
  config.remote_write.drop_nan = true;
  Node node(fs, config);
  const std::string metadata = BytesField(5, VarintField(1, 1));
  const std::string all =
      Sample2(1) + BytesField(3, HistogramMessage()) + BytesField(4, DoubleField(2, 1)) + metadata;
  CHECK(node.Send2(Request2().Add(kUp, all).Encode()).status == 204);
  CHECK(node.Rows().received == 4);
  CHECK(node.Rows().unsealed == 4);
  CHECK(node.Send2(Request2().Add(kUp, Sample2(2) + metadata).Encode()).status == 204);
  CHECK(node.Rows().received == 6);
  CHECK(node.Rows().deduplicated == 1);
  CHECK(node.StoredRows() == 5);
  CHECK(node.Rows().sealed == 5);
  CHECK(node.Rows().unsealed == 0);
  CHECK(node.Send2("no protobuf").status == 400);
  CHECK(node.Rows().received == 6);
  CHECK(node.Exposes("forebay_receive_undecodable_requests_total 1"));
}

TEST_CASE("handler: corrupt bodies are exactly 400, with zero counts for 2.0") {
  io::MemoryFileSystem fs;
  Node node(fs);
  std::string body = Node::Compress(Request2().Add(kUp, Sample2(1)).Encode());
  body[0] = '\xff';
  const auto corrupt = node.Send(body, {{"Content-Type", kV2Type}});
  CHECK(corrupt.status == 400);
  CHECK(Written(corrupt) == "0 0 0");
  CHECK(node.Send(body, {}).status == 400);
  CHECK(node.Send("", {}).status == 400);
  CHECK(node.Send1("\xff\xff\xff").status == 400);
  CHECK(node.StoredRows() == 0);
}

TEST_CASE("handler: unsupported types and encodings are 415 without counts") {
  io::MemoryFileSystem fs;
  Node node(fs);
  for (const http::HeaderList& headers :
       {http::HeaderList{{"Content-Type", "application/json"}},
        http::HeaderList{{"Content-Type", "application/x-protobuf;proto=Unknown"}},
        http::HeaderList{{"Content-Type", "application/x-protobuf;proto"}},
        http::HeaderList{{"Content-Type", kV2Type}, {"Content-Encoding", "gzip"}}}) {
    const auto response = node.Send(Node::Compress(Series1(kUp)), headers);
    CHECK(response.status == 415);
    CHECK(Written(response).empty());
    CHECK(!response.body.empty());
  }
  CHECK(node.Exposes("forebay_receive_requests_total{code=\"415\",protocol=\"unknown\"} 4"));
}

TEST_CASE("handler: bodies too large, as sent or decoded, are 413") {
  config::Config config;
  config.http.max_body = {1000};
  config.http.max_decoded_body = {2000};
  io::MemoryFileSystem fs;
  Node node(fs, config);
  CHECK(node.Send(std::string(1001, 'x'), {{"Content-Type", kV2Type}}).status == 413);
  const auto decoded =
      node.Send2(Request2().Add({{"__name__", std::string(3000, 'a')}}, Sample2(1)).Encode());
  CHECK(decoded.status == 413);
  CHECK(Written(decoded) == "0 0 0");
  CHECK_THAT(decoded.body, Catch::Contains("http.max_decoded_body"));
  // By its length alone, unread: with the counts that 2.0 senders want, and counted.
  const auto sent = node.Send(std::string(1001, 'x'), {{"Content-Type", kV2Type}});
  CHECK(sent.status == 413);
  CHECK(Written(sent) == "0 0 0");
  CHECK_THAT(sent.body, Catch::Contains("http.max_body"));
  CHECK(node.Exposes("forebay_receive_requests_total{code=\"413\",protocol=\"remote_write_2\"} 3"));
}

TEST_CASE("handler: announced bodies do not take the budget from those that come") {
  config::Config config;
  config.limits.in_flight_bodies = {32U << 20};
  io::MemoryFileSystem fs;
  Node node(fs, config);
  std::vector<http::RequestHead> announced;
  for (int i = 0; i < 500; ++i) {
    announced.push_back(http::RequestHead::Make("POST", "/api/v1/write",
                                                {{"Content-Length", std::to_string(20U << 20)}}));
    CHECK(!node.handler->Admit(announced.back()));
  }
  CHECK(node.Send1(Series1(kUp)).status == 204);
  // One of them comes, a second one has no room beside it.
  CHECK(!node.handler->Grown(announced[0], 10U << 20));
  CHECK(!node.handler->Grown(announced[0], 20U << 20));
  CHECK(node.handler->Grown(announced[1], 10U << 20));
  for (const auto& head : announced) node.handler->Abandoned(head);
  CHECK(node.state->metrics().in_flight_bytes == 0);
}

TEST_CASE("handler: a chunked body is reserved as it grows, and 503 beyond the budget") {
  config::Config config;
  config.limits.in_flight_bodies = {1 << 20};
  io::MemoryFileSystem fs;
  Node node(fs, config);
  const http::HeaderList chunked = {{"Transfer-Encoding", "chunked"}, {"Content-Type", kV2Type}};
  const auto first = http::RequestHead::Make("POST", "/api/v1/write", chunked);
  const auto second = http::RequestHead::Make("POST", "/api/v1/write", chunked);
  CHECK(!node.handler->Admit(first));
  CHECK(!node.handler->Admit(second));
  CHECK(!node.handler->Grown(first, 400'000));
  CHECK(node.state->metrics().in_flight_bytes >= 800'000);
  const auto refused = node.handler->Grown(second, 200'000);
  REQUIRE(refused.has_value());
  CHECK(refused->status == 503);
  CHECK(refused->headers.size() >= 4);  // Retry-After and the three counts
  node.handler->Abandoned(second);
  node.handler->Abandoned(first);
  CHECK(node.state->metrics().in_flight_bytes == 0);
}

TEST_CASE("handler: a log that cannot be entered is 503 with Retry-After, next time unread") {
  io::MemoryFileSystem fs;
  Node node(fs);
  node.wal->enter_fails = true;
  const std::string message = Request2().Add(kUp, Sample2(1)).Encode();
  const auto response = node.Send2(message);
  CHECK(response.status == 503);
  CHECK(response.Header("Retry-After").has_value());
  CHECK(Written(response) == "0 0 0");
  const auto head = http::RequestHead::Make("POST", "/api/v1/write", {{"Content-Length", "10"}});
  const auto refused = node.handler->Admit(head);
  REQUIRE(refused.has_value());
  CHECK(refused->status == 503);
  node.wal->enter_fails = false;
  CHECK(node.Send2(message).status == 204);
  CHECK(node.StoredRows() == 1);
}

TEST_CASE("handler: a failed commit is 503, keeps nothing, and its samples count as refused") {
  io::MemoryFileSystem fs;
  Node node(fs);
  node.wal->commit_fails = true;
  const std::string metadata = BytesField(5, VarintField(1, 1));
  const std::string message = Request2().Add(kUp, Sample2(1) + metadata).Encode();
  const auto response = node.Send2(message);
  CHECK(response.status == 503);
  CHECK(response.Header("Retry-After").has_value());
  CHECK(Written(response) == "0 0 0");
  CHECK_THAT(response.body, Catch::Contains("no space left"));
  CHECK(node.Exposes("forebay_receive_refused_samples_total{reason=\"commit_failed\"} 1"));
  CHECK(node.StoredRows() == 0);
  CHECK(node.Rows().refused == 2);
  CHECK(node.Rows().pending() == 0);
  node.wal->commit_fails = false;
  CHECK(node.Send2(message).status == 204);
  // The sample and the metadata, which was not taken for stored.
  CHECK(node.StoredRows() == 2);
  CHECK(node.Rows().received == 4);
  CHECK(node.Rows().sealed == 2);
}

TEST_CASE("handler: bodies beyond the in-flight budget are 503, and the budget is given back") {
  config::Config config;
  config.limits.in_flight_bodies = {100};
  io::MemoryFileSystem fs;
  Node node(fs, config);
  const auto head = http::RequestHead::Make("POST", "/api/v1/write", {{"Content-Length", "90"}});
  CHECK(!node.handler->Admit(head));
  const auto second = http::RequestHead::Make("POST", "/api/v1/write", {{"Content-Length", "11"}});
  const auto refused = node.handler->Admit(second);
  REQUIRE(refused.has_value());
  CHECK(refused->status == 503);
  node.handler->Abandoned(head);
  CHECK(node.state->metrics().in_flight_bytes == 0);
  // A body larger than the whole budget goes in alone.
  const auto large = http::RequestHead::Make("POST", "/api/v1/write", {{"Content-Length", "500"}});
  CHECK(!node.handler->Admit(large));
  node.handler->Abandoned(large);
  CHECK(node.Send1(Series1(kUp)).status == 204);
  CHECK(node.state->metrics().in_flight_bytes == 0);
  CHECK(node.state->metrics().in_flight_requests == 0);
}

TEST_CASE("handler: retries are counted, the first attempt is none") {
  io::MemoryFileSystem fs;
  Node node(fs);
  const std::string body = Node::Compress(Series1(kUp));
  CHECK(node.Send(body, {{"Retry-Attempt", "0"}}).status == 204);
  CHECK(node.Send(body, {{"Retry-Attempt", "2"}}).status == 204);
  CHECK(node.Exposes("forebay_receive_retried_requests_total 1"));
}

TEST_CASE("handler: what was acknowledged and not sealed comes back by replay, alike") {
  io::MemoryFileSystem fs;
  {
    Node node(fs);
    const TextLabels nameless = {{"job", "x"}};
    CHECK(node.Send2(Request2()
                         .Add(nameless, Sample2(9))
                         .Add(kUp, Sample2(1) + BytesField(3, HistogramMessage()))
                         .Encode())
              .status == 400);
    CHECK(node.Send1(Series1(kUp, 2)).status == 204);
    // Nothing can be written any more: ending this node seals nothing.
    node.disk_is_gone = true;
    fs.FailAlways(io::FileOperation::kAny, Error(ErrorCode::kIo, "the disk is gone"));
  }
  fs.Crash({.keep_probability = 0});
  Node again(fs);
  CHECK(again.StoredRows() == 3);
  CHECK(again.wal->stats().quarantined_records == 0);
}

TEST_CASE("handler: a request that comes again is answered like the first time and stored once") {
  io::MemoryFileSystem fs;
  Node node(fs);
  const TextLabels nameless = {{"job", "x"}};
  const std::string good =
      Request2()
          .Add(kUp, Sample2(1) + Sample2(2))
          .Add(kUp, BytesField(3, HistogramMessage()) + BytesField(4, DoubleField(2, 1)))
          .Encode();
  const std::string partly = Request2().Add(kUp, Sample2(5)).Add(nameless, Sample2(2)).Encode();
  for (int attempt = 0; attempt < 3; ++attempt) {
    INFO("attempt " << attempt);
    const auto first = node.Send2(good);
    CHECK(first.status == 204);
    CHECK(Written(first) == "2 1 1");
    const auto second = node.Send2(partly);
    CHECK(second.status == 400);
    CHECK(Written(second) == "1 0 0");
    CHECK_THAT(second.body, Catch::Contains("the rest"));
    const auto old =
        node.Send(Node::Compress(Series1(kUp)), {{"Retry-Attempt", std::to_string(attempt)}});
    CHECK(old.status == 204);
    CHECK(Written(old).empty());
  }
  // Two samples, a histogram, an exemplar; one sample; one sample.
  CHECK(node.StoredRows() == 6);
  CHECK(node.Exposes("forebay_receive_duplicate_requests_total 6"));
  CHECK(node.Exposes("forebay_receive_received_samples_total 13"));
  CHECK(node.Exposes("forebay_receive_deduplicated_samples_total 8"));
  CHECK(node.Exposes("forebay_receive_samples_total{database=\"Metrics\"} 4"));
  CHECK(node.Exposes("forebay_receive_refused_samples_total{reason=\"no_metric_name\"} 1"));
  CHECK(node.Exposes("forebay_receive_deduplicated_histograms_total 2"));
  CHECK(node.Exposes("forebay_receive_deduplicated_exemplars_total 2"));
  CHECK(node.Rows().received == 19);
  CHECK(node.Rows().deduplicated == 12);
  CHECK(node.Rows().refused == 1);
  CHECK(node.Rows().sealed == 6);
}

TEST_CASE("handler: tenant, version and body make a request; nothing stored is never known") {
  io::MemoryFileSystem fs;
  Node node(fs);
  const std::string body = Node::Compress(Series1(kUp));
  CHECK(node.Send(body, {}).status == 204);
  CHECK(node.Send(body, {{"X-Scope-OrgID", "other"}}).status == 204);
  CHECK(node.Send1(Series1(kUp, 2)).status == 204);
  const std::string nothing = Request2().Add({{"job", "x"}}, Sample2(2)).Encode();
  for (int i = 0; i < 2; ++i) {
    CHECK(node.Send2("").status == 204);
    CHECK(node.Send2("\xff\xff").status == 400);
  }
  CHECK(node.StoredRows() == 3);
  CHECK(node.Exposes("forebay_receive_duplicate_requests_total 0"));
  // Refused in whole: the second answer has the whole text again.
  CHECK(node.Send2(nothing).body == node.Send2(nothing).body);
}

TEST_CASE("handler: an Idempotency-Key stands for the request, at most 255 bytes of it") {
  io::MemoryFileSystem fs;
  Node node(fs);
  const auto send = [&](const std::string& key, int sample) {
    return node.Send(Node::Compress(Series1(kUp, sample)), {{"Idempotency-Key", key}}).status;
  };
  CHECK(send("a", 1) == 204);
  CHECK(send("a", 2) == 204);
  CHECK(send("b", 2) == 204);
  CHECK(send(std::string(255, 'k'), 3) == 204);
  CHECK(send(std::string(256, 'k'), 4) == 400);
  CHECK(node.StoredRows() == 3);
  CHECK(node.ledger->size() == 3);
}

TEST_CASE("handler: a window of 0 stores every attempt") {
  config::Config config;
  config.idempotency.window = std::chrono::milliseconds(0);
  io::MemoryFileSystem fs;
  Node node(fs, config);
  for (int i = 0; i < 3; ++i) CHECK(node.Send1(Series1(kUp)).status == 204);
  CHECK(node.StoredRows() == 3);
}

TEST_CASE("handler: an attempt while the first is being committed is 503, then the same answer") {
  io::MemoryFileSystem fs;
  Node node(fs);
  const std::string message = Request2().Add(kUp, Sample2(1)).Encode();
  node.wal->commit_held = true;
  int first_status = 0;
  std::thread first([&] { first_status = node.Send2(message).status; });
  while (node.wal->held == nullptr) std::this_thread::yield();
  const auto client = Node::Must(http::Client::Create({}));
  http::ClientRequest request;
  request.method = "POST";
  request.url = "http://127.0.0.1:" + std::to_string(node.server->port()) + "/api/v1/write";
  request.headers = {{"Content-Type", kV2Type}};
  const std::string body = Node::Compress(message);
  request.body = body;
  const auto second = Node::Must(client->Do(request));
  CHECK(second.status == 503);
  CHECK(second.Header("Retry-After") == "1");
  CHECK(Written(second) == "0 0 0");
  wal::PendingRecord* const record = node.wal->held;
  record->done(record);
  first.join();
  CHECK(first_status == 204);
  const auto third = Node::Must(client->Do(request));
  CHECK(third.status == 204);
  CHECK(Written(third) == "1 0 0");
  CHECK(node.StoredRows() == 1);
  CHECK(node.Exposes("forebay_receive_concurrent_requests_total 1"));
}

TEST_CASE(
    "handler: a request is known after a restart, from its journal and from its ledger file") {
  for (const bool sealed : {false, true}) {
    INFO("sealed " << sealed);
    io::MemoryFileSystem fs;
    const std::string message =
        Request2().Add(kUp, Sample2(1)).Add({{"job", "x"}}, Sample2(2)).Encode();
    {
      Node node(fs);
      CHECK(node.Send2(message).status == 400);
      if (sealed) CHECK(node.StoredRows() == 1);
      node.disk_is_gone = true;
      fs.FailAlways(io::FileOperation::kAny, Error(ErrorCode::kIo, "the disk is gone"));
    }
    fs.Crash({.keep_probability = 0});
    Node again(fs);
    const auto repeated = again.Send2(message);
    CHECK(repeated.status == 400);
    CHECK(Written(repeated) == "1 0 0");
    CHECK(again.StoredRows() == 1);
  }
}
