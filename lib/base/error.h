// The error type of every Result<T>: a closed code, a message for people, and what a caller needs
// to decide: is a retry of the same call useful, and was data lost.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace forebay {

// gRPC's canonical codes plus what storage needs. Closed: every boundary maps each one.
enum class ErrorCode {
  kCancelled,
  kInvalidArgument,
  kDeadlineExceeded,
  kNotFound,
  kAlreadyExists,
  kPermissionDenied,
  kUnauthenticated,
  kResourceExhausted,
  kFailedPrecondition,
  kAborted,
  kOutOfRange,
  kUnimplemented,
  kInternal,
  kUnavailable,
  kCorruption,
  kIo,
  kNoSpace,
};

// Lower-case snake name of a code, for logs, metrics and JSON ("no_space").
std::string_view Name(ErrorCode code);

class Error {
 public:
  Error(ErrorCode code, std::string message);

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  // True when the same call may succeed later without a change by anyone. Default by code:
  // deadline_exceeded, resource_exhausted, aborted, unavailable, no_space are retryable.
  bool retryable() const { return retryable_; }
  // True when acknowledged or stored bytes are known to be gone or unreadable.
  bool data_loss() const { return data_loss_; }

  // What the other side asked for: nothing of this kind before so much time is over.
  const std::optional<std::chrono::milliseconds>& retry_after() const { return retry_after_; }

  Error WithRetryable(bool retryable) &&;
  Error WithRetryAfter(std::optional<std::chrono::milliseconds> wait) &&;
  Error WithDataLoss() &&;
  // Prepends "context: " to the message.
  Error WithContext(std::string_view context) &&;
  Error WithContext(std::string_view context) const&;

  // "no_space: journal/1f.log: write: No space left on device"
  std::string ToString() const;

 private:
  ErrorCode code_;
  bool retryable_;
  bool data_loss_ = false;
  std::optional<std::chrono::milliseconds> retry_after_;
  std::string message_;
};

// kIo, kNoSpace, kNotFound, kPermissionDenied, kResourceExhausted ... from an errno value; message
// is "context: strerror". Threads: any.
Error ErrnoError(int error_number, std::string_view context);

}  // namespace forebay
