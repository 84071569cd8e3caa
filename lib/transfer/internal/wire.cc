#include "transfer/internal/wire.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>

namespace forebay::transfer::internal {
namespace {

v1::Outcome ToWire(Outcome outcome) {
  switch (outcome) {
    case Outcome::kAccepted:
      return v1::ACCEPTED;
    case Outcome::kDuplicate:
      return v1::DUPLICATE;
    case Outcome::kRefused:
      return v1::OVERLOADED;
    case Outcome::kInvalid:
      return v1::INVALID;
    case Outcome::kUnknown:
      return v1::UNDECIDED;
  }
  return v1::OUTCOME_UNSPECIFIED;
}

// What a later release may say is not understood, and so not known.
Outcome FromWire(v1::Outcome outcome) {
  switch (outcome) {
    case v1::ACCEPTED:
      return Outcome::kAccepted;
    case v1::DUPLICATE:
      return Outcome::kDuplicate;
    case v1::OVERLOADED:
      return Outcome::kRefused;
    case v1::INVALID:
      return Outcome::kInvalid;
    default:
      return Outcome::kUnknown;
  }
}

ErrorCode FromWire(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::CANCELLED:
      return ErrorCode::kCancelled;
    case grpc::StatusCode::INVALID_ARGUMENT:
      return ErrorCode::kInvalidArgument;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return ErrorCode::kDeadlineExceeded;
    case grpc::StatusCode::PERMISSION_DENIED:
      return ErrorCode::kPermissionDenied;
    case grpc::StatusCode::UNAUTHENTICATED:
      return ErrorCode::kUnauthenticated;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return ErrorCode::kResourceExhausted;
    case grpc::StatusCode::FAILED_PRECONDITION:
      return ErrorCode::kFailedPrecondition;
    case grpc::StatusCode::UNIMPLEMENTED:
      return ErrorCode::kUnimplemented;
    case grpc::StatusCode::UNAVAILABLE:
      return ErrorCode::kUnavailable;
    default:
      return ErrorCode::kInternal;
  }
}

}  // namespace

void ToWire(const Answer& answer, uint32_t index, v1::Answer& out) {
  out.set_index(index);
  out.set_outcome(ToWire(answer.outcome));
  out.set_retry_after_ms(static_cast<uint32_t>(
      std::clamp<int64_t>(answer.retry_after.count(), 0, std::numeric_limits<uint32_t>::max())));
  out.set_bad_block(answer.bad_block);
  out.set_reason(answer.reason);
}

Answer FromWire(const v1::Answer& answer) {
  return {FromWire(answer.outcome()), std::chrono::milliseconds(answer.retry_after_ms()),
          answer.bad_block(), answer.reason()};
}

Error FromStatus(const grpc::Status& status, const std::string& peer) {
  return Error(FromWire(status.error_code()),
               fmt::format("peer {}: {}", peer, status.error_message()));
}

}  // namespace forebay::transfer::internal
