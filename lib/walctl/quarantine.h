// The quarantine as people handle it: what is there and why, a copy for a closer look, and the end
// of what was understood. Safe beside a running daemon, which never reads an item again; its next
// audit notices what went (POST /-/audit: at once).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "io/file_system.h"

namespace forebay::walctl {

struct QuarantineItem {
  std::string name;  // its file's, without the directory
  std::string path;
  uint64_t bytes = 0;
  std::string reason;               // one line; empty when there is no reason file
  std::optional<UnixMillis> since;  // when it was put there
};

// When a file was last written; nullopt: not known.
using ModifiedAt = std::function<std::optional<UnixMillis>(const std::string& path)>;

// All items below `directory`/quarantine, by name; one that vanishes meanwhile is left out. Errors:
// kNotFound when there is no such data directory; those of listing.
Result<std::vector<QuarantineItem>> ListQuarantine(io::FileSystem& fs, const std::string& directory,
                                                   const ModifiedAt& modified_at);

// Which items a command means.
struct QuarantineSelection {
  std::vector<std::string> names;
  bool all = false;
  std::optional<UnixMillis> before;  // put there before; items of unknown age are not meant
};
// Errors: kNotFound when a name is none of the items; kInvalidArgument when nothing is selected.
Result<std::vector<QuarantineItem>> SelectItems(const std::vector<QuarantineItem>& items,
                                                const QuarantineSelection& selection);

// Copies the item and its reason to the directory `to`, which must exist. Memory: 1 MiB. Durable:
// when it returns OK. Errors: kAlreadyExists (nothing is overwritten); those of reading and
// writing, and then no half of a copy stays.
Status ExportItem(io::FileSystem& fs, const QuarantineItem& item, const std::string& to);
// Removes the item, then its reason. One that is gone is dropped. Durable: when it returns OK.
Status DropItem(io::FileSystem& fs, const QuarantineItem& item);

std::string FormatQuarantine(const std::vector<QuarantineItem>& items, UnixMillis now);
std::string FormatQuarantineJson(const std::vector<QuarantineItem>& items);

}  // namespace forebay::walctl
