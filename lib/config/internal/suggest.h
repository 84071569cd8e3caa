// "did you mean": the nearest known name to a misspelt one.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/schema.h"

namespace forebay::config::internal {

// Edits (insert, delete, replace, swap of neighbours) between two names, case and `_`, `-` ignored:
// maxDisk and max_disk are the same.
size_t EditDistance(std::string_view a, std::string_view b);

// The candidate with the fewest edits, if that is at most a third of the word. First wins ties.
std::optional<std::string> Nearest(std::string_view word,
                                   const std::vector<std::string>& candidates);

// Advice for an unknown key: "did you mean ...?" with the nearest key of the same struct, else of
// any place, else the list of keys that are valid here. `path` is the dotted path of the struct.
std::string AdviseKey(std::string_view word, std::string_view path, const StructSchema& schema);

// The same for an unknown FOREBAY_* variable.
std::string AdviseEnvironment(std::string_view name);

// "a, b, c".
std::string JoinNames(const std::vector<std::string>& names);

}  // namespace forebay::config::internal
