// A small blocking HTTP client on libcurl. One Client keeps its connections open between calls; use
// one per thread. No redirects, no proxies from the environment, HTTP/1.1. Limits: the three of
// ClientOptions; an answer's body beyond max_response is an error.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/units.h"
#include "http/message.h"

namespace forebay::http {

struct ClientOptions {
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds total_timeout{30'000};  // of one Do(), connecting included
  ByteCount max_response = MiB(64);
  std::string ca_file;    // PEM; empty: the system's
  std::string cert_file;  // PEM, for servers that ask for one
  std::string key_file;
  bool insecure = false;   // accept any server certificate
  std::string basic_user;  // set: basic authentication
  std::string basic_password;
  std::string bearer_token;
  // False: a connection for each request. On a used one that ends without an answer libcurl sends
  // the request again by itself, which is not for requests that must be sent once.
  bool reuse_connections = true;
};

struct ClientRequest {
  std::string method = "GET";
  std::string url;
  HeaderList headers;
  std::span<const char> body;  // read during Do()
  // Set: gets the body of a 2xx answer piece by piece, as it comes, in place of
  // ClientResponse::body; max_response does not apply. Returns false to end the request.
  std::function<bool(std::string_view piece)> on_body;
  std::stop_token stop;  // ends the request within a second or so
};

struct ClientResponse {
  int status = 0;
  HeaderList headers;
  std::string body;

  // The first header of that name, any case.
  std::optional<std::string_view> Header(std::string_view name) const;
};

class Client {
 public:
  // Errors: kInternal, kInvalidArgument (a header-breaking character in a credential).
  static Result<std::unique_ptr<Client>> Create(ClientOptions options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Sends the request and waits for the whole answer; any status is a success here.
  // Errors: kUnavailable (no connection, reset, our certificate refused), kDeadlineExceeded
  // (timeouts), kUnauthenticated (the server's certificate is not trusted, ours cannot be read),
  // kNotFound (CA file), kInvalidArgument (URL, header, method), kOutOfRange (answer above
  // max_response), kCancelled (by on_body or stop), kInternal. Threads: one at a time.
  Result<ClientResponse> Do(const ClientRequest& request);

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace forebay::http
