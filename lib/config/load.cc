#include "config/load.h"

#include <fmt/core.h>

#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <set>
#include <tuple>

#include "config/internal/decode.h"
#include "config/internal/expand.h"
#include "config/internal/overlay.h"
#include "config/internal/suggest.h"
#include "config/internal/validate.h"

namespace forebay::config {
namespace {

using internal::Decoded;
using internal::Environment;
using internal::Node;
using internal::Problem;

constexpr size_t kMaxReported = 100;  // Lines of one error.

// What stands for `databases` when the configuration names none.
constexpr std::string_view kDefaultDatabases =
    "[{name: Metrics, sinks: [{file: {root: ./data/out}}]}]";

Result<std::string> ReadFile(const std::string& path) {
  const auto close = [](std::FILE* file) { std::fclose(file); };
  errno = 0;
  const std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "rb"), close);
  if (file == nullptr) return ErrnoError(errno, path);
  std::string text;
  char buffer[16384];
  while (text.size() <= internal::kMaxFileBytes) {
    const size_t count = std::fread(buffer, 1, sizeof(buffer), file.get());
    text.append(buffer, count);
    if (count < sizeof(buffer)) break;
  }
  if (std::ferror(file.get()) != 0) return ErrnoError(errno, path);
  return text;
}

// The file's list when it has one; else the default database enters the tree, so that
// --set databases.0.sinks.0.file.root=... changes it.
void AddDefaultDatabases(Node& root) {
  if (root.type == Node::Type::kNull) root.type = Node::Type::kMap;
  if (root.type != Node::Type::kMap) return;
  Node* databases = root.FindValue("databases");
  const bool empty = databases == nullptr || databases->type == Node::Type::kNull ||
                     (databases->type == Node::Type::kList && databases->items.empty());
  if (!empty) return;
  Node value = internal::ParseYamlValue(kDefaultDatabases, "default").root;
  if (databases != nullptr) {
    *databases = std::move(value);
  } else {
    root.entries.push_back({"databases", value.position, value});
  }
}

// "DATABASES_2_NAME" to "DATABASES_00000002_NAME": sorts by number.
std::string PadNumbers(std::string_view name) {
  std::string result;
  for (size_t i = 0; i < name.size();) {
    size_t digits = 0;
    while (i + digits < name.size() && name[i + digits] >= '0' && name[i + digits] <= '9') ++digits;
    if (digits > 0 && digits < 8) result.append(8 - digits, '0');
    result += name.substr(i, std::max<size_t>(digits, 1));
    i += std::max<size_t>(digits, 1);
  }
  return result;
}

class Loader {
 public:
  explicit Loader(const LoadOptions& options) : options_(options) {
    for (const auto& [name, value] : options.environment) environment_[name] = value;
  }

  Result<Config> Run(std::string_view yaml, std::string_view name) {
    internal::YamlResult parsed = internal::ParseYaml(yaml, name);
    Append(parsed.problems);
    Node root = std::move(parsed.root);
    internal::ExpandTree(root, environment_, problems_);
    // The file by itself: its mistakes are told even where a variable or flag covers them.
    Append(internal::Decode(root).problems);
    AddDefaultDatabases(root);
    OverlayEnvironment(root);
    for (const auto& [key, value] : options_.overrides) {
      Append(internal::Overlay(root, key, value, "command line"));
    }
    AddDefaultDatabases(root);
    Decoded decoded = internal::Decode(root);
    Append(decoded.problems);
    AddFindings(decoded);
    if (!problems_.empty()) return Report();
    decoded.config.warnings.insert(decoded.config.warnings.end(), options_.warnings.begin(),
                                   options_.warnings.end());
    return std::move(decoded.config);
  }

 private:
  void Append(const std::vector<Problem>& problems) {
    problems_.insert(problems_.end(), problems.begin(), problems.end());
  }

  void OverlayEnvironment(Node& root) {
    std::vector<std::pair<std::string, std::string>> ours;
    for (const auto& [name, value] : environment_) {
      if (name.starts_with("FOREBAY_")) ours.emplace_back(name, value);
    }
    // Indexes ascend, so that every entry finds the ones before it: DATABASES_2, then DATABASES_10.
    std::sort(ours.begin(), ours.end(), [](const auto& a, const auto& b) {
      return PadNumbers(a.first) < PadNumbers(b.first);
    });
    for (const auto& [name, value] : ours) {
      const std::string origin = fmt::format("environment {}", name);
      if (const auto path = internal::PathOfEnvironmentName(name)) {
        Append(internal::Overlay(root, *path, value, origin));
      } else if (!internal::IsForeignEnvironmentVariable(name, value)) {
        problems_.push_back(
            {{std::make_shared<const std::string>(origin), 0, 0},
             "",
             fmt::format("stands for no key; {}", internal::AdviseEnvironment(name))});
      }
    }
  }

  void AddFindings(const Decoded& decoded) {
    for (const internal::Finding& finding : internal::Validate(decoded.config)) {
      // A key that is wrong already keeps its default; what follows from that is noise.
      const bool known = std::any_of(problems_.begin(), problems_.end(), [&](const Problem& p) {
        return p.key == finding.key || p.key.starts_with(finding.key + ".");
      });
      if (known) continue;
      problems_.push_back({decoded.locations.Find(finding.key), finding.key, finding.message});
    }
  }

  Error Report() {
    std::stable_sort(problems_.begin(), problems_.end(), [](const Problem& a, const Problem& b) {
      // Files first (they have lines), then variables and flags in the order of their use.
      return std::make_tuple(a.position.line == 0, a.position.line, a.position.column) <
             std::make_tuple(b.position.line == 0, b.position.line, b.position.column);
    });
    std::set<std::string> seen;
    std::string text;
    for (const Problem& problem : problems_) {
      const std::string line = problem.ToString();
      if (!seen.insert(line).second) continue;
      if (seen.size() > kMaxReported) {
        text += "\nand more; mend these first";
        break;
      }
      if (!text.empty()) text += '\n';
      text += line;
    }
    return Error(ErrorCode::kInvalidArgument, std::move(text));
  }

  const LoadOptions& options_;
  Environment environment_;
  std::vector<Problem> problems_;
};

}  // namespace

Result<Config> Load(const LoadOptions& options) {
  std::string path;
  if (options.file.has_value()) {
    path = *options.file;
  } else {
    for (const auto& [name, value] : options.environment) {
      if (name == "FOREBAY_CONFIG") path = value;
    }
    if (path.empty()) return Loader(options).Run("", "configuration");
  }
  FOREBAY_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return Loader(options).Run(text, path);
}

Result<Config> LoadFromString(std::string_view yaml, std::string_view name,
                              const LoadOptions& options) {
  return Loader(options).Run(yaml, name);
}

Result<std::pair<std::string, std::string>> ParseAssignment(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("\"{}\" is not key.path=value, for example storage.dir=/data", text));
  }
  return std::make_pair(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
}

std::vector<std::pair<std::string, std::string>> ProcessEnvironment() {
  std::vector<std::pair<std::string, std::string>> variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    variables.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

}  // namespace forebay::config
