// Makes batches: watches the sealed segments, applies the policy (batch/policy.h), takes the
// segments, writes the manifest durably and hands the batch to the queue.
//
// At start it first continues the manifests of the run before: same id, exactly those segments. A
// segment is in at most one manifest, so that nothing is delivered under two ids. Limits: a
// database has as many live batches as the queue has room for. A plan is made when segments came,
// when one that waits is due, or the way of planning changed; what of it the queue has no room for
// is pushed as room comes. Threads: one, "batcher"; rounds are at least kMinRoundInterval apart.
// Lock order: mutex_, then the queue's.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "batch/policy.h"
#include "config/config.h"
#include "metrics/registry.h"
#include "wal/batch_manifest.h"
#include "wal/batch_queue.h"
#include "wal/segment_store.h"

namespace forebay::batch {

inline constexpr size_t kMaxPushesPerRound = 64;
inline constexpr std::chrono::milliseconds kMinRoundInterval{100};
inline constexpr std::chrono::milliseconds kMinFlushRoundInterval{5};  // while a flush waits
inline constexpr std::chrono::milliseconds kMaxRoundInterval{1000};

// The way to peers, on a node that has some.
struct Handover {
  // The node that the table's segments should go to now; nothing: they stay. key: wal::SegmentKey.
  std::function<std::optional<std::string>(const std::string& key)> peer_for;
  // Whether a further batch may be pushed.
  std::function<bool()> has_room;
  // Takes a batch whose manifest is durable. resumed: found at start.
  std::function<void(wal::Batch&& batch, bool resumed)> push;
  std::chrono::milliseconds max_age{0};  // of segments that move
  ByteCount max_segment;                 // of their files
  ByteCount max_batch;
};

struct BatcherOptions {
  config::Batch batch;
  uint32_t oldest_share_percent = 20;
  // Sinks of each database. Segments of a database that is not in here, or has none, wait.
  std::map<std::string, std::vector<std::string>> sinks;
  // True when the disk is full: whatever waits is then due, since only uploads make room. May be
  // empty.
  std::function<bool()> storage_full;
  // The header line of a segment's schema where it is known, else empty; without the line's end.
  std::function<std::string(const wal::SegmentName&)> header_line;
  std::optional<Handover> handover;
  // Without handover: whether segments that a peer may have are uploaded, said in the log. Else
  // Resume refuses.
  bool may_guess = true;
};

class Batcher {
 public:
  // All references outlive the batcher.
  Batcher(BatcherOptions options, const Clock& clock, wal::SegmentStore& store,
          wal::ManifestStore& manifests, wal::BatchQueue& queue, metrics::Registry& registry);
  ~Batcher();

  // Continues what the manifests say. Call once, after SegmentStore::LoadExisting and before Start.
  // Errors: those of reading and writing manifests; kFailedPrecondition, see may_guess.
  Status Resume();
  // Continues a batch whose manifest was saved and whose segments were put into the store's
  // directory while this process runs. Errors: those of removing the manifest, when no segment is
  // there. Threads: any.
  Status TakeBack(wal::BatchManifest manifest);
  // Starts the thread.
  void Start();
  // Ends the thread; batches already made stay with the queue. Idempotent.
  void Stop();

  // From the next round on batches are made by these limits (reload). Threads: any.
  void SetPolicy(const config::Batch& policy) EXCLUDES(mutex_);
  // While it is on each round is one of kDrain: what may move goes to peers whatever its age, all
  // else is uploaded, nothing waits for more. Threads: any.
  void SetDraining(bool on) EXCLUDES(mutex_);

  // One round: plans all that waits and pushes at most kMaxPushesPerRound batches. Returns how
  // many. flush: kSize plans by the policy, kFlush and kDrain take everything. Threads: "batcher";
  // tests without Start.
  size_t RunOnce(wal::BatchReason flush);

  // Makes batches of everything that waits now, lets held-back ones try at once, and waits until
  // each has been delivered, dead-lettered or has failed once. Needs Start. Threads: any, also
  // several at the same time.
  wal::FlushResult FlushNow(MonotonicTime deadline,
                            wal::BatchReason reason = wal::BatchReason::kFlush) EXCLUDES(mutex_);

 private:
  struct Flush {
    wal::BatchReason reason = wal::BatchReason::kFlush;
    MonotonicTime requested;
    uint64_t watch = 0;
    bool planned = false;
    uint64_t unplanned_segments = 0;
  };

  void Run(const std::stop_token& stop);
  void ServeFlushes(wal::BatchReason reason) EXCLUDES(mutex_);
  bool NeedsPlan(wal::BatchReason reason) const EXCLUDES(mutex_);
  void MakePlan(wal::BatchReason reason) EXCLUDES(mutex_);
  size_t PushDue();
  void PushTransfers(const std::map<std::string, std::vector<wal::SegmentPointer>>& by_peer);
  bool PushTransfer(const std::string& peer, const PlannedBatch& plan);
  bool PushPlanned(const PlannedBatch& plan);
  Status ResumeOne(wal::BatchManifest manifest);
  using Lease = std::function<Result<wal::SegmentLease>(const std::string& file_name)>;
  Status Continue(wal::BatchManifest manifest, const Lease& lease_of);
  void Reconcile(wal::BatchManifest& manifest) const;
  void RestoreDamaged(const std::string& id, const std::vector<wal::TableBacklog>& backlog);
  Status ResumeTransfer(wal::BatchManifest manifest);
  wal::BatchManifest MakeManifest(const PlannedBatch& plan) const;

  config::Batch Policy() const EXCLUDES(mutex_);

  const BatcherOptions options_;  // options_.batch: at start; policy_ is in force
  const Clock& clock_;
  wal::SegmentStore& store_;
  wal::ManifestStore& manifests_;
  wal::BatchQueue& queue_;
  std::map<wal::BatchReason, metrics::Counter*> planned_;
  metrics::Counter* transfers_;
  metrics::Counter* errors_;
  metrics::Registry::Callback oldest_age_;
  metrics::Registry::Callback live_batches_;
  // The plan: what is due and not pushed yet, in the order of picking, last first; and what it was
  // made of.
  struct DuePlan {
    std::vector<PlannedBatch> batches;
    wal::BatchReason reason = wal::BatchReason::kSize;
    uint64_t arrivals = 0;       // of the store
    uint64_t policy = 0;         // policy_version_
    MonotonicTime earliest_due;  // of the tables that wait
    MonotonicTime made;
    bool exists = false;
  };
  uint64_t picks_ = 0;  // batches pushed, for PickOrder
  DuePlan plan_;
  bool more_ = false;  // the last round ended by its bound

  mutable Mutex mutex_;
  CondVar wake_;
  config::Batch policy_ GUARDED_BY(mutex_);  // in force
  uint64_t policy_version_ GUARDED_BY(mutex_) = 0;
  std::map<uint64_t, Flush*> flushes_ GUARDED_BY(mutex_);  // by watch; owned by their FlushNow
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool draining_ GUARDED_BY(mutex_) = false;
  std::jthread thread_;
};

}  // namespace forebay::batch
