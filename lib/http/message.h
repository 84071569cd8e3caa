// A request's head as handlers see it, and the response that they give back. Plain types: no Asio,
// no Beast. The views of a head point into the connection's buffer and are good until the exchange
// is answered; nothing in here allocates unless it says so. Limits: header bytes by config
// http.max_header, header fields by kMaxHeaderFields.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace forebay::http {

namespace internal {
class HeadParser;
class RequestReader;
class Connection;
}  // namespace internal

// More fields in one request are answered 431.
inline constexpr size_t kMaxHeaderFields = 256;

using HeaderList = std::vector<std::pair<std::string, std::string>>;

class RequestHead {
 public:
  RequestHead() = default;
  // A head that owns its text, for tests and for replay; content_length and chunked are taken from
  // the headers.
  static RequestHead Make(std::string_view method, std::string_view target,
                          const HeaderList& headers = {});

  RequestHead(const RequestHead&) = delete;
  RequestHead& operator=(const RequestHead&) = delete;
  RequestHead(RequestHead&&) = default;
  RequestHead& operator=(RequestHead&&) = default;

  std::string_view method() const { return View(method_); }
  // As sent: "/api/v1/write?x=1" or the absolute form.
  std::string_view target() const { return View(target_); }
  // The target's path without query, scheme and authority; as sent, not percent-decoded.
  std::string_view path() const { return View(path_); }
  // The text after '?', as sent; empty when there is none.
  std::string_view query() const { return View(query_); }
  // The first query parameter of that name, percent- and plus-decoded; "" for `?name`. Allocates.
  std::optional<std::string> QueryParameter(std::string_view name) const;

  // The first header of that name, any case; blanks around the value are gone.
  std::optional<std::string_view> Header(std::string_view name) const;
  // Calls visit(name, value) for every header in the order sent.
  template <typename Visitor>
  void ForEachHeader(Visitor visit) const {
    for (const Field& field : fields_) visit(View(field.name), View(field.value));
  }

  // 10 or 11.
  int version() const { return version_; }
  // As sent; none: the body is chunked, or there is none.
  std::optional<uint64_t> content_length() const { return content_length_; }
  bool chunked() const { return chunked_; }
  // "192.0.2.7:51234" or "[2001:db8::7]:51234".
  std::string_view remote_address() const { return remote_address_; }
  // The basic user or the bearer token's name; empty when the port has no authentication, the path
  // is open, or the token has no name.
  std::string_view user() const { return user_; }
  bool tls() const { return tls_; }

  // One number that Admit may leave for Handle or Abandoned, for example the bytes it reserved.
  uint64_t admission() const { return admission_; }
  void set_admission(uint64_t value) const { admission_ = value; }

 private:
  friend class internal::HeadParser;
  friend class internal::RequestReader;
  friend class internal::Connection;
  // Offsets, so that the buffer below may move while the body is read.
  struct Range {
    uint32_t offset = 0;
    uint32_t size = 0;
  };
  struct Field {
    Range name;
    Range value;
  };
  std::string_view View(Range range) const { return {base_ + range.offset, range.size}; }
  // Sets path_ and query_ from target_; false: the target is in no form that is served here.
  bool SplitTarget();
  void Clear();

  const char* base_ = "";
  std::vector<char> owned_;  // of Make() alone
  Range method_;
  Range target_;
  Range path_;
  Range query_;
  std::vector<Field> fields_;
  int version_ = 11;
  bool chunked_ = false;
  bool tls_ = false;
  std::optional<uint64_t> content_length_;
  std::string_view remote_address_;
  std::string user_;
  mutable uint64_t admission_ = 0;
};

// The answer. The server adds Date, Content-Length and Connection itself; line breaks in header
// values are sent as blanks.
struct Response {
  int status = 200;
  HeaderList headers;
  std::string body;
  bool close = false;  // close the connection after this answer

  // No body: 204, 304 and the like.
  static Response Empty(int status);
  static Response Text(int status, std::string text);
  // `json` is the document as text.
  static Response Json(int status, std::string json);
  // `Retry-After` in whole seconds, rounded up, at least 1; the text is the reason.
  static Response RetryAfter(int status, std::chrono::milliseconds delay, std::string text);
};

// "Not Found" for 404; "Unknown" for what RFC 9110 does not list.
std::string_view ReasonPhrase(int status);

// Replaces %41 and, when asked, '+'; nothing when an escape is broken. Allocates.
std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_blank);

// Case-insensitive for ASCII letters.
bool EqualsIgnoreCase(std::string_view a, std::string_view b);

}  // namespace forebay::http
