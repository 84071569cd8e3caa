// Rounds of planning, and what flushes and restarts add to them.
#include "batch/batcher.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/thread.h"
#include "wal/flake_id.h"

namespace forebay::batch {
namespace {

using wal::BatchReason;

// Longer than any segment waits.
constexpr std::chrono::hours kAnyAge{24 * 365 * 10};

std::vector<std::string> NamesOf(const std::vector<wal::SegmentPointer>& segments) {
  std::vector<std::string> names;
  names.reserve(segments.size());
  for (const wal::SegmentPointer& segment : segments) names.push_back(segment->file_name);
  return names;
}

}  // namespace

Batcher::Batcher(BatcherOptions options, const Clock& clock, wal::SegmentStore& store,
                 wal::ManifestStore& manifests, wal::BatchQueue& queue, metrics::Registry& registry)
    : options_(std::move(options)),
      clock_(clock),
      store_(store),
      manifests_(manifests),
      queue_(queue),
      policy_(options_.batch) {
  for (const BatchReason reason : wal::kBatchReasons) {
    planned_[reason] =
        registry.AddCounter("forebay_batch_planned_total", "Batches made, by what made them due.",
                            {{"reason", std::string(Name(reason))}});
  }
  transfers_ =
      registry.AddCounter("forebay_batch_transfers_total", "Batches of segments given to peers.");
  errors_ = registry.AddCounter("forebay_batch_errors_total",
                                "Batches that could not be made, mostly because their manifest "
                                "could not be written; their segments wait.");
  oldest_age_ = registry.AddCallback(
      "forebay_batch_oldest_segment_age_seconds",
      "Age of the oldest sealed segment that is not delivered; 0 when there is none.",
      metrics::MetricType::kGauge, [this] {
        const auto oldest = store_.OldestCreated();
        if (!oldest) return 0.0;
        return std::max(0.0, static_cast<double>(clock_.Now().value - oldest->value) / 1000.0);
      });
  live_batches_ = registry.AddCallback(
      "forebay_batch_live", "Batches made and not yet delivered or dead-lettered.",
      metrics::MetricType::kGauge, [this] { return static_cast<double>(queue_.size()); });
}

Batcher::~Batcher() { Stop(); }

void Batcher::Start() {
  FOREBAY_CHECK(!thread_.joinable());
  thread_ = StartThread("batcher", [this](const std::stop_token& stop) { Run(stop); });
}

void Batcher::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  if (!thread_.joinable()) return;
  thread_.request_stop();
  store_.Notify();
  thread_.join();
}

Status Batcher::Resume() {
  FOREBAY_ASSIGN_OR_RETURN(auto loaded, manifests_.Load());
  for (wal::BatchManifest& manifest : loaded.manifests) {
    FOREBAY_RETURN_IF_ERROR(ResumeOne(std::move(manifest)));
  }
  if (loaded.damaged.empty()) return OkStatus();
  const auto backlog = store_.Backlog();
  for (const std::string& id : loaded.damaged) RestoreDamaged(id, backlog);
  return OkStatus();
}

// The peer may have some of the segments: it is asked before anything else is done with them.
Status Batcher::ResumeTransfer(wal::BatchManifest manifest) {
  wal::Batch batch;
  for (const wal::ManifestSegment& segment : manifest.segments) {
    // Those that are gone the peer had.
    auto lease = store_.Take(segment.file_name);
    if (lease.ok()) batch.leases.push_back(*std::move(lease));
  }
  if (batch.leases.empty()) return manifests_.Remove(manifest.id);
  if (!options_.handover && !options_.may_guess) {
    return Error(ErrorCode::kFailedPrecondition,
                 fmt::format("{} segments were being given to {}, which may have them: it must be "
                             "asked. Name this node (cluster.member) and give the "
                             "configuration of its cluster, in which {} runs",
                             batch.leases.size(), manifest.peer, manifest.peer));
  }
  if (!options_.handover) {
    LogError(
        "segments were being given to a peer, and transfers are off now: they are uploaded here, "
        "and may be there twice",
        {{"batch", manifest.id}, {"peer", manifest.peer}, {"segments", batch.leases.size()}});
    errors_->Increment();
    return manifests_.Remove(manifest.id);
  }
  batch.manifest = std::move(manifest);
  options_.handover->push(std::move(batch), /*resumed=*/true);
  return OkStatus();
}

Status Batcher::ResumeOne(wal::BatchManifest manifest) {
  if (!manifest.peer.empty()) return ResumeTransfer(std::move(manifest));
  return Continue(std::move(manifest),
                  [this](const std::string& file_name) { return store_.Take(file_name); });
}

Status Batcher::TakeBack(wal::BatchManifest manifest) {
  return Continue(std::move(manifest),
                  [this](const std::string& file_name) { return store_.Adopt(file_name); });
}

Status Batcher::Continue(wal::BatchManifest manifest, const Lease& lease_of) {
  wal::Batch batch;
  uint64_t missing = 0;
  for (const wal::ManifestSegment& segment : manifest.segments) {
    auto lease = lease_of(segment.file_name);
    if (lease.ok()) {
      batch.leases.push_back(*std::move(lease));
    } else {
      ++missing;
    }
  }
  // Settled: the crash was between the last word of the sinks and the removal of the manifest.
  if (!manifest.settled()) {
    Reconcile(manifest);
    if (missing > 0) {
      LogError("segments of a batch are gone though not every sink has it",
               {{"batch", manifest.id}, {"missing", missing}, {"found", batch.leases.size()}});
      errors_->Increment();
    }
    if (batch.leases.empty()) return manifests_.Remove(manifest.id);
  }
  batch.manifest = std::move(manifest);
  (void)queue_.Push(std::move(batch));
  return OkStatus();
}

// Sinks that the configuration no longer names will not take anything; those that are new to a
// batch nobody has yet replace them, so that every batch has somewhere to go.
void Batcher::Reconcile(wal::BatchManifest& manifest) const {
  const auto configured = options_.sinks.find(manifest.database);
  if (configured == options_.sinks.end() || configured->second.empty()) return;
  const auto& names = configured->second;
  std::erase_if(manifest.sinks, [&](const wal::ManifestSink& sink) {
    const bool gone = sink.state == wal::DeliveryState::kPending &&
                      std::find(names.begin(), names.end(), sink.name) == names.end();
    if (gone) {
      LogWarn("sink of a pending batch is not configured any more, it will not get it",
              {{"batch", manifest.id}, {"database", manifest.database}, {"sink", sink.name}});
    }
    return gone;
  });
  if (manifest.sinks.empty()) {
    for (const std::string& name : names) {
      wal::ManifestSink sink;
      sink.name = name;
      manifest.sinks.push_back(std::move(sink));
    }
  }
}

// The id of a damaged manifest is in its file name and tells its segments: those from the first id
// on whose names have its hash. Found, the batch goes on under its id and sinks see that they have
// it.
void Batcher::RestoreDamaged(const std::string& id, const std::vector<wal::TableBacklog>& backlog) {
  if (!wal::IsBatchId(id)) return;
  uint64_t first_id = 0;
  (void)std::from_chars(id.data(), id.data() + 16, first_id, 16);
  for (const wal::TableBacklog& table : backlog) {
    const auto first =
        std::find_if(table.segments.begin(), table.segments.end(),
                     [&](const auto& segment) { return segment->name.id == first_id; });
    PlannedBatch plan;
    for (auto next = first; next != table.segments.end(); ++next) {
      if (plan.segments.size() >= std::max<size_t>(Policy().max_segments, 1)) break;
      plan.segments.push_back(*next);
      if (wal::BatchId(first_id, NamesOf(plan.segments)) != id) continue;
      LogInfo("batch of a damaged manifest found again by its id", {{"batch", id}});
      (void)PushPlanned(plan);
      return;
    }
  }
  LogWarn(
      "segments of a damaged manifest are not found by its id and are planned anew; a sink that "
      "had the batch "
      "may get its rows again",
      {{"batch", id}});
}

wal::BatchManifest Batcher::MakeManifest(const PlannedBatch& plan) const {
  const wal::SegmentName& name = plan.segments.front()->name;
  wal::BatchManifest manifest;
  manifest.id = wal::BatchId(name.id, NamesOf(plan.segments));
  manifest.database = name.database;
  manifest.table = name.table;
  manifest.schema_hash = name.schema_hash;
  if (options_.header_line) manifest.header_line = options_.header_line(name);
  manifest.created = clock_.Now();
  manifest.first_time = wal::MillisOf(name.id);
  manifest.reason = plan.reason;
  for (const wal::SegmentPointer& segment : plan.segments) {
    manifest.segments.push_back({segment->file_name, segment->rows, segment->row_bytes});
  }
  if (plan.outcome == Outcome::kTransfer) return manifest;
  for (const std::string& sink_name : options_.sinks.at(name.database)) {
    wal::ManifestSink sink;
    sink.name = sink_name;
    manifest.sinks.push_back(std::move(sink));
  }
  return manifest;
}

bool Batcher::PushPlanned(const PlannedBatch& plan) {
  const auto sinks = options_.sinks.find(plan.segments.front()->name.database);
  if (sinks == options_.sinks.end() || sinks->second.empty()) {
    LogWarn("segments of a database without a sink wait",
            {{"database", plan.segments.front()->name.database}});
    return false;
  }
  wal::Batch batch;
  for (const wal::SegmentPointer& segment : plan.segments) {
    auto lease = store_.Take(segment->file_name);
    // Somebody else was faster; the leases taken so far go back, the next round plans again.
    if (!lease.ok()) return false;
    batch.leases.push_back(*std::move(lease));
  }
  batch.manifest = MakeManifest(plan);
  FOREBAY_FAILPOINT("manifest.before_write");
  if (const Status saved = manifests_.Save(batch.manifest); !saved.ok()) {
    errors_->Increment();
    LogError("batch manifest cannot be written, its segments wait",
             {{"table", wal::SegmentKey(plan.segments.front()->name)},
              {"error", saved.error().ToString()}});
    return false;
  }
  FOREBAY_FAILPOINT("manifest.after_write");
  batch.fresh = true;
  if (!queue_.Push(std::move(batch)))
    return false;  // Stopping; the manifest is for the next start.
  planned_.at(plan.reason)->Increment();
  return true;
}

// Segments of many tables go to a peer in one call.
void Batcher::PushTransfers(
    const std::map<std::string, std::vector<wal::SegmentPointer>>& by_peer) {
  const size_t max_segments = std::max<size_t>(Policy().max_segments, 1);
  for (const auto& [peer, segments] : by_peer) {
    PlannedBatch plan;
    plan.outcome = Outcome::kTransfer;
    uint64_t bytes = 0;
    for (const wal::SegmentPointer& segment : segments) {
      const bool full = plan.segments.size() == max_segments ||
                        bytes + segment->file_bytes > options_.handover->max_batch.value;
      if (full && !plan.segments.empty()) {
        if (!PushTransfer(peer, plan)) return;
        plan.segments.clear();
        bytes = 0;
      }
      plan.segments.push_back(segment);
      bytes += segment->file_bytes;
    }
    if (!PushTransfer(peer, plan)) return;
  }
}

// False: nothing more now.
bool Batcher::PushTransfer(const std::string& peer, const PlannedBatch& plan) {
  if (!options_.handover->has_room()) return false;
  wal::Batch batch;
  for (const wal::SegmentPointer& segment : plan.segments) {
    auto lease = store_.Take(segment->file_name);
    if (!lease.ok()) return false;  // the next round plans again
    batch.leases.push_back(*std::move(lease));
  }
  batch.manifest = MakeManifest(plan);
  batch.manifest.peer = peer;
  if (const Status saved = manifests_.Save(batch.manifest); !saved.ok()) {
    errors_->Increment();
    LogError("the manifest of a transfer cannot be written, its segments wait",
             {{"peer", peer}, {"error", saved.error().ToString()}});
    (void)manifests_.Remove(batch.manifest.id);
    return false;
  }
  FOREBAY_FAILPOINT("transfer.after_manifest");
  options_.handover->push(std::move(batch), /*resumed=*/false);
  transfers_->Increment();
  return true;
}

void Batcher::SetPolicy(const config::Batch& policy) {
  MutexLock lock(mutex_);
  policy_ = policy;
  ++policy_version_;
  wake_.NotifyAll();
}

void Batcher::SetDraining(bool on) {
  {
    MutexLock lock(mutex_);
    draining_ = on;
    wake_.NotifyAll();
  }
  store_.Notify();
}

config::Batch Batcher::Policy() const {
  MutexLock lock(mutex_);
  return policy_;
}

// Whether a plan made now would differ from the one there is.
bool Batcher::NeedsPlan(wal::BatchReason reason) const {
  if (!plan_.exists || plan_.reason != reason || plan_.arrivals != store_.arrivals()) return true;
  const MonotonicTime now = clock_.Monotonic();
  if (now >= plan_.earliest_due) return true;
  // Who owns what changes without a word.
  if (options_.handover && now - plan_.made >= kMaxRoundInterval) return true;
  MutexLock lock(mutex_);
  return plan_.policy != policy_version_;
}

void Batcher::MakePlan(wal::BatchReason reason) {
  config::Batch policy;
  {
    MutexLock lock(mutex_);
    policy = policy_;
    plan_.policy = policy_version_;
  }
  plan_.exists = true;
  plan_.reason = reason;
  plan_.arrivals = store_.arrivals();  // before the backlog, which may know more then
  plan_.earliest_due = MonotonicTime::max();
  plan_.made = clock_.Monotonic();
  std::vector<PlannedBatch> due;
  std::map<std::string, std::vector<wal::SegmentPointer>> by_peer;
  for (const wal::TableBacklog& table : store_.Backlog()) {
    PlanOptions plan_options{plan_.made, policy, reason, {}, {}};
    std::optional<std::string> peer;
    if (options_.handover) peer = options_.handover->peer_for(table.key);
    if (peer) {
      plan_options.transfer_max_age =
          reason == BatchReason::kDrain ? kAnyAge : options_.handover->max_age;
      plan_options.transfer_max_segment = options_.handover->max_segment;
    }
    for (PlannedBatch& plan : Plan(table, plan_options)) {
      if (plan.outcome == Outcome::kTransfer) {
        auto& segments = by_peer[*peer];
        segments.insert(segments.end(), plan.segments.begin(), plan.segments.end());
      } else if (plan.outcome == Outcome::kWait) {
        for (const wal::SegmentPointer& segment : plan.segments) {
          plan_.earliest_due = std::min(plan_.earliest_due, segment->known_since + policy.max_age);
        }
      } else {
        due.push_back(std::move(plan));
      }
    }
  }
  const auto order = PickOrder(due, options_.oldest_share_percent, picks_);
  plan_.batches.clear();
  for (size_t i = order.size(); i > 0; --i) plan_.batches.push_back(std::move(due[order[i - 1]]));
  PushTransfers(by_peer);
}

// Pushes from the plan what the queue has room for, until newer data has come.
size_t Batcher::PushDue() {
  more_ = false;
  size_t pushed = 0;
  std::vector<PlannedBatch> later;  // no room now; in order
  std::vector<PlannedBatch>& due = plan_.batches;
  while (!due.empty() && !queue_.closed() && !more_) {
    PlannedBatch next = std::move(due.back());
    due.pop_back();
    if (!queue_.HasRoom(next.segments.front()->name.database)) {
      later.push_back(std::move(next));
      continue;
    }
    if (!PushPlanned(next)) continue;
    ++picks_;
    more_ = ++pushed == kMaxPushesPerRound;
  }
  std::move(later.rbegin(), later.rend(), std::back_inserter(due));
  return pushed;
}

size_t Batcher::RunOnce(wal::BatchReason flush) {
  MakePlan(flush);
  return PushDue();
}

void Batcher::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    const uint64_t seen = store_.version();
    BatchReason reason = BatchReason::kSize;
    bool draining = false;
    {
      MutexLock lock(mutex_);
      draining = draining_;
      for (const auto& [watch, flush] : flushes_) {
        if (!flush->planned) reason = flush->reason;
      }
    }
    const bool flushing = reason != BatchReason::kSize;
    if (!flushing && draining) {
      reason = BatchReason::kDrain;
    } else if (!flushing && options_.storage_full && options_.storage_full()) {
      reason = BatchReason::kDisk;
    }
    if (NeedsPlan(reason)) MakePlan(reason);
    (void)PushDue();
    if (flushing && !more_) ServeFlushes(reason);
    if (more_) continue;
    const MonotonicTime now = clock_.Monotonic();
    {
      // Between two rounds, so that a burst of changes is one round; a flush waits less.
      MutexLock lock(mutex_);
      const MonotonicTime next = now + kMinRoundInterval;
      const MonotonicTime next_of_flush = now + kMinFlushRoundInterval;
      while (!stopping_) {
        const bool hurry = std::any_of(flushes_.begin(), flushes_.end(),
                                       [](const auto& flush) { return !flush.second->planned; });
        if (!wake_.WaitUntil(lock, hurry ? next_of_flush : next)) break;
      }
    }
    (void)store_.WaitForChange(seen, std::min(plan_.earliest_due, now + kMaxRoundInterval));
  }
}

// After a round for flushes: one is planned when no segment that was there at its request is free
// any more, or when nothing that could make room for the rest is on its way.
void Batcher::ServeFlushes(wal::BatchReason reason) {
  std::vector<std::pair<uint64_t, MonotonicTime>> open;
  {
    MutexLock lock(mutex_);
    for (const auto& [watch, flush] : flushes_) {
      if (!flush->planned && flush->reason == reason) open.emplace_back(watch, flush->requested);
    }
  }
  for (const auto& [watch, requested] : open) {
    // Some of the plan waits for room, which those before it will make.
    if (!plan_.batches.empty() && queue_.Watched(watch) != 0) continue;
    const uint64_t left = store_.CountFree(requested);
    MutexLock lock(mutex_);
    const auto flush = flushes_.find(watch);
    if (flush == flushes_.end()) continue;
    if (left != 0 && queue_.Watched(watch) != 0) continue;
    flush->second->unplanned_segments = left;
    flush->second->planned = true;
    queue_.SealWatch(watch);
    wake_.NotifyAll();
  }
}

wal::FlushResult Batcher::FlushNow(MonotonicTime deadline, wal::BatchReason reason) {
  FOREBAY_CHECK(reason != BatchReason::kSize);
  Flush flush;
  flush.reason = reason;
  flush.requested = clock_.Monotonic();
  flush.watch = queue_.StartWatch();
  queue_.WakeAll();
  {
    MutexLock lock(mutex_);
    flushes_[flush.watch] = &flush;
    wake_.NotifyAll();
    lock.Unlock();
    store_.Notify();
    lock.Lock();
    while (!flush.planned && !stopping_) {
      if (!wake_.WaitUntil(lock, deadline)) break;
    }
    flushes_.erase(flush.watch);
  }
  const bool planned = flush.planned;
  wal::FlushResult result = queue_.EndWatch(flush.watch, deadline);
  result.unplanned_segments =
      planned ? flush.unplanned_segments : store_.CountFree(flush.requested);
  return result;
}

}  // namespace forebay::batch
