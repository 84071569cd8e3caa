// Tokens of Azure Active Directory for the endpoints of a cluster: a static one, of a client
// secret, a managed identity or a workload identity. One is kept per scope, fetched by one caller
// at a time, and fetched again ahead of its end; while that fails the old one is used until it
// expires. Secrets are read when they are needed and appear in no error. Limits: a handful of
// scopes. Sources: "OAuth 2.0 client credentials flow", "Azure Instance Metadata Service".
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/mutex.h"
#include "base/result.h"
#include "config/config.h"
#include "upload/adx/network.h"

namespace forebay::upload::adx {

// nullptr when there is no such variable, as getenv.
using Environment = std::function<const char*(const char*)>;

enum class Credential { kNone, kToken, kClientSecret, kManagedIdentity, kWorkloadIdentity };

// config.auth.kind, with `auto` decided: none for http, else by what the environment has.
Credential ChooseCredential(const config::AzureAuth& auth, bool https, const Environment& getenv);

// Threads: any.
class TokenSource {
 public:
  struct Options {
    config::AzureAuth auth;
    Credential credential = Credential::kNone;
    std::string cluster;  // engine endpoint: asked for its cloud
    Environment getenv;
  };
  TokenSource(Options options, const Network& network);

  // A token for the cluster. refused: one that was answered 401; it is not given again. Errors:
  // kUnauthenticated, kUnavailable, kInvalidArgument (what is missing), kCancelled.
  Result<std::string> ForCluster(const std::string& refused, const std::stop_token& stop)
      EXCLUDES(mutex_);
  // A token for storage (lake folders). Errors: as above.
  Result<std::string> ForStorage(const std::string& refused, const std::stop_token& stop)
      EXCLUDES(mutex_);

 private:
  struct Token {
    std::string text;
    MonotonicTime refresh;  // from here on a new one is fetched
    MonotonicTime expiry;
    bool fetching = false;
  };
  // The resource that tokens of the cluster are for, and who gives them.
  struct Cloud {
    std::string authority = "https://login.microsoftonline.com";
    std::string resource;
  };

  Result<std::string> For(const std::string& resource, const std::string& authority,
                          const std::string& refused, const std::stop_token& stop) EXCLUDES(mutex_);
  Result<Cloud> CloudOf(const std::stop_token& stop) EXCLUDES(mutex_);
  Result<Token> Fetch(const std::string& resource, const std::string& authority,
                      const std::stop_token& stop) const;
  Result<Token> FetchFromFile() const;
  Result<Token> FetchManaged(const std::string& resource, const std::stop_token& stop) const;
  Result<Token> FetchFromAuthority(const std::string& resource, const std::string& authority,
                                   const std::stop_token& stop) const;
  Result<Token> Ask(const http::ClientRequest& request, const RetryRule& rule, bool metadata) const;
  Result<Token> Read(const std::string& body) const;
  // The configured text, else that of the variable. Errors: kInvalidArgument naming both.
  Result<std::string> Setting(const std::string& configured, const char* key,
                              const char* variable) const;

  const Options options_;
  const Network& network_;
  Mutex mutex_;
  CondVar changed_;
  std::optional<Cloud> cloud_ GUARDED_BY(mutex_);
  std::map<std::string, Token> tokens_ GUARDED_BY(mutex_);  // by resource
};

}  // namespace forebay::upload::adx
