// Posts bodies of remote write or OTLP to one endpoint over one connection: the headers of the
// protocol, the tenant and the credentials, made once.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/client.h"
#include "loadgen/connection.h"
#include "loadgen/grpc_sender.h"
#include "loadgen/options.h"

namespace forebay::loadgen {

// Threads: one at a time.
class Sender {
 public:
  // Errors: kInvalidArgument for a bad URL, those of http::Client::Create.
  static Result<Sender> Create(const LoadOptions& options);

  // Sends a body. Shape: attempt counts from 0; above 0 it becomes the header Retry-Attempt.
  // Errors: as Connection::Exchange.
  Result<Reply> Post(std::string_view body, uint32_t attempt, MonotonicTime deadline,
                     const std::stop_token& stop);

  // Zero for https, which does not say.
  uint64_t connects() const {
    if (grpc_) return grpc_->connects();
    return connection_ ? connection_->connects() : 0;
  }

 private:
  explicit Sender(const LoadOptions& options) : url_(options.url), stop_grace_(options.drain) {}

  Result<Reply> PostTls(std::string_view body, uint32_t attempt);

  std::string url_;
  std::unique_ptr<Connection> connection_;  // one of the three
  std::unique_ptr<http::Client> client_;
  std::optional<GrpcSender> grpc_;
  http::HeaderList headers_;
  std::chrono::milliseconds stop_grace_;
  std::string fixed_head_;  // request line and the headers that never change
  std::string head_;        // of the current request
};

// RFC 4648, with padding; for basic credentials.
std::string Base64(std::string_view bytes);

}  // namespace forebay::loadgen
