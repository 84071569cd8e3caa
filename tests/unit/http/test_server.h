// A server on a free port with handlers whose behaviour the tests steer.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "http/server.h"
#include "unit/http/raw_client.h"

namespace forebay::http::test {

using std::chrono::milliseconds;

// Answers 200 with "<method> <path> <body>".
class EchoHandler : public Handler {
 public:
  std::optional<Response> Admit(const RequestHead& head) override;
  void Handle(Exchange& exchange) override;
  void Abandoned(const RequestHead& head) override;
  std::optional<ByteCount> body_limit() const override { return limit; }
  std::optional<Response> Grown(const RequestHead& head, uint64_t bytes) override;
  Response TooLarge(const RequestHead& head, ByteCount limit) override;

  std::function<std::optional<Response>(const RequestHead&)> admit;  // set before Start()
  std::optional<ByteCount> limit;
  std::atomic<int> admitted{0};
  std::atomic<int> handled{0};
  std::atomic<int> abandoned{0};
  std::atomic<int> too_large{0};
  std::atomic<uint64_t> grown_limit{UINT64_MAX};  // more of a chunked body is answered 503
};

// Keeps exchanges until the test lets them go from its own thread.
class HoldHandler : public Handler {
 public:
  void Handle(Exchange& exchange) override EXCLUDES(mutex_);
  // Waits until `count` exchanges are held; false after 10 s.
  bool WaitFor(size_t count) EXCLUDES(mutex_);
  // Resumes and answers all that are held.
  void ReleaseAll() EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<Exchange*> held_ GUARDED_BY(mutex_);
};

class TestServer {
 public:
  explicit TestServer(ServerOptions options = {});
  // Starts with POST and GET /echo, POST /hold, and GET /open.
  void Start();
  uint16_t port() const { return server->port(); }
  // Polls the counters until `done`; false after 10 s.
  bool WaitFor(const std::function<bool(const ServerStats&)>& done) const;

  EchoHandler echo;
  HoldHandler hold;
  std::unique_ptr<Server> server;
};

// Reads the files of these options again; on success the server uses them.
Status Reload(Server& server, const ServerOptions& options);
// Two io threads, small limits, timeouts of a minute: a test shortens the one that it means.
ServerOptions DefaultOptions();
MonotonicTime In(milliseconds time);
std::string Post(const std::string& path, const std::string& body, const std::string& more = "");

}  // namespace forebay::http::test
