// The receiving side without its protocol: room, checks, the ledger of segments, the journal, the
// open generation. Place: called by the transfer service, one Offer per segment.
//
// A segment is taken once: its identity is origin, file name, bytes and rows, and stays in the
// ledger for cluster.transfer.ledger_window. Durable: when Settle says kAccepted, as
// `durability` says. Limits: max_in_flight bytes of segments that are read, checked or journaled,
// half of it for one peer; kMaxWithdrawn withdrawn segments.
#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/units.h"
#include "metrics/registry.h"
#include "transfer/transfer.h"
#include "wal/peer_segment.h"
#include "wal/request_ledger.h"
#include "wal/segment_store.h"
#include "wal/wal.h"

namespace forebay::transfer {

inline constexpr size_t kMaxWithdrawn = 65'536;

// What tells a segment from all others. Shape: `rows` as its sender counts them.
struct SegmentKey {
  std::string_view origin;
  std::string_view file_name;
  uint64_t bytes = 0;
  uint64_t rows = 0;
  // Of what comes in parts, under a name that does not tell them apart: number and bytes.
  std::optional<uint32_t> part;
  std::span<const char> content;
};

// What the sender says of a segment beside its name and bytes.
struct Announced {
  std::optional<uint64_t> rows;  // nothing: not known; else they must be those of the blocks
  std::optional<uint32_t> part;  // see SegmentKey
};

// Threads: any.
class Intake {
 public:
  struct Options {
    ByteCount max_in_flight;
    std::chrono::milliseconds retry_after{1000};  // told with kRefused
    // Databases that have somewhere to go. Segments of others are not taken.
    std::set<std::string, std::less<>> databases;
  };
  struct Parts {
    const Clock& clock;
    wal::Wal& wal;
    wal::RequestLedger& ledger;  // loaded, enabled, and known to the Wal
    wal::SegmentStore& store;    // its row account
    metrics::Registry& registry;
  };
  // Room for a segment; given back when destroyed.
  class Room {
   public:
    Room() = default;
    Room(Room&& other) noexcept;
    Room& operator=(Room&& other) noexcept;
    ~Room();
    explicit operator bool() const { return intake_ != nullptr; }

   private:
    friend class Intake;
    Intake* intake_ = nullptr;
    std::string origin_;
    uint64_t bytes_ = 0;
  };
  // A segment on its way into the journal.
  class Offer;
  struct OfferDeleter {
    void operator()(Offer* offer) const;
  };
  using OfferPtr = std::unique_ptr<Offer, OfferDeleter>;

  Intake(Options options, const Parts& parts);
  ~Intake();

  // While it is on peers are told that this node leaves; the log, which is held then, refuses what
  // they bring nevertheless. Recalls are answered as ever.
  void SetLeaving(bool on) { leaving_.store(on, std::memory_order_relaxed); }
  bool leaving() const { return leaving_.load(std::memory_order_relaxed); }

  // Empty when there is no room now.
  Room Reserve(std::string_view origin, uint64_t bytes) EXCLUDES(mutex_);
  // Checks the segment and queues it for the group commit. Never null; does not wait.
  OfferPtr Begin(wal::PeerSegment segment, const Announced& announced, Room room);
  // True when Settle would not wait.
  static bool Decided(const Offer& offer);
  // Waits for the commit, which the journal always ends. Every offer must be settled.
  Answer Settle(OfferPtr offer);
  // Says kDuplicate when the segment is here, kUnknown while it is being decided, else kRefused:
  // from then on it is not taken, for kMaxCallTime at least, in which every call that could still
  // bring it has ended.
  Answer Recall(const SegmentKey& key) EXCLUDES(mutex_);

 private:
  struct Withdrawn {
    wal::RequestIdentity identity;
    MonotonicTime at;
  };

  void GiveBack(const std::string& origin, uint64_t bytes) EXCLUDES(mutex_);
  bool IsWithdrawn(const wal::RequestIdentity& identity) REQUIRES(mutex_);
  // Nothing: the segment is new, and this call is to store it.
  std::optional<Answer> AskLedger(const wal::RequestIdentity& identity) EXCLUDES(mutex_);
  Answer Refusal(std::string reason) const;
  std::optional<Answer> Check(wal::PeerSegment& segment, const Announced& announced) const;
  void Complete(Offer& offer);

  const Options options_;
  const Parts parts_;
  std::map<Outcome, metrics::Counter*> outcomes_;
  metrics::Counter* rows_;
  metrics::Counter* bytes_;
  metrics::Registry::Callback in_flight_metric_;
  std::atomic<bool> leaving_{false};
  mutable Mutex mutex_;
  uint64_t in_flight_ GUARDED_BY(mutex_) = 0;
  std::map<std::string, uint64_t, std::less<>> by_origin_ GUARDED_BY(mutex_);
  std::set<std::pair<uint64_t, uint64_t>> withdrawn_ GUARDED_BY(mutex_);
  std::deque<Withdrawn> withdrawn_by_time_ GUARDED_BY(mutex_);
};

}  // namespace forebay::transfer
