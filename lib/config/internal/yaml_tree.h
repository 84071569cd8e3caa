// YAML text as a plain tree with the position of every key and value. Duplicate keys are kept, so
// that they can be reported; anchors and aliases are resolved. Only yaml_tree.cc knows yaml-cpp.
// Limits: 4 MiB of text, 64 levels, 100'000 nodes with aliases resolved.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/internal/problem.h"

namespace forebay::config::internal {

inline constexpr size_t kMaxFileBytes = 4 << 20;
inline constexpr size_t kMaxDepth = 64;
inline constexpr size_t kMaxNodes = 100'000;

struct Entry;

struct Node {
  enum class Type { kNull, kScalar, kList, kMap };
  Type type = Type::kNull;
  Position position;
  std::string text;            // kScalar
  std::vector<Node> items;     // kList
  std::vector<Entry> entries;  // kMap, in file order

  // First value of the key in a map, or nullptr.
  Node* FindValue(std::string_view key);
  // "a list", "a map" ... for messages.
  std::string_view TypeName() const;
};

struct Entry {
  std::string key;
  Position position;
  Node value;
};

struct YamlResult {
  Node root;
  std::vector<Problem> problems;  // Empty, or the reason why root is null.
};

// Shape: UTF-8, at most one document; an empty one is null. Errors: in the result, with positions.
// Threads: any.
YamlResult ParseYaml(std::string_view text, std::string_view origin);

// Calls ParseYaml for a value that has no lines of its own: every position is `origin` alone.
YamlResult ParseYamlValue(std::string_view text, std::string_view origin);

}  // namespace forebay::config::internal
