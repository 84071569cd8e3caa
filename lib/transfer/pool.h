// Gives batches of segments to peers and sees each to its end: the peer has them and they are
// deleted here, or the peer does not and they are this node's again.
//
// A batch comes with a durable manifest that names the peer. It ends in this order, each step
// durable before the next, so that a crash anywhere is continued:
//   the peer has a segment -> it is deleted here -> the manifest is removed -> the other segments
//   are free again
// What a call left open waits here, and the peer is asked (README.md). After a restart all of a
// manifest's segments are open. Limits: kMaxBatches; config cluster.transfer.workers calls at a
// time, half of them to one peer. Threads: the workers, "transfer-<n>".
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "cluster/membership.h"
#include "config/config.h"
#include "metrics/registry.h"
#include "transfer/client.h"
#include "wal/batch_manifest.h"
#include "wal/batch_queue.h"
#include "wal/segment_store.h"

namespace forebay::transfer {

// That wait or run. Those of an earlier run may be more.
inline constexpr size_t kMaxBatches = 256;

// All outlive the pool.
struct PoolParts {
  const Clock& clock;
  wal::SegmentStore& store;
  wal::ManifestStore& manifests;
  const cluster::Membership& membership;
  PeerClient& client;
  metrics::Registry& registry;
};

struct PoolStatus {
  uint64_t waiting = 0;
  uint64_t running = 0;
  uint64_t open_rows = 0;  // a peer may have them
  std::vector<std::string> avoided_peers;
  std::vector<std::string> leaving_peers;
  std::string last_error;
};

class TransferPool {
 public:
  TransferPool(const config::Transfer& config, const PoolParts& parts);
  ~TransferPool();

  // The peer that the table's segments should go to now: its owner, when that is another node that
  // is well. Nothing: this node keeps them. Shape: key as wal::SegmentKey. Threads: any.
  // Members that leave own nothing; while this node drains, neither does it, nor one that is not
  // well.
  std::optional<std::string> PeerFor(std::string_view key) const EXCLUDES(mutex_);
  // This node leaves; or it does not. Threads: any.
  void SetDraining(bool on) EXCLUDES(mutex_);
  bool HasRoom() const EXCLUDES(mutex_);
  // The manifest is durable and names the peer. resumed: found at start, so a call may have been
  // made. Threads: any.
  void Push(wal::Batch&& batch, bool resumed) EXCLUDES(mutex_);

  void Start();
  // Takes nothing more; calls that run go on until the deadline, then they are ended. Batches stay,
  // with their manifests. Idempotent.
  void Stop(MonotonicTime deadline) EXCLUDES(mutex_);

  // Works on one batch that is due. False: none was. Threads: workers; tests.
  bool RunOnce(MonotonicTime deadline) EXCLUDES(mutex_);

  // Tries all that wait now at once, and waits until each has ended or was tried. Returns how many
  // of them are left. Threads: any.
  size_t Settle(MonotonicTime deadline) EXCLUDES(mutex_);

  PoolStatus status() const EXCLUDES(mutex_);

 private:
  struct Job {
    wal::Batch batch;
    std::set<std::string> open;                // file names that the peer may have
    std::vector<wal::SegmentLease> delivered;  // that it has, not yet deleted
    bool called = false;                       // a call was made
    uint32_t failures = 0;
    MonotonicTime due;
    uint64_t number = 0;  // counts up
    uint64_t epoch = 0;   // when it was taken last
  };

  std::optional<Job> Pop(MonotonicTime deadline) EXCLUDES(mutex_);
  void GiveBack(Job job) EXCLUDES(mutex_);
  void Finished(const std::string& peer) EXCLUDES(mutex_);
  // False: it goes on later.
  bool Process(Job& job);
  void Call(Job& job, const Peer& peer);
  void Judge(Job& job, const CallResult& result, bool recall);
  bool IsOld(const Job& job) const;
  void GiveUp(Job& job);
  Status Conclude(Job& job);
  void NoteFailure(const std::string& peer, const Error& error) EXCLUDES(mutex_);
  void NoteCall(const std::string& peer, const CallResult& result) EXCLUDES(mutex_);
  void Avoid(const std::string& peer, std::chrono::milliseconds time) EXCLUDES(mutex_);
  std::chrono::milliseconds Backoff(uint32_t failures) EXCLUDES(mutex_);
  uint64_t OpenRows() const EXCLUDES(mutex_);

  const config::Transfer config_;
  const PoolParts parts_;
  std::map<Outcome, metrics::Counter*> outcomes_;
  metrics::Counter* rows_;
  metrics::Counter* bytes_;
  metrics::Counter* failures_;
  metrics::Counter* gave_up_rows_;
  std::vector<metrics::Registry::Callback> callbacks_;

  mutable Mutex mutex_;
  CondVar changed_;
  std::list<Job> waiting_ GUARDED_BY(mutex_);
  std::map<std::string, uint32_t> running_ GUARDED_BY(mutex_);  // calls by peer
  // By number: those that wait and run, with the epoch in which each was tried last.
  std::map<uint64_t, uint64_t> live_ GUARDED_BY(mutex_);
  uint64_t next_number_ GUARDED_BY(mutex_) = 1;
  std::map<std::string, MonotonicTime, std::less<>> avoid_until_ GUARDED_BY(mutex_);
  // Those that said that they leave, until they take something again.
  std::map<std::string, MonotonicTime, std::less<>> leaving_until_ GUARDED_BY(mutex_);
  bool draining_ GUARDED_BY(mutex_) = false;
  std::string last_error_ GUARDED_BY(mutex_);
  uint64_t epoch_ GUARDED_BY(mutex_) = 1;  // counts calls of Settle
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::minstd_rand random_ GUARDED_BY(mutex_);
  std::vector<std::jthread> threads_;
};

}  // namespace forebay::transfer
