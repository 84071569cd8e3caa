// One table of codes; whatever is not in it is tried again, so nothing is lost by not knowing.
#include "upload/clickhouse/server_error.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <chrono>

#include "http/retry.h"

namespace forebay::upload {
namespace {

constexpr size_t kMaxMessage = 500;
constexpr int kTooManyParts = 252;
// An exception that comes after 200 stands at the end of what was sent.
constexpr size_t kTailSearched = 16 << 10;

struct KnownCode {
  int code;
  ServerErrorKind kind;
};

constexpr KnownCode kKnownCodes[] = {
    {3, ServerErrorKind::kOutage},      // UNEXPECTED_END_OF_FILE: the body was cut
    {6, ServerErrorKind::kBadData},     // CANNOT_PARSE_TEXT
    {8, ServerErrorKind::kColumns},     // THERE_IS_NO_COLUMN
    {10, ServerErrorKind::kColumns},    // NOT_FOUND_COLUMN_IN_BLOCK
    {16, ServerErrorKind::kColumns},    // NO_SUCH_COLUMN_IN_TABLE
    {20, ServerErrorKind::kColumns},    // NUMBER_OF_COLUMNS_DOESNT_MATCH
    {23, ServerErrorKind::kOutage},     // CANNOT_READ_FROM_ISTREAM
    {32, ServerErrorKind::kOutage},     // ATTEMPT_TO_READ_AFTER_EOF
    {33, ServerErrorKind::kOutage},     // CANNOT_READ_ALL_DATA
    {40, ServerErrorKind::kOutage},     // CHECKSUM_DOESNT_MATCH: damaged on the way
    {41, ServerErrorKind::kBadData},    // CANNOT_PARSE_DATETIME
    {47, ServerErrorKind::kColumns},    // UNKNOWN_IDENTIFIER
    {50, ServerErrorKind::kBadData},    // UNKNOWN_TYPE
    {53, ServerErrorKind::kColumns},    // TYPE_MISMATCH
    {60, ServerErrorKind::kNoTable},    // UNKNOWN_TABLE
    {69, ServerErrorKind::kBadData},    // ARGUMENT_OUT_OF_BOUND
    {70, ServerErrorKind::kBadData},    // CANNOT_CONVERT_TYPE
    {81, ServerErrorKind::kDenied},     // UNKNOWN_DATABASE
    {115, ServerErrorKind::kDenied},    // UNKNOWN_SETTING
    {117, ServerErrorKind::kBadData},   // INCORRECT_DATA
    {131, ServerErrorKind::kTooLarge},  // TOO_LARGE_STRING_SIZE
    {158, ServerErrorKind::kTooLarge},  // TOO_MANY_ROWS
    {159, ServerErrorKind::kOverload},  // TIMEOUT_EXCEEDED
    {160, ServerErrorKind::kOverload},  // TOO_SLOW
    {161, ServerErrorKind::kBadData},   // TOO_MANY_COLUMNS
    {164, ServerErrorKind::kDenied},    // READONLY
    {192, ServerErrorKind::kDenied},    // UNKNOWN_USER
    {193, ServerErrorKind::kDenied},    // WRONG_PASSWORD
    {194, ServerErrorKind::kDenied},    // REQUIRED_PASSWORD
    {195, ServerErrorKind::kDenied},    // IP_ADDRESS_NOT_ALLOWED
    {201, ServerErrorKind::kOverload},  // QUOTA_EXCEEDED
    {202, ServerErrorKind::kOverload},  // TOO_MANY_SIMULTANEOUS_QUERIES
    {203, ServerErrorKind::kOverload},  // NO_FREE_CONNECTION
    {209, ServerErrorKind::kOutage},    // SOCKET_TIMEOUT
    {210, ServerErrorKind::kOutage},    // NETWORK_ERROR
    {216, ServerErrorKind::kRunning},   // QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING
    {218, ServerErrorKind::kNoTable},   // TABLE_IS_DROPPED
    {225, ServerErrorKind::kOutage},    // NO_ZOOKEEPER
    {236, ServerErrorKind::kOutage},    // ABORTED: the server stops
    {241, ServerErrorKind::kOverload},  // MEMORY_LIMIT_EXCEEDED
    {242, ServerErrorKind::kOutage},    // TABLE_IS_READ_ONLY
    {243, ServerErrorKind::kOverload},  // NOT_ENOUGH_SPACE
    {252, ServerErrorKind::kOverload},  // TOO_MANY_PARTS, or too many partitions in one insert
    {254, ServerErrorKind::kOutage},    // NO_ACTIVE_REPLICAS
    {279, ServerErrorKind::kOutage},    // ALL_CONNECTION_TRIES_FAILED
    {285, ServerErrorKind::kOutage},    // TOO_FEW_LIVE_REPLICAS
    {286, ServerErrorKind::kOutage},    // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
    {291, ServerErrorKind::kDenied},    // DATABASE_ACCESS_DENIED
    {307, ServerErrorKind::kTooLarge},  // TOO_MANY_BYTES
    {319, ServerErrorKind::kOutage},    // UNKNOWN_STATUS_OF_INSERT
    {349, ServerErrorKind::kBadData},   // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    {394, ServerErrorKind::kOutage},    // QUERY_WAS_CANCELLED
    {439, ServerErrorKind::kOverload},  // CANNOT_SCHEDULE_TASK
    {469, ServerErrorKind::kBadData},   // VIOLATED_CONSTRAINT
    {497, ServerErrorKind::kDenied},    // ACCESS_DENIED
    {516, ServerErrorKind::kDenied},    // AUTHENTICATION_FAILED
    {999, ServerErrorKind::kOutage},    // KEEPER_EXCEPTION
};
static_assert([] {
  for (size_t i = 1; i < std::size(kKnownCodes); ++i) {
    if (kKnownCodes[i - 1].code >= kKnownCodes[i].code) return false;
  }
  return true;
}());

// The number behind "Code: ", where an exception is spoken of; 0: none.
int CodeInText(std::string_view text) {
  constexpr std::string_view kCode = "Code: ";
  const size_t at = text.find(kCode);
  if (at == std::string_view::npos) return 0;
  int code = 0;
  const char* begin = text.data() + at + kCode.size();
  std::from_chars(begin, text.data() + text.size(), code);
  return std::max(code, 0);
}

std::string FirstLine(std::string_view text) {
  while (!text.empty() && (text.front() == '\r' || text.front() == '\n')) text.remove_prefix(1);
  text = text.substr(0, text.find_first_of("\r\n"));
  return std::string(text.substr(0, kMaxMessage));
}

ErrorCode CodeOf(ServerErrorKind kind) {
  switch (kind) {
    case ServerErrorKind::kOverload:
      return ErrorCode::kResourceExhausted;
    case ServerErrorKind::kOutage:
      return ErrorCode::kUnavailable;
    case ServerErrorKind::kDenied:
      return ErrorCode::kPermissionDenied;
    case ServerErrorKind::kNoTable:
      return ErrorCode::kNotFound;
    case ServerErrorKind::kColumns:
      return ErrorCode::kFailedPrecondition;
    case ServerErrorKind::kRunning:
      return ErrorCode::kAborted;
    case ServerErrorKind::kTooLarge:
      return ErrorCode::kOutOfRange;
    case ServerErrorKind::kBadData:
      return ErrorCode::kInvalidArgument;
    case ServerErrorKind::kUnknown:
      return ErrorCode::kInternal;
  }
  return ErrorCode::kInternal;
}

}  // namespace

std::string_view Name(ServerErrorKind kind) {
  switch (kind) {
    case ServerErrorKind::kOverload:
      return "overload";
    case ServerErrorKind::kOutage:
      return "outage";
    case ServerErrorKind::kDenied:
      return "denied";
    case ServerErrorKind::kNoTable:
      return "no_table";
    case ServerErrorKind::kColumns:
      return "columns";
    case ServerErrorKind::kRunning:
      return "running";
    case ServerErrorKind::kTooLarge:
      return "too_large";
    case ServerErrorKind::kBadData:
      return "bad_data";
    case ServerErrorKind::kUnknown:
      return "unknown";
  }
  return "unknown";
}

ServerErrorKind Classify(int code, int http_status) {
  const auto* const found =
      std::lower_bound(std::begin(kKnownCodes), std::end(kKnownCodes), code,
                       [](const KnownCode& known, int wanted) { return known.code < wanted; });
  if (found != std::end(kKnownCodes) && found->code == code) return found->kind;
  if (code != 0) return ServerErrorKind::kUnknown;
  switch (http_status) {
    case 401:
    case 403:
    case 407:
      return ServerErrorKind::kDenied;
    case 413:
      return ServerErrorKind::kTooLarge;
    case 429:
    case 503:
      return ServerErrorKind::kOverload;
    default:
      return http_status >= 500 || http_status == 408 || http_status == 425
                 ? ServerErrorKind::kOutage
                 : ServerErrorKind::kUnknown;
  }
}

std::optional<ServerError> FindServerError(const http::ClientResponse& response) {
  const auto header = response.Header("X-ClickHouse-Exception-Code");
  std::string_view text = response.body;
  if (response.status / 100 == 2 && !header) {
    if (text.size() > kTailSearched) text.remove_prefix(text.size() - kTailSearched);
    const size_t exception = text.find("DB::Exception");
    const size_t code = text.substr(0, exception).rfind("Code: ");
    if (exception == std::string_view::npos || code == std::string_view::npos) return std::nullopt;
    text.remove_prefix(code);
  }
  ServerError error;
  error.http_status = response.status;
  error.code = CodeInText(text);
  if (header) std::from_chars(header->data(), header->data() + header->size(), error.code);
  error.kind = Classify(error.code, response.status);
  error.message = FirstLine(text);
  // The same code as for too many parts, but smaller inserts help here and waiting does not.
  if (error.code == kTooManyParts && error.message.find("partitions") != std::string::npos) {
    error.kind = ServerErrorKind::kTooLarge;
  }
  if (const auto wait = response.Header("Retry-After")) {
    const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::system_clock::now().time_since_epoch());
    error.retry_after = http::ParseRetryAfter(*wait, UnixMillis{now.count()});
  }
  return error;
}

Error ServerError::ToError(std::string_view context) const {
  const bool retryable = kind != ServerErrorKind::kBadData && kind != ServerErrorKind::kTooLarge;
  return Error(CodeOf(kind), fmt::format("{}: {} (HTTP {}, {}): {}", context, code, http_status,
                                         Name(kind), message))
      .WithRetryable(retryable)
      .WithRetryAfter(retry_after);
}

}  // namespace forebay::upload
