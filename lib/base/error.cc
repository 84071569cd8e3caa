#include "base/error.h"

#include <cerrno>
#include <system_error>
#include <utility>

namespace forebay {
namespace {

bool RetryableByDefault(ErrorCode code) {
  switch (code) {
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kResourceExhausted:
    case ErrorCode::kAborted:
    case ErrorCode::kUnavailable:
    case ErrorCode::kNoSpace:
      return true;
    case ErrorCode::kCancelled:
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kNotFound:
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kUnauthenticated:
    case ErrorCode::kFailedPrecondition:
    case ErrorCode::kOutOfRange:
    case ErrorCode::kUnimplemented:
    case ErrorCode::kInternal:
    case ErrorCode::kCorruption:
    case ErrorCode::kIo:
      return false;
  }
  return false;
}

ErrorCode CodeOfErrno(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return ErrorCode::kNoSpace;
    case ENOENT:
    case ENOTDIR:
      return ErrorCode::kNotFound;
    case EEXIST:
    case ENOTEMPTY:
      return ErrorCode::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorCode::kPermissionDenied;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return ErrorCode::kResourceExhausted;
    case EAGAIN:
    case EINTR:
      return ErrorCode::kUnavailable;
    case EINVAL:
      return ErrorCode::kInvalidArgument;
    default:
      return ErrorCode::kIo;
  }
}

}  // namespace

std::string_view Name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kCancelled:
      return "cancelled";
    case ErrorCode::kInvalidArgument:
      return "invalid_argument";
    case ErrorCode::kDeadlineExceeded:
      return "deadline_exceeded";
    case ErrorCode::kNotFound:
      return "not_found";
    case ErrorCode::kAlreadyExists:
      return "already_exists";
    case ErrorCode::kPermissionDenied:
      return "permission_denied";
    case ErrorCode::kUnauthenticated:
      return "unauthenticated";
    case ErrorCode::kResourceExhausted:
      return "resource_exhausted";
    case ErrorCode::kFailedPrecondition:
      return "failed_precondition";
    case ErrorCode::kAborted:
      return "aborted";
    case ErrorCode::kOutOfRange:
      return "out_of_range";
    case ErrorCode::kUnimplemented:
      return "unimplemented";
    case ErrorCode::kInternal:
      return "internal";
    case ErrorCode::kUnavailable:
      return "unavailable";
    case ErrorCode::kCorruption:
      return "corruption";
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kNoSpace:
      return "no_space";
  }
  return "unknown";
}

Error::Error(ErrorCode code, std::string message)
    : code_(code), retryable_(RetryableByDefault(code)), message_(std::move(message)) {}

Error Error::WithRetryable(bool retryable) && {
  retryable_ = retryable;
  return std::move(*this);
}

Error Error::WithRetryAfter(std::optional<std::chrono::milliseconds> wait) && {
  retry_after_ = wait;
  return std::move(*this);
}

Error Error::WithDataLoss() && {
  data_loss_ = true;
  return std::move(*this);
}

Error Error::WithContext(std::string_view context) && {
  message_.insert(0, ": ");
  message_.insert(0, context);
  return std::move(*this);
}

Error Error::WithContext(std::string_view context) const& {
  return Error(*this).WithContext(context);
}

std::string Error::ToString() const {
  std::string text(Name(code_));
  text += ": ";
  text += message_;
  if (data_loss_) text += " (data loss)";
  return text;
}

Error ErrnoError(int error_number, std::string_view context) {
  std::string message(context);
  message += ": ";
  message += std::generic_category().message(error_number);
  return Error(CodeOfErrno(error_number), std::move(message));
}

}  // namespace forebay
