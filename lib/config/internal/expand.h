// ${NAME} in values. Shape: `${NAME}` is the variable, an unset one is an error; `${NAME:-text}` is
// the text when it is unset or empty; `$$` is a dollar. NAME is a letter or `_`, then letters,
// digits and
// `_`. All else with a dollar stays as it is: `$1` and `${1}` are for relabelling.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/internal/yaml_tree.h"

namespace forebay::config::internal {

using Environment = std::map<std::string, std::string, std::less<>>;

// Errors: kInvalidArgument: an unset variable, or a `${NAME` that is not closed.
Result<std::string> Expand(std::string_view text, const Environment& environment);

// Expands every scalar of the tree; problems are appended.
void ExpandTree(Node& node, const Environment& environment, std::vector<Problem>& problems);

// The inverse: text that Expand turns into `text`, whatever the environment.
std::string EscapeDollars(std::string_view text);

}  // namespace forebay::config::internal
