// DEPS: config base
// Any bytes as a configuration file: no crash, no hang, and what loads is printed so that it loads
// again as the same configuration.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "config/load.h"
#include "config/print.h"
#include "config/schema.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 16 << 10) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  forebay::config::LoadOptions options;
  options.environment = {{"HOME", "/root"}, {"EMPTY", ""}};
  // The first byte also chooses an overlay, so that values meet every kind of tree.
  if (size > 0 && data[0] % 2 == 1) options.overrides = {{"databases.0.sinks.0.file.root", "/o"}};
  const auto loaded = forebay::config::LoadFromString(text, "fuzz.yaml", options);
  if (!loaded.ok()) return loaded.error().message().empty() ? abort(), 0 : 0;
  const std::string printed = forebay::config::PrintYaml(*loaded, {.mask_secrets = false});
  const auto again = forebay::config::LoadFromString(printed, "printed.yaml");
  if (!again.ok() || !forebay::config::SameConfig(*loaded, *again)) abort();
  if (forebay::config::PrintJson(*loaded).empty()) abort();
  return 0;
}
