// The transfer port: a gRPC server through which peers hand over segments.
//
// Limits: kMaxCalls calls at a time, each with a thread of its own; cluster.transfer.max_in_flight
// bytes of segments (transfer/intake.h); calls need a deadline of at most kMaxCallTime; peers that
// do not answer pings are cut off. Bytes of a segment are read only while there is room for it, so
// HTTP/2's flow control reaches back to the sender.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "config/config.h"
#include "transfer/intake.h"

namespace forebay::transfer {

inline constexpr int kMaxCalls = 64;

struct ServiceOptions {
  std::string listen;  // host:port
  config::TransferTls tls;
  std::string member;   // this node's name
  std::string release;  // told to peers
  // How long a segment waits for room before it is refused.
  std::chrono::milliseconds room_wait{2000};
};

// Threads: Start and Stop from one; gRPC's own serve.
class TransferServer {
 public:
  // Reads certificates; nothing is bound yet. intake outlives the server. Errors: those of the
  // files.
  static Result<std::unique_ptr<TransferServer>> Create(const ServiceOptions& options,
                                                        Intake& intake);
  // Stops at once when Stop was not called.
  virtual ~TransferServer() = default;

  // Binds and serves. Errors: kUnavailable: the address cannot be had.
  virtual Status Start() = 0;
  virtual uint16_t port() const = 0;
  // No new calls; those that run go on until the deadline, then they are cut: their senders ask
  // again. Idempotent.
  virtual void Stop(MonotonicTime deadline) = 0;
};

}  // namespace forebay::transfer
