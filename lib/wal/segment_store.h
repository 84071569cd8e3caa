// The sealed segments of this node: which exist, who works on them, how many bytes they hold.
//
// A segment is added when its generation is committed (or found at start), and leaves by
// DeleteSegments. It has one owner at a time: Take gives a move-only lease; a lease that is
// destroyed gives the segment back. The store outlives all leases. Files:
// <storage.dir>/segments/<name>. Memory: about 300 B a segment.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "io/file_system.h"
#include "wal/row_account.h"
#include "wal/segment_name.h"

namespace forebay::wal {

struct SegmentInfo {
  SegmentName name;
  std::string file_name;  // of name
  uint64_t file_bytes = 0;
  uint64_t rows = 0;
  uint64_t row_bytes = 0;     // uncompressed CSV, upper bound
  int64_t min_timestamp = 0;  // Unix ms; 0 when unknown
  int64_t max_timestamp = 0;
  UnixMillis created;         // sealed at, wall clock
  MonotonicTime known_since;  // for ages: sealed or found at start by this process
  // Uploaded by this node whoever owns its table: it came from a peer, or a peer would not have it.
  bool stays = false;
};

// Shared, since plans over many thousand segments are made again and again.
using SegmentPointer = std::shared_ptr<const SegmentInfo>;

class SegmentStore;
class TableActivity;

// The right to read and delete one segment. Movable; gives the segment back when destroyed.
class SegmentLease {
 public:
  SegmentLease() = default;
  SegmentLease(SegmentLease&& other) noexcept;
  SegmentLease& operator=(SegmentLease&& other) noexcept;
  ~SegmentLease();

  // False when empty: moved from, released, or the segment is gone.
  explicit operator bool() const { return store_ != nullptr; }
  // Of an empty lease: of nothing, or of what it was for.
  const SegmentInfo& info() const;
  const std::string& path() const { return path_; }
  // Gives the segment back now.
  void Release();

 private:
  friend class SegmentStore;
  SegmentStore* store_ = nullptr;
  SegmentPointer info_;
  std::string path_;
};

// What waits of one table, for the batch policy.
struct TableBacklog {
  std::string key;                       // "<database>_<table>[_<hash>]"
  std::vector<SegmentPointer> segments;  // free ones (no lease), by id
};

// All segments of one table, leased ones too.
struct TableTotals {
  std::string key;  // "<database>_<table>[_<hash>]"
  uint64_t segments = 0;
  uint64_t rows = 0;
  uint64_t row_bytes = 0;
  uint64_t file_bytes = 0;
  UnixMillis oldest;  // created first
};

struct StoreTotals {
  uint64_t segments = 0;
  uint64_t file_bytes = 0;
  uint64_t rows = 0;
  uint64_t row_bytes = 0;
  uint64_t unreadable = 0;  // found at start and left alone: nothing in them could be read
};

class SegmentStore {
 public:
  // activity: told of segments that are sealed; null: nobody. It outlives the store.
  SegmentStore(io::FileSystem& fs, const Clock& clock, std::string directory,
               TableActivity* activity = nullptr);

  // Lists the directory (which must exist) and adds every segment: by its summary, else by reading
  // all of it (other writers leave no summary; a torn one is damage). Files that are not segments,
  // or cannot be read, are left alone and reported in the log. Called once, before any other
  // thread; after the scrap of uncommitted generations was deleted. Errors: those of listing.
  Status LoadExisting() EXCLUDES(mutex_);

  // Threads: any, all below.
  void Add(std::vector<SegmentInfo> segments, RowOrigin origin = RowOrigin::kSealed)
      EXCLUDES(mutex_);
  // One walk over all segments under the lock, some 30 ns each; tables by key.
  std::vector<TableBacklog> Backlog() const EXCLUDES(mutex_);
  // Errors: kNotFound (gone), kFailedPrecondition (somebody else has it).
  Result<SegmentLease> Take(const std::string& file_name) EXCLUDES(mutex_);
  // Adds a segment whose file was put into the directory, and takes it at the same moment, so that
  // nobody else plans it. Its rows count as recovered. Errors: kAlreadyExists: it is known; as
  // LoadExisting of one file.
  Result<SegmentLease> Adopt(const std::string& file_name) EXCLUDES(mutex_);
  // Removes the files and makes that durable: their rows count as `fate`. A lease whose file is
  // gone comes back empty; after an error the caller calls again with the same leases, also when
  // all are empty: the removals may not be durable yet. Empty leases are skipped. Durable: when it
  // returns OK.
  Status DeleteSegments(std::span<SegmentLease> leases, RowFate fate = RowFate::kUploaded)
      EXCLUDES(mutex_);
  // As DeleteSegments, but the files go to `directory`, on the same volume, under their names, and
  // their rows count as dead-lettered.
  Status MoveSegments(std::span<SegmentLease> leases, const std::string& directory)
      EXCLUDES(mutex_);

  // Sets SegmentInfo::stays, for as long as the process lives.
  void KeepHere(const SegmentLease& lease) EXCLUDES(mutex_);

  StoreTotals Totals() const EXCLUDES(mutex_);
  // One walk over all segments under the lock, about 0.1 us each. A key may come twice, each time
  // with a part, where names with and without a schema stand between each other.
  std::vector<TableTotals> Tables() const EXCLUDES(mutex_);
  // When the oldest segment was sealed, leased ones too; nullopt when there is none.
  std::optional<UnixMillis> OldestCreated() const EXCLUDES(mutex_);
  // Rows pending per database.
  std::map<std::string, uint64_t> PendingRows() const EXCLUDES(mutex_);
  // Where all rows of this process are; `sealed` are those of this store.
  RowAccount& rows() { return rows_; }
  const RowAccount& rows() const { return rows_; }
  // Changes with every Add, release and deletion; returns at a change from `seen` or at the
  // deadline.
  uint64_t WaitForChange(uint64_t seen, MonotonicTime deadline) const EXCLUDES(mutex_);
  uint64_t version() const EXCLUDES(mutex_);
  // Changes when a segment becomes free to take: it was added, or given back.
  uint64_t arrivals() const { return arrivals_.load(std::memory_order_acquire); }
  // Free segments known until then.
  uint64_t CountFree(MonotonicTime known_until) const EXCLUDES(mutex_);
  // Wakes all who wait.
  void Notify() EXCLUDES(mutex_);

  const std::string& directory() const { return directory_; }
  io::FileSystem& fs() const { return fs_; }

 private:
  friend class SegmentLease;
  struct Entry {
    SegmentPointer info;
    bool leased = false;
  };
  void GiveBack(const std::string& file_name) EXCLUDES(mutex_);
  SegmentLease Lease(Entry& entry) REQUIRES(mutex_);
  void Forget(SegmentLease& lease, RowFate fate) EXCLUDES(mutex_);
  void AddLocked(SegmentInfo info, RowOrigin origin) REQUIRES(mutex_);
  Result<SegmentInfo> Inspect(const SegmentName& name, const io::DirectoryEntry& entry) const;

  io::FileSystem& fs_;
  const Clock& clock_;
  const std::string directory_;
  TableActivity* const activity_;
  mutable Mutex mutex_;
  mutable CondVar changed_;
  uint64_t version_ GUARDED_BY(mutex_) = 0;
  std::atomic<uint64_t> arrivals_{0};                         // changed under mutex_
  std::map<std::string, Entry> segments_ GUARDED_BY(mutex_);  // by file name: table key, then id
  StoreTotals totals_ GUARDED_BY(mutex_);
  RowAccount rows_;  // changed under mutex_ where segments come and go
};

}  // namespace forebay::wal
