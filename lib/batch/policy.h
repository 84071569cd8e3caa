// Which waiting segments become batches, and which table comes first. Pure: no clock, no disk, no
// threads.
//
// Per table, segments in id order, sizes in uncompressed row bytes (config::Batch):
//   - as long as at least min_bytes wait: batches of as many segments as fit below max_bytes; a
//   single segment larger
//     than max_bytes goes alone, since a segment cannot be cut;
//   - less, and a peer owns the table: the segments that may move and are younger than
//   transfer_max_age go to it;
//   (a node that drains gives them also at a flush of that reason);
//   - less: everything, once the oldest has waited max_age, or at a flush; until then it waits.
// A batch never holds more than max_segments. Source: ARCHITECTURE.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "config/config.h"
#include "wal/batch_manifest.h"
#include "wal/segment_store.h"

namespace forebay::batch {

// What is decided about the segments of a plan.
enum class Outcome {
  kUpload,    // here and now
  kWait,      // not enough and not old enough
  kTransfer,  // to the owner of the table
};

struct PlannedBatch {
  Outcome outcome = Outcome::kUpload;
  wal::BatchReason reason = wal::BatchReason::kSize;
  std::vector<wal::SegmentPointer> segments;  // by id; never empty
  uint64_t rows = 0;
  uint64_t row_bytes = 0;
};

struct PlanOptions {
  MonotonicTime now;
  config::Batch limits;
  // Everything is due, whatever its size and age: kFlush, kDrain or kDisk. kSize: no flush.
  wal::BatchReason flush = wal::BatchReason::kSize;
  // Set when another node, which is well, owns the table: segments younger than this, not larger
  // than transfer_max_segment and not bound to this node go there.
  std::optional<std::chrono::milliseconds> transfer_max_age;
  ByteCount transfer_max_segment;
};

// The decision for all segments of one table, oldest batch first; at most one waits, and at most
// one is transferred. Shape: backlog.segments in any order. Threads: any.
std::vector<PlannedBatch> Plan(const wal::TableBacklog& backlog, const PlanOptions& options);

// Orders batches of all tables for picking under backlog: of every 100 picks oldest_share_percent
// are the oldest left, the others the newest left, evenly mixed; `pick` counts picks over the life
// of the caller, so that the share also holds over short plans. Age: the id of the first segment.
// Returns indexes into `batches`. Threads: any.
std::vector<size_t> PickOrder(const std::vector<PlannedBatch>& batches,
                              uint32_t oldest_share_percent, uint64_t pick);

}  // namespace forebay::batch
