// Bodies that a handler takes in pieces.
#include <catch2/catch.hpp>
#include <thread>

#include "unit/http/test_server.h"

namespace forebay::http::test {
namespace {

// Takes bodies in pieces, goes on from another thread when asked to, and answers with what it got.
class PieceHandler : public Handler {
 public:
  bool in_pieces() const override { return true; }
  std::optional<ByteCount> body_limit() const override { return ByteCount{64U << 20}; }
  void Piece(Exchange& exchange) override {
    ++pieces;
    largest = std::max<uint64_t>(largest, exchange.body().size());
    text.append(exchange.body().data(), exchange.body().size());
    if (refuse_at > 0 && text.size() >= refuse_at) {
      return exchange.Respond(Response::Text(400, "enough"));
    }
    if (!from_thread) return exchange.ReadOn();
    thread = std::thread([&exchange] {
      exchange.Resume([](void* argument) { static_cast<Exchange*>(argument)->ReadOn(); },
                      &exchange);
    });
    thread.detach();
  }
  void Handle(Exchange& exchange) override {
    text.append(exchange.body().data(), exchange.body().size());
    got = std::exchange(text, {});
    ++handled;
    exchange.Respond(Response::Text(200, std::to_string(got.size())));
  }
  void Abandoned(const RequestHead&) override {
    text.clear();
    ++abandoned;
  }

  bool from_thread = false;
  size_t refuse_at = 0;
  std::atomic<int> pieces{0};
  std::atomic<int> handled{0};
  std::atomic<int> abandoned{0};
  std::atomic<uint64_t> largest{0};
  std::string text;
  std::string got;
  std::thread thread;
};

std::string Body(size_t bytes) {
  std::string body(bytes, 'x');
  for (size_t i = 0; i < bytes; i += 97) body[i] = static_cast<char>('a' + i % 23);
  return body;
}

std::string Chunked(const std::string& body, size_t chunk) {
  std::string text = "POST /pieces HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (size_t at = 0; at < body.size(); at += chunk) {
    const std::string part = body.substr(at, chunk);
    char size[32];
    (void)std::snprintf(size, sizeof size, "%zx\r\n", part.size());
    text += size + part + "\r\n";
  }
  return text + "0\r\n\r\n";
}

TEST_CASE("pieces: a body comes whole in pieces of bounded size, of known length and chunked") {
  TestServer t(DefaultOptions());
  PieceHandler handler;
  handler.from_thread = GENERATE(false, true);
  t.server->Route("POST", "/pieces", &handler);
  t.Start();
  RawClient client(t.port());
  for (const size_t bytes : {size_t{0}, size_t{5}, kPieceBytes, size_t{9} << 20}) {
    const std::string body = Body(bytes);
    REQUIRE(client.Send(Post("/pieces", body)));
    CHECK(client.Receive().body == std::to_string(bytes) + "\n");
    CHECK((handler.got == body));  // not shown: it is long
    if (bytes == 0) continue;
    REQUIRE(client.Send(Chunked(body, 100'000)));
    CHECK(client.Receive().body == std::to_string(bytes) + "\n");
    CHECK((handler.got == body));  // not shown: it is long
  }
  CHECK(handler.pieces > 10);
  CHECK(handler.largest <= 2 << 20);
  // The next request is found behind them, on a path that gathers.
  REQUIRE(client.Send(Post("/echo", "after")));
  CHECK(client.Receive().body == "POST /echo after");
  CHECK(t.server->stats().requests_in_flight == 0);
}

TEST_CASE("pieces: an answer in the middle ends the request and the connection") {
  TestServer t(DefaultOptions());
  PieceHandler handler;
  handler.refuse_at = 1 << 20;
  t.server->Route("POST", "/pieces", &handler);
  t.Start();
  RawClient client(t.port());
  (void)client.Send(Post("/pieces", Body(4 << 20)));
  CHECK(client.Receive().status == 400);
  CHECK(client.ReceivesEnd());
  CHECK(handler.handled == 0);
  CHECK(handler.abandoned == 0);
}

TEST_CASE("pieces: a client that is gone between two pieces abandons the request") {
  TestServer t(DefaultOptions());
  PieceHandler handler;
  t.server->Route("POST", "/pieces", &handler);
  t.Start();
  {
    RawClient client(t.port());
    REQUIRE(client.Send("POST /pieces HTTP/1.1\r\nHost: t\r\nContent-Length: 4000000\r\n\r\n" +
                        Body(1 << 20)));
    while (handler.pieces == 0) std::this_thread::yield();
    client.Reset();
  }
  CHECK(t.WaitFor([&](const ServerStats& s) { return s.requests_abandoned == 1; }));
  CHECK(handler.abandoned == 1);
  CHECK(handler.handled == 0);
  CHECK(t.server->stats().requests_in_flight == 0);
}

}  // namespace
}  // namespace forebay::http::test
