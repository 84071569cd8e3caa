// Addresses as users write them, and bound sockets. Plain POSIX.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

struct sockaddr;

namespace forebay::http::internal {

// Closes its descriptor.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~UniqueFd();
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

struct ListenAddress {
  std::string host;  // without brackets; empty: all addresses of both families
  uint16_t port = 0;
};

// Shape: `host:port`, `:port`, `[v6]:port`. Errors: kInvalidArgument. Threads: any.
Result<ListenAddress> ParseListenAddress(std::string_view text);

struct BoundSocket {
  UniqueFd fd;
  uint16_t port = 0;
};

// A non-blocking TCP socket bound with SO_REUSEPORT, not listening yet. `first` also checks that no
// other process serves the port: SO_REUSEPORT alone would share it silently.
// Errors: kInvalidArgument (unknown host), kFailedPrecondition (in use), kPermissionDenied, kIo.
Result<BoundSocket> BindSocket(const ListenAddress& address, bool first);

// "192.0.2.7:80" or "[2001:db8::7]:80"; mapped IPv4 addresses as IPv4.
std::string FormatAddress(const sockaddr* address);

}  // namespace forebay::http::internal
