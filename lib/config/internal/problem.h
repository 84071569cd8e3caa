// What is wrong with a configuration and where: collected while loading and reported all together.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace forebay::config::internal {

// Where a value stands: in a file (line and column from 1) or in a source without lines
// ("environment FOREBAY_STORAGE_DIR", "command line"), then line is 0.
struct Position {
  std::shared_ptr<const std::string> origin;
  int line = 0;
  int column = 0;

  // "forebay.yaml:3:5" or "command line".
  std::string ToString() const;
};

struct Problem {
  Position position;
  std::string key;  // Dotted path; empty when the problem is no key's.
  std::string message;

  // "forebay.yaml:3:5: storage.dir: must not be empty".
  std::string ToString() const;
};

}  // namespace forebay::config::internal
