// Requests that go well, and what clients do that is legal but rare.
#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "unit/http/test_server.h"

namespace forebay::http::test {

TEST_CASE("server: a connection serves one request after the other") {
  TestServer t(DefaultOptions());
  t.Start();
  RawClient client(t.port());
  for (const std::string body : {"one", "", "three"}) {
    REQUIRE(client.Send(Post("/echo", body)));
    const RawResponse response = client.Receive();
    CHECK(response.status == 200);
    CHECK(response.body == "POST /echo " + body);
    CHECK(response.Header("Connection").empty());
    CHECK(response.Header("Date").size() == 29);
  }
  CHECK(t.server->stats().connections_accepted == 1);
  CHECK(t.server->stats().requests == 3);
  CHECK(t.server->stats().responses[2] == 3);
}

TEST_CASE("server: pipelined requests are answered in order") {
  TestServer t(DefaultOptions());
  t.Start();
  std::string all;
  for (int i = 0; i < 200; ++i) all += Post("/echo", std::to_string(i));
  all += Post("/hold", "x") + Post("/echo", "last");
  RawClient client(t.port());
  REQUIRE(client.Send(all));
  for (int i = 0; i < 200; ++i) REQUIRE(client.Receive().body == "POST /echo " + std::to_string(i));
  REQUIRE(t.hold.WaitFor(1));
  // The request behind the one that is held has not been handled.
  CHECK(t.echo.handled == 200);
  t.hold.ReleaseAll();
  CHECK(client.Receive().body == "released\n");
  CHECK(client.Receive().body == "POST /echo last");
}

TEST_CASE("server: a request may come byte by byte") {
  TestServer t(DefaultOptions());
  t.Start();
  RawClient client(t.port());
  for (const char c : Post("/echo?a=b", "slow")) REQUIRE(client.Send({&c, 1}));
  CHECK(client.Receive().body == "POST /echo slow");
  const std::string chunked =
      "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3;x=\"y\"\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n";
  for (const char c : chunked) REQUIRE(client.Send({&c, 1}));
  CHECK(client.Receive().body == "POST /echo abcde");
}

TEST_CASE("server: chunked bodies are joined, and the next request is found behind them") {
  TestServer t(DefaultOptions());
  t.Start();
  std::string request = "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
  std::string body;
  for (int i = 0; i < 3000; ++i) {
    const std::string piece(static_cast<size_t>(i % 15 + 1), static_cast<char>('a' + i % 26));
    body += piece;
    request += std::string(1, "0123456789abcdef"[piece.size()]) + "\r\n" + piece + "\r\n";
  }
  request += "0\r\n\r\n" + Post("/echo", "next");
  RawClient client(t.port());
  REQUIRE(client.Send(request));
  CHECK(client.Receive().body == "POST /echo " + body);
  CHECK(client.Receive().body == "POST /echo next");
}

TEST_CASE("server: large bodies arrive whole and again on the same connection") {
  ServerOptions options = DefaultOptions();
  options.limits.max_body = MiB(8);
  TestServer t(options);
  t.Start();
  std::string body(5 << 20, '\0');
  for (size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 2654435761u >> 13);
  RawClient client(t.port());
  for (int i = 0; i < 2; ++i) {
    REQUIRE(client.Send(Post("/echo", body)));
    CHECK(client.Receive().body == "POST /echo " + body);
  }
}

TEST_CASE("server: Expect 100-continue is answered after Admit, and not at all when refused") {
  TestServer t(DefaultOptions());
  t.echo.admit = [](const RequestHead& head) -> std::optional<Response> {
    if (head.QueryParameter("refuse")) return Response::RetryAfter(503, milliseconds(1), "full");
    return std::nullopt;
  };
  t.Start();
  const auto head = [](const std::string& path) {
    return "POST " + path +
           " HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
  };
  RawClient client(t.port());
  REQUIRE(client.Send(head("/echo")));
  CHECK(client.Receive().status == 100);
  CHECK(t.echo.admitted == 1);
  CHECK(t.echo.handled == 0);
  REQUIRE(client.Send("body"));
  CHECK(client.Receive().body == "POST /echo body");
  REQUIRE(client.Send(head("/echo?refuse")));
  const RawResponse refused = client.Receive();
  CHECK(refused.status == 503);
  CHECK(refused.Header("Retry-After") == "1");
  // Whether the body will come is unknown, so the connection cannot go on.
  CHECK(refused.Header("Connection") == "close");
  CHECK(client.ReceivesEnd());
}

TEST_CASE("server: HTTP/1.0 closes unless keep-alive is asked for") {
  TestServer t(DefaultOptions());
  t.Start();
  RawClient closing(t.port());
  REQUIRE(closing.Send("GET /echo HTTP/1.0\r\n\r\n"));
  CHECK(closing.Receive().Header("Connection") == "close");
  CHECK(closing.ReceivesEnd());
  RawClient keeping(t.port());
  for (int i = 0; i < 2; ++i) {
    REQUIRE(keeping.Send("GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    CHECK(keeping.Receive().Header("Connection") == "keep-alive");
  }
}

TEST_CASE("server: unknown paths are 404, wrong methods 405 with Allow, HEAD serves like GET") {
  TestServer t(DefaultOptions());
  t.Start();
  RawClient client(t.port());
  REQUIRE(client.Send("GET /none HTTP/1.1\r\nHost: t\r\n\r\n"));
  CHECK(client.Receive().status == 404);
  REQUIRE(client.Send(Post("/none", "the body of a refused request is passed over")));
  CHECK(client.Receive().status == 404);
  REQUIRE(client.Send("DELETE /echo HTTP/1.1\r\nHost: t\r\n\r\n"));
  const RawResponse wrong = client.Receive();
  CHECK(wrong.status == 405);
  CHECK(wrong.Header("Allow") == "GET, HEAD, POST");
  REQUIRE(client.Send("HEAD /echo HTTP/1.1\r\nHost: t\r\n\r\n"));
  const RawResponse head = client.Receive(true);
  CHECK(head.status == 200);
  CHECK(head.Header("Content-Length") == "11");
  REQUIRE(client.Send("GET http://proxy.example/echo?q HTTP/1.1\r\nHost: t\r\n\r\n"));
  CHECK(client.Receive().body == "GET /echo ");
}

TEST_CASE("server: a client that stops writing still gets its answer") {
  TestServer t(DefaultOptions());
  t.Start();
  RawClient client(t.port());
  REQUIRE(client.Send(Post("/hold", "x")));
  client.CloseWriting();
  REQUIRE(t.hold.WaitFor(1));
  t.hold.ReleaseAll();
  CHECK(client.Receive().body == "released\n");
  CHECK(client.ReceivesEnd());
}

TEST_CASE("server: a reset in mid-body abandons the admitted request") {
  TestServer t(DefaultOptions());
  t.Start();
  RawClient client(t.port());
  REQUIRE(client.Send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf"));
  REQUIRE(t.WaitFor([&](const ServerStats&) { return t.echo.admitted == 1; }));
  client.Reset();
  CHECK(t.WaitFor([](const ServerStats& s) { return s.connections_open == 0; }));
  CHECK(t.echo.abandoned == 1);
  CHECK(t.echo.handled == 0);
  CHECK(t.server->stats().requests_abandoned == 1);
}

TEST_CASE("server: a client gone while its request is handled costs nothing") {
  TestServer t(DefaultOptions());
  t.Start();
  RawClient client(t.port());
  REQUIRE(client.Send(Post("/hold", "x")));
  REQUIRE(t.hold.WaitFor(1));
  client.Reset();
  t.hold.ReleaseAll();
  CHECK(t.WaitFor([](const ServerStats& s) { return s.connections_open == 0; }));
  CHECK(t.server->stats().requests_in_flight == 0);
}

TEST_CASE("server: exchanges resumed from other threads are answered, each once") {
  TestServer t(DefaultOptions());
  t.Start();
  constexpr int kRounds = 20;
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 16; ++i) clients.push_back(std::make_unique<RawClient>(t.port()));
  for (int round = 0; round < kRounds; ++round) {
    for (auto& client : clients) REQUIRE(client->Send(Post("/hold", "x")));
    REQUIRE(t.hold.WaitFor(clients.size()));
    std::jthread first([&] { t.hold.ReleaseAll(); });
    std::jthread second([&] { t.hold.ReleaseAll(); });
    for (auto& client : clients) REQUIRE(client->Receive().status == 200);
  }
  CHECK(t.server->stats().responses[2] == kRounds * clients.size());
}

TEST_CASE("server: a thousand idle and half-open connections do not delay a new one") {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = std::min<rlim_t>(files.rlim_max, 4096);
  ::setrlimit(RLIMIT_NOFILE, &files);
  TestServer t(DefaultOptions());
  t.Start();
  std::vector<std::unique_ptr<RawClient>> idle;
  for (int i = 0; i < 1000; ++i) {
    idle.push_back(std::make_unique<RawClient>(t.port()));
    REQUIRE(idle.back()->connected());
    if (i % 2 == 0) REQUIRE(idle.back()->Send("POST /echo HTTP/1.1\r\nHo"));
  }
  REQUIRE(t.WaitFor([](const ServerStats& s) { return s.connections_open == 1000; }));
  RawClient client(t.port());
  REQUIRE(client.Send(Post("/echo", "x")));
  CHECK(client.Receive().status == 200);
}

TEST_CASE("server: connections are spread over the io threads") {
  TestServer t(DefaultOptions());
  std::atomic<int> seen[2] = {};
  class Where : public Handler {
   public:
    explicit Where(std::atomic<int>* counts) : counts_(counts) {}
    void Handle(Exchange& exchange) override {
      ++counts_[exchange.io_thread()];
      exchange.Respond(Response::Empty(204));
    }

   private:
    std::atomic<int>* counts_;
  } where(seen);
  t.server->Route("GET", "/where", &where);
  t.Start();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(std::make_unique<RawClient>(t.port()));
    REQUIRE(clients.back()->Send("GET /where HTTP/1.1\r\nHost: t\r\n\r\n"));
    REQUIRE(clients.back()->Receive().status == 204);
  }
  CHECK(seen[0] == 4);
  CHECK(seen[1] == 4);
}

TEST_CASE("server: addresses are host:port, :port and [v6]:port; others are errors") {
  for (const std::string listen : {"127.0.0.1:0", ":0", "0.0.0.0:0", "localhost:0"}) {
    ServerOptions options = DefaultOptions();
    options.listen = listen;
    TestServer t(options);
    t.Start();
    RawClient client(t.port());
    REQUIRE(client.Send(Post("/echo", "x")));
    CHECK(client.Receive().status == 200);
  }
  for (const std::string listen : {"", "127.0.0.1", "::1:0", "[::1:0", "a:b", "1.2.3.4:70000"}) {
    ServerOptions options = DefaultOptions();
    options.listen = listen;
    const auto server = Server::Create(options);
    REQUIRE(!server.ok());
    CHECK(server.error().code() == ErrorCode::kInvalidArgument);
  }
}

TEST_CASE("server: a port that another server has is an error, not shared") {
  TestServer t(DefaultOptions());
  t.Start();
  ServerOptions options = DefaultOptions();
  options.listen = "127.0.0.1:" + std::to_string(t.port());
  const auto second = Server::Create(options);
  REQUIRE(!second.ok());
  CHECK(second.error().code() == ErrorCode::kFailedPrecondition);
}

}  // namespace forebay::http::test
