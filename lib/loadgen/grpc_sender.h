// Calls Export of OTLP's collector services over one gRPC connection. Limits: kMaxReplyBody; every
// call has a deadline and looks at the stop token.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "loadgen/connection.h"
#include "loadgen/options.h"

namespace forebay::loadgen {

// Threads: one at a time.
class GrpcSender {
 public:
  // Shape: a URL without a path; https is TLS. Errors: kInvalidArgument, kNotFound for files.
  static Result<GrpcSender> Create(const LoadOptions& options);
  GrpcSender(GrpcSender&&) noexcept;
  GrpcSender& operator=(GrpcSender&&) noexcept;
  ~GrpcSender();

  // Returns the server's answer, with gRPC's status. Errors: as Connection::Exchange. A status that
  // gRPC makes of a lost connection is kAborted; UNAVAILABLE is the server's when RetryInfo is with
  // it.
  Result<Reply> Post(std::string_view body, MonotonicTime deadline, const std::stop_token& stop,
                     std::chrono::milliseconds stop_grace);
  uint64_t connects() const;

 private:
  struct Impl;
  explicit GrpcSender(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace forebay::loadgen
