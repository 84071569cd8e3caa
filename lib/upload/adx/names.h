// Names as Kusto wants them: endpoints and their two hosts, path segments, quoted identifiers,
// identifiers of requests, and who may be sent a token. Pure. Sources: Azure Data Explorer's REST
// documentation; RFC 3986; Microsoft's published list of Kusto endpoints.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "table/schema.h"

namespace forebay::upload::adx {

struct Url {
  std::string scheme;  // lower case
  std::string host;    // lower case; IPv6 without brackets
  std::string port;    // empty: the scheme's
  std::string path;    // as written, with the leading slash; may be empty
  std::string query;   // without '?'
};

// Errors: kInvalidArgument: not absolute, no host, user information, control characters. The text
// of the error has no query. Threads: any, as for all here.
Result<Url> ParseUrl(std::string_view text);

// What is not unreserved (letters, digits, -._~) as %XX.
std::string EncodeSegment(std::string_view text);

// "localhost", 127.0.0.0/8, ::1.
bool IsLoopback(std::string_view host);

// The data management's endpoint of a cluster's: `ingest-` before the host; and back. Hosts that
// are addresses, local or the emulator's stay. Without a slash at the end.
std::string IngestEndpoint(std::string_view endpoint);
std::string EngineEndpoint(std::string_view endpoint);

// Whether the host may be sent a token: a Kusto service of one of Microsoft's clouds, loopback, or
// one of `extra` (a host, or a suffix that begins with a dot).
bool IsTrustedHost(std::string_view host, std::span<const std::string> extra);

// Nothing wrong: OK. Errors: kInvalidArgument: the host is not trusted, or is called over http and
// is not loopback.
Status CheckTrusted(std::string_view endpoint, std::span<const std::string> extra);

// ['name'], with quotes and backslashes escaped: any name is legal in it.
std::string QuoteName(std::string_view name);
// 'text' of a Kusto string literal.
std::string QuoteText(std::string_view text);

// The commands that make a table ready for rows of a schema.
std::string CreateTableCommand(std::string_view table, const table::Schema& schema);
std::string CreateMappingCommand(std::string_view table, const table::Schema& schema);
// "<table>_<hex hash of the schema>".
std::string MappingName(std::string_view table, const table::Schema& schema);

// A random version 4 UUID.
std::string NewUuid();

// Base64 with padding.
std::string Base64(std::string_view bytes);

// ".NET TimeSpan" text: [d.]hh:mm:ss[.fffffff]. Nothing when it is none, or not positive.
std::optional<std::chrono::milliseconds> ParseTimeSpan(std::string_view text);

// Until when a shared access signature is good (its parameter `se`).
std::optional<UnixMillis> SignatureExpiry(std::string_view query);

// The URL without its query: what logs and receipts may show.
std::string WithoutQuery(std::string_view url);

}  // namespace forebay::upload::adx
