// Sockets, and the little of HTTP/1.1 that a sender of remote write needs; see connection.h.
#include "loadgen/connection.h"

#include <fmt/core.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <memory>

#include "http/message.h"

namespace forebay::loadgen {
namespace {

constexpr std::chrono::milliseconds kStopCheck{100};
constexpr size_t kReadBytes = 16 << 10;

template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return text;
}

Error NotTaken(std::string message) { return {ErrorCode::kUnavailable, std::move(message)}; }

}  // namespace

Result<Endpoint> ParseUrl(std::string_view url) {
  const auto invalid = [&](std::string_view why) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("url '{}': {}", url, why));
  };
  Endpoint endpoint;
  std::string_view rest = url;
  if (rest.substr(0, 7) == "http://") {
    rest.remove_prefix(7);
  } else if (rest.substr(0, 8) == "https://") {
    rest.remove_prefix(8);
    endpoint.tls = true;
  } else {
    return invalid("must begin with http:// or https://");
  }
  const size_t path = std::min(rest.find_first_of("/?"), rest.size());
  std::string_view authority = rest.substr(0, path);
  endpoint.target = path == rest.size() ? "/" : std::string(rest.substr(path));
  if (endpoint.target.front() == '?') endpoint.target.insert(0, "/");
  for (const char c : url) {
    if (static_cast<unsigned char>(c) <= ' ') return invalid("holds a blank or control character");
  }
  if (authority.find('@') != std::string_view::npos)
    return invalid("credentials belong into --basic");
  endpoint.host_header = std::string(authority);
  endpoint.port = endpoint.tls ? 443 : 80;
  const size_t colon = authority.rfind(':');
  const bool bracketed = !authority.empty() && authority.front() == '[';
  const size_t bracket = bracketed ? authority.find(']') : std::string_view::npos;
  if (bracketed && bracket == std::string_view::npos) return invalid("']' is missing");
  if (colon != std::string_view::npos && (!bracketed || colon > bracket)) {
    const auto port = ParseNumber<uint16_t>(authority.substr(colon + 1));
    if (!port || *port == 0) return invalid("the port is not a number from 1 to 65535");
    endpoint.port = *port;
    authority = authority.substr(0, colon);
  }
  endpoint.host = std::string(bracketed ? authority.substr(1, bracket - 1) : authority);
  if (endpoint.host.empty()) return invalid("the host is missing");
  return endpoint;
}

void ApplyHeader(std::string_view name, std::string_view value, UnixMillis now, Reply& reply) {
  value = Trim(value);
  const auto is = [name](std::string_view other) { return http::EqualsIgnoreCase(name, other); };
  if (is("Retry-After")) {
    if (const auto seconds = ParseNumber<uint32_t>(value)) {
      reply.retry_after = std::chrono::seconds(*seconds);
      return;
    }
    std::tm date{};
    if (strptime(std::string(value).c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date) != nullptr) {
      const int64_t wait = int64_t{timegm(&date)} * 1000 - now.value;
      reply.retry_after = std::chrono::milliseconds(std::max<int64_t>(wait, 0));
    }
  } else if (is("X-Prometheus-Remote-Write-Samples-Written")) {
    reply.samples_written = ParseNumber<uint64_t>(value);
  } else if (is("X-Prometheus-Remote-Write-Histograms-Written")) {
    reply.histograms_written = ParseNumber<uint64_t>(value);
  } else if (is("X-Prometheus-Remote-Write-Exemplars-Written")) {
    reply.exemplars_written = ParseNumber<uint64_t>(value);
  } else if (is("Connection")) {
    reply.close = http::EqualsIgnoreCase(value, "close");
  }
}

// Waits for the socket, no longer than the deadline and, after a stop, the grace.
struct Connection::Waiter {
  MonotonicTime deadline;
  const std::stop_token& stop;
  std::chrono::milliseconds stop_grace;
  bool stopping = false;

  Status Wait(int fd, short events) {
    for (;;) {
      const auto now = std::chrono::steady_clock::now();
      if (stop.stop_requested() && !stopping) {
        stopping = true;
        deadline = std::min(deadline, now + stop_grace);
      }
      if (now >= deadline)
        return Error(ErrorCode::kDeadlineExceeded, stopping ? "stopped" : "timeout");
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now);
      pollfd entry{fd, events, 0};
      const int ready = ::poll(&entry, 1, static_cast<int>(std::min(left, kStopCheck).count()));
      if (ready > 0) return OkStatus();
      if (ready < 0 && errno != EINTR) return ErrnoError(errno, "poll");
    }
  }
};

Connection::Connection(Endpoint endpoint) : endpoint_(std::move(endpoint)) {}
Connection::~Connection() { Close(); }

void Connection::Close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  input_.clear();
}

Status Connection::Connect(Waiter& waiter) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failed = ::getaddrinfo(endpoint_.host.c_str(),
                                   fmt::format("{}", endpoint_.port).c_str(), &hints, &found);
  if (failed != 0) return NotTaken(fmt::format("{}: {}", endpoint_.host, ::gai_strerror(failed)));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, ::freeaddrinfo);
  Error last = NotTaken(fmt::format("{}: no address", endpoint_.host));
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    fd_ = ::socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
                   address->ai_protocol);
    if (fd_ < 0) {
      last = ErrnoError(errno, "socket");
      continue;
    }
    const int one = 1;
    (void)::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int result = ::connect(fd_, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    if (result == EINPROGRESS) {
      const Status writable = waiter.Wait(fd_, POLLOUT);
      socklen_t size = sizeof result;
      if (!writable.ok()) {
        result = ETIMEDOUT;
      } else if (::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &result, &size) != 0) {
        result = errno;
      }
    }
    if (result == 0) {
      ++connects_;
      return OkStatus();
    }
    last = ErrnoError(result, fmt::format("connect {}", endpoint_.host_header));
    Close();
  }
  return NotTaken(last.message());
}

Status Connection::Send(std::string_view head, std::string_view body, Waiter& waiter) {
  size_t sent = 0;
  const size_t total = head.size() + body.size();
  while (sent < total) {
    iovec parts[2];
    size_t count = 0;
    if (sent < head.size())
      parts[count++] = {const_cast<char*>(head.data()) + sent, head.size() - sent};
    const size_t body_sent = sent > head.size() ? sent - head.size() : 0;
    if (body_sent < body.size())
      parts[count++] = {const_cast<char*>(body.data()) + body_sent, body.size() - body_sent};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = count;
    const ssize_t n = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (n >= 0) {
      sent += static_cast<size_t>(n);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      FOREBAY_RETURN_IF_ERROR(waiter.Wait(fd_, POLLOUT));
    } else if (errno != EINTR) {
      return ErrnoError(errno, "send");
    }
  }
  return OkStatus();
}

// Returns 0 at the end of the stream.
Result<size_t> Connection::ReadSome(Waiter& waiter) {
  for (;;) {
    char buffer[kReadBytes];
    const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
    if (n >= 0) {
      input_.append(buffer, static_cast<size_t>(n));
      return static_cast<size_t>(n);
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      FOREBAY_RETURN_IF_ERROR(waiter.Wait(fd_, POLLIN));
    } else if (errno != EINTR) {
      return ErrnoError(errno, "receive");
    }
  }
}

Result<Reply> Connection::Receive(Waiter& waiter) {
  constexpr int kMaxInformational = 16;
  for (int informational = 0; informational < kMaxInformational; ++informational) {
    size_t head_end = 0;
    while ((head_end = input_.find("\r\n\r\n")) == std::string::npos) {
      if (input_.size() > kMaxReplyHead)
        return Error(ErrorCode::kOutOfRange, "the answer's head is too long");
      FOREBAY_ASSIGN_OR_RETURN(const size_t n, ReadSome(waiter));
      if (n == 0) return Error(ErrorCode::kUnavailable, "connection closed before an answer");
    }
    const std::string_view head = std::string_view(input_).substr(0, head_end + 2);
    Reply reply;
    // "HTTP/1.1 204 No Content"
    const auto status = head.size() >= 12 && head.substr(0, 7) == "HTTP/1."
                            ? ParseNumber<int>(head.substr(9, 3))
                            : std::nullopt;
    if (!status) return Error(ErrorCode::kCorruption, "the answer is not HTTP/1.1");
    reply.status = *status;
    reply.close = head[7] == '0';
    size_t content_length = 0;
    const UnixMillis now = SystemClock().Now();
    for (size_t line = head.find("\r\n") + 2; line < head.size();) {
      const size_t end = head.find("\r\n", line);
      const std::string_view field = head.substr(line, end - line);
      line = end + 2;
      const size_t colon = field.find(':');
      if (colon == std::string_view::npos) continue;
      const std::string_view name = field.substr(0, colon);
      const std::string_view value = Trim(field.substr(colon + 1));
      if (http::EqualsIgnoreCase(name, "Content-Length")) {
        content_length = ParseNumber<size_t>(value).value_or(kMaxReplyBody + 1);
      } else if (http::EqualsIgnoreCase(name, "Transfer-Encoding")) {
        // The status is all that matters of a chunked answer; the connection is not used again.
        content_length = 0;
        reply.body_whole = false;
        reply.close = true;
      }
      ApplyHeader(name, value, now, reply);
    }
    input_.erase(0, head_end + 4);
    if (reply.status < 200) continue;
    if (reply.status == 204 || reply.status == 304) content_length = 0;
    if (content_length > kMaxReplyBody) {
      content_length = 0;
      reply.body_whole = false;
      reply.close = true;
    }
    while (input_.size() < content_length) {
      FOREBAY_ASSIGN_OR_RETURN(const size_t n, ReadSome(waiter));
      if (n == 0) break;  // torn
    }
    reply.body_whole = reply.body_whole && input_.size() >= content_length;
    reply.body = input_.substr(0, content_length);
    // Bytes that belong to no request: whatever they are, they must not be the next request's
    // answer.
    if (input_.size() > content_length) reply.close = true;
    input_.clear();
    return reply;
  }
  return Error(ErrorCode::kCorruption, "too many informational answers");
}

Result<Reply> Connection::Exchange(std::string_view head, std::string_view body,
                                   MonotonicTime deadline, const std::stop_token& stop,
                                   std::chrono::milliseconds stop_grace) {
  Waiter waiter{deadline, stop, stop_grace};
  if (fd_ < 0) FOREBAY_RETURN_IF_ERROR(Connect(waiter));
  const Status sent = Send(head, body, waiter);
  if (!sent.ok() && sent.error().code() == ErrorCode::kDeadlineExceeded) {
    Close();
    return NotTaken(sent.error().message());
  }
  // A server that refuses early (413, 503) answers and closes while the body is still on its way.
  Result<Reply> reply = Receive(waiter);
  if (!reply.ok()) {
    Close();
    if (!sent.ok()) return NotTaken(sent.error().message());
    return Error(ErrorCode::kAborted, reply.error().message());
  }
  if (reply->close || !sent.ok()) Close();
  return reply;
}

}  // namespace forebay::loadgen
