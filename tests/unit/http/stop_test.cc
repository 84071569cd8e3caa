// Stopping, with clients in every state.
#include <catch2/catch.hpp>
#include <thread>

#include "unit/http/certificates.h"
#include "unit/http/test_server.h"

namespace forebay::http::test {

TEST_CASE("stop: after StopAccepting open connections go on, new ones are refused") {
  TestServer t(DefaultOptions());
  t.Start();
  RawClient open(t.port());
  open.Send(Post("/echo", "x"));
  REQUIRE(open.Receive().status == 200);
  t.server->StopAccepting();
  t.server->StopAccepting();
  for (int i = 0; i < 8; ++i) CHECK(!RawClient(t.port()).connected());
  open.Send(Post("/echo", "y"));
  CHECK(open.Receive().body == "POST /echo y");
}

TEST_CASE("stop: requests in flight and bodies under way are answered with Connection: close") {
  TestServer t(DefaultOptions());
  t.Start();
  RawClient idle(t.port());
  idle.Send(Post("/echo", "x"));
  REQUIRE(idle.Receive().status == 200);
  RawClient in_flight(t.port());
  in_flight.Send(Post("/hold", "x") + Post("/echo", "pipelined: not served any more"));
  REQUIRE(t.hold.WaitFor(1));
  RawClient in_body(t.port());
  const std::string request = Post("/echo", "body");
  in_body.Send(request.substr(0, request.size() - 2));
  REQUIRE(t.WaitFor([&](const ServerStats&) { return t.echo.admitted == 2; }));

  Status stopped;
  std::jthread stopper([&] { stopped = t.server->Stop(In(milliseconds(10'000))); });
  CHECK(idle.ReceivesEnd());
  t.hold.ReleaseAll();
  const RawResponse held = in_flight.Receive();
  CHECK(held.body == "released\n");
  CHECK(held.Header("Connection") == "close");
  CHECK(in_flight.ReceivesEnd());
  in_body.Send(request.substr(request.size() - 2));
  const RawResponse late = in_body.Receive();
  CHECK(late.body == "POST /echo body");
  CHECK(late.Header("Connection") == "close");
  CHECK(in_body.ReceivesEnd());
  in_flight.CloseWriting();
  in_body.CloseWriting();
  in_flight.Reset();
  in_body.Reset();
  stopper.join();
  CHECK(stopped.ok());
  CHECK(t.echo.handled == 2);
  CHECK(t.server->Stop(In(milliseconds(0))).ok());
}

TEST_CASE("stop: at the deadline the rest is cut, and a late Resume does no harm") {
  TestServer t(DefaultOptions());
  t.Start();
  RawClient held(t.port());
  held.Send(Post("/hold", "x"));
  REQUIRE(t.hold.WaitFor(1));
  RawClient half(t.port());
  half.Send("POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nx");
  REQUIRE(t.WaitFor([&](const ServerStats&) { return t.echo.admitted == 1; }));
  const Status stopped = t.server->Stop(In(milliseconds(30)));
  REQUIRE(!stopped.ok());
  CHECK(stopped.error().code() == ErrorCode::kDeadlineExceeded);
  CHECK(stopped.error().message().find("2 requests") != std::string::npos);
  CHECK(t.echo.abandoned == 1);
  CHECK(half.ReceivesEnd());
  t.hold.ReleaseAll();
  t.server.reset();
  CHECK(held.ReceivesEnd());
}

TEST_CASE("stop: a server that was never started, or is destroyed while it serves, ends cleanly") {
  { TestServer never(DefaultOptions()); }
  TestServer t(DefaultOptions());
  t.Start();
  CHECK(!t.server->Start().ok());
  RawClient client(t.port());
  client.Send(Post("/echo", "x"));
  REQUIRE(client.Receive().status == 200);
  t.server.reset();
  CHECK(client.ReceivesEnd());
}

TEST_CASE("stop: clients that keep asking see whole answers or none") {
  TestServer t(DefaultOptions());
  t.Start();
  std::atomic<int> broken{0};
  std::atomic<int> served{0};
  {
    std::vector<std::jthread> clients;
    for (int i = 0; i < 4; ++i) {
      clients.emplace_back([&] {
        RawClient client(t.port());
        for (;;) {
          if (!client.Send(Post("/echo", "x"))) return;
          const RawResponse response = client.Receive();
          if (response.status == 0) return;
          if (response.body != "POST /echo x") ++broken;
          ++served;
          if (response.Header("Connection") == "close") return;
        }
      });
    }
    REQUIRE(t.WaitFor([&](const ServerStats&) { return served > 200; }));
    CHECK(t.server->Stop(In(milliseconds(10'000))).ok());
  }
  CHECK(broken == 0);
}

}  // namespace forebay::http::test
