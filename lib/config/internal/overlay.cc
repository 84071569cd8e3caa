#include "config/internal/overlay.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

#include "config/internal/suggest.h"

namespace forebay::config::internal {
namespace {

bool AllDigits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  while (true) {
    const size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// Finds the path below `prefix` whose environment name is the rest; tries every field whose name
// fits, because names contain the separator themselves (listen.admin, listen.admin_tls).
std::optional<std::string> Resolve(const StructSchema& schema, const std::string& prefix,
                                   std::string_view rest) {
  for (const Field& field : schema.fields) {
    const std::string name = EnvironmentName(field.name).substr(8);  // Without FOREBAY_.
    if (!rest.starts_with(name)) continue;
    std::string_view after = rest.substr(name.size());
    std::string path = JoinKey(prefix, field.name);
    if (after.empty()) return path;
    if (after.front() != '_' || field.schema == nullptr) continue;
    after.remove_prefix(1);
    if (field.kind == Kind::kStructList) {
      const std::string_view index = after.substr(0, after.find('_'));
      if (!AllDigits(index)) continue;
      path = JoinKey(path, index);
      after.remove_prefix(index.size());
      if (after.empty()) return path;
      after.remove_prefix(1);
    }
    if (auto found = Resolve(*field.schema, path, after)) return found;
  }
  return std::nullopt;
}

// Walks the tree along one path, making what is missing, and leaves the value at its end.
class Writer {
 public:
  Writer(std::string_view path, std::string_view value, std::string_view origin)
      : path_(path), value_(value), origin_(std::make_shared<const std::string>(origin)) {}

  std::vector<Problem> Write(Node& root) {
    Node changed = root;
    Descend(changed, RootSchema(), Split(path_, '.'), 0, "");
    if (problems_.empty()) root = std::move(changed);
    return std::move(problems_);
  }

 private:
  void Fail(std::string message) {
    problems_.push_back({{origin_, 0, 0}, path_, std::move(message)});
  }

  void Descend(Node& node, const StructSchema& schema, const std::vector<std::string_view>& parts,
               size_t index, const std::string& prefix) {
    const Field* field = schema.Find(parts[index]);
    if (field == nullptr) {
      return Fail(fmt::format("unknown key; {}", AdviseKey(parts[index], prefix, schema)));
    }
    if (node.type == Node::Type::kNull) node.type = Node::Type::kMap;
    if (node.type != Node::Type::kMap) return;  // The decoder reports what the file has here.
    Node* value = node.FindValue(field->name);
    if (value == nullptr) {
      node.entries.push_back({std::string(field->name), {origin_, 0, 0}, {}});
      value = &node.entries.back().value;
      value->position = {origin_, 0, 0};
    }
    const std::string path = JoinKey(prefix, field->name);
    if (index + 1 == parts.size()) return Replace(*value, *field);
    if (field->kind == Kind::kStructList) return DescendList(*value, *field, parts, index, path);
    if (field->schema == nullptr) {
      return Fail(field->kind == Kind::kStringList
                      ? fmt::format("is set as a whole: {}=a,b", path)
                      : fmt::format("\"{}\" is a single value, nothing is below it", path));
    }
    Descend(*value, *field->schema, parts, index + 1, path);
  }

  void DescendList(Node& list, const Field& field, const std::vector<std::string_view>& parts,
                   size_t index, const std::string& path) {
    const std::string_view number = parts[index + 1];
    size_t element = 0;
    const auto parsed = std::from_chars(number.data(), number.data() + number.size(), element);
    if (!AllDigits(number) || parsed.ec != std::errc()) {
      return Fail(fmt::format("\"{}\" is a list: write an index after it, {}.0", path, path));
    }
    if (list.type == Node::Type::kNull) list.type = Node::Type::kList;
    if (list.type != Node::Type::kList) return;
    if (element > list.items.size()) {
      return Fail(fmt::format("index {} leaves a gap: \"{}\" has {} entries, so the next is {}",
                              element, path, list.items.size(), list.items.size()));
    }
    if (element == list.items.size()) list.items.emplace_back().position = {origin_, 0, 0};
    if (index + 2 == parts.size()) return ReplaceByYaml(list.items[element]);
    Descend(list.items[element], *field.schema, parts, index + 2, JoinKey(path, number));
  }

  void Replace(Node& node, const Field& field) {
    if (field.kind == Kind::kStringList && !Trim(value_).starts_with("[")) {
      node = Node{Node::Type::kList, {origin_, 0, 0}, {}, {}, {}};
      if (Trim(value_).empty()) return;
      for (const std::string_view part : Split(value_, ',')) {
        node.items.push_back(
            {Node::Type::kScalar, {origin_, 0, 0}, std::string(Trim(part)), {}, {}});
      }
    } else if (field.IsScalar()) {
      node = Node{Node::Type::kScalar, {origin_, 0, 0}, value_, {}, {}};
    } else {
      ReplaceByYaml(node);
    }
  }

  void ReplaceByYaml(Node& node) {
    YamlResult parsed = ParseYamlValue(value_, *origin_);
    for (Problem& problem : parsed.problems) problem.key = path_;
    problems_.insert(problems_.end(), parsed.problems.begin(), parsed.problems.end());
    node = std::move(parsed.root);
  }

  std::string path_;
  std::string value_;
  std::shared_ptr<const std::string> origin_;
  std::vector<Problem> problems_;
};

// PORT, PORT_<n>_TCP, PORT_<n>_TCP_ADDR, SERVICE_HOST, SERVICE_PORT, SERVICE_PORT_<name>.
bool IsServiceLink(std::string_view name, std::string_view value) {
  // FOREBAY_LISTEN_PORT=9090 is somebody's mistake, FOREBAY_PORT=tcp://10.0.0.1:9090 is
  // Kubernetes'.
  if (name.ends_with("_PORT") && value.find("://") != std::string_view::npos) return true;
  if (name.ends_with("_SERVICE_HOST")) return true;
  if (name.find("_SERVICE_PORT") != std::string_view::npos) return true;
  const size_t port = name.find("_PORT_");
  if (port == std::string_view::npos) return false;
  const std::vector<std::string_view> parts = Split(name.substr(port + 6), '_');
  if (parts.size() < 2 || parts.size() > 3 || !AllDigits(parts[0])) return false;
  if (parts[1] != "TCP" && parts[1] != "UDP" && parts[1] != "SCTP") return false;
  return parts.size() == 2 || parts[2] == "ADDR" || parts[2] == "PORT" || parts[2] == "PROTO";
}

}  // namespace

std::optional<std::string> PathOfEnvironmentName(std::string_view name) {
  constexpr std::string_view kPrefix = "FOREBAY_";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  return Resolve(RootSchema(), "", name.substr(kPrefix.size()));
}

bool IsForeignEnvironmentVariable(std::string_view name, std::string_view value) {
  return name == "FOREBAY_CONFIG" || name.starts_with("FOREBAY_FAILPOINT") ||
         name.starts_with("FOREBAY_TEST_") || IsServiceLink(name, value);
}

std::vector<Problem> Overlay(Node& root, std::string_view path, std::string_view value,
                             std::string_view origin) {
  return Writer(path, value, origin).Write(root);
}

}  // namespace forebay::config::internal
