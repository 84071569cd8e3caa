#include "http/internal/listen.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

namespace forebay::http::internal {
namespace {

Error BindError(int number, const std::string& what) {
  if (number == EADDRINUSE) {
    return Error(ErrorCode::kFailedPrecondition, fmt::format("{}: address already in use", what));
  }
  if (number == EADDRNOTAVAIL) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{}: not an address of this machine", what));
  }
  return ErrnoError(number, what);
}

Result<UniqueFd> BindOne(const addrinfo& info, bool reuse_port, const std::string& what) {
  UniqueFd fd(::socket(info.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (fd.get() < 0) return ErrnoError(errno, what);
  const int on = 1;
  const int off = 0;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (info.ai_family == AF_INET6) {
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  if (reuse_port && ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) {
    return ErrnoError(errno, what);
  }
  if (::bind(fd.get(), info.ai_addr, info.ai_addrlen) != 0) return BindError(errno, what);
  return fd;
}

Result<uint16_t> BoundPort(int fd, const std::string& what) {
  sockaddr_storage bound{};
  socklen_t size = sizeof(bound);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    return ErrnoError(errno, what);
  }
  if (bound.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&bound)->sin6_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in*>(&bound)->sin_port);
}

using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Result<AddressList> Resolve(const ListenAddress& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(address.port);
  const std::string& host = address.host;
  const int failure =
      ::getaddrinfo(host.empty() ? "::" : host.c_str(), port.c_str(), &hints, &found);
  if (failure != 0) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("listen address \"{}\": {}", host, ::gai_strerror(failure)));
  }
  return AddressList(found, &::freeaddrinfo);
}

}  // namespace

UniqueFd::~UniqueFd() {
  if (fd_ >= 0) ::close(fd_);
}

Result<ListenAddress> ParseListenAddress(std::string_view text) {
  const auto bad = [&] {
    return Error(
        ErrorCode::kInvalidArgument,
        fmt::format("listen address \"{}\": expected host:port, :port or [v6]:port", text));
  };
  ListenAddress address;
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad();
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (!host.empty() && host.front() == '[') {
    if (host.size() < 3 || host.back() != ']') return bad();
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return bad();
  }
  const auto parsed = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (parsed.ec != std::errc() || parsed.ptr != port.data() + port.size()) return bad();
  address.host = std::string(host);
  return address;
}

Result<BoundSocket> BindSocket(const ListenAddress& address, bool first) {
  const std::string what = fmt::format("listen on {}:{}", address.host, address.port);
  auto list = Resolve(address);
  if (!list.ok() && address.host.empty()) {
    // A machine without IPv6.
    list = Resolve({"0.0.0.0", address.port});
  }
  if (!list.ok()) return Error(std::move(list.error()));
  Error last(ErrorCode::kInvalidArgument, what + ": no address");
  for (const addrinfo* info = list->get(); info != nullptr; info = info->ai_next) {
    if (first && address.port != 0) {
      const auto probe = BindOne(*info, false, what);
      if (!probe.ok()) {
        last = probe.error();
        continue;
      }
    }
    auto fd = BindOne(*info, true, what);
    if (!fd.ok()) {
      last = fd.error();
      continue;
    }
    FOREBAY_ASSIGN_OR_RETURN(const uint16_t port, BoundPort(fd->get(), what));
    BoundSocket bound;
    bound.fd = std::move(*fd);
    bound.port = port;
    return bound;
  }
  if (address.host.empty() && last.code() == ErrorCode::kIo) {
    return BindSocket({"0.0.0.0", address.port}, first);
  }
  return last;
}

std::string FormatAddress(const sockaddr* address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    ::inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
    return fmt::format("{}:{}", text, ntohs(v4->sin_port));
  }
  if (address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
      ::inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text, sizeof(text));
      return fmt::format("{}:{}", text, ntohs(v6->sin6_port));
    }
    ::inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
    return fmt::format("[{}]:{}", text, ntohs(v6->sin6_port));
  }
  return "unknown";
}

}  // namespace forebay::http::internal
