// What senders are told: Export...ServiceResponse and google.rpc.Status, in protobuf and in JSON,
// and the codes of both transports. Source: OTLP specification, "OTLP/HTTP Response" and
// "Failures".
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "otlp/request_format.h"

namespace forebay::otlp {

// How a request ended.
enum class Code : uint8_t {
  kOk,           // stored, perhaps in part
  kBadData,      // cannot be decoded: do not send again
  kTooLarge,     // do not send again
  kThrottled,    // the tenant is above a rate: send again later
  kUnavailable,  // nothing was stored: send again
  kInternal,     // do not send again
};
inline constexpr size_t kCodes = 6;

// HTTP: 200, 400, 413, 429, 503, 500. gRPC: OK, INVALID_ARGUMENT, RESOURCE_EXHAUSTED without and
// with RetryInfo, UNAVAILABLE, INTERNAL.
int HttpStatusOf(Code code);
int GrpcStatusOf(Code code);
// Errors of decoding, entering the log and committing.
Code CodeOf(const Error& error);

struct Outcome {
  Code code = Code::kOk;
  uint64_t rejected = 0;  // of kOk: records that were not stored
  std::string message;    // of a failure or of what was rejected
  std::chrono::milliseconds retry_after{0};
};

inline constexpr size_t kMaxMessage = 4096;

// The message of a kOk outcome; empty protobuf or {} when nothing was rejected.
std::string ExportResponse(const RequestFormat& format, const Outcome& outcome);
// google.rpc.Status of another outcome, with google.rpc.RetryInfo when there is something to wait
// for; JSON has code and message alone.
std::string StatusMessage(Encoding encoding, const Outcome& outcome);

std::string_view MediaTypeOf(Encoding encoding);

}  // namespace forebay::otlp
