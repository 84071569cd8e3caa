// Loading the configuration: defaults, under the YAML file, under FOREBAY_* variables, under flags.
// Every mistake of all sources is reported at once, each with its place and how to mend it.
// Place: called by cmd/ at start and by the server on reload. Limits: internal/yaml_tree.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "config/config.h"

namespace forebay::config {

struct LoadOptions {
  // Path of the YAML file. Empty: that of FOREBAY_CONFIG; without that, defaults only.
  std::optional<std::string> file;
  // Dotted key and value of --set and of flags, the later ones win: {"databases.0.name",
  // "Metrics"}.
  std::vector<std::pair<std::string, std::string>> overrides;
  // All variables of the process (ProcessEnvironment()); for ${NAME} in the file and for FOREBAY_*.
  std::vector<std::pair<std::string, std::string>> environment;
  // Put into Config.warnings: what the translation of adx-mon's flags had to say.
  std::vector<std::string> warnings;
};

// Reads, expands, overlays, decodes and validates.
// Returns: the effective configuration; `databases` is never empty.
// Errors: kInvalidArgument; the message has one line per mistake, sorted by place:
//   forebay.yaml:3:5: storage.dri: unknown key; did you mean "storage.dir"?
// kNotFound, kPermissionDenied, kIo: the file cannot be read. Threads: any.
Result<Config> Load(const LoadOptions& options);

// The same with the text of the file given; `name` stands for the file in messages.
Result<Config> LoadFromString(std::string_view yaml, std::string_view name,
                              const LoadOptions& options = {});

// "key.path=value" into its parts; the value may be empty and may contain '='.
// Errors: kInvalidArgument: no '=' or no key.
Result<std::pair<std::string, std::string>> ParseAssignment(std::string_view text);

// The variables of this process. Threads: none may change the environment meanwhile.
std::vector<std::pair<std::string, std::string>> ProcessEnvironment();

}  // namespace forebay::config
