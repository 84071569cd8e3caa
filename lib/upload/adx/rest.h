// One endpoint of Azure Data Explorer: requests with its headers and a token, replayed once when
// the token is refused, and what its answers mean when they are not 2xx. Sources: the REST
// documentation ("Query/management HTTP request", "Streaming ingestion HTTP request", error codes).
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/client.h"
#include "upload/adx/network.h"

namespace forebay::upload::adx {

// Why a call failed. Without a status it got no answer.
struct Fault {
  int status = 0;
  std::string code;               // error.code
  std::string type;               // error.@type
  std::string message;            // for people; without secrets
  std::optional<bool> permanent;  // error.@permanent
  std::optional<std::chrono::milliseconds> retry_after;
  ErrorCode transport = ErrorCode::kUnavailable;  // when there was no answer

  // Throttled, overloaded or broken for now: the same call may be repeated.
  bool Transient() const;
  // code or type has this word.
  bool Names(std::string_view word) const;
  // As an Error that says what to do: retryable() is Transient(), or that somebody has to mend
  // something (401, 403, 404, redirections ...) and no row is to blame.
  Error ToError(std::string_view context) const;
};

// What a non-2xx answer says, whatever its body is.
Fault FaultOf(const http::ClientResponse& response, UnixMillis now);
Fault FaultOf(const Error& transport);

struct Reply {
  std::optional<Fault> fault;
  int status = 0;
  std::string body;  // of a 2xx

  bool ok() const { return !fault; }
};

struct RestRequest {
  std::string method = "GET";
  std::string path;  // encoded, with query
  std::string_view body;
  std::string content_type = "application/json";
  std::string content_encoding;
  std::stop_token stop;
};

// Gives a bearer token; `refused`: the one that was answered 401, empty at first.
using TokenFunction =
    std::function<Result<std::string>(const std::string& refused, const std::stop_token& stop)>;

// Threads: any.
class RestClient {
 public:
  // tokens may be empty: no Authorization is sent then. The network outlives it.
  RestClient(std::string endpoint, TokenFunction tokens, const Network& network);

  const std::string& endpoint() const { return endpoint_; }
  // One call; a 401 is replayed once with a new token.
  Reply Call(const RestRequest& request) const;
  // Calls until it succeeds, fails for good, or has been tried rule.tries times.
  Reply CallWithRetry(const RestRequest& request, const RetryRule& rule) const;

 private:
  Result<http::ClientResponse> Send(const RestRequest& request, const std::string& token) const;

  const std::string endpoint_;
  const TokenFunction tokens_;
  const Network& network_;
};

}  // namespace forebay::upload::adx
