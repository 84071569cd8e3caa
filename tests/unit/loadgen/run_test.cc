// Runs against a scripted HTTP server on a port of the kernel's choice.
#include "loadgen/run.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "io/memory_file_system.h"
#include "loadgen/sender.h"

using namespace forebay;
using namespace forebay::loadgen;
using std::chrono::milliseconds;

namespace {

// Answers request number n with answer(n); an empty answer closes the connection without one.
class ScriptedServer {
 public:
  explicit ScriptedServer(std::function<std::string(int)> answer) : answer_(std::move(answer)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener_, 16) == 0);
    socklen_t size = sizeof address;
    REQUIRE(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::jthread([this](const std::stop_token& stop) { Accept(stop); });
  }
  ~ScriptedServer() {
    thread_.request_stop();
    thread_.join();
    connections_.clear();
    ::close(listener_);
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/api/v1/write"; }
  int requests() const { return requests_; }
  std::string head(size_t n) const {
    const std::lock_guard lock(mutex_);
    return heads_.at(n);
  }

 private:
  void Accept(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      pollfd entry{listener_, POLLIN, 0};
      if (::poll(&entry, 1, 5) <= 0) continue;
      const int fd = ::accept(listener_, nullptr, nullptr);
      connections_.emplace_back([this, fd](const std::stop_token& done) { Serve(done, fd); });
    }
  }

  void Serve(const std::stop_token& stop, int fd) {
    std::string input;
    while (!stop.stop_requested()) {
      const size_t end = input.find("\r\n\r\n");
      const size_t length_at = input.find("Content-Length: ");
      if (end != std::string::npos && length_at < end) {
        const size_t total = end + 4 + std::stoul(input.substr(length_at + 16));
        if (input.size() >= total) {
          std::string answer;
          {
            const std::lock_guard lock(mutex_);
            heads_.push_back(input.substr(0, end + 2));
            answer = answer_(requests_++);
          }
          input.erase(0, total);
          if (answer.empty()) break;
          (void)::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
          continue;
        }
      }
      pollfd entry{fd, POLLIN, 0};
      if (::poll(&entry, 1, 5) <= 0) continue;
      char buffer[65536];
      const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
      if (n <= 0) break;
      input.append(buffer, static_cast<size_t>(n));
    }
    ::close(fd);
  }

  std::function<std::string(int)> answer_;
  int listener_ = -1;
  uint16_t port_ = 0;
  std::atomic<int> requests_{0};
  mutable std::mutex mutex_;
  std::vector<std::string> heads_;
  std::vector<std::jthread> connections_;
  std::jthread thread_;
};

const std::string kNoContent = "HTTP/1.1 204 No Content\r\n\r\n";

LoadOptions Options(const ScriptedServer& server) {
  LoadOptions options;
  options.url = server.url();
  options.series = 500;
  options.series_per_request = 100;
  options.samples = 1000;
  options.connections = 2;
  return options;
}

}  // namespace

TEST_CASE("load run: everything accepted is accounted exactly, in whole requests") {
  ScriptedServer server([](int) { return kNoContent; });
  LoadOptions options = Options(server);
  options.samples = 950;
  options.tenant = "team-a";
  options.basic = "user:pass";
  const auto report = RunLoad(options, {});
  REQUIRE(report.ok());
  CHECK(report->complete());
  CHECK(report->samples.accepted == 1000);
  CHECK(report->requests == 10);
  CHECK(server.requests() == 10);
  CHECK(report->statuses.at(204) == 10);
  CHECK(report->connects == 2);
  CHECK(report->latency.count() == 10);
  CHECK(server.head(0).find("X-Scope-OrgID: team-a\r\n") != std::string::npos);
  CHECK(server.head(0).find("Authorization: Basic dXNlcjpwYXNz\r\n") != std::string::npos);
  CHECK(server.head(0).find("Content-Encoding: snappy\r\n") != std::string::npos);
}

TEST_CASE("load run: 503 with Retry-After is tried again until it is accepted") {
  ScriptedServer server([](int n) {
    return n == 3 ? "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: "
                    "4\r\n\r\nbusy"
                  : kNoContent;
  });
  const auto report = RunLoad(Options(server), {});
  REQUIRE(report.ok());
  CHECK(report->complete());
  CHECK(report->samples.accepted == 1000);
  CHECK(report->retries == 1);
  CHECK(report->statuses.at(503) == 1);
  CHECK(report->maybe_duplicated == 0);
  CHECK(report->first_error == "503: busy");
}

TEST_CASE(
    "load run: without retries a 503 is refused, a lost answer unknown, a bare 400 unknown, a 415 "
    "refused") {
  ScriptedServer server([](int n) -> std::string {
    if (n == 0) return "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    if (n == 1) return "";
    if (n == 2) return "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad";
    if (n == 3) return "HTTP/1.1 415 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    return kNoContent;
  });
  LoadOptions options = Options(server);
  options.retry = false;
  options.connections = 1;
  const auto report = RunLoad(options, {});
  REQUIRE(report.ok());
  CHECK_FALSE(report->complete());
  CHECK(report->samples.refused == 200);
  CHECK(report->samples.unknown == 200);
  CHECK(report->samples.accepted == 600);
  CHECK(report->network_errors == 1);
  CHECK(report->connects == 3);
}

TEST_CASE("load run: a request resent after a lost answer is reported as perhaps stored twice") {
  ScriptedServer server([](int n) { return n == 1 ? std::string() : kNoContent; });
  LoadOptions options = Options(server);
  options.connections = 1;
  const auto report = RunLoad(options, {});
  REQUIRE(report.ok());
  CHECK(report->complete());
  CHECK(report->maybe_duplicated == 100);
  CHECK(report->retries == 1);
  CHECK(server.head(2).find("Retry-Attempt: 1\r\n") != std::string::npos);
}

TEST_CASE("load run: the Written headers of a 2.0 answer split a request exactly") {
  ScriptedServer server([](int n) {
    return n == 0 ? "HTTP/1.1 400 Bad Request\r\nX-Prometheus-Remote-Write-Samples-Written: 97\r\n"
                    "X-Prometheus-Remote-Write-Histograms-Written: 0\r\n"
                    "X-Prometheus-Remote-Write-Exemplars-Written: 0\r\nContent-Length: 0\r\n\r\n"
                  : kNoContent;
  });
  LoadOptions options = Options(server);
  options.protocol = Protocol::kRemoteWrite2;
  const auto report = RunLoad(options, {});
  REQUIRE(report.ok());
  CHECK(report->samples.accepted == 997);
  CHECK(report->samples.refused == 3);
  CHECK(server.head(0).find("proto=io.prometheus.write.v2.Request\r\n") != std::string::npos);
}

TEST_CASE("load run: more connections than requests in a round share them and send each once") {
  ScriptedServer server([](int) { return kNoContent; });
  LoadOptions options = Options(server);
  options.connections = 8;
  const auto report = RunLoad(options, {});
  REQUIRE(report.ok());
  CHECK(report->complete());
  CHECK(report->samples.accepted == 1000);
  CHECK(server.requests() == 10);
}

TEST_CASE("load run: a stop ends it and everything handed out is in the account") {
  std::stop_source stop;
  ScriptedServer server([&stop](int n) {
    if (n == 4) stop.request_stop();
    return kNoContent;
  });
  LoadOptions options = Options(server);
  options.samples = 0;
  options.duration = std::chrono::hours(1);
  const auto report = RunLoad(options, stop.get_token());
  REQUIRE(report.ok());
  CHECK(report->interrupted);
  CHECK(report->samples.offered() == report->requests * 100);
  CHECK(report->samples.accepted == report->samples.offered());
  CHECK(report->requests <= 8);
}

TEST_CASE("load run: a rate is kept by schedule") {
  ScriptedServer server([](int) { return kNoContent; });
  LoadOptions options = Options(server);
  options.rate = 10'000;  // the tenth request is due after 90 ms
  const auto report = RunLoad(options, {});
  REQUIRE(report.ok());
  CHECK(report->complete());
  CHECK(report->elapsed >= milliseconds(90));
}

TEST_CASE("dump: the same options give the same bodies, numbered") {
  io::MemoryFileSystem fs;
  LoadOptions options;
  options.series = 300;
  options.series_per_request = 100;
  options.samples = 500;
  options.start = UnixMillis{1'790'000'000'000};
  options.step = milliseconds(1000);
  REQUIRE(DumpBodies(options, fs, "a").value() == 5);
  REQUIRE(DumpBodies(options, fs, "b").value() == 5);
  CHECK(fs.Contents("a/000004.rw1.snappy").value() == fs.Contents("b/000004.rw1.snappy").value());
  CHECK(fs.Contents("a/000000.rw1.snappy").value() != fs.Contents("a/000003.rw1.snappy").value());
  CHECK_FALSE(fs.Contents("a/000005.rw1.snappy").ok());
}

TEST_CASE("url: host, port and path are told apart and nonsense is refused") {
  const auto v6 = ParseUrl("http://[::1]:9090/api/v1/write?x=1");
  REQUIRE(v6.ok());
  CHECK(v6->host == "::1");
  CHECK(v6->port == 9090);
  CHECK(v6->host_header == "[::1]:9090");
  CHECK(v6->target == "/api/v1/write?x=1");
  const auto tls = ParseUrl("https://example.com");
  REQUIRE(tls.ok());
  CHECK(tls->tls);
  CHECK(tls->port == 443);
  CHECK(tls->target == "/");
  for (const char* bad : {"example.com", "ftp://x", "http://", "http://h:0/", "http://h:99999/",
                          "http://u:p@h/", "http://h/a b", "http://[::1/"}) {
    INFO(bad);
    CHECK_FALSE(ParseUrl(bad).ok());
  }
}

TEST_CASE("reply headers: Retry-After is understood in seconds and as a date, any case") {
  Reply reply;
  ApplyHeader("retry-after", " 7 ", UnixMillis{0}, reply);
  CHECK(reply.retry_after == milliseconds(7000));
  ApplyHeader("Retry-After", "Thu, 01 Jan 1970 00:01:00 GMT", UnixMillis{45'000}, reply);
  CHECK(reply.retry_after == milliseconds(15'000));
  ApplyHeader("Connection", "Close", UnixMillis{0}, reply);
  CHECK(reply.close);
}

TEST_CASE(
    "retries: backoff doubles from 30 ms to 5 s, Retry-After comes first, other 4xx are final") {
  CHECK(Backoff(1, std::nullopt) == milliseconds(30));
  CHECK(Backoff(2, std::nullopt) == milliseconds(60));
  CHECK(Backoff(100, std::nullopt) == milliseconds(5000));
  CHECK(Backoff(1, milliseconds(1500)) == milliseconds(1500));
  CHECK(Judge(204) == Verdict::kAccepted);
  CHECK(Judge(503) == Verdict::kRetry);
  CHECK(Judge(429) == Verdict::kRetry);
  CHECK(Judge(400) == Verdict::kRefused);
  CHECK(Judge(302) == Verdict::kRefused);
}

TEST_CASE("base64: the vectors of RFC 4648") {
  CHECK(Base64("").empty());
  CHECK(Base64("f") == "Zg==");
  CHECK(Base64("fo") == "Zm8=");
  CHECK(Base64("foobar") == "Zm9vYmFy");
}

TEST_CASE(
    "load run: what an OTLP answer rejects is refused, and an answer that is none is unknown") {
  ScriptedServer server([](int n) {
    const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: ";
    if (n == 0) return head + "0\r\n\r\n";
    if (n == 1)
      return head + "9\r\n\r\n" +
             std::string(
                 "\x0A\x07\x08\x05\x12\x03"
                 "bad",
                 9);
    if (n == 2) return head + "4\r\n\r\nrest";
    return std::string("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
  });
  LoadOptions options = Options(server);
  options.protocol = Protocol::kOtlpHttp;
  options.signal = Signal::kLogs;
  options.samples = 400;
  options.connections = 1;
  const auto report = RunLoad(options, {});
  REQUIRE(report.ok());
  CHECK(report->samples.accepted == 195);
  CHECK(report->samples.refused == 105);
  CHECK(report->samples.unknown == 100);
  CHECK(report->retries == 0);
  CHECK(report->first_error == "bad");
  CHECK(server.head(0).find("Content-Encoding") == std::string::npos);
  CHECK(FormatText(*report).find("records ") != std::string::npos);
}

TEST_CASE(
    "load run: gRPC that nothing answers is accounted as refused or unknown, none as accepted") {
  ScriptedServer server([](int) { return std::string(); });
  LoadOptions options = Options(server);
  options.url = options.url.substr(0, options.url.find("/api"));
  options.protocol = Protocol::kOtlpGrpc;
  options.retry = false;
  options.request_timeout = milliseconds(200);
  options.samples = 200;
  const auto report = RunLoad(options, {});
  REQUIRE(report.ok());
  CHECK(report->samples.accepted == 0);
  CHECK(report->samples.offered() == 200);
  CHECK(report->network_errors == 2);
}

TEST_CASE(
    "load run: a gRPC call whose connection breaks is unknown, whatever status gRPC makes of it") {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(::listen(listener, 16) == 0);
  REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  // HTTP/2 enough to be called: its settings, and then the end of the connection amid the body.
  std::jthread server([listener](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      pollfd entry{listener, POLLIN, 0};
      if (::poll(&entry, 1, 5) <= 0) continue;
      const int fd = ::accept(listener, nullptr, nullptr);
      const char settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
      (void)::send(fd, settings, sizeof settings, MSG_NOSIGNAL);
      size_t seen = 0;
      while (seen < 2000 && !stop.stop_requested()) {
        pollfd input{fd, POLLIN, 0};
        if (::poll(&input, 1, 5) <= 0) continue;
        char buffer[1024];
        const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
        if (n <= 0) break;
        seen += static_cast<size_t>(n);
      }
      ::close(fd);
    }
  });
  LoadOptions options;
  options.url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  options.protocol = Protocol::kOtlpGrpc;
  options.signal = Signal::kLogs;
  options.series = options.series_per_request = 100;
  options.samples = 100;
  options.connections = 1;
  options.retry = false;
  const auto report = RunLoad(options, {});
  server.request_stop();
  server.join();
  ::close(listener);
  REQUIRE(report.ok());
  CHECK(report->samples.unknown == 100);
  CHECK(report->network_errors == 1);
  CHECK(report->connects == 1);
  CHECK(report->statuses.empty());
}
