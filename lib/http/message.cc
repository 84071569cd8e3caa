#include "http/message.h"

#include <algorithm>
#include <charconv>

namespace forebay::http {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = Lower(c);
  if (lower >= 'a' && lower <= 'f') return lower - 'a' + 10;
  return -1;
}

}  // namespace

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return x == y || Lower(x) == Lower(y);
         });
}

std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_blank) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_blank) {
      out += ' ';
    } else if (text[i] == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = HexDigit(text[i + 1]);
      const int low = HexDigit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

RequestHead RequestHead::Make(std::string_view method, std::string_view target,
                              const HeaderList& headers) {
  RequestHead head;
  const auto append = [&head](std::string_view text) {
    const Range range{static_cast<uint32_t>(head.owned_.size()),
                      static_cast<uint32_t>(text.size())};
    head.owned_.insert(head.owned_.end(), text.begin(), text.end());
    return range;
  };
  head.method_ = append(method);
  head.target_ = append(target);
  for (const auto& [name, value] : headers) {
    const Range name_range = append(name);
    head.fields_.push_back({name_range, append(value)});
    if (EqualsIgnoreCase(name, "Transfer-Encoding")) {
      head.chunked_ = EqualsIgnoreCase(value, "chunked");
    } else if (EqualsIgnoreCase(name, "Content-Length")) {
      uint64_t length = 0;
      const auto parsed = std::from_chars(value.data(), value.data() + value.size(), length);
      if (parsed.ec == std::errc()) head.content_length_ = length;
    }
  }
  if (!head.owned_.empty()) head.base_ = head.owned_.data();
  head.SplitTarget();
  return head;
}

bool RequestHead::SplitTarget() {
  const std::string_view text = target();
  size_t path_start = 0;
  if (text.empty() || text[0] != '/') {
    // The absolute form, as proxies send it. "*" and authorities of CONNECT have no path.
    const size_t scheme = text.find("://");
    if (scheme == std::string_view::npos) return false;
    path_start = text.find('/', scheme + 3);
    if (path_start == std::string_view::npos) return false;
  }
  const size_t question = text.find('?', path_start);
  const size_t path_end = question == std::string_view::npos ? text.size() : question;
  path_ = {target_.offset + static_cast<uint32_t>(path_start),
           static_cast<uint32_t>(path_end - path_start)};
  if (question != std::string_view::npos) {
    query_ = {target_.offset + static_cast<uint32_t>(question + 1),
              static_cast<uint32_t>(text.size() - question - 1)};
  } else {
    query_ = {};
  }
  return true;
}

void RequestHead::Clear() {
  base_ = "";
  method_ = target_ = path_ = query_ = {};
  fields_.clear();
  version_ = 11;
  chunked_ = false;
  content_length_.reset();
  user_.clear();
  admission_ = 0;
}

std::optional<std::string> RequestHead::QueryParameter(std::string_view name) const {
  std::string_view rest = query();
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view item = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const size_t equals = std::min(item.find('='), item.size());
    const auto key = PercentDecode(item.substr(0, equals), true);
    if (!key || *key != name) continue;
    if (equals == item.size()) return std::string();
    return PercentDecode(item.substr(equals + 1), true);
  }
  return std::nullopt;
}

std::optional<std::string_view> RequestHead::Header(std::string_view name) const {
  for (const Field& field : fields_) {
    if (EqualsIgnoreCase(View(field.name), name)) return View(field.value);
  }
  return std::nullopt;
}

Response Response::Empty(int status) {
  Response response;
  response.status = status;
  return response;
}

Response Response::Text(int status, std::string text) {
  Response response;
  response.status = status;
  response.headers.emplace_back("Content-Type", "text/plain; charset=utf-8");
  response.body = std::move(text);
  if (response.body.empty() || response.body.back() != '\n') response.body += '\n';
  return response;
}

Response Response::Json(int status, std::string json) {
  Response response;
  response.status = status;
  response.headers.emplace_back("Content-Type", "application/json");
  response.body = std::move(json);
  return response;
}

Response Response::RetryAfter(int status, std::chrono::milliseconds delay, std::string text) {
  Response response = Text(status, std::move(text));
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(delay).count();
  response.headers.emplace_back("Retry-After", std::to_string(std::max<int64_t>(1, seconds)));
  return response;
}

std::string_view ReasonPhrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    case 507:
      return "Insufficient Storage";
    default:
      return "Unknown";
  }
}

}  // namespace forebay::http
