#include "loadgen/sender.h"

#include <fmt/core.h>

#include <iterator>
#include <memory>

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

Result<Sender> Sender::Create(const LoadOptions& options) {
  FOREBAY_ASSIGN_OR_RETURN(Endpoint endpoint, ParseUrl(options.url));
  return Sender(options, std::move(endpoint));
}

Sender::Sender(const LoadOptions& options, Endpoint endpoint) : stop_grace_(options.drain) {
  const bool v2 = options.protocol == Protocol::kRemoteWrite2;
  fixed_head_ = fmt::format(
      "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-protobuf{}\r\nContent-Encoding: "
      "snappy\r\n"
      "X-Prometheus-Remote-Write-Version: {}\r\nUser-Agent: {}\r\n",
      endpoint.target, endpoint.host_header, v2 ? ";proto=io.prometheus.write.v2.Request" : "",
      v2 ? "2.0.0" : "0.1.0", options.user_agent);
  const auto add = [this](std::string_view name, std::string_view value) {
    fmt::format_to(std::back_inserter(fixed_head_), "{}: {}\r\n", name, value);
  };
  if (!options.tenant.empty()) add(options.tenant_header, options.tenant);
  if (!options.basic.empty()) add("Authorization", "Basic " + Base64(options.basic));
  if (!options.bearer.empty()) add("Authorization", "Bearer " + options.bearer);
  for (const auto& [name, value] : options.headers) add(name, value);
  connection_ = std::make_unique<Connection>(std::move(endpoint));
}

Result<Reply> Sender::Post(std::string_view body, uint32_t attempt, MonotonicTime deadline,
                           const std::stop_token& stop) {
  head_ = fixed_head_;
  if (attempt > 0) fmt::format_to(std::back_inserter(head_), "Retry-Attempt: {}\r\n", attempt);
  fmt::format_to(std::back_inserter(head_), "Content-Length: {}\r\n\r\n", body.size());
  return connection_->Exchange(head_, body, deadline, stop, stop_grace_);
}

}  // namespace forebay::loadgen
