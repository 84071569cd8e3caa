#include "upload/adx/rest.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "config/print.h"
#include "http/retry.h"
#include "upload/adx/names.h"

namespace forebay::upload::adx {
namespace {

using nlohmann::json;

constexpr size_t kMaxShownBody = 300;
constexpr std::string_view kApiVersion = "2024-12-12";
constexpr std::string_view kClientVersion = "Kusto.Forebay:{1}";

std::string TextOf(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// A body that is no error document: its beginning, on one line.
std::string Shown(std::string_view body) {
  std::string text(body.substr(0, kMaxShownBody));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return text;
}

ErrorCode CodeOfStatus(int status) {
  switch (status) {
    case 401:
      return ErrorCode::kUnauthenticated;
    case 403:
      return ErrorCode::kPermissionDenied;
    case 404:
      return ErrorCode::kNotFound;
    case 408:
    case 504:
      return ErrorCode::kDeadlineExceeded;
    case 413:
      return ErrorCode::kOutOfRange;
    case 429:
    case 503:
      return ErrorCode::kResourceExhausted;
    default:
      return status >= 500 ? ErrorCode::kUnavailable : ErrorCode::kInvalidArgument;
  }
}

}  // namespace

bool Fault::Transient() const {
  if (status == 0) {
    // A certificate or token that is refused, a file of certificates that is not there: somebody
    // has to mend it, so the next try is the batch's, not the call's.
    return transport != ErrorCode::kCancelled && transport != ErrorCode::kUnauthenticated &&
           transport != ErrorCode::kNotFound;
  }
  if (permanent && !*permanent && status != 401 && status != 403) return true;
  return status == 408 || status == 429 || status >= 500;
}

bool Fault::Names(std::string_view word) const {
  return code.find(word) != std::string::npos || type.find(word) != std::string::npos;
}

Error Fault::ToError(std::string_view context) const {
  if (status == 0) {
    return Error(transport, fmt::format("{}: {}", context, message)).WithRetryable(true);
  }
  // Only these can be about what was sent; anything else somebody has to mend on the way.
  const bool about_us = status == 400 || status == 413;
  return Error(CodeOfStatus(status), fmt::format("{}: status {}{}{}: {}", context, status,
                                                 code.empty() ? "" : " ", code, message))
      .WithRetryable(Transient() || !about_us)
      .WithRetryAfter(retry_after);
}

Fault FaultOf(const Error& transport) {
  Fault fault;
  fault.transport = transport.code();
  fault.message = transport.ToString();
  return fault;
}

Fault FaultOf(const http::ClientResponse& response, UnixMillis now) {
  Fault fault;
  fault.status = response.status;
  if (const auto wish = response.Header("Retry-After")) {
    fault.retry_after = http::ParseRetryAfter(*wish, now);
  }
  const json document = json::parse(response.body, nullptr, false);
  const auto error = document.is_object() ? document.find("error") : document.end();
  if (document.is_object() && error != document.end() && error->is_object()) {
    fault.code = TextOf(*error, "code");
    fault.type = TextOf(*error, "@type");
    const std::string detail = TextOf(*error, "@message");
    fault.message = config::MaskSecrets(Shown(detail.empty() ? TextOf(*error, "message") : detail));
    const auto permanent = error->find("@permanent");
    if (permanent != error->end() && permanent->is_boolean()) {
      fault.permanent = permanent->get<bool>();
    }
  } else {
    fault.message = config::MaskSecrets(Shown(response.body));
  }
  if (const auto activity = response.Header("x-ms-activity-id")) {
    fault.message += fmt::format(" (activity {})", *activity);
  }
  return fault;
}

RestClient::RestClient(std::string endpoint, TokenFunction tokens, const Network& network)
    : endpoint_(std::move(endpoint)), tokens_(std::move(tokens)), network_(network) {}

Result<http::ClientResponse> RestClient::Send(const RestRequest& request,
                                              const std::string& token) const {
  http::ClientRequest call;
  call.method = request.method;
  call.url = endpoint_ + request.path;
  call.headers = {{"Accept", "application/json"},
                  {"Connection", "keep-alive"},
                  {"x-ms-app", "Forebay"},
                  {"x-ms-user", "[none]"},
                  {"x-ms-client-version", std::string(kClientVersion)},
                  {"x-ms-client-request-id", fmt::format("KFC.execute;{}", NewUuid())},
                  {"x-ms-version", std::string(kApiVersion)}};
  if (!token.empty()) call.headers.emplace_back("Authorization", "Bearer " + token);
  if (request.method != "GET") call.headers.emplace_back("Content-Type", request.content_type);
  if (!request.content_encoding.empty()) {
    call.headers.emplace_back("Content-Encoding", request.content_encoding);
  }
  call.body = {request.body.data(), request.body.size()};
  call.stop = request.stop;
  return network_.send(call);
}

Reply RestClient::Call(const RestRequest& request) const {
  Reply reply;
  std::string token;
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (tokens_) {
      auto fresh = tokens_(token, request.stop);
      if (!fresh.ok()) {
        reply.fault = FaultOf(fresh.error());
        return reply;
      }
      token = *std::move(fresh);
    }
    auto response = Send(request, token);
    if (!response.ok()) {
      reply.fault = FaultOf(response.error());
      return reply;
    }
    reply.status = response->status;
    if (response->status / 100 == 2) {
      reply.body = std::move(response->body);
      return reply;
    }
    if (response->status == 401 && tokens_ && attempt == 0) continue;
    reply.fault = FaultOf(*response, network_.clock.Now());
    return reply;
  }
  return reply;
}

Reply RestClient::CallWithRetry(const RestRequest& request, const RetryRule& rule) const {
  for (int failed = 1;; ++failed) {
    Reply reply = Call(request);
    if (reply.ok() || !reply.fault->Transient() || failed >= rule.tries) return reply;
    const auto wait = rule.Delay(failed, network_.random(), reply.fault->retry_after);
    if (const Status waited = network_.wait(wait, request.stop); !waited.ok()) {
      reply.fault = FaultOf(waited.error());
      return reply;
    }
  }
}

}  // namespace forebay::upload::adx
