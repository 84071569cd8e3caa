// One keep-alive HTTP/1.1 connection that posts bodies, for plain http. It does one thing fast: no
// redirects, no proxies, no chunked uploads. https goes through http::Client (transport.h).
// Limits: kMaxReplyHead, kMaxReplyBody; every wait has a deadline and looks at the stop token.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace forebay::loadgen {

inline constexpr size_t kMaxReplyHead = 64 << 10;
inline constexpr size_t kMaxReplyBody = 1 << 20;

// Where a URL points.
struct Endpoint {
  bool tls = false;
  std::string host;  // without the brackets of an IPv6 address
  uint16_t port = 0;
  std::string host_header;
  std::string target;  // path and query, "/" at least
};

// Shape: http://host[:port][/path] or https. Errors: kInvalidArgument.
Result<Endpoint> ParseUrl(std::string_view url);

// What a server answered, as far as a sender cares.
struct Reply {
  int status = 0;  // of HTTP; over gRPC that of the call
  std::optional<std::chrono::milliseconds> retry_after;
  // X-Prometheus-Remote-Write-*-Written of 2.0.
  std::optional<uint64_t> samples_written;
  std::optional<uint64_t> histograms_written;
  std::optional<uint64_t> exemplars_written;
  std::string body;        // up to kMaxReplyBody; over gRPC the message of the answer or error
  bool body_whole = true;  // false: it is too long, or was not read
  bool close = false;
};

// Applies one header line to the reply, any case of the name. Retry-After is understood in seconds
// and as an HTTP date.
void ApplyHeader(std::string_view name, std::string_view value, UnixMillis now, Reply& reply);

// Threads: one at a time.
class Connection {
 public:
  explicit Connection(Endpoint endpoint);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Sends `head` (request line and headers up to the empty line) and `body`, and reads the answer;
  // connects first when there is no connection. After `stop` was asked for, only `stop_grace` more
  // is waited. Errors: kUnavailable: the request cannot have been taken; kAborted: it was sent and
  // may have been.
  Result<Reply> Exchange(std::string_view head, std::string_view body, MonotonicTime deadline,
                         const std::stop_token& stop, std::chrono::milliseconds stop_grace);
  void Close();

  uint64_t connects() const { return connects_; }

 private:
  struct Waiter;

  Status Connect(Waiter& waiter);
  Status Send(std::string_view head, std::string_view body, Waiter& waiter);
  Result<Reply> Receive(Waiter& waiter);
  Result<size_t> ReadSome(Waiter& waiter);

  const Endpoint endpoint_;
  int fd_ = -1;
  uint64_t connects_ = 0;
  std::string input_;  // bytes of the answer
};

}  // namespace forebay::loadgen
