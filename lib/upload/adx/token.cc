#include "upload/adx/token.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "upload/adx/names.h"
#include "upload/adx/rest.h"

namespace forebay::upload::adx {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::string_view kMetadataService =
    "http://169.254.169.254/metadata/identity/oauth2/token";
constexpr std::string_view kStorageResource = "https://storage.azure.com";
constexpr milliseconds kFetchWait{120'000};  // for another caller's fetch
constexpr milliseconds kTokenRefreshRetry{30'000};
constexpr size_t kMaxSecretBytes = 64 << 10;

std::string TrimmedText(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.pop_back();
  }
  return text;
}

Result<std::string> ReadSecret(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return Error(ErrorCode::kUnauthenticated, fmt::format("cannot read {}", path))
        .WithRetryable(true);
  }
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  text = TrimmedText(std::move(text));
  if (text.empty() || text.size() > kMaxSecretBytes) {
    return Error(ErrorCode::kUnauthenticated, fmt::format("{} holds no token or secret", path))
        .WithRetryable(true);
  }
  return text;
}

// Seconds as a number or as text.
std::optional<int64_t> Seconds(const json& document, const char* key) {
  const auto found = document.find(key);
  if (found == document.end()) return std::nullopt;
  if (found->is_number()) return static_cast<int64_t>(found->get<double>());
  if (!found->is_string()) return std::nullopt;
  const auto& text = found->get_ref<const std::string&>();
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string Form(const std::vector<std::pair<std::string, std::string>>& fields) {
  std::string form;
  for (const auto& [name, value] : fields) {
    form += fmt::format("{}{}={}", form.empty() ? "" : "&", name, EncodeSegment(value));
  }
  return form;
}

const char* Variable(const Environment& getenv, const char* name) {
  const char* value = getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

}  // namespace

Credential ChooseCredential(const config::AzureAuth& auth, bool https, const Environment& getenv) {
  if (auth.kind == "none") return Credential::kNone;
  if (auth.kind == "token") return Credential::kToken;
  if (auth.kind == "client_secret") return Credential::kClientSecret;
  if (auth.kind == "managed_identity") return Credential::kManagedIdentity;
  if (auth.kind == "workload_identity") return Credential::kWorkloadIdentity;
  if (!https) return Credential::kNone;
  if (!auth.secret_file.empty() || Variable(getenv, "AZURE_CLIENT_SECRET") != nullptr) {
    return Credential::kClientSecret;
  }
  if (!auth.token_file.empty() || Variable(getenv, "AZURE_FEDERATED_TOKEN_FILE") != nullptr) {
    return Credential::kWorkloadIdentity;
  }
  return Credential::kManagedIdentity;
}

TokenSource::TokenSource(Options options, const Network& network)
    : options_(std::move(options)), network_(network) {}

Result<std::string> TokenSource::ForCluster(const std::string& refused,
                                            const std::stop_token& stop) {
  FOREBAY_ASSIGN_OR_RETURN(const Cloud cloud, CloudOf(stop));
  return For(cloud.resource, cloud.authority, refused, stop);
}

Result<std::string> TokenSource::ForStorage(const std::string& refused,
                                            const std::stop_token& stop) {
  FOREBAY_ASSIGN_OR_RETURN(const Cloud cloud, CloudOf(stop));
  return For(std::string(kStorageResource), cloud.authority, refused, stop);
}

Result<std::string> TokenSource::For(const std::string& resource, const std::string& authority,
                                     const std::string& refused, const std::stop_token& stop) {
  const MonotonicTime give_up = network_.clock.Monotonic() + kFetchWait;
  {
    MutexLock lock(mutex_);
    while (true) {
      Token& token = tokens_[resource];
      if (!refused.empty() && token.text == refused) token.text.clear();
      const MonotonicTime now = network_.clock.Monotonic();
      const bool usable = !token.text.empty() && now < token.expiry;
      if (usable && (now < token.refresh || token.fetching)) return token.text;
      if (!token.fetching) {
        token.fetching = true;
        break;
      }
      if (stop.stop_requested() || now >= give_up) {
        return Error(ErrorCode::kDeadlineExceeded, "token: another caller's request hangs");
      }
      (void)changed_.WaitUntil(lock, std::chrono::steady_clock::now() + seconds(1));
    }
  }
  auto fetched = Fetch(resource, authority, stop);
  MutexLock lock(mutex_);
  Token& token = tokens_[resource];
  token.fetching = false;
  changed_.NotifyAll();
  if (fetched.ok()) {
    token = *std::move(fetched);
    return token.text;
  }
  const MonotonicTime now = network_.clock.Monotonic();
  if (!token.text.empty() && now < token.expiry) {
    token.refresh = now + kTokenRefreshRetry;
    return token.text;
  }
  return fetched.error().WithContext("token");
}

Result<TokenSource::Cloud> TokenSource::CloudOf(const std::stop_token& stop) {
  {
    MutexLock lock(mutex_);
    if (cloud_) return *cloud_;
  }
  Cloud cloud;
  cloud.resource = options_.cluster;
  if (options_.credential != Credential::kToken) {
    http::ClientRequest request;
    request.url = options_.cluster + "/v1/rest/auth/metadata";
    request.headers = {{"Accept", "application/json"}};
    request.stop = stop;
    const auto response = network_.send(request);
    const Fault fault =
        response.ok() ? FaultOf(*response, network_.clock.Now()) : FaultOf(response.error());
    // A cluster that cannot be reached now is asked again; one without the page has the defaults.
    if (fault.Transient()) return fault.ToError("token: the cluster's cloud");
    const json document =
        response->status == 200 ? json::parse(response->body, nullptr, false) : json();
    if (document.is_object() && document.contains("AzureAD") && document["AzureAD"].is_object()) {
      const json& azure = document["AzureAD"];
      const auto text = [&azure](const char* key) {
        const auto found = azure.find(key);
        return found != azure.end() && found->is_string() ? found->get<std::string>()
                                                          : std::string();
      };
      const std::string resource = text("KustoServiceResourceId");
      const std::string login = text("LoginEndpoint");
      if (!resource.empty()) cloud.resource = resource;
      if (ParseUrl(login).ok()) cloud.authority = login;
      const auto mfa = azure.find("LoginMfaRequired");
      const size_t kusto = cloud.resource.find(".kusto.");
      if (mfa != azure.end() && mfa->is_boolean() && mfa->get<bool>() &&
          kusto != std::string::npos) {
        cloud.resource.replace(kusto, 7, ".kustomfa.");
      }
    }
  }
  if (const char* host = Variable(options_.getenv, "AZURE_AUTHORITY_HOST")) cloud.authority = host;
  if (!options_.auth.authority.empty()) cloud.authority = options_.auth.authority;
  MutexLock lock(mutex_);
  cloud_ = cloud;
  return cloud;
}

Result<TokenSource::Token> TokenSource::Fetch(const std::string& resource,
                                              const std::string& authority,
                                              const std::stop_token& stop) const {
  switch (options_.credential) {
    case Credential::kNone:
    case Credential::kToken:
      return FetchFromFile();
    case Credential::kManagedIdentity:
      return FetchManaged(resource, stop);
    case Credential::kClientSecret:
    case Credential::kWorkloadIdentity:
      return FetchFromAuthority(resource, authority, stop);
  }
  return Error(ErrorCode::kInternal, "unknown credential");
}

// The file may be replaced by whoever keeps it: it is looked at every five minutes.
Result<TokenSource::Token> TokenSource::FetchFromFile() const {
  Token token;
  FOREBAY_ASSIGN_OR_RETURN(token.text, ReadSecret(options_.auth.token_file));
  token.refresh = network_.clock.Monotonic() + minutes(5);
  token.expiry = MonotonicTime::max();
  return token;
}

Result<TokenSource::Token> TokenSource::FetchManaged(const std::string& resource,
                                                     const std::stop_token& stop) const {
  const config::AzureAuth& auth = options_.auth;
  http::ClientRequest request;
  std::string client_id = auth.client_id;
  if (const char* variable = Variable(options_.getenv, "AZURE_CLIENT_ID");
      client_id.empty() && variable != nullptr) {
    client_id = variable;
  }
  const char* endpoint = Variable(options_.getenv, "IDENTITY_ENDPOINT");
  const char* secret = Variable(options_.getenv, "IDENTITY_HEADER");
  const bool service = auth.identity_endpoint.empty() && endpoint != nullptr && secret != nullptr;
  if (service) {
    request.url = fmt::format("{}?api-version=2019-08-01", endpoint);
    request.headers = {{"X-IDENTITY-HEADER", secret}};
  } else {
    request.url =
        fmt::format("{}?api-version=2018-02-01", auth.identity_endpoint.empty()
                                                     ? kMetadataService
                                                     : std::string_view(auth.identity_endpoint));
    request.headers = {{"Metadata", "true"}};
  }
  request.url += fmt::format("&resource={}", EncodeSegment(resource));
  if (!client_id.empty()) request.url += fmt::format("&client_id={}", EncodeSegment(client_id));
  request.stop = stop;
  return Ask(request, {seconds(2), seconds(25), 6}, true);
}

Result<TokenSource::Token> TokenSource::FetchFromAuthority(const std::string& resource,
                                                           const std::string& authority,
                                                           const std::stop_token& stop) const {
  const config::AzureAuth& auth = options_.auth;
  FOREBAY_ASSIGN_OR_RETURN(const std::string tenant,
                           Setting(auth.tenant_id, "tenant_id", "AZURE_TENANT_ID"));
  FOREBAY_ASSIGN_OR_RETURN(const std::string client,
                           Setting(auth.client_id, "client_id", "AZURE_CLIENT_ID"));
  std::vector<std::pair<std::string, std::string>> fields = {{"grant_type", "client_credentials"},
                                                             {"client_id", client},
                                                             {"scope", resource + "/.default"}};
  if (options_.credential == Credential::kClientSecret) {
    const char* variable = Variable(options_.getenv, "AZURE_CLIENT_SECRET");
    std::string secret = variable != nullptr ? variable : "";
    if (!auth.secret_file.empty()) {
      FOREBAY_ASSIGN_OR_RETURN(secret, ReadSecret(auth.secret_file));
    }
    if (secret.empty()) {
      return Error(ErrorCode::kInvalidArgument,
                   "a client secret is needed: set auth.secret_file or AZURE_CLIENT_SECRET")
          .WithRetryable(true);
    }
    fields.emplace_back("client_secret", secret);
  } else {
    FOREBAY_ASSIGN_OR_RETURN(const std::string file,
                             Setting(auth.token_file, "token_file", "AZURE_FEDERATED_TOKEN_FILE"));
    FOREBAY_ASSIGN_OR_RETURN(const std::string assertion, ReadSecret(file));
    fields.emplace_back("client_assertion_type",
                        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    fields.emplace_back("client_assertion", assertion);
    fields.emplace_back("client_info", "1");
  }
  std::string_view host = authority;
  while (host.ends_with("/")) host.remove_suffix(1);
  FOREBAY_ASSIGN_OR_RETURN(const Url url, ParseUrl(host));
  if (url.scheme != "https" && !IsLoopback(url.host)) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{} would get a secret over plain http", url.host));
  }
  http::ClientRequest request;
  request.method = "POST";
  request.url = fmt::format("{}/{}/oauth2/v2.0/token", host, EncodeSegment(tenant));
  request.headers = {{"Content-Type", "application/x-www-form-urlencoded"},
                     {"Accept", "application/json"}};
  const std::string form = Form(fields);
  request.body = {form.data(), form.size()};
  request.stop = stop;
  return Ask(request, {seconds(1), seconds(10), 4}, false);
}

Result<TokenSource::Token> TokenSource::Ask(const http::ClientRequest& request,
                                            const RetryRule& rule, bool metadata) const {
  for (int failed = 1;; ++failed) {
    Fault fault;
    const auto response = network_.send(request);
    if (response.ok() && response->status == 200) return Read(response->body);
    if (response.ok()) {
      fault = FaultOf(*response, network_.clock.Now());
      // {"error": "invalid_client", "error_description": "..."}: neither quotes the secret.
      const json document = json::parse(response->body, nullptr, false);
      if (document.is_object() && document.contains("error") && document["error"].is_string()) {
        fault.code = document["error"].get<std::string>();
        fault.message =
            document.contains("error_description") && document["error_description"].is_string()
                ? document["error_description"].get<std::string>().substr(0, 300)
                : std::string();
      }
    } else {
      fault = FaultOf(response.error());
    }
    const bool starting = metadata && (fault.status == 404 || fault.status == 410);
    if (!(fault.Transient() || starting) || failed >= rule.tries) {
      return Error(ErrorCode::kUnauthenticated, fault.ToError(WithoutQuery(request.url)).message())
          .WithRetryable(true);
    }
    FOREBAY_RETURN_IF_ERROR(
        network_.wait(rule.Delay(failed, network_.random(), fault.retry_after), request.stop));
  }
}

Result<TokenSource::Token> TokenSource::Read(const std::string& body) const {
  const json document = json::parse(body, nullptr, false);
  const auto text = document.is_object() ? document.find("access_token") : document.end();
  if (!document.is_object() || text == document.end() || !text->is_string() ||
      text->get_ref<const std::string&>().empty()) {
    return Error(ErrorCode::kUnauthenticated, "the answer of the token service has no access_token")
        .WithRetryable(true);
  }
  Token token;
  token.text = text->get<std::string>();
  int64_t life = 3600;
  if (const auto expires_in = Seconds(document, "expires_in")) {
    life = *expires_in;
  } else if (const auto expires_on = Seconds(document, "expires_on")) {
    life = *expires_on - network_.clock.Now().value / 1000;
  }
  life = std::clamp<int64_t>(life, 0, int64_t{7} * 86'400);
  // Ahead of the end by five minutes, of a long life by half of it, of a short one by a fifth.
  int64_t refresh = life > 7200 ? life / 2 : std::max<int64_t>(life - 300, life * 4 / 5);
  if (const auto wish = Seconds(document, "refresh_in")) refresh = std::min(refresh, *wish);
  const MonotonicTime now = network_.clock.Monotonic();
  token.refresh = now + seconds(std::max<int64_t>(refresh, 0));
  token.expiry = now + seconds(life);
  return token;
}

Result<std::string> TokenSource::Setting(const std::string& configured, const char* key,
                                         const char* variable) const {
  if (!configured.empty()) return configured;
  if (const char* value = Variable(options_.getenv, variable)) return std::string(value);
  return Error(ErrorCode::kInvalidArgument, fmt::format("auth.{} or {} must be set", key, variable))
      .WithRetryable(true);
}

}  // namespace forebay::upload::adx
