// The write-ahead log: durable acknowledgement, generations, sealing, recovery.
//
// The commit rule: generation g lives either in its journal (journal/<g hex>-<salt>.log) or in its
// segments (segments/*_<g hex>.wal). While the journal exists, segments of g are scrap. Taking
// the journal's name away (unlinked, or renamed to a spare file), made durable, is the commit; only
// then do the segments enter the SegmentStore.
//
// A request's way: Enter() (a lease of the open generation), decode, Commit() (group commit,
// asynchronous), then lease.Append() of its samples, then the answer, then the lease goes. A
// generation is sealed when it was rotated (age, memory, journal size, Flush, Stop) and its last
// lease is gone.
//
// Threads: "journal" (gathers, writes, syncs, completes), "sealer" (seals rotated generations in
// order, replays those found at start, evicts idle series). Limits: config generation.*,
// storage.max_disk, limits.commit_timeout.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "config/config.h"
#include "io/file_system.h"
#include "table/series_table.h"
#include "table/table_registry.h"
#include "wal/disk_budget.h"
#include "wal/journal_format.h"
#include "wal/peer_segment.h"
#include "wal/quarantine.h"
#include "wal/request_ledger.h"
#include "wal/segment_store.h"

namespace forebay::wal {

class Generation;

// Samples of one request, by columns of equal length.
struct SampleColumns {
  std::span<const table::SeriesRef> refs;
  std::span<const int64_t> timestamps;  // Unix ms
  std::span<const uint64_t> values;     // IEEE 754 bits
};

// Text rows (CSV, each with its LF, no header line) for one table.
struct TextRows {
  table::TableId table = 0;
  std::string_view text;
  std::span<const uint32_t>
      row_ends;  // offset behind each row in text: quoted fields may hold line feeds
};

// Membership in the open generation. Movable; keeps series refs found meanwhile alive, and the
// generation from being sealed. Threads: one at a time, any thread.
class GenerationLease {
 public:
  GenerationLease() = default;
  GenerationLease(GenerationLease&& other) noexcept;
  GenerationLease& operator=(GenerationLease&& other) noexcept;
  ~GenerationLease();

  explicit operator bool() const { return generation_ != nullptr; }
  // Number of the generation for SeriesTable::Add: counts up from 1 in each process.
  uint64_t sequence() const;
  // Adds what was committed. `shard`: the io thread's number; others may use it too, it is only
  // contended.
  void Append(uint32_t shard, const SampleColumns& samples);
  void AppendText(uint32_t shard, const TextRows& rows);
  // Takes a peer's segment over: its blocks go to the segment of its table as they are.
  void AppendPeerSegment(uint32_t shard, PeerSegment segment);
  void Release();

 private:
  friend class Generation;
  friend class WalImpl;
  // Takes over one membership that was counted already.
  explicit GenerationLease(std::shared_ptr<Generation> generation);
  std::shared_ptr<Generation> generation_;
};

// One record on its way to the journal. The caller owns it and all that it points to until `done`
// runs.
struct PendingRecord {
  RecordKind kind = RecordKind::kRemoteWrite1;
  UnixMillis received;
  std::string_view tenant;            // at most 65535 bytes
  std::span<const uint32_t> refused;  // indexes of the series that were refused, ascending
  std::span<const char> body;         // as received
  RequestIdentity identity;           // zero: the request is in no ledger
  RequestOutcome outcome;             // what it will be answered
  // Runs once, on the journal thread (or inside Commit when durability is none). Must not block.
  void (*done)(PendingRecord* record) = nullptr;
  void* context = nullptr;  // the caller's
  Status status;            // set before done
  // For the journal only.
  Generation* generation = nullptr;
  PendingRecord* next = nullptr;
  char header[kRecordHeaderBytes] = {};
};

// A record read back by recovery.
struct ReplayedRecord {
  RecordKind kind = RecordKind::kRemoteWrite1;
  UnixMillis received;
  std::string_view tenant;
  std::span<const uint32_t> refused;
  std::span<const char> body;
  RequestIdentity identity;
  RequestOutcome outcome;
};

// Turns records back into samples: the same code as a live request, without limits of overload.
class ReplayHandler {
 public:
  virtual ~ReplayHandler() = default;
  // Appends the record's samples to the lease. An error quarantines the record; it never stops
  // recovery.
  virtual Status Replay(const ReplayedRecord& record, GenerationLease& lease) = 0;
};

struct WalOptions {
  config::Storage storage;
  config::Generation generation;
  config::Durability durability = config::Durability::kSync;
  config::Limits limits;
  uint32_t shards = 1;   // io threads
  uint32_t host_id = 0;  // 10 bits of the flake ids
};

// What a Wal may have beside. Ledgers are loaded; they learn what the journals of the earlier run
// hold before Open returns.
struct WalExtras {
  RequestLedger* ledger = nullptr;       // of clients' requests
  RequestLedger* peer_ledger = nullptr;  // of records of kind kPeerSegment
  DiskBudget* disk = nullptr;  // asked before requests are let in, kept up to date by the journal
                               // thread; null: no bound
};

struct WalStats {
  uint64_t open_generation_samples = 0;
  uint64_t open_generation_bytes = 0;  // memory of its columns
  uint64_t sealing_generations = 0;
  uint64_t generations_sealed = 0;
  uint64_t replayed_records = 0;
  uint64_t quarantined_records = 0;
  uint64_t deduplicated_records = 0;  // not replayed: another generation has the request
  uint64_t journal_bytes = 0;         // all journal files, with what is reserved
  uint64_t journal_spare_bytes = 0;   // files kept for the next journals
  uint64_t journal_bytes_written = 0;
  uint64_t journal_records = 0;
  uint64_t journal_commits = 0;  // group commits
  uint64_t journal_errors = 0;
  uint64_t journals_recycled = 0;  // begun in a spare file
  uint64_t torn_tails = 0;         // journals that ended in an unfinished write, at replay
  uint64_t seal_errors = 0;
  uint64_t sealed_rows = 0;
  uint64_t sealed_file_bytes = 0;
  uint64_t series_evicted = 0;
  uint64_t memory_bytes = 0;           // columns of all generations
  double oldest_unsealed_seconds = 0;  // age of the oldest data not yet in a segment
  bool disk_full = false;   // above storage.max_disk, or the volume below storage.reserve
  bool recovering = false;  // journals of an earlier run are still being replayed
  // A commit failed, and no journal that says so could be begun since: what was answered with an
  // error may come back if the power goes now.
  bool refused_may_return = false;
};

// Threads: any, unless said otherwise.
class Wal {
 public:
  // Creates the directories, drops scrap, loads sealed segments into `store`, begins a journal.
  // Journals of an earlier run are replayed in the background. The caller holds the lock of
  // storage.dir (io/file_lock.h); all references outlive the Wal. Errors: io.
  static Result<std::unique_ptr<Wal>> Open(const WalOptions& options, io::FileSystem& fs,
                                           const Clock& clock, table::SeriesTable& series,
                                           const table::TableRegistry& tables, SegmentStore& store,
                                           Quarantine& quarantine, ReplayHandler& replay,
                                           const WalExtras& extras = {});
  virtual ~Wal() = default;

  // Joins the open generation. Errors, all kUnavailable: stopping; memory budget spent; disk above
  // storage.max_disk; journal stalled longer than limits.commit_timeout or without a file to write
  // to.
  virtual Result<GenerationLease> Enter() = 0;
  // The same for a segment of a peer, which is let in where clients are refused already: a node
  // whose disk is full goes on owning its tables, up to storage.max_disk itself. Free bytes and
  // inodes of the volume bound it as they bound clients.
  virtual Result<GenerationLease> EnterForPeer() = 0;
  // From now on both refuse, kUnavailable with this text; empty: they let in again. While it holds,
  // Flush also waits for those that had entered before, so that nothing comes after it.
  virtual void Hold(std::string reason) = 0;
  // Queues the record for the group commit of the lease's generation. Durable as options.durability
  // says when record->done runs with an OK status.
  virtual void Commit(const GenerationLease& lease, PendingRecord* record) = 0;

  // Rotates and waits until everything acknowledged so far is in segments. Errors:
  // kDeadlineExceeded, io.
  virtual Status Flush(MonotonicTime deadline) = 0;
  // No Enter any more; seals; joins the threads. Idempotent. What is not sealed by the deadline
  // stays in its journal.
  virtual Status Stop(MonotonicTime deadline) = 0;

  virtual WalStats stats() const = 0;
};

}  // namespace forebay::wal
