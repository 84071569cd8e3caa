// The effective configuration as text: every key with its value, defaults included.
#pragma once

#include <string>
#include <string_view>

#include "config/config.h"

namespace forebay::config {

struct PrintOptions {
  bool mask_secrets = true;    // User names and passwords, and `sig=` signatures, in URLs.
  bool with_comments = false;  // What each key means, above it.
};

// YAML in the order of the schema. Loaded again it gives the same configuration (SameConfig),
// unless a secret was masked; `$` is written so that no variable is expanded. Threads: any.
std::string PrintYaml(const Config& config, const PrintOptions& options = {});

// One JSON object of the same keys, secrets masked, sizes and durations as text ("10GiB", "5m").
// Shape: valid UTF-8, no line breaks. Threads: any.
std::string PrintJson(const Config& config);

// "https://user:pass@host/p?sig=x&y" to "https://***@host/p?sig=***&y"; other text stays as it is.
std::string MaskSecrets(std::string_view text);

}  // namespace forebay::config
