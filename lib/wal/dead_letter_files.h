// Names below <storage.dir>/dlq/<batch id>/: docs/format/batches.md, "Dead letters".
#pragma once

#include <string_view>

namespace forebay::wal {

inline constexpr std::string_view kDeadManifestFile = "manifest.batch";
inline constexpr std::string_view kReasonFile = "reason.json";
// Empty: the batch goes back on its way when the daemon starts next.
inline constexpr std::string_view kReplayFile = "replay";
// rejected.<sink>.csv and .json: rows that a sink refused while it took the rest of the batch.
inline constexpr std::string_view kRejectedPrefix = "rejected.";

}  // namespace forebay::wal
