// Which requests are stored already, so that a sender's retry after a lost answer is stored once
// and answered like the first.
//
// Place: asked by the receivers before they decode. Durable without a write of its own per request:
// a journal record holds its request's identity and outcome, and before a journal is removed its
// identities go to ledger/<generation hex>.ids. Bytes: docs/format/wal.md, "Ledger files".
// Limits: idempotency.window and idempotency.max_entries; the oldest leave first. About 150 B an
// entry.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "io/file_system.h"
#include "wal/disk_reserve.h"

namespace forebay::wal {

// 128 bits that two requests share when one is a retry of the other. Zero: none.
struct RequestIdentity {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const RequestIdentity&) const = default;
  explicit operator bool() const { return (low | high) != 0; }
};

// What the sender was told, enough to tell it again. Shape: counts, saturated at 2^32 - 1.
struct RequestOutcome {
  uint32_t samples = 0;
  uint32_t histograms = 0;
  uint32_t exemplars = 0;
  uint32_t refused = 0;  // series and items; 0: the answer was 204, else 400
  bool operator==(const RequestOutcome&) const = default;
};

// What makes two requests the same.
struct RequestParts {
  std::string_view domain;  // of the protocol: bodies of one are never those of another
  std::string_view tenant;
  std::string_view key;        // Idempotency-Key; not empty: kind and body do not count
  uint8_t kind = 0;            // RecordKind
  std::span<const char> body;  // as sent
};
// XXH3-128, seed 0, of the parts with their lengths. Never zero. Threads: any.
RequestIdentity IdentityOf(const RequestParts& parts);

inline constexpr std::string_view kLedgerMagic{"FBLEDG\0\1", 8};
inline constexpr size_t kLedgerHeaderBytes = 24;
inline constexpr size_t kLedgerRowBytes = 40;
inline constexpr uint64_t kMaxLedgerFileBytes = 1ULL << 30;

// Threads: any. One short lock per call; files are written without it.
class RequestLedger {
 public:
  struct Options {
    std::string directory;  // <storage.dir>/ledger
    std::chrono::milliseconds window{0};
    uint64_t max_entries = 0;
    DiskReserve* reserve = nullptr;  // space for Persist on a full volume; null: none
  };
  enum class State : uint8_t {
    kNew,       // the caller stores the request and calls Finish or Abort
    kInFlight,  // another attempt is under way: nothing may be stored, the sender comes back
    kDone,      // stored already: answer with the outcome
  };
  struct Answer {
    State state = State::kNew;
    RequestOutcome outcome;  // when kDone
  };
  // What is kept of a stored request.
  struct Row {
    RequestIdentity identity;
    UnixMillis received;
    RequestOutcome outcome;
  };
  // A generation: its number in this process and its flake id, which names its files.
  struct Owner {
    uint64_t sequence = 0;
    uint64_t id = 0;
  };

  RequestLedger(io::FileSystem& fs, const Clock& clock, Options options);
  ~RequestLedger();

  // False with a window of 0: then nothing is to be asked or told.
  bool enabled() const { return options_.window.count() > 0 && options_.max_entries > 0; }

  // Reads the ledger files. A damaged one costs what it holds and is logged; it is no error. Call
  // once, before anything else. Errors: io of the directory.
  Status Load() EXCLUDES(mutex_);

  // `identity` is not zero.
  Answer Begin(const RequestIdentity& identity) EXCLUDES(mutex_);
  // The request is in the journal and its samples in the generation. The caller is still in the
  // generation. Durable: with the journal's record, later with Persist.
  void Finish(const Row& row, uint64_t sequence) EXCLUDES(mutex_);
  // Nothing was stored: the next attempt is new.
  void Abort(const RequestIdentity& identity) EXCLUDES(mutex_);

  // A record found in the journal of an earlier run. Known ones stay as they are.
  void Recovered(const Row& row, Owner owner) EXCLUDES(mutex_);
  // False when the request was stored by another generation: an attempt whose commit failed may
  // have reached the disk nevertheless. `row` as Recovered had it.
  bool MayReplay(const Row& row, Owner owner) const EXCLUDES(mutex_);

  // Durable: the generation's identities, when it returns OK. Call before its journal goes.
  Status Persist(Owner owner) EXCLUDES(mutex_);
  // The generation is committed: frees its list, removes files older than the window.
  void Committed(Owner owner) EXCLUDES(mutex_);

  // Requests known now, those in flight included.
  size_t size() const EXCLUDES(mutex_);

 private:
  struct Hash {
    size_t operator()(const RequestIdentity& identity) const {
      return static_cast<size_t>(identity.low);
    }
  };
  struct Entry {
    bool done = false;
    Row row;
    UnixMillis since;       // when it was entered: the window counts from here
    uint64_t sequence = 0;  // generation; 0: from a ledger file
    uint64_t id = 0;        // generation's flake id; 0: of this run, not known
    Entry* newer = nullptr;
  };
  using Entries = std::unordered_map<RequestIdentity, Entry, Hash>;
  // Rows of a generation that is not committed; above max_entries the oldest are overwritten.
  struct Pending {
    std::vector<Row> rows;
    size_t next = 0;
    bool persisted = false;
  };
  struct LedgerFile {
    std::string path;
    UnixMillis newest;  // receipt of its newest row, or when it was found
  };

  Entry& Insert(const RequestIdentity& identity) REQUIRES(mutex_);
  void Enter(Entry& entry, const Row& row, UnixMillis since) REQUIRES(mutex_);
  void Note(const Row& row, uint64_t sequence) REQUIRES(mutex_);
  void Prune() REQUIRES(mutex_);
  void DropOldest() REQUIRES(mutex_);
  Status LoadFile(const std::string& path, uint64_t id, UnixMillis now) EXCLUDES(mutex_);
  std::string PathOf(uint64_t id) const;

  io::FileSystem& fs_;
  const Clock& clock_;
  const Options options_;

  mutable Mutex mutex_;
  Entries entries_ GUARDED_BY(mutex_);
  std::vector<Entries::node_type> free_ GUARDED_BY(mutex_);  // reused: no allocation per request
  Entry* oldest_ GUARDED_BY(mutex_) = nullptr;               // of those done
  Entry* newest_ GUARDED_BY(mutex_) = nullptr;
  size_t done_ GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, Pending> pending_ GUARDED_BY(mutex_);  // by sequence
  std::vector<LedgerFile> files_ GUARDED_BY(mutex_);
};

}  // namespace forebay::wal
