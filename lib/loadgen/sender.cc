#include "loadgen/sender.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <span>
#include <utility>

namespace forebay::loadgen {

std::string Base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t n = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) {
      group = group << 8 | (j < n ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    }
    for (size_t j = 0; j < 4; ++j) out += j <= n ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

namespace {

http::HeaderList ProtocolHeaders(const LoadOptions& options) {
  const bool v2 = options.protocol == Protocol::kRemoteWrite2;
  const bool otlp = IsOtlp(options.protocol);
  http::HeaderList headers;
  headers.emplace_back("Content-Type",
                       v2 ? "application/x-protobuf;proto=io.prometheus.write.v2.Request"
                          : "application/x-protobuf");
  if (!otlp) {
    headers.emplace_back("Content-Encoding", "snappy");
    headers.emplace_back("X-Prometheus-Remote-Write-Version", v2 ? "2.0.0" : "0.1.0");
  }
  headers.emplace_back("User-Agent", options.user_agent);
  if (!options.tenant.empty()) headers.emplace_back(options.tenant_header, options.tenant);
  if (!options.basic.empty())
    headers.emplace_back("Authorization", "Basic " + Base64(options.basic));
  if (!options.bearer.empty()) headers.emplace_back("Authorization", "Bearer " + options.bearer);
  headers.insert(headers.end(), options.headers.begin(), options.headers.end());
  return headers;
}

}  // namespace

Result<Sender> Sender::Create(const LoadOptions& options) {
  FOREBAY_ASSIGN_OR_RETURN(Endpoint endpoint, ParseUrl(options.url));
  Sender sender(options);
  if (options.protocol == Protocol::kOtlpGrpc) {
    FOREBAY_ASSIGN_OR_RETURN(sender.grpc_, GrpcSender::Create(options));
    return sender;
  }
  sender.headers_ = ProtocolHeaders(options);
  if (endpoint.tls) {
    http::ClientOptions client;
    client.total_timeout = options.request_timeout;
    client.max_response = ByteCount{kMaxReplyBody};
    client.ca_file = options.tls.ca_file;
    client.cert_file = options.tls.certificate_file;
    client.key_file = options.tls.key_file;
    client.insecure = options.tls.insecure_skip_verify;
    FOREBAY_ASSIGN_OR_RETURN(sender.client_, http::Client::Create(client));
    return sender;
  }
  sender.fixed_head_ =
      fmt::format("POST {} HTTP/1.1\r\nHost: {}\r\n", endpoint.target, endpoint.host_header);
  for (const auto& [name, value] : sender.headers_) {
    fmt::format_to(std::back_inserter(sender.fixed_head_), "{}: {}\r\n", name, value);
  }
  sender.connection_ = std::make_unique<Connection>(std::move(endpoint));
  return sender;
}

Result<Reply> Sender::PostTls(std::string_view body, uint32_t attempt) {
  http::ClientRequest request;
  request.method = "POST";
  request.url = url_;
  request.headers = headers_;
  if (attempt > 0) request.headers.emplace_back("Retry-Attempt", std::to_string(attempt));
  request.body = std::span(body.data(), body.size());
  const Result<http::ClientResponse> response = client_->Do(request);
  if (!response.ok()) {
    // What never got past the handshake was not taken; of the rest nothing is known.
    const bool not_taken = response.error().code() == ErrorCode::kUnauthenticated ||
                           response.error().code() == ErrorCode::kNotFound;
    return Error(not_taken ? ErrorCode::kUnavailable : ErrorCode::kAborted,
                 response.error().message());
  }
  Reply reply;
  reply.status = response->status;
  reply.body = response->body;
  const UnixMillis now = SystemClock().Now();
  for (const auto& [name, value] : response->headers) ApplyHeader(name, value, now, reply);
  return reply;
}

Result<Reply> Sender::Post(std::string_view body, uint32_t attempt, MonotonicTime deadline,
                           const std::stop_token& stop) {
  if (grpc_) return grpc_->Post(body, deadline, stop, stop_grace_);
  if (client_) return PostTls(body, attempt);
  head_ = fixed_head_;
  if (attempt > 0) fmt::format_to(std::back_inserter(head_), "Retry-Attempt: {}\r\n", attempt);
  fmt::format_to(std::back_inserter(head_), "Content-Length: {}\r\n\r\n", body.size());
  return connection_->Exchange(head_, body, deadline, stop, stop_grace_);
}

}  // namespace forebay::loadgen
