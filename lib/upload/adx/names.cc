#include "upload/adx/names.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <random>

#include "base/byte_buffer.h"
#include "http/message.h"
#include "table/json_text.h"

namespace forebay::upload::adx {
namespace {

constexpr std::string_view kIngestPrefix = "ingest-";
constexpr std::string_view kEmulatorHost = "onebox.dev.kusto.windows.net";

// Suffixes begin with a dot, so that they match whole labels.
constexpr std::string_view kTrustedSuffixes[] = {
    // Public.
    ".dxp.aad.azure.com", ".dxp-dev.aad.azure.com", ".kusto.azuresynapse.net", ".kusto.windows.net",
    ".kustodev.azuresynapse-dogfood.net", ".kustodev.windows.net", ".kustomfa.windows.net",
    ".playfabapi.com", ".playfab.com", ".azureplayfab.com", ".kusto.data.microsoft.com",
    ".kusto.fabric.microsoft.com", ".api.securityplatform.microsoft.com",
    ".securitycenter.windows.com", ".arg-int.core.windows.net", ".arg-df.core.windows.net",
    ".arg.core.windows.net",
    // Other clouds.
    ".kusto.usgovcloudapi.net", ".kustomfa.usgovcloudapi.net", ".kusto.chinacloudapi.cn",
    ".kustomfa.chinacloudapi.cn", ".kusto.azuresynapse.azure.cn"};
constexpr std::string_view kTrustedHosts[] = {
    "ade.applicationinsights.io", "ade.loganalytics.io",
    "adx.monitor.azure.com",      "kusto.aria.microsoft.com",
    "ade.applicationinsights.us", "ade.loganalytics.us",
    "adx.monitor.azure.us",       "ade.applicationinsights.azure.cn",
    "ade.loganalytics.azure.cn",  "adx.monitor.azure.cn"};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

bool IsIpv4(std::string_view host) {
  int parts = 0;
  while (true) {
    const size_t dot = std::min(host.find('.'), host.size());
    uint32_t number = 0;
    const auto [end, error] = std::from_chars(host.data(), host.data() + dot, number);
    if (dot == 0 || error != std::errc() || end != host.data() + dot || number > 255) return false;
    ++parts;
    if (dot == host.size()) return parts == 4;
    host.remove_prefix(dot + 1);
  }
}

bool IsReserved(const Url& url) {
  return url.host == "localhost" || url.host == kEmulatorHost || IsIpv4(url.host) ||
         url.host.find(':') != std::string::npos;
}

std::string_view WithoutSlash(std::string_view endpoint) {
  while (endpoint.ends_with("/")) endpoint.remove_suffix(1);
  return endpoint;
}

std::optional<int64_t> ReadNumber(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || !IsDigit(text.front()) || error != std::errc() ||
      end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

// Days since 1970-01-01 of a date of the Gregorian calendar. Source: Hinnant, "chrono-Compatible
// Low-Level Date Algorithms".
int64_t DaysFromDate(int64_t year, int64_t month, int64_t day) {
  year -= month <= 2 ? 1 : 0;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

}  // namespace

Result<Url> ParseUrl(std::string_view text) {
  const auto fail = [text](std::string_view reason) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("\"{}\" is no URL: {}", WithoutQuery(text), reason));
  };
  if (std::any_of(text.begin(), text.end(), [](char c) { return c <= ' ' || c >= 0x7F; })) {
    return fail("blanks, control characters, or others than ASCII");
  }
  const size_t scheme = text.find("://");
  if (scheme == std::string_view::npos || scheme == 0) return fail("no scheme");
  Url url;
  url.scheme = Lower(text.substr(0, scheme));
  text.remove_prefix(scheme + 3);
  const size_t end = std::min(text.find_first_of("/?#"), text.size());
  std::string_view authority = text.substr(0, end);
  if (authority.find('@') != std::string_view::npos) return fail("user information");
  if (authority.starts_with("[")) {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos) return fail("no ] after the address");
    url.host = Lower(authority.substr(1, close - 1));
    authority.remove_prefix(close + 1);
  } else {
    const size_t colon = std::min(authority.find(':'), authority.size());
    url.host = Lower(authority.substr(0, colon));
    authority.remove_prefix(colon);
  }
  if (url.host.empty()) return fail("no host");
  if (!authority.empty()) {
    const auto port = ReadNumber(authority.substr(1));
    if (authority.front() != ':' || !port || *port > 65535) return fail("no port after the host");
    url.port = authority.substr(1);
  }
  text.remove_prefix(end);
  text = text.substr(0, text.find('#'));
  const size_t query = std::min(text.find('?'), text.size());
  url.path = text.substr(0, query);
  if (query < text.size()) url.query = text.substr(query + 1);
  return url;
}

std::string EncodeSegment(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool unreserved = IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                            c == '-' || c == '.' || c == '_' || c == '~';
    if (unreserved) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  // A path segment of dots alone would be taken for a step up.
  if (out == "." || out == "..") return out == "." ? "%2E" : "%2E%2E";
  return out;
}

bool IsLoopback(std::string_view host) {
  return host == "localhost" || host == "::1" || (IsIpv4(host) && host.starts_with("127."));
}

std::string IngestEndpoint(std::string_view endpoint) {
  endpoint = WithoutSlash(endpoint);
  const auto url = ParseUrl(endpoint);
  if (!url.ok() || IsReserved(*url) || url->host.starts_with(kIngestPrefix)) {
    return std::string(endpoint);
  }
  const size_t host = endpoint.find("://") + 3;
  return fmt::format("{}{}{}", endpoint.substr(0, host), kIngestPrefix, endpoint.substr(host));
}

std::string EngineEndpoint(std::string_view endpoint) {
  endpoint = WithoutSlash(endpoint);
  const auto url = ParseUrl(endpoint);
  if (!url.ok() || IsReserved(*url) || !url->host.starts_with(kIngestPrefix)) {
    return std::string(endpoint);
  }
  const size_t host = endpoint.find("://") + 3;
  return fmt::format("{}{}", endpoint.substr(0, host),
                     endpoint.substr(host + kIngestPrefix.size()));
}

bool IsTrustedHost(std::string_view host, std::span<const std::string> extra) {
  if (IsLoopback(host) || host == kEmulatorHost) return true;
  const auto matches = [host](std::string_view trusted) {
    return trusted.starts_with(".") ? host.size() > trusted.size() && host.ends_with(trusted)
                                    : host == trusted;
  };
  return std::any_of(std::begin(kTrustedSuffixes), std::end(kTrustedSuffixes), matches) ||
         std::any_of(std::begin(kTrustedHosts), std::end(kTrustedHosts), matches) ||
         std::any_of(extra.begin(), extra.end(),
                     [&](const std::string& trusted) { return matches(Lower(trusted)); });
}

Status CheckTrusted(std::string_view endpoint, std::span<const std::string> extra) {
  FOREBAY_ASSIGN_OR_RETURN(const Url url, ParseUrl(endpoint));
  if (!IsTrustedHost(url.host, extra)) {
    return Error(
        ErrorCode::kInvalidArgument,
        fmt::format("{} is not a Kusto service of Azure and gets no token; if it is yours, "
                    "add it to trusted_hosts",
                    url.host));
  }
  if (url.scheme != "https" && !IsLoopback(url.host)) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{} would get a token over plain http; write https, or auth: {{kind: "
                             "none}}",
                             url.host));
  }
  return OkStatus();
}

std::string QuoteText(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::string QuoteName(std::string_view name) { return fmt::format("[{}]", QuoteText(name)); }

std::string CreateTableCommand(std::string_view table, const table::Schema& schema) {
  std::string columns;
  for (const table::Column& column : schema.columns()) {
    columns += fmt::format("{}{}:{}", columns.empty() ? "" : ", ", QuoteName(column.name),
                           Name(column.type));
  }
  return fmt::format(".create-merge table {} ({})", QuoteName(table), columns);
}

std::string MappingName(std::string_view table, const table::Schema& schema) {
  return fmt::format("{}_{:x}", table, schema.hash());
}

std::string CreateMappingCommand(std::string_view table, const table::Schema& schema) {
  ByteBuffer json;
  size_t ordinal = 0;
  for (const table::Column& column : schema.columns()) {
    json.Append(ordinal == 0 ? "[{\"column\":" : ",{\"column\":");
    table::AppendJsonString(column.name, json);
    json.Append(",\"datatype\":");
    table::AppendJsonString(Name(column.type), json);
    json.Append(fmt::format(",\"Properties\":{{\"Ordinal\":\"{}\"}}}}", ordinal++));
  }
  json.Append("]");
  return fmt::format(".create-or-alter table {} ingestion csv mapping {} {}", QuoteName(table),
                     QuoteText(MappingName(table, schema)), QuoteText(json.view()));
}

std::string NewUuid() {
  thread_local std::random_device device;
  std::array<uint8_t, 16> bytes;
  for (size_t i = 0; i < bytes.size(); i += 4) {
    const uint32_t word = device();
    for (size_t j = 0; j < 4; ++j) bytes[i + j] = static_cast<uint8_t>(word >> (8 * j));
  }
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0F) | 0x40);
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3F) | 0x80);
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", bytes[i]);
  }
  return text;
}

std::string Base64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t word = 0;
    for (size_t j = 0; j < 3; ++j) {
      word = word << 8 | (i + j < bytes.size() ? static_cast<uint8_t>(bytes[i + j]) : 0U);
    }
    for (size_t j = 0; j < 4; ++j) {
      out += i + j > bytes.size() ? '=' : kDigits[word >> (18 - 6 * j) & 63];
    }
  }
  return out;
}

std::optional<std::chrono::milliseconds> ParseTimeSpan(std::string_view text) {
  constexpr int64_t kMaxDays = 10'000;
  const size_t first = text.find(':');
  const size_t second = first == std::string_view::npos ? first : text.find(':', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  // A dot before the first colon ends the days, one after the last begins the fraction.
  std::string_view hours = text.substr(0, first);
  int64_t days = 0;
  if (const size_t dot = hours.find('.'); dot != std::string_view::npos) {
    const auto number = ReadNumber(hours.substr(0, dot));
    if (!number || *number > kMaxDays) return std::nullopt;
    days = *number;
    hours.remove_prefix(dot + 1);
  }
  std::string_view seconds = text.substr(second + 1);
  int64_t millis = 0;
  if (const size_t dot = seconds.find('.'); dot != std::string_view::npos) {
    std::string fraction(seconds.substr(dot + 1));
    if (!ReadNumber(fraction)) return std::nullopt;
    fraction.resize(3, '0');
    millis = *ReadNumber(fraction);
    seconds = seconds.substr(0, dot);
  }
  const auto h = ReadNumber(hours);
  const auto m = ReadNumber(text.substr(first + 1, second - first - 1));
  const auto s = ReadNumber(seconds);
  if (!h || !m || !s || *h > 23 || *m > 59 || *s > 59) return std::nullopt;
  const int64_t total = (((days * 24 + *h) * 60 + *m) * 60 + *s) * 1000 + millis;
  if (total <= 0) return std::nullopt;
  return std::chrono::milliseconds(total);
}

std::optional<UnixMillis> SignatureExpiry(std::string_view query) {
  while (!query.empty()) {
    const std::string_view item = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(item.size() + 1, query.size()));
    if (!item.starts_with("se=")) continue;
    // 2026-11-21, 2026-11-21T18:00Z, 2026-11-21T18:00:00Z and with a fraction.
    const auto text = http::PercentDecode(item.substr(3), true);
    if (!text || text->size() < 10) return std::nullopt;
    const auto number = [&](size_t at, size_t size) {
      return at + size <= text->size() ? ReadNumber(std::string_view(*text).substr(at, size))
                                       : std::nullopt;
    };
    const auto year = number(0, 4);
    const auto month = number(5, 2);
    const auto day = number(8, 2);
    if (!year || !month || !day || *month < 1 || *month > 12) return std::nullopt;
    const int64_t hour = number(11, 2).value_or(0);
    const int64_t minute = number(14, 2).value_or(0);
    const int64_t second = number(17, 2).value_or(0);
    return UnixMillis{((DaysFromDate(*year, *month, *day) * 24 + hour) * 60 + minute) * 60'000 +
                      second * 1000};
  }
  return std::nullopt;
}

std::string WithoutQuery(std::string_view url) { return std::string(url.substr(0, url.find('?'))); }

}  // namespace forebay::upload::adx
