#include "wal/wal.h"

#include <atomic>

#include "base/check.h"
#include "base/log.h"
#include "base/thread.h"
#include "wal/internal/wal_impl.h"

namespace forebay::wal {
namespace {

// The open generation is rotated at this part of generation.max_memory; the rest is for the one
// being sealed with its sorted copy (1.8 times its columns), while the next one fills.
constexpr uint64_t kRotateAtPart = 3;
// Spare journals take at most this part of storage.max_disk.
constexpr uint64_t kSparesPart = 16;

int64_t Nanos(MonotonicTime time) { return time.time_since_epoch().count(); }

}  // namespace

Result<std::unique_ptr<Wal>> Wal::Open(const WalOptions& options, io::FileSystem& fs,
                                       const Clock& clock, table::SeriesTable& series,
                                       const table::TableRegistry& tables, SegmentStore& store,
                                       Quarantine& quarantine, ReplayHandler& replay,
                                       const WalExtras& extras) {
  auto wal = std::make_unique<WalImpl>(
      options, WalImpl::Parts{fs, clock, series, tables, store, quarantine, replay, extras.ledger,
                              extras.peer_ledger, extras.disk});
  FOREBAY_RETURN_IF_ERROR(wal->Start());
  return Result<std::unique_ptr<Wal>>(std::move(wal));
}

WalImpl::WalImpl(const WalOptions& options, const Parts& parts)
    : options_(options),
      parts_(parts),
      journal_directory_(io::JoinPath(options.storage.dir, "journal")),
      rotate_memory_bytes_(options.generation.max_memory.value / kRotateAtPart),
      pool_(options.generation.max_memory.value / sizeof(SampleChunk) + 1),
      sealer_(parts.fs, parts.clock, parts.series, parts.tables, parts.store.directory()),
      spares_(parts.fs, {options.storage.max_disk.value / kSparesPart}) {}

WalImpl::~WalImpl() { (void)Stop(parts_.clock.Monotonic()); }

Status WalImpl::Start() {
  FOREBAY_RETURN_IF_ERROR(parts_.fs.CreateDirectories(journal_directory_));
  FOREBAY_RETURN_IF_ERROR(parts_.fs.CreateDirectories(parts_.store.directory()));
  FOREBAY_RETURN_IF_ERROR(Recover());
  FOREBAY_RETURN_IF_ERROR(OpenFirst());
  CheckDisk();
  journal_thread_ = StartThread("journal", [this](const std::stop_token&) { JournalLoop(); });
  sealer_thread_ = StartThread("sealer", [this](const std::stop_token&) { SealerLoop(); });
  return {};
}

std::shared_ptr<Generation> WalImpl::MakeGeneration(uint64_t sequence,
                                                    const JournalIdentity& journal) {
  const auto on_drained = [this] {
    MutexLock lock(mutex_);
    drained_.NotifyAll();
  };
  return std::make_shared<Generation>(
      Generation::Identity{sequence, journal.id,
                           io::JoinPath(journal_directory_, JournalFileName(journal)),
                           parts_.clock.Monotonic()},
      options_.shards, pool_, on_drained);
}

Error WalImpl::Refusal(bool disk_full) const {
  if (stopping_) return Error(ErrorCode::kUnavailable, "the node is stopping");
  if (!hold_.empty()) return Error(ErrorCode::kUnavailable, hold_);
  if (journal_broken_.load(std::memory_order_relaxed)) {
    return Error(ErrorCode::kUnavailable,
                 "the journal cannot be written; a new one is being tried");
  }
  if (disk_full) {
    return Error(ErrorCode::kUnavailable,
                 "the storage is full (storage.max_disk or the volume); uploads go on");
  }
  if (pool_.bytes() >= options_.generation.max_memory.value) {
    return Error(ErrorCode::kUnavailable, "generation.max_memory is spent; sealing is behind");
  }
  return Error(ErrorCode::kUnavailable, "the journal has been stalled for limits.commit_timeout");
}

Result<GenerationLease> WalImpl::Enter(bool disk_full) {
  const int64_t started = commit_started_nanos_.load(std::memory_order_relaxed);
  const bool stalled =
      started != 0 && std::chrono::nanoseconds(Nanos(parts_.clock.Monotonic()) - started) >
                          options_.limits.commit_timeout;
  const bool spent = pool_.bytes() >= options_.generation.max_memory.value;
  GenerationLease lease;
  {
    MutexLock lock(mutex_);
    if (stopping_ || !hold_.empty() || stalled || spent || disk_full ||
        journal_broken_.load(std::memory_order_relaxed)) {
      return Refusal(disk_full);
    }
    lease = open_->Enter(open_);
  }
  // Between entering and the first Find: see SeriesTable::SetOpenGeneration.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return lease;
}

void WalImpl::Commit(const GenerationLease& lease, PendingRecord* record) {
  FOREBAY_CHECK(lease && record->done != nullptr);
  if (options_.durability == config::Durability::kNone) {
    record->status = OkStatus();
    record->done(record);
    return;
  }
  record->generation = lease.generation_.get();
  record->next = nullptr;
  {
    MutexLock lock(mutex_);
    if (!stopped_) {
      if (queue_tail_ == nullptr) {
        queue_head_ = record;
        work_.NotifyOne();
      } else {
        queue_tail_->next = record;
      }
      queue_tail_ = record;
      return;
    }
  }
  // The request has outlived Stop's deadline: nobody writes any more.
  record->status = Error(ErrorCode::kUnavailable, "the node has stopped");
  record->done(record);
}

bool WalImpl::WaitSealed(uint64_t sequence, MonotonicTime deadline) {
  MutexLock lock(mutex_);
  while (sealed_up_to_ < sequence) {
    if (!sealed_.WaitUntil(lock, deadline)) return sealed_up_to_ >= sequence;
  }
  return true;
}

void WalImpl::Hold(std::string reason) {
  MutexLock lock(mutex_);
  hold_ = std::move(reason);
}

Status WalImpl::Flush(MonotonicTime deadline) {
  uint64_t target = 0;
  {
    MutexLock lock(mutex_);
    // Requests that have entered and appended nothing yet are seen by nobody: the last generation
    // before a hold is sealed in any case.
    const bool empty = hold_.empty() && open_->samples() == 0 && open_->memory_bytes() == 0;
    target = open_->identity().sequence - (empty ? 1 : 0);
    rotate_up_to_ = std::max(rotate_up_to_, target);
    work_.NotifyOne();
  }
  if (WaitSealed(target, deadline)) return {};
  return Error(ErrorCode::kDeadlineExceeded, "not everything was sealed in time; sealing goes on");
}

Status WalImpl::Stop(MonotonicTime deadline) {
  uint64_t target = 0;
  {
    MutexLock lock(mutex_);
    if (stopped_ || open_ == nullptr) return {};
    stopping_ = true;
    target = open_->identity().sequence;
    rotate_up_to_ = target;
    work_.NotifyOne();
  }
  const bool sealed = journal_thread_.joinable() && WaitSealed(target, deadline);
  {
    MutexLock lock(mutex_);
    stop_journal_ = true;
    stop_sealer_ = true;
    stopped_ = true;
    work_.NotifyAll();
    drained_.NotifyAll();
  }
  if (journal_thread_.joinable()) journal_thread_.join();
  if (sealer_thread_.joinable()) sealer_thread_.join();
  if (sealed) return {};
  return Error(ErrorCode::kDeadlineExceeded,
               "a generation was not sealed in time; it stays in its journal for the next start");
}

WalStats WalImpl::stats() const {
  WalStats stats;
  stats.generations_sealed = generations_sealed_.load();
  stats.replayed_records = replayed_records_.load();
  stats.quarantined_records = quarantined_records_.load();
  stats.deduplicated_records = deduplicated_records_.load();
  stats.journal_bytes = journal_disk_bytes_.load();
  stats.journal_spare_bytes = spares_.bytes();
  stats.journals_recycled = journals_recycled_.load();
  stats.torn_tails = torn_tails_.load();
  stats.journal_bytes_written = journal_bytes_written_.load();
  stats.journal_records = journal_records_.load();
  stats.journal_commits = journal_commits_.load();
  stats.journal_errors = journal_errors_.load();
  stats.seal_errors = seal_errors_.load();
  stats.sealed_rows = sealed_rows_.load();
  stats.sealed_file_bytes = sealed_file_bytes_.load();
  stats.series_evicted = series_evicted_.load();
  stats.memory_bytes = pool_.bytes();
  stats.disk_full = DiskFull();
  stats.refused_may_return = refused_may_return_.load();
  const MonotonicTime now = parts_.clock.Monotonic();
  MutexLock lock(mutex_);
  stats.open_generation_samples = open_->samples();
  stats.open_generation_bytes = open_->memory_bytes();
  stats.sealing_generations = sealing_.size();
  stats.recovering = sealed_up_to_ < recovered_up_to_;
  MonotonicTime oldest = now;
  if (!sealing_.empty()) {
    oldest = sealing_.front()->identity().opened;
  } else if (open_->memory_bytes() != 0) {
    oldest = open_->identity().opened;
  }
  stats.oldest_unsealed_seconds = std::chrono::duration<double>(now - oldest).count();
  return stats;
}

}  // namespace forebay::wal
