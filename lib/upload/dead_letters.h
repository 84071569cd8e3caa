// Batches that a sink refused for good: kept whole, for people to look at, mend and replay.
//
// Files: <storage.dir>/dlq/<batch id>/ with the segments under their names, manifest.batch
// (docs/format/batches.md) and reason.json. Nothing is ever deleted from there by the daemon.
// Limit: storage.dead_letters_max; a batch that does not fit stays where it is.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "config/config.h"
#include "io/file_system.h"
#include "upload/sink.h"
#include "wal/batch_manifest.h"
#include "wal/segment_store.h"

namespace forebay::upload {

// What lies there, for the metrics.
struct DeadLetterTotals {
  uint64_t batches = 0;              // with a directory; rows that were rejected alone count too
  uint64_t bytes = 0;                // of their files
  std::optional<UnixMillis> oldest;  // when the first segment of the oldest was made
};

// Where they lie and how much of them.
struct DeadLetterPlace {
  std::string directory;
  uint64_t max_bytes = UINT64_MAX;
};
// As the configuration says. Shape: directory is <storage.dir>/dlq.
DeadLetterPlace DeadLetterPlaceOf(const config::Storage& storage);

// Threads: any, one at a time per batch.
class DeadLetters {
 public:
  DeadLetters(io::FileSystem& fs, DeadLetterPlace place);

  // Whether Take may be called. A batch whose move was begun goes on; one that is larger than the
  // limit has room when there is no other. Errors: kResourceExhausted: no room; those of the disk.
  Status CheckRoom(const wal::BatchManifest& manifest,
                   std::span<const wal::SegmentLease> leases) const;
  // Moves the batch's segments here. May be called again after an error or a crash with what is
  // left; the leases of moved segments come back empty. Durable: when it returns OK.
  Status Take(const wal::BatchManifest& manifest, std::span<wal::SegmentLease> leases,
              wal::SegmentStore& store, UnixMillis now);

  // Keeps rows that a sink refused while it took the others of the batch:
  // rejected.<sink>.csv, first line the columns with their types, and rejected.<sink>.json, the
  // reason. Those of an earlier try are replaced. They are kept above the limit too: the sink has
  // the rest of their batch, so they cannot wait with it. Durable: when it returns OK.
  Status KeepRejected(const wal::BatchManifest& manifest, const std::string& sink,
                      const RejectedRows& rejected, UnixMillis now);

  // Reads the directories: people remove letters beside the daemon. What cannot be read is left
  // out.
  DeadLetterTotals Totals() const;

  std::string PathOf(const std::string& batch_id) const;
  uint64_t max_bytes() const { return place_.max_bytes; }

 private:
  io::FileSystem& fs_;
  const DeadLetterPlace place_;
};

// One line of JSON: batch, database, table, schema, time, sinks with state and note, segments.
std::string ReasonJson(const wal::BatchManifest& manifest, UnixMillis now);

}  // namespace forebay::upload
