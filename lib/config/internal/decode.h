// The tree into a Config by the schema: types, units, ranges, choices, unknown and repeated keys.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "config/internal/yaml_tree.h"

namespace forebay::config::internal {

// Where keys stand, by dotted path; a key that is not in the file has the place of what it is in.
class Locations {
 public:
  void Add(const std::string& path, Position position) { places_[path] = std::move(position); }
  Position Find(std::string_view path) const;

 private:
  std::map<std::string, Position, std::less<>> places_;
};

struct Decoded {
  Config config;  // Keys with problems keep their defaults.
  Locations locations;
  std::vector<Problem> problems;
};

Decoded Decode(const Node& root);

}  // namespace forebay::config::internal
