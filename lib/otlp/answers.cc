#include "otlp/answers.h"

#include <fmt/core.h>

#include "base/byte_buffer.h"
#include "base/check.h"
#include "table/json_text.h"

namespace forebay::otlp {
namespace {

constexpr std::string_view kRetryInfo = "type.googleapis.com/google.rpc.RetryInfo";

void PutVarint(uint64_t value, std::string& out) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}

void PutNumber(uint32_t field, uint64_t value, std::string& out) {
  if (value == 0) return;
  PutVarint(uint64_t{field} << 3, out);
  PutVarint(value, out);
}

void PutBytes(uint32_t field, std::string_view bytes, std::string& out) {
  if (bytes.empty()) return;
  PutVarint(uint64_t{field} << 3 | 2, out);
  PutVarint(bytes.size(), out);
  out += bytes;
}

std::string JsonString(std::string_view text) {
  ByteBuffer buffer;
  table::AppendJsonString(text, buffer);
  return std::string(buffer.view());
}

std::string_view RejectedKey(Signal signal) {
  constexpr std::string_view kKeys[] = {"rejectedDataPoints", "rejectedLogRecords",
                                        "rejectedSpans"};
  return kKeys[static_cast<size_t>(signal)];
}

}  // namespace

int HttpStatusOf(Code code) {
  switch (code) {
    case Code::kOk:
      return 200;
    case Code::kBadData:
      return 400;
    case Code::kTooLarge:
      return 413;
    case Code::kThrottled:
      return 429;
    case Code::kUnavailable:
      return 503;
    case Code::kInternal:
      return 500;
  }
  FOREBAY_CHECK(false);
}

int GrpcStatusOf(Code code) {
  switch (code) {
    case Code::kOk:
      return 0;
    case Code::kBadData:
      return 3;  // INVALID_ARGUMENT
    case Code::kTooLarge:
    case Code::kThrottled:
      return 8;  // RESOURCE_EXHAUSTED
    case Code::kUnavailable:
      return 14;  // UNAVAILABLE
    case Code::kInternal:
      return 13;  // INTERNAL
  }
  FOREBAY_CHECK(false);
}

Code CodeOf(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kFailedPrecondition:
      return Code::kBadData;
    case ErrorCode::kOutOfRange:
      return Code::kTooLarge;
    case ErrorCode::kUnavailable:
    case ErrorCode::kResourceExhausted:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kAborted:
    case ErrorCode::kCancelled:
    case ErrorCode::kNoSpace:
    case ErrorCode::kIo:
      return Code::kUnavailable;
    case ErrorCode::kNotFound:
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kUnauthenticated:
    case ErrorCode::kUnimplemented:
    case ErrorCode::kInternal:
    case ErrorCode::kCorruption:
      return Code::kInternal;
  }
  FOREBAY_CHECK(false);
}

std::string ExportResponse(const RequestFormat& format, const Outcome& outcome) {
  const bool json = format.encoding == Encoding::kJson;
  if (outcome.rejected == 0 && outcome.message.empty()) return json ? "{}" : "";
  const std::string_view message = std::string_view(outcome.message).substr(0, kMaxMessage);
  if (json) {
    return fmt::format("{{\"partialSuccess\":{{\"{}\":\"{}\",\"errorMessage\":{}}}}}",
                       RejectedKey(format.signal), outcome.rejected, JsonString(message));
  }
  std::string partial;
  PutNumber(1, outcome.rejected, partial);
  PutBytes(2, message, partial);
  std::string response;
  PutBytes(1, partial, response);
  return response;
}

std::string StatusMessage(Encoding encoding, const Outcome& outcome) {
  const int code = GrpcStatusOf(outcome.code);
  const std::string_view message = std::string_view(outcome.message).substr(0, kMaxMessage);
  if (encoding == Encoding::kJson) {
    return fmt::format("{{\"code\":{},\"message\":{}}}", code, JsonString(message));
  }
  std::string status;
  PutNumber(1, static_cast<uint64_t>(code), status);
  PutBytes(2, message, status);
  if (outcome.retry_after.count() > 0) {
    const auto millis = static_cast<uint64_t>(outcome.retry_after.count());
    std::string duration;
    PutNumber(1, millis / 1000, duration);
    PutNumber(2, millis % 1000 * 1'000'000, duration);
    std::string info;
    PutBytes(1, duration, info);
    std::string any;
    PutBytes(1, kRetryInfo, any);
    PutBytes(2, info, any);
    PutBytes(3, any, status);
  }
  return status;
}

std::string_view MediaTypeOf(Encoding encoding) {
  return encoding == Encoding::kJson ? "application/json" : "application/x-protobuf";
}

}  // namespace forebay::otlp
