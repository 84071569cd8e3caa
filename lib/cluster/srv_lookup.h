// SRV records of one name, by c-ares. Blocking, bounded by its timeout; c-ares stays in the .cc.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace forebay::cluster {

struct SrvRecord {
  std::string target;  // without the last dot
  uint16_t port = 0;

  bool operator==(const SrvRecord&) const = default;
};

struct SrvLookupOptions {
  std::string servers;  // host[:port], comma-separated; empty: those of /etc/resolv.conf
  std::chrono::milliseconds timeout{2'000};  // of one try at one server
  int tries = 2;                             // at each server
};

// Threads: one at a time.
class SrvLookup {
 public:
  // Errors: kInvalidArgument (servers), kInternal.
  static Result<std::unique_ptr<SrvLookup>> Create(const SrvLookupOptions& options);
  ~SrvLookup();
  SrvLookup(const SrvLookup&) = delete;
  SrvLookup& operator=(const SrvLookup&) = delete;

  // The records of the name as it stands, search lists are not used. A name that the server says
  // has none, or that does not exist, is an empty answer and no error. Errors: kUnavailable (no
  // server, refused, a damaged answer), kDeadlineExceeded, kInvalidArgument (not a name).
  Result<std::vector<SrvRecord>> Lookup(const std::string& name);

 private:
  class Impl;
  explicit SrvLookup(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace forebay::cluster
