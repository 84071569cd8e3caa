// The sealer thread: takes rotated generations in order, writes their segments, commits by
// unlinking the journal, hands the segments to the store, and lets idle series go.
#include <algorithm>
#include <chrono>

#include "base/failpoint.h"
#include "base/log.h"
#include "wal/internal/wal_impl.h"

namespace forebay::wal {
namespace {

constexpr std::chrono::milliseconds kFirstBackoff{20};
constexpr std::chrono::milliseconds kMaxBackoff{10'000};
constexpr std::chrono::seconds kWaitStep{1};

}  // namespace

void WalImpl::SealerLoop() {
  int attempt = 0;
  while (const std::shared_ptr<Generation> generation = WaitForDrained()) {
    const Status sealed = SealOnce(generation);
    if (sealed.ok()) {
      attempt = 0;
      continue;
    }
    seal_errors_.fetch_add(1);
    if (sealed.error().code() == ErrorCode::kNoSpace) spares_.Drop();
    LogError(
        "a generation could not be sealed; it stays in its journal and is tried again",
        {{"journal", generation->identity().journal_path}, {"error", sealed.error().ToString()}});
    if (!Backoff(attempt++)) return;
  }
}

// The oldest rotated generation, once its last request is through; null when it is time to stop.
std::shared_ptr<Generation> WalImpl::WaitForDrained() {
  MutexLock lock(mutex_);
  while (!stop_sealer_) {
    if (!sealing_.empty() && (sealing_.front()->replay_first || sealing_.front()->drained())) {
      return sealing_.front();
    }
    drained_.WaitUntil(lock, std::chrono::steady_clock::now() + kWaitStep);
  }
  return nullptr;
}

// False when it is time to stop.
bool WalImpl::Backoff(int attempt) {
  const auto wait = std::min(kMaxBackoff, kFirstBackoff * (1 << std::min(attempt, 9)));
  const MonotonicTime until = std::chrono::steady_clock::now() + wait;
  MutexLock lock(mutex_);
  while (!stop_sealer_) {
    if (!drained_.WaitUntil(lock, until)) return true;
  }
  return false;
}

Status WalImpl::SealOnce(const std::shared_ptr<Generation>& generation) {
  if (generation->replay_first) {
    FOREBAY_RETURN_IF_ERROR(ReplayJournal(generation));
  }
  GenerationContents contents = generation->Take();
  if (!generation->sealed && !contents.empty()) {
    Result<std::vector<SegmentInfo>> sealed =
        sealer_.Seal(generation->identity().id, generation->identity().sequence, contents);
    if (!sealed.ok()) {
      generation->Restore(std::move(contents));
      return Error(std::move(sealed.error()));
    }
    generation->sealed = std::move(*sealed);
  }
  FOREBAY_FAILPOINT("seal.before_commit");
  Status removed = PersistIdentities(*generation);
  if (removed.ok()) removed = RemoveJournal(*generation);
  FOREBAY_FAILPOINT("seal.after_commit");
  if (!removed.ok()) {
    // The removal is tried again, and never the sealing: it may have reached the disk, and then
    // the segments are all that there is.
    generation->Restore(std::move(contents));
    return removed;
  }
  std::vector<SegmentInfo> segments;
  if (generation->sealed) segments = std::move(*generation->sealed);
  for (const SegmentInfo& segment : segments) {
    sealed_rows_.fetch_add(segment.rows, std::memory_order_relaxed);
    sealed_file_bytes_.fetch_add(segment.file_bytes, std::memory_order_relaxed);
  }
  parts_.store.Add(std::move(segments),
                   generation->recovered ? RowOrigin::kRecovered : RowOrigin::kSealed);
  Finish(generation, std::move(contents));
  return {};
}

// The journal's identities must outlive it. A full volume does not keep the generation from its
// commit: its segments are the way to free space, and a retry across a restart is the rarer loss.
Status WalImpl::PersistIdentities(const Generation& generation) {
  for (RequestLedger* ledger : {parts_.ledger, parts_.peer_ledger}) {
    if (ledger != nullptr) FOREBAY_RETURN_IF_ERROR(PersistLedger(*ledger, generation));
  }
  return {};
}

Status WalImpl::PersistLedger(RequestLedger& ledger, const Generation& generation) {
  const Generation::Identity& identity = generation.identity();
  Status persisted = ledger.Persist({identity.sequence, identity.id});
  if (persisted.ok() || persisted.error().code() != ErrorCode::kNoSpace) return persisted;
  LogError("no space for a ledger file: retries of its requests are known until the next start",
           {{"journal", identity.journal_path}, {"error", persisted.error().ToString()}});
  return {};
}

// Only what this run has written to, and without an error: what a found journal lies on is not
// known to be good.
bool WalImpl::Recyclable(const Generation& generation) const {
  return generation.journal != nullptr && !generation.journal->empty() &&
         spares_.Wants(generation.journal->disk_bytes()) && !SpaceIsShort();
}

// The commit point. Until it is durable the segments must not be seen: a journal that comes back
// after a power cut would be replayed although its segments were uploaded. For the same reason
// nothing may be written over a file before its new name is durable.
Status WalImpl::RemoveJournal(Generation& generation) {
  const std::string& path = generation.identity().journal_path;
  if (generation.recycled_to.empty() && Recyclable(generation)) {
    std::string spare = io::JoinPath(journal_directory_, SpareFileName(generation.identity().id));
    const Status renamed = parts_.fs.Rename(path, spare);
    // Removing is tried where renaming fails.
    if (renamed.ok()) generation.recycled_to = std::move(spare);
  }
  if (generation.recycled_to.empty()) {
    Status removed = parts_.fs.Remove(path);
    if (!removed.ok() && removed.error().code() != ErrorCode::kNotFound) return removed;
  }
  FOREBAY_RETURN_IF_ERROR(parts_.fs.SyncDirectory(journal_directory_));
  if (!generation.recycled_to.empty()) {
    spares_.Keep({generation.recycled_to, generation.journal->disk_bytes()});
  }
  generation.journal.reset();
  return {};
}

void WalImpl::Finish(const std::shared_ptr<Generation>& generation, GenerationContents contents) {
  const uint64_t sequence = generation->identity().sequence;
  for (RequestLedger* ledger : {parts_.ledger, parts_.peer_ledger}) {
    if (ledger != nullptr) ledger->Committed({sequence, generation->identity().id});
  }
  const size_t chunks = contents.chunks.size();
  for (auto& chunk : contents.chunks) pool_.Give(std::move(chunk));
  size_t text_chunks = 0;
  for (auto& [table, column] : contents.texts) {
    for (TextChunk& chunk : column.chunks) pool_.GiveText(std::move(chunk.text));
    text_chunks += column.chunks.size();
  }
  pool_.Trim(chunks, text_chunks);
  sealer_.Trim();
  EvictIdleSeries(sequence);
  parts_.series.ReleaseUpTo(sequence);
  journal_disk_bytes_.fetch_sub(generation->journal_bytes.exchange(0));
  generations_sealed_.fetch_add(1);
  MutexLock lock(mutex_);
  sealing_.pop_front();
  sealed_up_to_ = sequence;
  sealed_.NotifyAll();
}

// A series goes when it was in none of the last N generations and these cover N times
// generation.max_age: under load generations last a second, and a series that is scraped each
// minute must not be parsed anew each time.
void WalImpl::EvictIdleSeries(uint64_t sequence) {
  const MonotonicTime now = parts_.clock.Monotonic();
  const uint64_t keep = options_.limits.series_idle_generations;
  sealed_at_.emplace_back(sequence, now);
  const auto age = options_.generation.max_age * static_cast<int64_t>(keep);
  uint64_t idle_before = 0;
  while (sealed_at_.size() > keep && now - sealed_at_.front().second >= age) {
    idle_before = sealed_at_.front().first + 1;
    sealed_at_.pop_front();
  }
  if (idle_before != 0) series_evicted_.fetch_add(parts_.series.EvictIdle(idle_before));
}

}  // namespace forebay::wal
