// What the schema cannot say: relations between keys, names, addresses, what an action needs.
// Regular expressions are compiled, and so checked, where they are used (lib/table).
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace forebay::config::internal {

struct Finding {
  std::string key;  // Dotted path, also of a key that is not in the file.
  std::string message;
};

// Every violation, in the order of the keys. Threads: any.
std::vector<Finding> Validate(const Config& config);

}  // namespace forebay::config::internal
