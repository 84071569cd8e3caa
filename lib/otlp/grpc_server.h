// OTLP over gRPC: the Export calls of the three collector services. Messages are taken as bytes and
// go the way of HTTP bodies; protobuf objects are never made.
//
// A call has a thread of its own while it waits for the group commit. gzip is undone by the
// decoders, not by gRPC, so that its limit holds before memory is taken, and the journal keeps what
// came. Limits: kMaxCalls calls at a time, kStreamsPerConnection of a connection; http.max_body a
// message (RESOURCE_EXHAUSTED), http.max_decoded_body inflated; limits.in_flight_bodies, tenants.*.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "config/config.h"
#include "http/server.h"
#include "otlp/ingest.h"

namespace forebay::otlp {

inline constexpr int kMaxCalls = 64;
inline constexpr int kStreamsPerConnection = 100;

struct GrpcOptions {
  std::string listen;  // host:port
  ByteCount max_body;
  config::Tls tls;  // files are read again when they change
  config::Auth auth;
  uint32_t shards = 1;  // of the log
};

// Threads: Start, Stop and UseSecurity from one; gRPC's own serve.
class GrpcServer {
 public:
  // Reads certificates and credentials; nothing is bound yet. ingest outlives the server. Errors:
  // those of the files.
  static Result<std::unique_ptr<GrpcServer>> Create(const GrpcOptions& options, Ingest& ingest);
  // Stops at once when Stop was not called.
  virtual ~GrpcServer() = default;

  // Binds and serves. Errors: kUnavailable: the address cannot be had.
  virtual Status Start() = 0;
  virtual uint16_t port() const = 0;
  // The credentials count for every call from now on.
  virtual void UseSecurity(const http::SecurityPtr& security) = 0;
  // No new calls; those that run go on until the deadline, then they are cut: their senders come
  // again, and are known. Returns when no call runs any more. Idempotent.
  virtual void Stop(MonotonicTime deadline) = 0;
};

}  // namespace forebay::otlp
