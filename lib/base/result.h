// Result<T>: a value or an Error, [[nodiscard]] everywhere. Status is Result<void>. The two macros
// are the only ones of the project's control flow.
#pragma once

#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

#include "base/error.h"

namespace forebay {

template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using Base = tl::expected<T, Error>;
  using Base::Base;
  Result() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): `return error;` is the point.
  Result(Error error) : Base(tl::unexpect, std::move(error)) {}

  bool ok() const { return this->has_value(); }
};

using Status = Result<void>;
inline Status OkStatus() { return {}; }

}  // namespace forebay

#define FOREBAY_CONCAT_INNER(a, b) a##b
#define FOREBAY_CONCAT(a, b) FOREBAY_CONCAT_INNER(a, b)

// Returns the error of `expression` from the enclosing function, if it has one.
#define FOREBAY_RETURN_IF_ERROR(expression)                       \
  do {                                                            \
    auto forebay_status = (expression);                           \
    if (!forebay_status.ok()) {                                   \
      return ::forebay::Error(std::move(forebay_status.error())); \
    }                                                             \
  } while (false)

#define FOREBAY_ASSIGN_OR_RETURN_INNER(temporary, target, expression)         \
  auto temporary = (expression);                                              \
  if (!temporary.ok()) return ::forebay::Error(std::move(temporary.error())); \
  target = std::move(*temporary)

// FOREBAY_ASSIGN_OR_RETURN(auto file, fs.Open(path)); returns the error from the enclosing
// function.
#define FOREBAY_ASSIGN_OR_RETURN(target, expression) \
  FOREBAY_ASSIGN_OR_RETURN_INNER(FOREBAY_CONCAT(forebay_result_, __LINE__), target, expression)
