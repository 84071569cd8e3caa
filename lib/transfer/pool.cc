#include "transfer/pool.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/thread.h"

namespace forebay::transfer {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstBackoff{100};
constexpr milliseconds kMaxBackoff{10'000};
constexpr milliseconds kIdleWait{1000};
constexpr milliseconds kLeastAvoid{1000};
constexpr std::chrono::seconds kRecallTime{10};
// A peer that leaves is asked again after so long: it may have been called back, or started again.
constexpr std::chrono::seconds kLeavingFor{5};
// One peer gets this part of the workers, so that one that hangs leaves some.
constexpr uint32_t kWorkersPartOfOnePeer = 2;

OutgoingSegment Outgoing(const wal::SegmentLease& lease) {
  const wal::SegmentInfo& info = lease.info();
  OutgoingSegment segment;
  segment.file_name = info.file_name;
  segment.path = lease.path();
  segment.bytes = info.file_bytes;
  segment.rows = info.rows;
  if (info.min_timestamp != 0 || info.max_timestamp != 0) {
    segment.min_timestamp = info.min_timestamp;
    segment.max_timestamp = info.max_timestamp;
  }
  return segment;
}

// Of this node's own disk: the peer is not to blame.
bool IsOurs(const Error& error) {
  return error.code() == ErrorCode::kIo || error.code() == ErrorCode::kNotFound;
}

}  // namespace

TransferPool::TransferPool(const config::Transfer& config, const PoolParts& parts)
    : config_(config), parts_(parts), random_(std::random_device{}()) {
  metrics::Registry& registry = parts_.registry;
  for (const Outcome outcome : {Outcome::kAccepted, Outcome::kDuplicate, Outcome::kRefused,
                                Outcome::kInvalid, Outcome::kUnknown}) {
    outcomes_[outcome] =
        registry.AddCounter("forebay_transfer_sent_segments_total",
                            "Segments offered to peers, by what became of them in that call.",
                            {{"outcome", std::string(NameOf(outcome))}});
  }
  rows_ = registry.AddCounter("forebay_transfer_sent_rows_total", "Rows that peers have taken.");
  bytes_ = registry.AddCounter("forebay_transfer_sent_bytes_total",
                               "Bytes of the segments that peers have taken.");
  failures_ = registry.AddCounter("forebay_transfer_failures_total", "Calls to peers that failed.");
  gave_up_rows_ = registry.AddCounter(
      "forebay_transfer_gave_up_rows_total",
      "Rows of which a peer did not say for cluster.transfer.doubt_timeout whether it has them: "
      "they are uploaded here, and may be there twice.");
  const auto gauge = [&](std::string_view name, std::string_view help, auto value) {
    callbacks_.push_back(registry.AddCallback(name, help, metrics::MetricType::kGauge, value));
  };
  gauge("forebay_transfer_batches", "Batches on their way to peers.", [this] {
    MutexLock lock(mutex_);
    return static_cast<double>(live_.size());
  });
  gauge("forebay_transfer_open_rows", "Rows that a peer may have, until it says so.",
        [this] { return static_cast<double>(OpenRows()); });
  gauge("forebay_transfer_avoided_peers", "Peers that are given nothing after a failure.",
        [this] { return static_cast<double>(status().avoided_peers.size()); });
}

TransferPool::~TransferPool() { Stop(parts_.clock.Monotonic()); }

std::optional<std::string> TransferPool::PeerFor(std::string_view key) const {
  const auto members = parts_.membership.Snapshot();
  const MonotonicTime now = parts_.clock.Monotonic();
  MutexLock lock(mutex_);
  if (stopping_) return std::nullopt;
  std::vector<std::string> without;
  for (const auto& [peer, until] : leaving_until_) {
    if (now < until) without.push_back(peer);
  }
  if (draining_) {
    without.push_back(parts_.membership.self());
    for (const auto& [peer, until] : avoid_until_) {
      if (now < until) without.push_back(peer);
    }
  }
  const cluster::Member* owner = members->OwnerOf(key, without);
  if (owner == nullptr || owner->name == parts_.membership.self()) return std::nullopt;
  const auto avoided = avoid_until_.find(owner->name);
  if (avoided != avoid_until_.end() && now < avoided->second) return std::nullopt;
  return owner->name;
}

void TransferPool::SetDraining(bool on) {
  MutexLock lock(mutex_);
  draining_ = on;
}

void TransferPool::NoteCall(const std::string& peer, const CallResult& result) {
  const MonotonicTime now = parts_.clock.Monotonic();
  bool fresh = false;
  {
    MutexLock lock(mutex_);
    const auto known = leaving_until_.find(peer);
    if (result.leaving) {
      fresh = known == leaving_until_.end();
      leaving_until_[peer] = now + kLeavingFor;
    } else if (known != leaving_until_.end() && !result.failure) {
      leaving_until_.erase(known);  // it is back
    } else if (known != leaving_until_.end() && !IsOurs(*result.failure)) {
      known->second = now + config_.unhealthy_for;  // it has left
    }
  }
  if (fresh) LogInfo("a peer is about to leave: others own its tables", {{"peer", peer}});
}

bool TransferPool::HasRoom() const {
  MutexLock lock(mutex_);
  return !stopping_ && live_.size() < kMaxBatches;
}

void TransferPool::Push(wal::Batch&& batch, bool resumed) {
  FOREBAY_CHECK(!batch.manifest.peer.empty());
  Job job;
  if (resumed) {
    job.called = true;
    for (const wal::SegmentLease& lease : batch.leases) job.open.insert(lease.info().file_name);
  }
  job.batch = std::move(batch);
  job.due = parts_.clock.Monotonic();
  MutexLock lock(mutex_);
  job.number = next_number_++;
  live_[job.number] = 0;
  waiting_.push_back(std::move(job));
  changed_.NotifyAll();
}

void TransferPool::Start() {
  FOREBAY_CHECK(threads_.empty());
  for (uint32_t i = 0; i < std::max<uint32_t>(config_.workers, 1); ++i) {
    threads_.push_back(
        StartThread(fmt::format("transfer-{}", i), [this](const std::stop_token& stop) {
          while (!stop.stop_requested()) (void)RunOnce(parts_.clock.Monotonic() + kIdleWait);
        }));
  }
}

void TransferPool::Stop(MonotonicTime deadline) {
  std::list<Job> never_called;
  {
    MutexLock lock(mutex_);
    if (std::exchange(stopping_, true)) return;
    for (auto job = waiting_.begin(); job != waiting_.end();) {
      const auto next = std::next(job);
      if (!job->called) never_called.splice(never_called.end(), waiting_, job);
      job = next;
    }
    for (const Job& job : never_called) live_.erase(job.number);
    changed_.NotifyAll();
  }
  // Nothing of these was sent: the next start need not ask about them.
  for (Job& job : never_called) (void)parts_.manifests.Remove(job.batch.manifest.id);
  for (std::jthread& thread : threads_) thread.request_stop();
  {
    MutexLock lock(mutex_);
    while (!running_.empty()) {
      if (!changed_.WaitUntil(lock, deadline)) break;
    }
  }
  parts_.client.Stop();
  threads_.clear();
}

std::optional<TransferPool::Job> TransferPool::Pop(MonotonicTime deadline) {
  const uint32_t most = std::max<uint32_t>(config_.workers / kWorkersPartOfOnePeer, 1);
  MutexLock lock(mutex_);
  while (!stopping_) {
    const MonotonicTime now = parts_.clock.Monotonic();
    MonotonicTime wake = deadline;
    for (auto job = waiting_.begin(); job != waiting_.end(); ++job) {
      const auto running = running_.find(job->batch.manifest.peer);
      if (running != running_.end() && running->second >= most) continue;
      if (job->due > now) {
        wake = std::min(wake, job->due);
        continue;
      }
      std::optional<Job> taken = std::move(*job);
      waiting_.erase(job);
      ++running_[taken->batch.manifest.peer];
      taken->epoch = epoch_;
      return taken;
    }
    if (now >= deadline) return std::nullopt;
    changed_.WaitUntil(lock, wake);
  }
  return std::nullopt;
}

void TransferPool::Finished(const std::string& peer) {
  MutexLock lock(mutex_);
  const auto running = running_.find(peer);
  if (--running->second == 0) running_.erase(running);
  changed_.NotifyAll();
}

bool TransferPool::RunOnce(MonotonicTime deadline) {
  auto job = Pop(deadline);
  if (!job) return false;
  const std::string peer = job->batch.manifest.peer;
  if (Process(*job)) {
    const uint64_t number = job->number;
    job.reset();  // its leases go, before somebody is told
    MutexLock lock(mutex_);
    live_.erase(number);
  } else {
    GiveBack(*std::move(job));
  }
  Finished(peer);
  return true;
}

void TransferPool::GiveBack(Job job) {
  job.due = parts_.clock.Monotonic() + Backoff(job.failures++);
  MutexLock lock(mutex_);
  live_[job.number] = job.epoch;
  waiting_.push_back(std::move(job));
}

milliseconds TransferPool::Backoff(uint32_t failures) {
  const auto most = std::min(kMaxBackoff, kFirstBackoff * (1 << std::min(failures, 7U)));
  MutexLock lock(mutex_);
  return most / 2 + milliseconds(random_() % static_cast<uint64_t>(most.count() / 2 + 1));
}

bool TransferPool::Process(Job& job) {
  const auto members = parts_.membership.Snapshot();
  const cluster::Member* member = members->Find(job.batch.manifest.peer);
  // One that is gone is not called: what is not open is this node's again.
  if (member != nullptr) Call(job, {member->name, member->address});
  if (!job.open.empty() && IsOld(job)) GiveUp(job);
  const bool open = !job.open.empty();
  // What is settled need not wait for the rest; the manifest keeps what is open.
  const Status concluded = Conclude(job);
  if (concluded.ok()) return !open;
  LogError("a transfer's files cannot be put away, trying again",
           {{"batch", job.batch.manifest.id}, {"error", concluded.error().ToString()}});
  return false;
}

// So old that a peer may have forgotten what it has.
bool TransferPool::IsOld(const Job& job) const {
  return parts_.clock.Now().value - job.batch.manifest.created.value >=
         config_.doubt_timeout.count();
}

void TransferPool::Call(Job& job, const Peer& peer) {
  // What is open is asked about; the rest was judged by the call that left it open.
  const bool recall = job.called;
  std::vector<OutgoingSegment> segments;
  for (const wal::SegmentLease& lease : job.batch.leases) {
    if (lease && (!recall || job.open.contains(lease.info().file_name))) {
      segments.push_back(Outgoing(lease));
    }
  }
  if (segments.empty()) return;
  const MonotonicTime now = parts_.clock.Monotonic();
  job.called = true;
  const CallResult result =
      recall ? parts_.client.Recall(peer, segments,
                                    now + std::min<milliseconds>(kRecallTime, config_.timeout))
             : parts_.client.Send(peer, segments, now + config_.timeout);
  FOREBAY_CHECK(result.answers.size() == segments.size());
  FOREBAY_FAILPOINT("transfer.after_answer");
  if (!recall) NoteCall(peer.name, result);
  if (result.failure) {
    failures_->Increment();
    NoteFailure(peer.name, *result.failure);
  }
  Judge(job, result, recall);
}

// Sorts the segments by their answers.
void TransferPool::Judge(Job& job, const CallResult& result, bool recall) {
  size_t next = 0;
  for (wal::SegmentLease& lease : job.batch.leases) {
    if (!lease) continue;
    const std::string& name = lease.info().file_name;
    if (recall && !job.open.contains(name)) continue;
    const Answer& answer = result.answers[next++];
    outcomes_.at(answer.outcome)->Increment();
    switch (answer.outcome) {
      case Outcome::kAccepted:
      case Outcome::kDuplicate:
        job.open.erase(name);
        rows_->Increment(lease.info().rows);
        bytes_->Increment(lease.info().file_bytes);
        job.delivered.push_back(std::move(lease));
        break;
      case Outcome::kRefused:
        // That it has it not is no proof when it may have forgotten.
        if (recall && IsOld(job)) break;
        job.open.erase(name);
        // The peer takes it no more once it was asked about.
        if (recall) parts_.store.KeepHere(lease);
        if (answer.retry_after.count() > 0 && !recall) {
          Avoid(job.batch.manifest.peer, std::max(answer.retry_after, kLeastAvoid));
        }
        break;
      case Outcome::kInvalid:
        job.open.erase(name);
        LogWarn("a peer does not take a segment; it is uploaded here",
                {{"peer", job.batch.manifest.peer}, {"segment", name}, {"reason", answer.reason}});
        parts_.store.KeepHere(lease);
        break;
      case Outcome::kUnknown:
        job.open.insert(name);
        break;
    }
  }
  std::erase_if(job.batch.leases, [](const wal::SegmentLease& lease) { return !lease; });
}

// The peer has not said for too long what it has.
void TransferPool::GiveUp(Job& job) {
  uint64_t rows = 0;
  for (const wal::SegmentLease& lease : job.batch.leases) {
    if (!lease || !job.open.contains(lease.info().file_name)) continue;
    rows += lease.info().rows;
    parts_.store.KeepHere(lease);
  }
  job.open.clear();
  gave_up_rows_->Increment(rows);
  LogError(
      "a peer does not say whether it has rows: they are uploaded here, and may be there twice",
      {{"peer", job.batch.manifest.peer}, {"batch", job.batch.manifest.id}, {"rows", rows}});
}

// Puts away what is settled. The order is the promise: deleted, then the manifest without it, then
// free.
Status TransferPool::Conclude(Job& job) {
  if (!job.delivered.empty()) {
    FOREBAY_RETURN_IF_ERROR(parts_.store.DeleteSegments(job.delivered, wal::RowFate::kTransferred));
    job.delivered.clear();
  }
  FOREBAY_FAILPOINT("transfer.after_delete");
  wal::BatchManifest& manifest = job.batch.manifest;
  if (job.open.empty()) {
    FOREBAY_RETURN_IF_ERROR(parts_.manifests.Remove(manifest.id));
    job.batch.leases.clear();
    return OkStatus();
  }
  if (manifest.segments.size() == job.open.size()) return OkStatus();
  std::erase_if(manifest.segments, [&](const wal::ManifestSegment& segment) {
    return !job.open.contains(segment.file_name);
  });
  FOREBAY_RETURN_IF_ERROR(parts_.manifests.Save(manifest));
  std::erase_if(job.batch.leases, [&](const wal::SegmentLease& lease) {
    return !job.open.contains(lease.info().file_name);
  });
  return OkStatus();
}

void TransferPool::NoteFailure(const std::string& peer, const Error& error) {
  {
    MutexLock lock(mutex_);
    last_error_ = error.ToString();
  }
  if (IsOurs(error)) return;
  Avoid(peer, config_.unhealthy_for);
  LogWarn("a transfer failed; the peer is given nothing for a time",
          {{"peer", peer}, {"error", error.ToString()}});
}

void TransferPool::Avoid(const std::string& peer, milliseconds time) {
  const MonotonicTime until = parts_.clock.Monotonic() + time;
  MutexLock lock(mutex_);
  MonotonicTime& at = avoid_until_[peer];
  at = std::max(at, until);
}

size_t TransferPool::Settle(MonotonicTime deadline) {
  MutexLock lock(mutex_);
  const uint64_t epoch = ++epoch_;
  const uint64_t end = next_number_;
  for (Job& job : waiting_) job.due = parts_.clock.Monotonic();
  changed_.NotifyAll();
  const auto tried = [&]() REQUIRES(mutex_) {
    return std::all_of(live_.begin(), live_.lower_bound(end),
                       [&](const auto& job) { return job.second >= epoch; });
  };
  while (!stopping_ && !tried()) {
    if (!changed_.WaitUntil(lock, deadline)) break;
  }
  return static_cast<size_t>(std::distance(live_.begin(), live_.lower_bound(end)));
}

uint64_t TransferPool::OpenRows() const {
  MutexLock lock(mutex_);
  uint64_t rows = 0;
  for (const Job& job : waiting_) {
    for (const wal::SegmentLease& lease : job.batch.leases) {
      if (job.open.contains(lease.info().file_name)) rows += lease.info().rows;
    }
  }
  return rows;
}

PoolStatus TransferPool::status() const {
  PoolStatus status;
  status.open_rows = OpenRows();
  const MonotonicTime now = parts_.clock.Monotonic();
  MutexLock lock(mutex_);
  status.waiting = waiting_.size();
  status.running = live_.size() - waiting_.size();
  for (const auto& [peer, until] : avoid_until_) {
    if (now < until) status.avoided_peers.push_back(peer);
  }
  for (const auto& [peer, until] : leaving_until_) {
    if (now < until) status.leaving_peers.push_back(peer);
  }
  status.last_error = last_error_;
  return status;
}

}  // namespace forebay::transfer
