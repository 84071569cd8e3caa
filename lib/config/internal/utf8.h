// Which texts may stand in a configuration: UTF-8 without control characters other than tab and
// line end.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace forebay::config::internal {

struct BadCharacter {
  int line = 1;  // From 1; columns in bytes.
  int column = 1;
  std::string message;
};

// The first byte that is not UTF-8 or is a control character; a byte order mark at the start is
// legal.
std::optional<BadCharacter> FindBadCharacter(std::string_view text);

}  // namespace forebay::config::internal
