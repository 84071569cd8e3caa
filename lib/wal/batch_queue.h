// The batches of this node between the batcher, which makes them, and the workers, which deliver
// them.
//
// Beside a queue it is the list of all live batches: what is ready, what runs, what waits for its
// next try, and what failed last; flushes wait on it. A batch is live from Push to Finish. Order
// among those that are due: the newest first, so that after an outage live data is fresh at once,
// with a share of the picks for the oldest, so that the backlog drains; age is that of a batch's
// first segment, which its id begins with. Batches that failed less often go before newer ones, so
// that one that always fails is not what a sink is probed with again and again.
//
// Limits (Limits): a database may have `fresh_per_database` batches of which no sink has spoken, so
// a dead backend does not fill the queue and its segments go on growing into fewer, larger batches;
// `per_database` in all; and `running_per_database` with workers at the same time, so that one busy
// or hanging database leaves workers to the others. These bound memory: a batch holds one lease per
// segment, about 600 B each.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "wal/batch_manifest.h"
#include "wal/segment_store.h"

namespace forebay::wal {

// One batch on its way. Leases: those of the manifest's segments that exist, in its order. Movable.
struct Batch {
  BatchManifest manifest;
  std::vector<SegmentLease> leases;
  uint32_t failures = 0;  // tries in a row that failed in this process
  bool unsaved = false;   // the manifest has changed since it was written
  // What sinks got in this process; the least of them. Nothing: none was asked.
  std::optional<uint64_t> delivered_rows;
  uint64_t rejected_rows = 0;  // that a sink refused alone; the most of them
  bool damaged = false;        // a try met damaged blocks
  // Planned by this process: no earlier one can have tried it.
  bool fresh = false;
};

enum class BatchOutcome {
  kDelivered,     // every sink has it
  kDeadLettered,  // a sink refused it for good
};

// What became of the batches that a flush waited for.
struct FlushResult {
  uint64_t delivered = 0;
  uint64_t dead_lettered = 0;
  uint64_t failed = 0;              // a try failed; it goes on in the background
  uint64_t unfinished = 0;          // still on their way at the deadline
  uint64_t unplanned_segments = 0;  // no room for more batches of their database, or no sink
  std::vector<std::string> errors;  // at most kMaxFlushErrors, each "<batch id>: ..."

  bool ok() const {
    return dead_lettered == 0 && failed == 0 && unfinished == 0 && unplanned_segments == 0;
  }
};
inline constexpr size_t kMaxFlushErrors = 16;

// For the status page.
struct BatchStatus {
  std::string id;
  std::string database;
  std::string table;
  BatchReason reason = BatchReason::kSize;
  uint64_t segments = 0;
  uint64_t rows = 0;
  uint64_t row_bytes = 0;
  UnixMillis created;
  bool running = false;
  uint32_t failures = 0;  // tries that failed in this process
  std::string last_error;
};

// Whether pick number `pick` (0, 1, ...) takes the oldest: of every 100 picks share_percent do,
// evenly spread. The batcher plans by the same rule. Threads: any.
bool PicksOldest(uint64_t pick, uint32_t share_percent);

// Threads: any, for everything.
class BatchQueue {
 public:
  struct Limits {
    size_t fresh_per_database = 32;
    size_t per_database = 4096;
    size_t running_per_database = SIZE_MAX;  // at least 1
    uint32_t oldest_share_percent = 20;      // config upload.oldest_share_percent
  };

  BatchQueue(const Clock& clock, Limits limits);

  // True when a further batch of the database may be pushed.
  bool HasRoom(const std::string& database) const EXCLUDES(mutex_);
  // Makes the batch due now. Not bounded by itself: the batcher asks HasRoom before it plans, and
  // those resumed at start are bounded by what is on disk. False, batch untouched, when closed.
  bool Push(Batch&& batch) EXCLUDES(mutex_);

  // Takes the newest batch that is due, or the oldest at its turn; it then runs. Nullopt: none by
  // the deadline, or closed. Those of a database that has all its workers are passed over. takes:
  // says whether a batch can be worked on now; others stay due. It runs under the queue's mutex and
  // must not call the queue; LookAgain() when it may say otherwise.
  using Takes = std::function<bool(const BatchManifest&)>;
  std::optional<Batch> Pop(MonotonicTime deadline, const Takes& takes = nullptr) EXCLUDES(mutex_);
  // Whoever waits in Pop asks `takes` again. Finish, Defer and Wake do so too.
  void LookAgain() EXCLUDES(mutex_);
  // Gives a running batch back, due again at not_before. error: the try failed; null: it was not
  // tried.
  void Defer(Batch&& batch, MonotonicTime not_before, const Error* error) EXCLUDES(mutex_);
  // Ends a running batch.
  void Finish(const std::string& id, BatchOutcome outcome) EXCLUDES(mutex_);

  // Makes every waiting batch of the database due now.
  void Wake(const std::string& database) EXCLUDES(mutex_);
  // The same for all, and retry_epoch grows: whoever holds batches back lets them go.
  void WakeAll() EXCLUDES(mutex_);
  uint64_t retry_epoch() const EXCLUDES(mutex_);

  // Pop and Push give up at once, now and later. Waiting batches stay until the queue is destroyed.
  void Close() EXCLUDES(mutex_);
  bool closed() const EXCLUDES(mutex_);

  // A flush: follows all live batches, and until Seal those that are pushed. Destroyed with its
  // handle's End.
  uint64_t StartWatch() EXCLUDES(mutex_);
  void SealWatch(uint64_t watch) EXCLUDES(mutex_);
  // Batches that the watch still follows.
  size_t Watched(uint64_t watch) const EXCLUDES(mutex_);
  // Waits until none is followed any more, the deadline or Close; ends the watch.
  FlushResult EndWatch(uint64_t watch, MonotonicTime deadline) EXCLUDES(mutex_);

  // Whether a batch of this id is live.
  bool Contains(const std::string& id) const EXCLUDES(mutex_);
  // Live batches. Also: those that run now.
  size_t size() const EXCLUDES(mutex_);
  size_t running() const EXCLUDES(mutex_);
  // At most `max`, oldest first.
  std::vector<BatchStatus> Snapshot(size_t max) const EXCLUDES(mutex_);
  // Waits until no batch runs. False at the deadline.
  bool WaitIdle(MonotonicTime deadline) const EXCLUDES(mutex_);

 private:
  using DueKey = std::pair<MonotonicTime, uint64_t>;  // due at, sequence
  struct Rank {
    uint32_t failures = 0;
    std::string id;
    bool operator<(const Rank& other) const {
      return failures != other.failures ? failures < other.failures : id > other.id;
    }
  };
  struct Counts {
    size_t all = 0;
    size_t fresh = 0;
    size_t running = 0;
  };
  struct Watch {
    bool sealed = false;
    std::set<std::string> following;
    FlushResult result;
  };
  struct Entry {
    BatchStatus status;
    bool fresh = true;
  };

  void Ripen(MonotonicTime now) REQUIRES(mutex_);
  bool MayRun(const BatchManifest& manifest, const Takes& takes) const REQUIRES(mutex_);
  std::optional<Batch> TakeDue(const Takes& takes) REQUIRES(mutex_);
  void MakeDue(const std::string* database) REQUIRES(mutex_);
  static void NoteFailure(Watch& watch, const std::string& id, std::string_view error);

  const Clock& clock_;
  const Limits limits_;
  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::map<DueKey, Batch> waiting_ GUARDED_BY(mutex_);  // not yet due, or not yet moved to due_
  std::map<Rank, Batch> due_ GUARDED_BY(mutex_);
  std::map<std::string, Entry> live_ GUARDED_BY(mutex_);     // by id
  std::map<std::string, Counts> counts_ GUARDED_BY(mutex_);  // by database
  std::map<uint64_t, Watch> watches_ GUARDED_BY(mutex_);
  uint64_t next_sequence_ GUARDED_BY(mutex_) = 0;
  uint64_t picks_ GUARDED_BY(mutex_) = 0;
  uint64_t next_watch_ GUARDED_BY(mutex_) = 1;
  uint64_t retry_epoch_ GUARDED_BY(mutex_) = 0;
  size_t running_ GUARDED_BY(mutex_) = 0;
  bool closed_ GUARDED_BY(mutex_) = false;
};

}  // namespace forebay::wal
