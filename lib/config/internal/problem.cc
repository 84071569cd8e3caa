#include "config/internal/problem.h"

#include <fmt/core.h>

namespace forebay::config::internal {

std::string Position::ToString() const {
  if (origin == nullptr) return "configuration";
  return line == 0 ? *origin : fmt::format("{}:{}:{}", *origin, line, column);
}

std::string Problem::ToString() const {
  if (key.empty()) return fmt::format("{}: {}", position.ToString(), message);
  return fmt::format("{}: {}: {}", position.ToString(), key, message);
}

}  // namespace forebay::config::internal
