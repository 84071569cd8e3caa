// Brings all that a node has off its volume before it leaves: to the owners of the tables among the
// other members where it may move, else into the sinks.
//
// Order: nothing new is taken (clients 503, peers are told; what is half stored becomes whole
// before, within kStoreWhole), what was acknowledged is sealed, then the batcher plans rounds of
// reason "drain" until segments, batches and transfers are gone. A drain goes on until that is
// reached or it is cancelled; its timeout only decides when what is left is reported. Nothing is
// given up and nothing is lost by a kill at any moment: what is left is on the volume as ever.
// Threads: one, "drain".
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "batch/batcher.h"
#include "transfer/intake.h"
#include "transfer/pool.h"
#include "wal/batch_queue.h"
#include "wal/disk_account.h"
#include "wal/segment_store.h"
#include "wal/wal.h"

namespace forebay::server {

enum class DrainState {
  kServing,
  kDraining,
  kDrained,  // nothing is left
  kOverdue,  // the timeout is over and something is left; it goes on
};
// "serving", "draining", "drained", "overdue".
std::string_view Name(DrainState state);

inline constexpr size_t kMaxDrainReasons = 16;
// So long what is half stored may take to be stored whole.
inline constexpr std::chrono::seconds kStoreWhole{10};
// What clients are told.
inline constexpr const char* kDrainingText =
    "the node is draining: it hands over what it has and takes nothing new";

// What is still on the volume.
struct DrainLeft {
  uint64_t rows = 0;
  uint64_t bytes = 0;  // of segments
  uint64_t segments = 0;
  uint64_t batches = 0;  // live ones, on their way to sinks or peers
  uint64_t unsealed_rows = 0;
  uint64_t open_rows = 0;     // a peer may have them
  double oldest_seconds = 0;  // age of the oldest segment
  bool sealed = true;         // all journals are segments by now
  std::vector<std::string> why;
  bool none() const {
    return sealed && rows == 0 && segments == 0 && batches == 0 && unsealed_rows == 0;
  }
};

struct DrainReport {
  DrainState state = DrainState::kServing;
  std::string cause;
  double seconds = 0;             // since it began; of one that is done: that it took
  uint64_t handed_over_rows = 0;  // since it began
  uint64_t uploaded_rows = 0;
  DrainLeft left;
  // Stays for people: refused by sinks for good, damaged, unreadable.
  uint64_t dead_letter_files = 0;
  uint64_t quarantine_files = 0;
  uint64_t unreadable_segments = 0;
  std::string Json() const;
};

class Drainer {
 public:
  // All outlive it. transfers, intake: null on a node without them.
  struct Parts {
    const Clock& clock;
    wal::Wal& wal;
    wal::SegmentStore& store;
    wal::BatchQueue& queue;
    batch::Batcher& batcher;
    const wal::DiskAccount& disk;
    transfer::TransferPool* transfers;
    transfer::Intake* intake;
    // A segment of which some parts are stored is on its way in: whoever sends it would send all of
    // it elsewhere if the rest were refused. May be empty.
    std::function<bool()> storing;
  };
  struct Request {
    std::string cause;  // for people
    std::chrono::milliseconds timeout{0};
    bool report_completion = false;  // call on_completed when nothing is left
    bool restart = false;            // of one that runs: its time begins anew
  };
  struct WaitOptions {
    MonotonicTime deadline;
    // Also ends when nothing went out for so long and nothing is being tried for the first time.
    std::optional<std::chrono::milliseconds> patience;
  };

  // on_completed: called on the drain's thread until it succeeds. May be empty.
  Drainer(const Parts& parts, std::function<Status()> on_completed);
  ~Drainer();

  void Start();
  // Ends the thread; the node stays as it is. Idempotent.
  void Stop() EXCLUDES(mutex_);

  // Threads: any, below.
  // Idempotent: of a drain that runs, what failed is tried again at once.
  void Begin(const Request& request) EXCLUDES(mutex_);
  // Back to service. False: no drain was on.
  bool Cancel() EXCLUDES(mutex_);
  // Until it is drained, cancelled or stopped, becomes overdue, or the options say so.
  DrainReport Wait(const WaitOptions& options) EXCLUDES(mutex_);
  DrainReport report() const EXCLUDES(mutex_);
  DrainState state() const EXCLUDES(mutex_);

 private:
  struct Totals {
    uint64_t uploaded = 0;
    uint64_t transferred = 0;
    uint64_t unsealed = 0;
  };

  Totals RowTotals() const;
  DrainLeft Left(bool sealed) const;
  void Explain(DrainLeft& left) const;
  void SetMode(bool on) REQUIRES(mutex_);
  bool Hold(uint64_t number) EXCLUDES(mutex_);
  void TellCompleted(uint64_t number);
  void Run(const std::stop_token& stop);
  bool Seal(uint64_t number);
  // Returns what to wait for before the next look.
  std::chrono::milliseconds Look(uint64_t number);
  void Report(uint64_t number);
  bool Trying() const;

  const Parts parts_;
  const std::function<Status()> on_completed_;
  mutable Mutex mutex_;
  mutable CondVar changed_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  DrainState state_ GUARDED_BY(mutex_) = DrainState::kServing;
  uint64_t number_ GUARDED_BY(mutex_) = 0;  // counts drains: what one found is not said of the next
  std::string cause_ GUARDED_BY(mutex_);
  MonotonicTime began_ GUARDED_BY(mutex_);
  MonotonicTime ended_ GUARDED_BY(mutex_);
  MonotonicTime deadline_ GUARDED_BY(mutex_);
  Totals at_begin_ GUARDED_BY(mutex_);
  bool held_ GUARDED_BY(mutex_) = false;  // the log lets nobody in
  bool sealed_ GUARDED_BY(mutex_) = false;
  bool report_wanted_ GUARDED_BY(mutex_) = false;
  uint64_t least_rows_ GUARDED_BY(mutex_) = 0;  // that were left at any time of this drain
  MonotonicTime progress_ GUARDED_BY(mutex_);   // when that changed
  // The thread's.
  MonotonicTime next_wake_{};
  std::chrono::milliseconds wake_pause_{0};
  MonotonicTime next_report_{};
  std::chrono::milliseconds report_pause_{0};
  std::jthread thread_;
};

}  // namespace forebay::server
