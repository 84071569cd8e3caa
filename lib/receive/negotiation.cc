#include "receive/negotiation.h"

#include <fmt/core.h>

#include "receive/refusal.h"

namespace forebay::receive {
namespace {

constexpr size_t kMaxQuoted = 128;
constexpr std::string_view kMediaType = "application/x-protobuf";

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

Error Unsupported(std::string_view header, std::string_view value, std::string_view expected) {
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("{} \"{}\" is not supported, expected {}", header,
                           Printable(value, kMaxQuoted), expected));
}

// The text up to the next `;` outside of quotes, trimmed; `rest` loses it and the semicolon.
std::string_view TakePart(std::string_view& rest) {
  bool quoted = false;
  size_t end = 0;
  for (; end < rest.size() && (quoted || rest[end] != ';'); ++end) {
    if (rest[end] == '"') quoted = !quoted;
  }
  const std::string_view part = Trim(rest.substr(0, end));
  rest.remove_prefix(end);
  return part;
}

bool IsTokenText(std::string_view text) {
  for (const char c : text) {
    if (c <= ' ' || c >= '\x7f' || c == '"' || c == '=') return false;
  }
  return !text.empty();
}

}  // namespace

Status CheckContentEncoding(std::string_view content_encoding) {
  const std::string_view value = Trim(content_encoding);
  if (value.empty() || http::EqualsIgnoreCase(value, "snappy")) return OkStatus();
  return Unsupported("Content-Encoding", value, "snappy (the block format)");
}

Result<wal::RecordKind> ParseContentType(std::string_view content_type) {
  constexpr std::string_view kExpected =
      "application/x-protobuf, optionally with ;proto=prometheus.WriteRequest or "
      ";proto=io.prometheus.write.v2.Request";
  std::string_view rest = Trim(content_type);
  if (rest.empty()) return wal::RecordKind::kRemoteWrite1;
  if (!http::EqualsIgnoreCase(TakePart(rest), kMediaType)) {
    return Unsupported("Content-Type", content_type, kExpected);
  }
  std::optional<wal::RecordKind> kind;
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the semicolon
    const std::string_view parameter = TakePart(rest);
    const size_t equals = parameter.find('=');
    if (equals == std::string_view::npos || !IsTokenText(parameter.substr(0, equals))) {
      return Unsupported("Content-Type", content_type, kExpected);
    }
    std::string_view value = parameter.substr(equals + 1);
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
      value = value.substr(1, value.size() - 2);
    } else if (!IsTokenText(value)) {
      return Unsupported("Content-Type", content_type, kExpected);
    }
    if (kind || !http::EqualsIgnoreCase(parameter.substr(0, equals), "proto")) continue;
    if (value == "prometheus.WriteRequest") {
      kind = wal::RecordKind::kRemoteWrite1;
    } else if (value == "io.prometheus.write.v2.Request") {
      kind = wal::RecordKind::kRemoteWrite2;
    } else {
      return Unsupported("Content-Type", content_type, kExpected);
    }
  }
  return kind.value_or(wal::RecordKind::kRemoteWrite1);
}

Result<wal::RecordKind> Negotiate(const http::RequestHead& head) {
  FOREBAY_RETURN_IF_ERROR(CheckContentEncoding(head.Header("Content-Encoding").value_or("")));
  return ParseContentType(head.Header("Content-Type").value_or(""));
}

}  // namespace forebay::receive
