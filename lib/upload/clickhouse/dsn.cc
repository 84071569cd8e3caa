// Split by hand: libcurl takes the URL again, but knows nothing of the native protocol's ports.
#include "upload/clickhouse/dsn.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

#include "http/message.h"

namespace forebay::upload {
namespace {

// Parameters of native clients that mean nothing over HTTP, or are keys of our own configuration.
constexpr std::string_view kIgnored[] = {
    "dial_timeout",      "read_timeout",   "write_timeout",  "connection_open_strategy",
    "block_buffer_size", "max_open_conns", "max_idle_conns", "conn_max_lifetime",
    "compress_level",    "http_url_path",  "http_path",      "debug",
    "pool_size",         "alt_hosts",      "no_delay",       "client_info_product"};

Error DsnError(std::string_view what) {
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("dsn {}; write http(s)://user:password@host:port/database", what));
}

Result<std::string> Decode(std::string_view text, std::string_view what) {
  auto decoded = http::PercentDecode(text, /*plus_is_blank=*/false);
  if (!decoded) return DsnError(fmt::format("has a broken %-escape in the {}", what));
  return *std::move(decoded);
}

bool IsTrue(std::string_view value) { return value == "1" || value == "true"; }

Status TakeParameter(const std::string& name, const std::string& value, ClickHouseDsn& dsn,
                     bool& secure) {
  if (name == "secure") {
    secure = secure || IsTrue(value);
  } else if (name == "skip_verify") {
    dsn.skip_verify = IsTrue(value);
  } else if (name == "compress") {
    if (value == "true" || value == "1") {
      dsn.compression = "lz4";
    } else if (value == "false" || value == "0") {
      dsn.compression = "none";
    } else if (value == "lz4" || value == "zstd" || value == "none") {
      dsn.compression = value;
    } else {
      return DsnError(fmt::format("has compress={}: lz4, zstd and none are known", value));
    }
  } else if (name == "username" || name == "user") {
    dsn.user = value;
  } else if (name == "password") {
    dsn.password = value;
  } else if (name == "database") {
    dsn.database = value;
  } else if (std::find(std::begin(kIgnored), std::end(kIgnored), name) == std::end(kIgnored)) {
    dsn.settings.emplace_back(name, value);
  }
  return OkStatus();
}

Status TakeParameters(std::string_view query, ClickHouseDsn& dsn, bool& secure) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view one = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (one.empty()) continue;
    const size_t equals = std::min(one.find('='), one.size());
    FOREBAY_ASSIGN_OR_RETURN(const std::string name, Decode(one.substr(0, equals), "parameters"));
    FOREBAY_ASSIGN_OR_RETURN(const std::string value,
                             Decode(one.substr(std::min(equals + 1, one.size())), "parameters"));
    FOREBAY_RETURN_IF_ERROR(TakeParameter(name, value, dsn, secure));
  }
  return OkStatus();
}

struct HostPort {
  std::string_view host;  // with the brackets of an IPv6 address
  uint16_t port = 0;      // 0: none
};

Result<HostPort> SplitHost(std::string_view authority) {
  HostPort result;
  const size_t bracket = authority.starts_with('[') ? authority.find(']') : 0;
  if (bracket == std::string_view::npos) return DsnError("has a [ without ]");
  const size_t colon = authority.find(':', bracket);
  result.host = authority.substr(0, colon);
  const bool legal = std::all_of(result.host.begin(), result.host.end(), [](char c) {
    return c > ' ' && c < 0x7F &&
           std::string_view("\"'<>\\^`{|}#?%,").find(c) == std::string_view::npos;
  });
  if (result.host.empty() || !legal) return DsnError("has no legal host");
  if (colon == std::string_view::npos) return result;
  const std::string_view digits = authority.substr(colon + 1);
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), result.port);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size() || result.port == 0) {
    return DsnError(fmt::format("has the port \"{}\"", digits));
  }
  return result;
}

}  // namespace

std::string PercentEncode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

Result<ClickHouseDsn> ParseClickHouseDsn(std::string_view text) {
  ClickHouseDsn dsn;
  const size_t scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos) return DsnError("has no scheme");
  const std::string_view scheme = text.substr(0, scheme_end);
  dsn.mapped = scheme == "clickhouse" || scheme == "tcp";
  if (!dsn.mapped && scheme != "http" && scheme != "https") {
    return DsnError(fmt::format("has the scheme \"{}\"", scheme));
  }
  bool secure = scheme == "https";
  std::string_view rest = text.substr(scheme_end + 3);
  const size_t query = std::min(rest.find('?'), rest.size());
  FOREBAY_RETURN_IF_ERROR(
      TakeParameters(rest.substr(std::min(query + 1, rest.size())), dsn, secure));
  rest = rest.substr(0, query);
  // The last @ before the path ends the credentials: a password may contain one.
  const size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view authority = rest.substr(0, slash);
  if (slash + 1 < rest.size()) {
    FOREBAY_ASSIGN_OR_RETURN(dsn.database, Decode(rest.substr(slash + 1), "database"));
  }
  if (const size_t at = authority.rfind('@'); at != std::string_view::npos) {
    const std::string_view credentials = authority.substr(0, at);
    const size_t colon = std::min(credentials.find(':'), credentials.size());
    FOREBAY_ASSIGN_OR_RETURN(dsn.user, Decode(credentials.substr(0, colon), "user"));
    FOREBAY_ASSIGN_OR_RETURN(
        dsn.password,
        Decode(credentials.substr(std::min(colon + 1, credentials.size())), "password"));
    authority.remove_prefix(at + 1);
  }
  if (dsn.database.empty() || dsn.database.find('/') != std::string::npos) {
    return DsnError(fmt::format("has the database \"{}\"", dsn.database));
  }
  FOREBAY_ASSIGN_OR_RETURN(HostPort host, SplitHost(authority));
  if (dsn.mapped && host.port == 9440) secure = true;
  if (host.port == 0 || (dsn.mapped && (host.port == 9000 || host.port == 9440))) {
    host.port = secure ? 8443 : 8123;
  }
  dsn.base_url = fmt::format("{}://{}:{}", secure ? "https" : "http", host.host, host.port);
  return dsn;
}

}  // namespace forebay::upload
