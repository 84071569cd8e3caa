#include "unit/http/test_server.h"

#include <catch2/catch.hpp>
#include <thread>

namespace forebay::http::test {

std::optional<Response> EchoHandler::Admit(const RequestHead& head) {
  if (admit) {
    if (auto refusal = admit(head)) return refusal;
  }
  ++admitted;
  return std::nullopt;
}

void EchoHandler::Handle(Exchange& exchange) {
  ++handled;
  Response response;
  response.body = std::string(exchange.head().method()) + " " +
                  std::string(exchange.head().path()) + " " +
                  std::string(exchange.body().data(), exchange.body().size());
  if (!exchange.head().user().empty()) {
    response.headers.emplace_back("X-User", exchange.head().user());
  }
  exchange.Respond(std::move(response));
}

void EchoHandler::Abandoned(const RequestHead&) { ++abandoned; }
std::optional<Response> EchoHandler::Grown(const RequestHead&, uint64_t bytes) {
  if (bytes <= grown_limit) return std::nullopt;
  return Response::RetryAfter(503, milliseconds(1000), "no room");
}
Response EchoHandler::TooLarge(const RequestHead& head, ByteCount largest) {
  ++too_large;
  return Handler::TooLarge(head, largest);
}

void HoldHandler::Handle(Exchange& exchange) {
  const MutexLock lock(mutex_);
  held_.push_back(&exchange);
  changed_.NotifyAll();
}

bool HoldHandler::WaitFor(size_t count) {
  const auto deadline = In(milliseconds(10'000));
  MutexLock lock(mutex_);
  while (held_.size() < count) {
    if (!changed_.WaitUntil(lock, deadline)) return false;
  }
  return true;
}

void HoldHandler::ReleaseAll() {
  std::vector<Exchange*> held;
  {
    const MutexLock lock(mutex_);
    held.swap(held_);
  }
  for (Exchange* exchange : held) {
    exchange->Resume(
        [](void* argument) {
          static_cast<Exchange*>(argument)->Respond(Response::Text(200, "released"));
        },
        exchange);
  }
}

TestServer::TestServer(ServerOptions options) {
  auto created = Server::Create(std::move(options));
  if (!created.ok()) FAIL(created.error().ToString());
  server = std::move(*created);
}

void TestServer::Start() {
  server->Route("POST", "/echo", &echo);
  server->Route("GET", "/echo", &echo);
  server->Route("POST", "/hold", &hold);
  server->Route("GET", "/open", &echo);
  const Status started = server->Start();
  if (!started.ok()) FAIL(started.error().ToString());
}

bool TestServer::WaitFor(const std::function<bool(const ServerStats&)>& done) const {
  const auto deadline = In(milliseconds(10'000));
  while (!done(server->stats())) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

Status Reload(Server& server, const ServerOptions& options) {
  FOREBAY_ASSIGN_OR_RETURN(const SecurityPtr security,
                           Server::LoadSecurity(options.tls, options.auth));
  server.UseSecurity(security);
  return OkStatus();
}

ServerOptions DefaultOptions() {
  ServerOptions options;
  options.name = "test";
  options.limits.io_threads = 2;
  options.limits.max_header = KiB(4);
  options.limits.max_body = MiB(1);
  options.limits.header_timeout = milliseconds(60'000);
  options.limits.body_timeout = milliseconds(60'000);
  options.limits.idle_timeout = milliseconds(60'000);
  options.limits.write_timeout = milliseconds(60'000);
  return options;
}

MonotonicTime In(milliseconds time) { return std::chrono::steady_clock::now() + time; }

std::string Post(const std::string& path, const std::string& body, const std::string& more) {
  return "POST " + path + " HTTP/1.1\r\nHost: t\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + more + "\r\n" + body;
}

}  // namespace forebay::http::test
