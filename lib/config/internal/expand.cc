#include "config/internal/expand.h"

#include <fmt/core.h>

namespace forebay::config::internal {
namespace {

bool IsIdentifierStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

std::string_view TakeIdentifier(std::string_view text) {
  if (text.empty() || !IsIdentifierStart(text.front())) return {};
  size_t length = 1;
  while (length < text.size() &&
         (IsIdentifierStart(text[length]) || (text[length] >= '0' && text[length] <= '9'))) {
    ++length;
  }
  return text.substr(0, length);
}

}  // namespace

Result<std::string> Expand(std::string_view text, const Environment& environment) {
  std::string result;
  size_t i = 0;
  while (i < text.size()) {
    if (text[i] != '$') {
      result += text[i++];
      continue;
    }
    if (text.substr(i).starts_with("$$")) {
      result += '$';
      i += 2;
      continue;
    }
    const std::string_view name =
        text.substr(i).starts_with("${") ? TakeIdentifier(text.substr(i + 2)) : std::string_view();
    if (name.empty()) {
      result += text[i++];
      continue;
    }
    const size_t after = i + 2 + name.size();
    const size_t end = text.find('}', after);
    const std::string_view rest =
        end == std::string_view::npos ? std::string_view() : text.substr(after, end - after);
    if (end == std::string_view::npos || (!rest.empty() && !rest.starts_with(":-"))) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("\"${{{}\" is not complete: write ${{{}}}, ${{{}:-default}}, or "
                               "$${{ for the characters themselves",
                               name, name, name));
    }
    const auto variable = environment.find(name);
    const bool usable =
        variable != environment.end() && (rest.empty() || !variable->second.empty());
    if (!usable && rest.empty()) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("the environment variable {} is not set; set it, or give a default: "
                               "${{{}:-default}}",
                               name, name));
    }
    result += usable ? std::string_view(variable->second) : rest.substr(2);
    i = end + 1;
  }
  return result;
}

void ExpandTree(Node& node, const Environment& environment, std::vector<Problem>& problems) {
  if (node.type == Node::Type::kScalar && node.text.find('$') != std::string::npos) {
    Result<std::string> text = Expand(node.text, environment);
    if (text.ok()) {
      node.text = std::move(*text);
    } else {
      problems.push_back({node.position, "", text.error().message()});
    }
  }
  for (Node& item : node.items) ExpandTree(item, environment, problems);
  for (Entry& entry : node.entries) ExpandTree(entry.value, environment, problems);
}

std::string EscapeDollars(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    if (text[i] != '$') {
      result += text[i++];
      continue;
    }
    size_t run = 0;
    while (i + run < text.size() && text[i + run] == '$') ++run;
    const std::string_view rest = text.substr(i + run);
    const bool opens = rest.starts_with("{") && !TakeIdentifier(rest.substr(1)).empty();
    // A single dollar before anything but a variable's name means itself.
    result.append(run == 1 && !opens ? run : 2 * run, '$');
    i += run;
  }
  return result;
}

}  // namespace forebay::config::internal
