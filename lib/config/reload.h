// What of a new configuration takes effect on reload, and what waits for a restart.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace forebay::config {

struct ReloadPlan {
  std::vector<std::string> live;  // Changed keys that a reload applies, as dotted paths.
  std::vector<std::string>
      restart;  // Changed keys that need a restart; a reload leaves them alone.
  bool changed() const { return !live.empty() || !restart.empty(); }
};

// Compares key by key. A list of structs whose length changed is one key; files named by a key
// (keys, certificates, passwords) are not read, their contents are the owner's to re-read. Threads:
// any.
ReloadPlan PlanReload(const Config& running, const Config& next);

// The running configuration with the live keys of `next`: what the process has after the reload.
// Elements of a list are matched by index, and only when the lists are equally long.
Config ApplyReload(const Config& running, const Config& next);

}  // namespace forebay::config
