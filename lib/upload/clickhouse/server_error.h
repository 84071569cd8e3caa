// What a ClickHouse server, or a proxy before it, means by an answer that is no success.
// Source: ClickHouse, src/Common/ErrorCodes.cpp (numbers never change), and the HTTP handler's
// answers: `Code: 60. DB::Exception: ...` in the body, since 21.x the number in
// X-ClickHouse-Exception-Code too, and 200 with an exception at the end of the body when it came
// late.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "http/client.h"

namespace forebay::upload {

// What follows from an error.
enum class ServerErrorKind {
  kOverload,  // too much at once, of memory, queries or parts: later
  kOutage,    // something is away or slow: later
  kDenied,    // who asks, or what it may do, is wrong: an operator mends it, the batch waits
  kNoTable,   // the table is gone: make it again
  kColumns,   // the table's columns are not those that we think: look again
  kRunning,   // the same insert is still running
  kTooLarge,  // the insert is too large: smaller ones may pass
  kBadData,   // these rows will never be taken
  kUnknown,   // not known here: later
};
std::string_view Name(ServerErrorKind kind);

struct ServerError {
  int http_status = 0;
  int code = 0;  // ClickHouse's; 0: none was found
  ServerErrorKind kind = ServerErrorKind::kUnknown;
  std::string message;  // the exception's first line, shortened
  std::optional<std::chrono::milliseconds> retry_after;

  // Retryable for all kinds but kBadData and kTooLarge. Context: what was asked.
  Error ToError(std::string_view context) const;
};

// Nothing: the answer is a success. An exception in the body of a 200 is an error. Threads: any.
std::optional<ServerError> FindServerError(const http::ClientResponse& response);

// By code where there is one, else by status.
ServerErrorKind Classify(int code, int http_status);

}  // namespace forebay::upload
