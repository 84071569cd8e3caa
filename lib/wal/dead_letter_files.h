// Names below <storage.dir>/dlq/<batch id>/: docs/format/batches.md, "Dead letters".
#pragma once

#include <string_view>

namespace forebay::wal {

inline constexpr std::string_view kDeadManifestFile = "manifest.batch";
inline constexpr std::string_view kReasonFile = "reason.json";
// The batch, and rows that were rejected alone, go back on their way. Empty, or the path below
// `dlq` of the rejected rows that this letter is made of.
inline constexpr std::string_view kReplayFile = "replay";
// rejected.<sink>.csv and .json: rows that a sink refused while it took the rest of the batch.
inline constexpr std::string_view kRejectedPrefix = "rejected.";

}  // namespace forebay::wal
