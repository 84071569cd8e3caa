// One mutex around maps of small values; nothing here does I/O.
#include "wal/batch_queue.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/check.h"

namespace forebay::wal {
namespace {

// One that a sink refused waits for room among the dead letters: that is no dead backend.
bool IsFresh(const BatchManifest& manifest) {
  return std::all_of(manifest.sinks.begin(), manifest.sinks.end(), [](const ManifestSink& sink) {
    return sink.state == DeliveryState::kPending;
  });
}

BatchStatus StatusOf(const BatchManifest& manifest) {
  BatchStatus status;
  status.id = manifest.id;
  status.database = manifest.database;
  status.table = manifest.table;
  status.reason = manifest.reason;
  status.segments = manifest.segments.size();
  status.rows = manifest.rows();
  status.row_bytes = manifest.row_bytes();
  status.created = manifest.created;
  return status;
}

}  // namespace

bool PicksOldest(uint64_t pick, uint32_t share_percent) {
  const uint64_t share = std::min<uint64_t>(share_percent, 100);
  // Whenever the share, rounded down, grows with this pick.
  return (pick + 1) * share / 100 > pick * share / 100;
}

BatchQueue::BatchQueue(const Clock& clock, Limits limits) : clock_(clock), limits_(limits) {}

bool BatchQueue::HasRoom(const std::string& database) const {
  MutexLock lock(mutex_);
  const auto counts = counts_.find(database);
  return counts == counts_.end() || (counts->second.fresh < limits_.fresh_per_database &&
                                     counts->second.all < limits_.per_database);
}

bool BatchQueue::Push(Batch&& batch) {
  MutexLock lock(mutex_);
  if (closed_) return false;
  const std::string& id = batch.manifest.id;
  const auto [entry, added] =
      live_.try_emplace(id, Entry{StatusOf(batch.manifest), IsFresh(batch.manifest)});
  FOREBAY_CHECK(added);
  Counts& counts = counts_[batch.manifest.database];
  ++counts.all;
  if (entry->second.fresh) ++counts.fresh;
  for (auto& [number, watch] : watches_) {
    if (!watch.sealed) watch.following.insert(id);
  }
  waiting_.emplace(DueKey{clock_.Monotonic(), next_sequence_++}, std::move(batch));
  changed_.NotifyAll();
  return true;
}

void BatchQueue::Ripen(MonotonicTime now) {
  while (!waiting_.empty() && waiting_.begin()->first.first <= now) {
    auto node = waiting_.extract(waiting_.begin());
    Rank rank{node.mapped().failures, node.mapped().manifest.id};
    due_.emplace(std::move(rank), std::move(node.mapped()));
  }
}

bool BatchQueue::MayRun(const BatchManifest& manifest, const Takes& takes) const {
  return counts_.at(manifest.database).running < limits_.running_per_database &&
         (!takes || takes(manifest));
}

std::optional<Batch> BatchQueue::TakeDue(const Takes& takes) {
  const bool oldest = PicksOldest(picks_, limits_.oldest_share_percent);
  auto found = due_.end();
  for (auto entry = due_.begin(); entry != due_.end(); ++entry) {
    if (oldest && found != due_.end() && found->first.id < entry->first.id) continue;
    if (!MayRun(entry->second.manifest, takes)) continue;
    found = entry;
    if (!oldest) break;
  }
  if (found == due_.end()) return std::nullopt;
  Batch batch = std::move(found->second);
  due_.erase(found);
  live_.at(batch.manifest.id).status.running = true;
  ++counts_.at(batch.manifest.database).running;
  ++running_;
  ++picks_;
  return batch;
}

std::optional<Batch> BatchQueue::Pop(MonotonicTime deadline, const Takes& takes) {
  MutexLock lock(mutex_);
  while (!closed_) {
    const MonotonicTime now = clock_.Monotonic();
    Ripen(now);
    if (auto batch = TakeDue(takes)) return batch;
    if (now >= deadline) return std::nullopt;
    const MonotonicTime next = waiting_.empty() ? deadline : waiting_.begin()->first.first;
    (void)changed_.WaitUntil(lock, std::min(deadline, next));
  }
  return std::nullopt;
}

void BatchQueue::LookAgain() {
  MutexLock lock(mutex_);
  changed_.NotifyAll();
}

void BatchQueue::Defer(Batch&& batch, MonotonicTime not_before, const Error* error) {
  MutexLock lock(mutex_);
  Entry& entry = live_.at(batch.manifest.id);
  FOREBAY_CHECK(entry.status.running);
  entry.status.running = false;
  --running_;
  --counts_.at(batch.manifest.database).running;
  const bool fresh = IsFresh(batch.manifest);
  if (entry.fresh && !fresh) --counts_[batch.manifest.database].fresh;
  entry.fresh = fresh;
  if (error != nullptr) {
    ++entry.status.failures;
    entry.status.last_error = error->ToString();
    for (auto& [number, watch] : watches_) {
      NoteFailure(watch, entry.status.id, entry.status.last_error);
    }
  }
  waiting_.emplace(DueKey{not_before, next_sequence_++}, std::move(batch));
  changed_.NotifyAll();
}

void BatchQueue::Finish(const std::string& id, BatchOutcome outcome) {
  MutexLock lock(mutex_);
  const auto entry = live_.find(id);
  FOREBAY_CHECK(entry != live_.end() && entry->second.status.running);
  --running_;
  const auto counts = counts_.find(entry->second.status.database);
  if (entry->second.fresh) --counts->second.fresh;
  --counts->second.running;
  if (--counts->second.all == 0) counts_.erase(counts);
  live_.erase(entry);
  for (auto& [number, watch] : watches_) {
    if (watch.following.erase(id) == 0) continue;
    ++(outcome == BatchOutcome::kDelivered ? watch.result.delivered : watch.result.dead_lettered);
  }
  changed_.NotifyAll();
}

void BatchQueue::NoteFailure(Watch& watch, const std::string& id, std::string_view error) {
  if (watch.following.erase(id) == 0) return;
  ++watch.result.failed;
  if (watch.result.errors.size() < kMaxFlushErrors) {
    watch.result.errors.push_back(fmt::format("{}: {}", id, error));
  }
}

void BatchQueue::MakeDue(const std::string* database) {
  const MonotonicTime now = clock_.Monotonic();
  for (auto next = waiting_.upper_bound(DueKey{now, UINT64_MAX}); next != waiting_.end();) {
    const auto current = next++;
    if (database != nullptr && current->second.manifest.database != *database) continue;
    auto node = waiting_.extract(current);
    node.key() = DueKey{now, node.key().second};
    waiting_.insert(std::move(node));
  }
  changed_.NotifyAll();
}

void BatchQueue::Wake(const std::string& database) {
  MutexLock lock(mutex_);
  MakeDue(&database);
}

void BatchQueue::WakeAll() {
  MutexLock lock(mutex_);
  ++retry_epoch_;
  MakeDue(nullptr);
}

uint64_t BatchQueue::retry_epoch() const {
  MutexLock lock(mutex_);
  return retry_epoch_;
}

void BatchQueue::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
  changed_.NotifyAll();
}

bool BatchQueue::closed() const {
  MutexLock lock(mutex_);
  return closed_;
}

uint64_t BatchQueue::StartWatch() {
  MutexLock lock(mutex_);
  Watch& watch = watches_[next_watch_];
  for (const auto& [id, entry] : live_) watch.following.insert(id);
  return next_watch_++;
}

void BatchQueue::SealWatch(uint64_t watch) {
  MutexLock lock(mutex_);
  watches_.at(watch).sealed = true;
}

size_t BatchQueue::Watched(uint64_t watch) const {
  MutexLock lock(mutex_);
  return watches_.at(watch).following.size();
}

FlushResult BatchQueue::EndWatch(uint64_t watch, MonotonicTime deadline) {
  MutexLock lock(mutex_);
  const auto found = watches_.find(watch);
  FOREBAY_CHECK(found != watches_.end());
  found->second.sealed = true;
  while (!found->second.following.empty() && !closed_) {
    if (!changed_.WaitUntil(lock, deadline)) break;
  }
  FlushResult result = std::move(found->second.result);
  result.unfinished = found->second.following.size();
  watches_.erase(found);
  return result;
}

bool BatchQueue::Contains(const std::string& id) const {
  MutexLock lock(mutex_);
  return live_.contains(id);
}

size_t BatchQueue::size() const {
  MutexLock lock(mutex_);
  return live_.size();
}

size_t BatchQueue::running() const {
  MutexLock lock(mutex_);
  return running_;
}

std::vector<BatchStatus> BatchQueue::Snapshot(size_t max) const {
  MutexLock lock(mutex_);
  std::vector<BatchStatus> list;
  for (const auto& [id, entry] : live_) {
    if (list.size() >= max) break;
    list.push_back(entry.status);
  }
  return list;
}

bool BatchQueue::WaitIdle(MonotonicTime deadline) const {
  MutexLock lock(mutex_);
  while (running_ != 0) {
    if (!changed_.WaitUntil(lock, deadline)) break;
  }
  return running_ == 0;
}

}  // namespace forebay::wal
