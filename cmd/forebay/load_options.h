// What a command line says of the configuration, as the loader wants it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "config/adxmon_flags.h"
#include "config/load.h"

namespace forebay::cmd {

// file: of --config; empty: none was named. assignments: of --set, which win over `flags`. Errors:
// kInvalidArgument: an assignment is none.
inline Result<config::LoadOptions> MakeLoadOptions(const std::string& file,
                                                   const std::vector<std::string>& assignments,
                                                   config::AdxMonTranslation flags = {}) {
  config::LoadOptions load;
  if (!file.empty()) load.file = file;
  load.environment = config::ProcessEnvironment();
  load.overrides = std::move(flags.overrides);
  load.warnings = std::move(flags.warnings);
  for (const std::string& text : assignments) {
    FOREBAY_ASSIGN_OR_RETURN(auto assignment, config::ParseAssignment(text));
    load.overrides.push_back(std::move(assignment));
  }
  return load;
}

}  // namespace forebay::cmd
