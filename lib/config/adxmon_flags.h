// adx-mon's ingestor flags as aliases of our keys, so that its command lines keep working.
// Place: the command line is translated before it is parsed; what is not adx-mon's is handed back.
// Source: cmd/ingestor/main.go of Azure/adx-mon. The table is in docs/configuration.md.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace forebay::config {

struct AdxMonTranslation {
  std::vector<std::pair<std::string, std::string>> overrides;  // For LoadOptions.overrides.
  std::vector<std::string> remaining;  // Arguments that are no flags of adx-mon, in order.
  std::vector<std::string> warnings;   // For LoadOptions.warnings: flags without a meaning here.
};

// Shape: arguments without the program's name; `--flag value`, `--flag=value`, one dash or two,
// values in Go's syntax (durations "1h30m", integers of bytes, booleans 1 t T TRUE true True ...).
// A boolean flag takes its value by `=` only. Nothing is translated after "--". Errors:
// kInvalidArgument with one line per mistake, naming the flag: a missing or malformed value,
// --ca-cert without --key, an endpoint of a sink that this version does not have. Threads: any.
Result<AdxMonTranslation> TranslateAdxMonFlags(const std::vector<std::string>& arguments);

// Markdown table of the flags, for docs.cc.
std::string AdxMonFlagsMarkdown();

}  // namespace forebay::config
