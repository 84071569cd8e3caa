// The durable promise that certain segments are delivered together, under one id, to certain sinks;
// or that they are being given to a peer, which then may have them.
//
// A manifest is written before the first attempt and removed after the batch's segments are gone.
// Its id is computed from the segments, so the same segments have the same id after a retry, a
// restart or the loss of the manifest. Files: <storage.dir>/batches/<id>.batch, text lines ended by
// a checksum; bytes: docs/format/batches.md. Limits: kMaxManifestSegments, kMaxManifestBytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "io/file_system.h"
#include "wal/disk_reserve.h"
#include "wal/quarantine.h"

namespace forebay::wal {

inline constexpr size_t kMaxManifestSegments = 1U << 16;
inline constexpr uint64_t kMaxManifestBytes = 64ULL << 20;

// Why a batch was made.
enum class BatchReason { kSize, kAge, kFlush, kDrain, kDisk };
inline constexpr BatchReason kBatchReasons[] = {BatchReason::kSize, BatchReason::kAge,
                                                BatchReason::kFlush, BatchReason::kDrain,
                                                BatchReason::kDisk};
// "size", "age", "flush", "drain".
std::string_view Name(BatchReason reason);

// What became of a batch at one sink.
enum class DeliveryState {
  kPending,
  kDone,    // the sink has it
  kFailed,  // the sink will never take it: its segments go to the dead letters
};
std::string_view Name(DeliveryState state);

struct ManifestSegment {
  std::string file_name;
  uint64_t rows = 0;
  uint64_t row_bytes = 0;
  bool operator==(const ManifestSegment&) const = default;
};

struct ManifestSink {
  std::string name;
  DeliveryState state = DeliveryState::kPending;
  uint32_t attempts = 0;  // when the state was last written; failed tries since then are not in it
  std::string note;       // done: the receipt; failed: the error
  bool operator==(const ManifestSink&) const = default;
};

struct BatchManifest {
  std::string id;
  std::string database;
  std::string table;
  std::string schema_hash;  // base 36 as in the segments' names; empty: the table has no schema
  std::string header_line;  // "Name:type,..." without the line's end; empty when not known
  UnixMillis created;       // planned at, wall clock
  UnixMillis
      first_time;  // when the first segment was made, from its id; the same after each restart
  BatchReason reason = BatchReason::kSize;
  std::vector<ManifestSegment> segments;  // by segment id
  std::string peer;                       // set: the segments go to this node, which uploads them
  std::vector<ManifestSink> sinks;        // at least one; none with a peer

  uint64_t rows() const;
  uint64_t row_bytes() const;
  // No sink is pending. Of batches for sinks.
  bool settled() const;
  // At least one sink refused it for good.
  bool failed() const;
  bool operator==(const BatchManifest&) const = default;
};

// "<first id, 16 hex digits>-<XXH3-64 of the sorted names, each ended by LF, 16 hex digits>".
// Threads: any.
std::string BatchId(uint64_t first_segment_id, std::span<const std::string> file_names);
// Shape as BatchId makes it.
bool IsBatchId(std::string_view text);

std::string EncodeManifest(const BatchManifest& manifest);
// Errors: kCorruption: wrong version, checksum, field or order of lines.
Result<BatchManifest> ParseManifest(std::string_view text);

// The directory of manifests. Threads: any, one at a time per batch.
class ManifestStore {
 public:
  // reserve: space for Save on a full volume; null: none.
  ManifestStore(io::FileSystem& fs, std::string directory, Quarantine& quarantine,
                DiskReserve* reserve = nullptr);

  struct Loaded {
    std::vector<BatchManifest> manifests;  // by id, which is oldest first
    std::vector<std::string> damaged;      // ids of those moved to the quarantine
  };
  // Creates the directory, removes left-over temporary files and reads every manifest. One that
  // does not parse is moved to the quarantine and logged; docs/format/batches.md says what then
  // happens to its segments. One that cannot be read, and whatever else lies there, is left alone
  // and logged. Errors: those of the directory.
  Result<Loaded> Load();

  // Durable: when it returns OK.
  Status Save(const BatchManifest& manifest);
  // Durable: when it returns OK. A manifest that is not there is removed.
  Status Remove(const std::string& id);

  std::string PathOf(std::string_view id) const;

 private:
  io::FileSystem& fs_;
  const std::string directory_;
  Quarantine& quarantine_;
  DiskReserve* const reserve_;
};

}  // namespace forebay::wal
