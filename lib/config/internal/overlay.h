// Single values laid over the tree of the file: FOREBAY_* variables and --set. Each is written into
// the tree as if the file said so, with its own origin for messages.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/internal/yaml_tree.h"
#include "config/schema.h"

namespace forebay::config::internal {

// The dotted path that an environment name stands for: "FOREBAY_DATABASES_0_NAME" is
// "databases.0.name". Nothing when no key has that name.
std::optional<std::string> PathOfEnvironmentName(std::string_view name);

// True for variables that belong to others: FOREBAY_CONFIG, FOREBAY_FAILPOINT*, FOREBAY_TEST_*, and
// what Kubernetes sets for Services whose names begin with "forebay" (FOREBAY_SERVICE_HOST,
// FOREBAY_PORT=tcp://..., FOREBAY_ADMIN_PORT_9091_TCP_ADDR ...).
bool IsForeignEnvironmentVariable(std::string_view name, std::string_view value);

// Puts the value at the dotted path ("databases.0.sinks.0.file.root"). A list index may be at most
// the present size, which appends. Lists of words are "a,b" or YAML "[a, b]"; structs are YAML.
// Returns the problems; the tree is unchanged then.
std::vector<Problem> Overlay(Node& root, std::string_view path, std::string_view value,
                             std::string_view origin);

}  // namespace forebay::config::internal
