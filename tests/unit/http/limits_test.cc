// Every limit with its status, and clients that are slow or wrong.
#include <sys/resource.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

#include "base/log.h"
#include "unit/http/test_server.h"

namespace forebay::http::test {
namespace {

RawResponse Ask(uint16_t port, const std::string& request) {
  RawClient client(port);
  client.Send(request);
  RawResponse response = client.Receive();
  if (response.Header("Connection") == "close") CHECK(client.ReceivesEnd());
  return response;
}

}  // namespace

TEST_CASE("limits: heads that are too large or have too many fields are 431") {
  TestServer t(DefaultOptions());
  t.Start();
  const std::string start = "GET /echo HTTP/1.1\r\nHost: t\r\n";
  CHECK(Ask(t.port(), start + "X: " + std::string(3000, 'x') + "\r\n\r\n").status == 200);
  CHECK(Ask(t.port(), start + "X: " + std::string(5000, 'x') + "\r\n\r\n").status == 431);
  CHECK(Ask(t.port(), "GET /" + std::string(9000, 'x')).status == 431);
  std::string many = start;
  for (int i = 0; i < 300; ++i) many += "a:b\r\n";
  CHECK(Ask(t.port(), many + "\r\n").status == 431);
  // Line by line: the limit is for all lines together.
  RawClient slow(t.port());
  slow.Send(start);
  for (int i = 0; i < 50; ++i) slow.Send("Name: " + std::string(100, 'x') + "\r\n");
  CHECK(slow.Receive().status == 431);
  CHECK(t.server->stats().requests_malformed == 4);
}

TEST_CASE("limits: a body above the limit is 413 before any of it is read") {
  TestServer t(DefaultOptions());
  t.Start();
  RawClient client(t.port());
  client.Send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 1048577\r\n\r\n");
  const RawResponse response = client.Receive();
  CHECK(response.status == 413);
  CHECK(response.Header("Connection") == "close");
  CHECK(t.echo.admitted == 0);
  // A client that sends on without looking reads the answer all the same.
  RawClient pushing(t.port());
  pushing.Send(Post("/echo", std::string((1 << 20) + 1, 'x')).substr(0, 200'000));
  CHECK(pushing.Receive().status == 413);
}

TEST_CASE("limits: chunked bodies are cut off at the limit") {
  TestServer t(DefaultOptions());
  t.echo.limit = ByteCount{100};
  t.Start();
  const std::string head = "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
  CHECK(Ask(t.port(), head + "64\r\n" + std::string(100, 'x') + "\r\n0\r\n\r\n").status == 200);
  CHECK(Ask(t.port(), head + "64\r\n" + std::string(100, 'x') + "\r\n1\r\n").status == 413);
  CHECK(Ask(t.port(), head + "ffffffffffffffff\r\n").status == 413);
  CHECK(Ask(t.port(), head + "1;" + std::string(40'000, 'x')).status == 400);
  CHECK(t.WaitFor([&](const ServerStats&) { return t.echo.abandoned == 3; }));
  CHECK(t.echo.too_large == 2);
}

TEST_CASE("limits: a body that is too large is answered by its handler, before it admits any") {
  TestServer t(DefaultOptions());
  t.Start();
  CHECK(Ask(t.port(), Post("/echo", std::string((1 << 20) + 1, 'x')).substr(0, 100)).status == 413);
  CHECK(t.echo.too_large == 1);
  CHECK(t.echo.admitted == 0);
  CHECK(t.echo.abandoned == 0);
}

TEST_CASE("limits: a chunked body that grows beyond what its handler has room for is cut off") {
  TestServer t(DefaultOptions());
  t.echo.grown_limit = 1000;
  t.Start();
  const std::string head = "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
  RawClient client(t.port());
  client.Send(head + "3e8\r\n" + std::string(1000, 'x') + "\r\n");
  client.Send("1\r\nx\r\n");
  const RawResponse response = client.Receive();
  CHECK(response.status == 503);
  CHECK(response.Header("Retry-After") == "1");
  CHECK(client.ReceivesEnd());
  CHECK(t.echo.handled == 0);
}

TEST_CASE("limits: buffers that idle connections keep are bounded together") {
  TestServer t(DefaultOptions());
  t.Start();
  const std::string request = Post("/echo", std::string(900'000, 'x'));
  std::vector<std::unique_ptr<RawClient>> clients;
  // With two io threads: 81 MB kept if all did, 64 MiB allowed.
  for (int i = 0; i < 90; ++i) {
    clients.push_back(std::make_unique<RawClient>(t.port()));
    clients.back()->Send(request);
    REQUIRE(clients.back()->Receive().status == 200);
  }
  CHECK(t.WaitFor([](const ServerStats& stats) { return stats.requests_in_flight == 0; }));
  CHECK(t.server->stats().idle_buffer_bytes > 0);
  CHECK(t.server->stats().idle_buffer_bytes <= 64U << 20);
  // They all go on.
  for (const auto& client : clients) {
    client->Send(Post("/echo", "again"));
    CHECK(client->Receive().status == 200);
  }
  clients.clear();
  CHECK(t.WaitFor([](const ServerStats& stats) { return stats.idle_buffer_bytes == 0; }));
}

TEST_CASE("limits: a handler's own body limit goes before the port's") {
  TestServer t(DefaultOptions());
  t.echo.limit = MiB(2);
  t.Start();
  CHECK(Ask(t.port(), Post("/echo", std::string(1'500'000, 'x'))).status == 200);
  CHECK(Ask(t.port(), Post("/hold", std::string(1'500'000, 'x')).substr(0, 100)).status == 413);
}

TEST_CASE("limits: refused with a small body unread, the connection goes on") {
  TestServer t(DefaultOptions());
  t.echo.admit = [](const RequestHead& head) -> std::optional<Response> {
    if (head.QueryParameter("refuse")) return Response::RetryAfter(429, milliseconds(2500), "rate");
    return std::nullopt;
  };
  t.Start();
  RawClient client(t.port());
  for (const size_t size : {size_t{0}, size_t{10}, size_t{200'000}}) {
    REQUIRE(client.Send(Post("/echo?refuse", std::string(size, 'x'))));
    const RawResponse refused = client.Receive();
    CHECK(refused.status == 429);
    CHECK(refused.Header("Retry-After") == "3");
    CHECK(refused.Header("Connection").empty());
  }
  REQUIRE(client.Send(Post("/echo", "x")));
  CHECK(client.Receive().status == 200);
  const RawResponse large = Ask(t.port(), Post("/echo?refuse", std::string(300'000, 'x')));
  CHECK(large.Header("Connection") == "close");
  CHECK(t.echo.abandoned == 0);
  CHECK(t.server->stats().requests_refused_early == 4);
}

TEST_CASE("limits: malformed requests are answered and closed") {
  TestServer t(DefaultOptions());
  t.Start();
  const std::string post = "POST /echo HTTP/1.1\r\nHost: t\r\n";
  const std::vector<std::pair<std::string, int>> cases = {
      {"\x16\x03\x01\x02 hello from TLS\r\n\r\n", 400},
      {"GET /echo HTTP/2.0\r\nHost: t\r\n\r\n", 505},
      {"GET /echo HTTP/1.1\r\n\r\n", 400},
      {"GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET /echo HTTP/1.1\r\nHost: t\r\nBad Name: x\r\n\r\n", 400},
      {"GET /echo HTTP/1.1\r\nHost: t\r\nX: a\r\n folded\r\n\r\n", 400},
      {"OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n", 400},
      {"CONNECT a.example:443 HTTP/1.1\r\nHost: t\r\n\r\n", 400},
      {post + "Content-Length: -1\r\n\r\n", 400},
      {post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
      {post + "Content-Length: 99999999999999999999\r\n\r\n", 400},
      {post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {post + "Transfer-Encoding: gzip\r\n\r\n", 501},
      {post + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
      {post + "Expect: miracles\r\n\r\n", 417},
      {post + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
      {"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
  };
  for (const auto& [request, status] : cases) {
    INFO(request);
    const RawResponse response = Ask(t.port(), request);
    CHECK(response.status == status);
    CHECK(response.Header("Connection") == "close");
  }
  CHECK(t.server->stats().requests_malformed == cases.size());
}

TEST_CASE("limits: more connections than allowed are answered 503") {
  ServerOptions options = DefaultOptions();
  options.limits.max_connections = 3;
  TestServer t(options);
  t.Start();
  std::vector<std::unique_ptr<RawClient>> held;
  for (int i = 0; i < 3; ++i) {
    held.push_back(std::make_unique<RawClient>(t.port()));
    held.back()->Send(Post("/echo", "x"));
    REQUIRE(held.back()->Receive().status == 200);
  }
  RawClient refused(t.port());
  refused.Send(Post("/echo", "x"));
  const RawResponse response = refused.Receive();
  CHECK(response.status == 503);
  CHECK(response.Header("Retry-After") == "1");
  CHECK(refused.ReceivesEnd());
  held.clear();
  REQUIRE(t.WaitFor([](const ServerStats& s) { return s.connections_open <= 1; }));
  RawClient after(t.port());
  after.Send(Post("/echo", "x"));
  CHECK(after.Receive().status == 200);
}

TEST_CASE("limits: a slow head is 408, a connection that says nothing is closed") {
  ServerOptions options = DefaultOptions();
  options.limits.header_timeout = milliseconds(60);
  TestServer t(options);
  t.Start();
  RawClient silent(t.port());
  RawClient slow(t.port());
  slow.Send("GET /echo HT");
  CHECK(slow.Receive().status == 408);
  CHECK(slow.ReceivesEnd());
  CHECK(silent.Receive().status == 0);
}

TEST_CASE("limits: a slow body is 408 and abandons the request") {
  ServerOptions options = DefaultOptions();
  options.limits.body_timeout = milliseconds(60);
  TestServer t(options);
  t.Start();
  RawClient slow(t.port());
  slow.Send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nabc");
  CHECK(slow.Receive().status == 408);
  CHECK(t.echo.abandoned == 1);
  CHECK(t.server->stats().timeouts == 1);
}

TEST_CASE("limits: an idle connection is closed after its time") {
  ServerOptions options = DefaultOptions();
  options.limits.idle_timeout = milliseconds(60);
  TestServer t(options);
  t.Start();
  RawClient client(t.port());
  client.Send(Post("/echo", "x"));
  CHECK(client.Receive().status == 200);
  CHECK(client.ReceivesEnd());
  CHECK(t.server->stats().timeouts == 1);
}

TEST_CASE("limits: a client that does not read its answer is cut off") {
  ServerOptions options = DefaultOptions();
  options.limits.max_body = MiB(32);
  options.limits.write_timeout = milliseconds(100);
  TestServer t(options);
  t.Start();
  RawClient client(t.port());
  // More than the socket buffers of both sides hold.
  REQUIRE(client.Send(Post("/echo", std::string(20 << 20, 'x'))));
  CHECK(t.WaitFor([](const ServerStats& s) { return s.timeouts == 1; }));
  CHECK(t.WaitFor([](const ServerStats& s) { return s.connections_open == 0; }));
}

TEST_CASE("limits: without file descriptors accepting waits and goes on later") {
  TestServer t(DefaultOptions());
  t.Start();
  RawClient working(t.port());
  working.Send(Post("/echo", "x"));
  REQUIRE(working.Receive().status == 200);
  // UBSan opens a pipe the first time that it checks a virtual call, so the log is used once
  // before.
  LogWarn("log line of the test");
  std::unique_ptr<RawClient> client;
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  std::vector<int> taken;
  const int probe = ::dup(0);
  rlimit small = before;
  small.rlim_cur = static_cast<rlim_t>(probe) + 2;
  taken.push_back(probe);
  ::setrlimit(RLIMIT_NOFILE, &small);
  // One descriptor is left: the client takes it, and there is none for the server's side.
  client = std::make_unique<RawClient>(t.port());
  const bool connected = client->connected();
  const bool counted = t.WaitFor([](const ServerStats& s) { return s.accept_errors > 0; });
  ::setrlimit(RLIMIT_NOFILE, &before);
  for (const int fd : taken) ::close(fd);
  REQUIRE(connected);
  CHECK(counted);
  REQUIRE(client->Send(Post("/echo", "later")));
  CHECK(client->Receive().body == "POST /echo later");
}

}  // namespace forebay::http::test
