// How a command of the program says that it failed.
#pragma once

#include <fmt/core.h>

#include <cstdio>
#include <string_view>

#include "base/result.h"

namespace forebay::cmd {

// Prints "<who>: <message>" on standard error. Returns the exit code.
inline int Fail(std::string_view who, const Error& error) {
  fmt::print(stderr, "{}: {}\n", who, error.message());
  return 1;
}

}  // namespace forebay::cmd
