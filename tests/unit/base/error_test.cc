#include "base/error.h"

#include <cerrno>
#include <memory>
#include <set>
#include <string>

#include <catch2/catch.hpp>

#include "base/check.h"
#include "base/result.h"
#include "support/death.h"

namespace forebay {
namespace {

constexpr ErrorCode kAllCodes[] = {
    ErrorCode::kCancelled,
    ErrorCode::kInvalidArgument,
    ErrorCode::kDeadlineExceeded,
    ErrorCode::kNotFound,
    ErrorCode::kAlreadyExists,
    ErrorCode::kPermissionDenied,
    ErrorCode::kUnauthenticated,
    ErrorCode::kResourceExhausted,
    ErrorCode::kFailedPrecondition,
    ErrorCode::kAborted,
    ErrorCode::kOutOfRange,
    ErrorCode::kUnimplemented,
    ErrorCode::kInternal,
    ErrorCode::kUnavailable,
    ErrorCode::kCorruption,
    ErrorCode::kIo,
    ErrorCode::kNoSpace,
};

TEST_CASE("error: every code has a name of its own") {
  std::set<std::string> names;
  for (const ErrorCode code : kAllCodes) names.emplace(Name(code));
  CHECK(names.size() == std::size(kAllCodes));
  CHECK(names.count("unknown") == 0);
  CHECK(Name(ErrorCode::kNoSpace) == "no_space");
}

TEST_CASE("error: only what may pass by itself is retryable by default") {
  const std::set<ErrorCode> retryable = {ErrorCode::kDeadlineExceeded,
                                         ErrorCode::kResourceExhausted, ErrorCode::kAborted,
                                         ErrorCode::kUnavailable, ErrorCode::kNoSpace};
  for (const ErrorCode code : kAllCodes) {
    INFO(Name(code));
    CHECK(Error(code, "x").retryable() == (retryable.count(code) == 1));
    CHECK_FALSE(Error(code, "x").data_loss());
  }
}

TEST_CASE("error: context goes before the message and keeps the flags") {
  const Error base = Error(ErrorCode::kIo, "read").WithRetryable(true).WithDataLoss();
  const Error outer = base.WithContext("journal/1.log").WithContext("recovery");
  CHECK(outer.message() == "recovery: journal/1.log: read");
  CHECK(base.message() == "read");
  CHECK(outer.retryable());
  CHECK(outer.data_loss());
  CHECK(outer.ToString() == "io: recovery: journal/1.log: read (data loss)");
  CHECK(Error(ErrorCode::kNotFound, "a").ToString() == "not_found: a");
}

TEST_CASE("error: errno values become the codes that callers decide on") {
  struct Row {
    int error_number;
    ErrorCode code;
  };
  const Row rows[] = {
      {ENOSPC, ErrorCode::kNoSpace},
      {EDQUOT, ErrorCode::kNoSpace},
      {ENOENT, ErrorCode::kNotFound},
      {ENOTDIR, ErrorCode::kNotFound},
      {EEXIST, ErrorCode::kAlreadyExists},
      {ENOTEMPTY, ErrorCode::kAlreadyExists},
      {EACCES, ErrorCode::kPermissionDenied},
      {EPERM, ErrorCode::kPermissionDenied},
      {EROFS, ErrorCode::kPermissionDenied},
      {EMFILE, ErrorCode::kResourceExhausted},
      {ENOMEM, ErrorCode::kResourceExhausted},
      {EAGAIN, ErrorCode::kUnavailable},
      {EINTR, ErrorCode::kUnavailable},
      {EINVAL, ErrorCode::kInvalidArgument},
      {EIO, ErrorCode::kIo},
      {EBADF, ErrorCode::kIo},
  };
  for (const Row& row : rows) {
    INFO(row.error_number);
    CHECK(ErrnoError(row.error_number, "open").code() == row.code);
  }
  CHECK(ErrnoError(ENOSPC, "write").message() == "write: No space left on device");
}

Result<int> Half(int value) {
  if (value % 2 != 0) return Error(ErrorCode::kInvalidArgument, "odd");
  return value / 2;
}

Result<int> Quarter(int value) {
  FOREBAY_ASSIGN_OR_RETURN(const int half, Half(value));
  FOREBAY_ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

Status IsEven(int value, int& passed) {
  FOREBAY_RETURN_IF_ERROR(Half(value));
  ++passed;
  return OkStatus();
}

Result<std::unique_ptr<int>> Boxed(int value) {
  FOREBAY_ASSIGN_OR_RETURN(int half, Half(value));
  return std::make_unique<int>(half);
}

TEST_CASE("result: assign-or-return gives the value, or leaves with the first error") {
  CHECK(*Quarter(12) == 3);
  CHECK(Quarter(6).error().message() == "odd");
  CHECK(Quarter(5).error().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE("result: return-if-error leaves before the next statement") {
  int passed = 0;
  CHECK(IsEven(2, passed).ok());
  CHECK_FALSE(IsEven(3, passed).ok());
  CHECK(passed == 1);
}

TEST_CASE("result: a move-only value moves out through the macro") {
  const auto outer = []() -> Result<std::unique_ptr<int>> {
    FOREBAY_ASSIGN_OR_RETURN(std::unique_ptr<int> box, Boxed(8));
    return box;
  };
  REQUIRE(outer().ok());
  CHECK(**outer() == 4);
}

TEST_CASE("check: a false condition ends the process, a true one does nothing") {
  CHECK(test::Dies([] { FOREBAY_CHECK(1 + 1 == 3); }));
  CHECK_FALSE(test::Dies([] { FOREBAY_CHECK(1 + 1 == 2); }));
}

}  // namespace
}  // namespace forebay
