// FOREBAY_CHECK(condition): a broken invariant ends the process with file, line and expression, in
// every build. Never for input, disk or network: those return a Result.
#pragma once

namespace forebay::internal {
[[noreturn]] void CheckFailed(const char* file, int line, const char* expression);
}  // namespace forebay::internal

#define FOREBAY_CHECK(condition)                                        \
  do {                                                                  \
    if (!(condition)) [[unlikely]] {                                    \
      ::forebay::internal::CheckFailed(__FILE__, __LINE__, #condition); \
    }                                                                   \
  } while (false)
