#include "http/client.h"

#include <curl/curl.h>
#include <fmt/core.h>

#include <mutex>

#include "config/print.h"

namespace forebay::http {
namespace {

struct SlistDeleter {
  void operator()(curl_slist* list) const { ::curl_slist_free_all(list); }
};
using Slist = std::unique_ptr<curl_slist, SlistDeleter>;

bool HasLineBreak(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

ErrorCode CodeOf(CURLcode code) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return ErrorCode::kDeadlineExceeded;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_SSL_CONNECT_ERROR:
      return ErrorCode::kUnavailable;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
      return ErrorCode::kUnauthenticated;
    case CURLE_SSL_CACERT_BADFILE:
      return ErrorCode::kNotFound;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return ErrorCode::kInvalidArgument;
    case CURLE_OUT_OF_MEMORY:
      return ErrorCode::kResourceExhausted;
    default:
      return ErrorCode::kInternal;
  }
}

}  // namespace

std::optional<std::string_view> ClientResponse::Header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (EqualsIgnoreCase(key, name)) return std::string_view(value);
  }
  return std::nullopt;
}

class Client::Impl {
 public:
  Impl(ClientOptions options, CURL* curl) : options_(std::move(options)), curl_(curl) {}
  ~Impl() { ::curl_easy_cleanup(curl_); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<ClientResponse> Do(const ClientRequest& request);

 private:
  template <typename Value>
  void Set(CURLoption option, Value value) {
    ::curl_easy_setopt(curl_, option, value);
  }
  void SetConnectionOptions();
  Result<Slist> MakeHeaders(const ClientRequest& request) const;
  static size_t OnBody(char* data, size_t size, size_t count, void* self);
  static size_t OnHeader(char* data, size_t size, size_t count, void* self);
  static int OnProgress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t);
  int status() const;

  const ClientOptions options_;
  CURL* const curl_;
  ClientResponse response_;
  const ClientRequest* request_ = nullptr;  // during Do()
  bool too_large_ = false;
  bool cancelled_ = false;
  char error_text_[CURL_ERROR_SIZE] = "";
};

size_t Client::Impl::OnBody(char* data, size_t size, size_t count, void* self) {
  auto& impl = *static_cast<Impl*>(self);
  const size_t bytes = size * count;
  if (impl.request_->on_body && impl.status() / 100 == 2) {
    impl.cancelled_ = !impl.request_->on_body(std::string_view(data, bytes));
    return impl.cancelled_ ? 0 : bytes;
  }
  if (impl.response_.body.size() + bytes > impl.options_.max_response.value) {
    impl.too_large_ = true;
    return 0;  // Makes curl give up.
  }
  impl.response_.body.append(data, bytes);
  return bytes;
}

size_t Client::Impl::OnHeader(char* data, size_t size, size_t count, void* self) {
  auto& impl = *static_cast<Impl*>(self);
  const size_t bytes = size * count;
  std::string_view line(data, bytes);
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  if (line.substr(0, 5) == "HTTP/") {
    // A new head: what came before was a 100 Continue.
    impl.response_.headers.clear();
    return bytes;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return bytes;
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
  impl.response_.headers.emplace_back(line.substr(0, colon), value);
  return bytes;
}

int Client::Impl::OnProgress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto& impl = *static_cast<Impl*>(self);
  impl.cancelled_ = impl.cancelled_ || impl.request_->stop.stop_requested();
  return impl.cancelled_ ? 1 : 0;  // 1 makes curl give up.
}

int Client::Impl::status() const {
  long status = 0;
  ::curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
  return static_cast<int>(status);
}

void Client::Impl::SetConnectionOptions() {
  Set(CURLOPT_ERRORBUFFER, error_text_);
  Set(CURLOPT_NOSIGNAL, 1L);
  Set(CURLOPT_PROXY, "");
  Set(CURLOPT_PROTOCOLS_STR, "http,https");
  Set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  Set(CURLOPT_FOLLOWLOCATION, 0L);
  if (!options_.reuse_connections) {
    Set(CURLOPT_FRESH_CONNECT, 1L);
    Set(CURLOPT_FORBID_REUSE, 1L);
  }
  Set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout.count()));
  Set(CURLOPT_TIMEOUT_MS, static_cast<long>(options_.total_timeout.count()));
  Set(CURLOPT_WRITEFUNCTION, &Impl::OnBody);
  Set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  Set(CURLOPT_HEADERFUNCTION, &Impl::OnHeader);
  Set(CURLOPT_HEADERDATA, static_cast<void*>(this));
  Set(CURLOPT_SSL_VERIFYPEER, options_.insecure ? 0L : 1L);
  Set(CURLOPT_SSL_VERIFYHOST, options_.insecure ? 0L : 2L);
  Set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!options_.ca_file.empty()) Set(CURLOPT_CAINFO, options_.ca_file.c_str());
  if (!options_.cert_file.empty()) Set(CURLOPT_SSLCERT, options_.cert_file.c_str());
  if (!options_.key_file.empty()) Set(CURLOPT_SSLKEY, options_.key_file.c_str());
  if (!options_.basic_user.empty()) {
    Set(CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
    Set(CURLOPT_USERNAME, options_.basic_user.c_str());
    Set(CURLOPT_PASSWORD, options_.basic_password.c_str());
  }
}

Result<Slist> Client::Impl::MakeHeaders(const ClientRequest& request) const {
  Slist list;
  const auto append = [&list](const std::string& line) {
    curl_slist* const longer = ::curl_slist_append(list.get(), line.c_str());
    if (longer == nullptr) return false;
    (void)list.release();  // `longer` is the same list with one line more
    list.reset(longer);
    return true;
  };
  // Without these curl waits for a 100 Continue before larger bodies and invents a Content-Type.
  bool complete = append("Expect:") && append("Content-Type:");
  for (const auto& [name, value] : request.headers) {
    if (name.empty() || HasLineBreak(name) || HasLineBreak(value) ||
        name.find(':') != std::string::npos) {
      return Error(ErrorCode::kInvalidArgument, fmt::format("request header \"{}\"", name));
    }
    // A header without a value is written with a semicolon to curl.
    complete = complete && append(value.empty() ? name + ";" : name + ": " + value);
  }
  if (!options_.bearer_token.empty()) {
    complete = complete && append("Authorization: Bearer " + options_.bearer_token);
  }
  if (!complete) return Error(ErrorCode::kResourceExhausted, "request headers: out of memory");
  return list;
}

Result<ClientResponse> Client::Impl::Do(const ClientRequest& request) {
  if (request.method.empty() || request.method.find_first_of(" \r\n") != std::string::npos) {
    return Error(ErrorCode::kInvalidArgument, "request method");
  }
  // Forgets the request before, keeps its connection.
  ::curl_easy_reset(curl_);
  SetConnectionOptions();
  FOREBAY_ASSIGN_OR_RETURN(const Slist headers, MakeHeaders(request));
  Set(CURLOPT_URL, request.url.c_str());
  Set(CURLOPT_HTTPHEADER, headers.get());
  const bool sends_body =
      !request.body.empty() || request.method == "POST" || request.method == "PUT";
  if (sends_body) {
    Set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    Set(CURLOPT_POSTFIELDS, request.body.empty() ? "" : request.body.data());
  }
  if (request.method == "HEAD") Set(CURLOPT_NOBODY, 1L);
  Set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  if (request.stop.stop_possible()) {
    Set(CURLOPT_NOPROGRESS, 0L);
    Set(CURLOPT_XFERINFOFUNCTION, &Impl::OnProgress);
    Set(CURLOPT_XFERINFODATA, static_cast<void*>(this));
  }
  response_ = ClientResponse();
  request_ = &request;
  too_large_ = false;
  cancelled_ = false;
  error_text_[0] = '\0';
  const CURLcode code = ::curl_easy_perform(curl_);
  // Signatures of storage and passwords stay out of errors.
  const std::string shown = code == CURLE_OK ? std::string() : config::MaskSecrets(request.url);
  if (cancelled_) {
    return Error(ErrorCode::kCancelled, fmt::format("{} {}: ended", request.method, shown));
  }
  if (too_large_) {
    return Error(ErrorCode::kOutOfRange,
                 fmt::format("{} {}: answer larger than {}", request.method, shown,
                             FormatByteCount(options_.max_response)));
  }
  if (code != CURLE_OK) {
    return Error(CodeOf(code),
                 fmt::format("{} {}: {}", request.method, shown,
                             error_text_[0] != '\0' ? error_text_ : ::curl_easy_strerror(code)));
  }
  response_.status = status();
  return std::move(response_);
}

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::Create(ClientOptions options) {
  static std::once_flag once;
  static CURLcode global = CURLE_OK;
  std::call_once(once, [] { global = ::curl_global_init(CURL_GLOBAL_DEFAULT); });
  if (global != CURLE_OK) return Error(ErrorCode::kInternal, ::curl_easy_strerror(global));
  if (HasLineBreak(options.bearer_token)) {
    return Error(ErrorCode::kInvalidArgument, "bearer token with a line break");
  }
  CURL* const curl = ::curl_easy_init();
  if (curl == nullptr) return Error(ErrorCode::kInternal, "curl_easy_init failed");
  return std::unique_ptr<Client>(new Client(std::make_unique<Impl>(std::move(options), curl)));
}

Result<ClientResponse> Client::Do(const ClientRequest& request) { return impl_->Do(request); }

}  // namespace forebay::http
