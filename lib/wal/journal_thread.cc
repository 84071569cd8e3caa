// The journal thread: gathers what is queued, writes it at once, syncs once, wakes the waiters;
// begins a new generation when the open one is old, large or has lost its journal.
#include <algorithm>
#include <chrono>

#include "base/failpoint.h"
#include "base/log.h"
#include "wal/internal/wal_impl.h"

namespace forebay::wal {
namespace {

// A group is one write: bounded so that one sync does not keep early waiters for long.
constexpr size_t kMaxGroupRecords = 256;
constexpr size_t kMaxGroupBytes = 64U << 20;
constexpr std::chrono::milliseconds kDiskCheckInterval{200};
constexpr std::chrono::seconds kRotationRetry{1};
constexpr std::chrono::seconds kRotateWhenFull{1};

}  // namespace

void WalImpl::JournalLoop() {
  while (true) {
    PendingRecord* list = WaitForWork();
    if (list != nullptr) CommitGroups(list);
    const MonotonicTime now = parts_.clock.Monotonic();
    CheckDisk();
    if (RotationDue(now)) {
      const Status rotated = Rotate();
      if (!rotated.ok()) {
        journal_errors_.fetch_add(1);
        next_rotation_attempt_ = now + kRotationRetry;
        LogError("cannot begin a journal", {{"error", rotated.error().ToString()}});
      }
    }
    MutexLock lock(mutex_);
    if (stop_journal_ && queue_head_ == nullptr) return;
  }
}

// Waits for records, a rotation or the next check; takes all records that are queued.
PendingRecord* WalImpl::WaitForWork() {
  MutexLock lock(mutex_);
  const bool rotate_now = rotate_up_to_ >= open_->identity().sequence &&
                          parts_.clock.Monotonic() >= next_rotation_attempt_;
  if (queue_head_ == nullptr && !stop_journal_ && !rotate_now) {
    work_.WaitUntil(lock, std::chrono::steady_clock::now() + kDiskCheckInterval);
  }
  PendingRecord* list = queue_head_;
  queue_head_ = nullptr;
  queue_tail_ = nullptr;
  return list;
}

// Splits the list where the generation changes or a group is full.
void WalImpl::CommitGroups(PendingRecord* list) {
  while (list != nullptr) {
    Generation& generation = *list->generation;
    PendingRecord* last = list;
    size_t records = 1;
    size_t bytes = last->body.size();
    while (last->next != nullptr && last->next->generation == &generation &&
           records < kMaxGroupRecords && bytes < kMaxGroupBytes) {
      last = last->next;
      ++records;
      bytes += last->body.size();
    }
    PendingRecord* rest = last->next;
    last->next = nullptr;
    commit_started_nanos_.store(parts_.clock.Monotonic().time_since_epoch().count());
    Status status = WriteGroup(generation, list);
    commit_started_nanos_.store(0);
    if (status.ok()) {
      journal_records_.fetch_add(records, std::memory_order_relaxed);
      journal_commits_.fetch_add(1, std::memory_order_relaxed);
    }
    for (PendingRecord* record = list; record != nullptr;) {
      PendingRecord* next = record->next;  // done() may end the record
      record->status = status;
      record->done(record);
      record = next;
    }
    list = rest;
  }
}

// A failed write or sync ends the journal for good: what was acknowledged before is in the columns
// and in the synced part; nothing is appended behind bytes that nobody knows.
Status WalImpl::WriteGroup(Generation& generation, PendingRecord* first) {
  if (generation.journal == nullptr) {
    return Error(ErrorCode::kUnavailable, "the generation's journal has failed");
  }
  const uint64_t before = generation.journal->bytes();
  FOREBAY_FAILPOINT("acknowledge.before_write");
  Status status = generation.journal->Append(first);
  FOREBAY_FAILPOINT("acknowledge.before_sync");
  if (status.ok() && options_.durability == config::Durability::kSync) {
    status = generation.journal->Sync();
  }
  if (!status.ok()) {
    journal_errors_.fetch_add(1);
    LogError("journal failed; a new one begins", {{"journal", generation.identity().journal_path},
                                                  {"error", status.error().ToString()}});
    generation.journal.reset();
    MutexLock lock(mutex_);
    if (open_.get() == &generation) {
      journal_broken_.store(true);
      rotate_up_to_ = std::max(rotate_up_to_, generation.identity().sequence);
    }
    return status;
  }
  FOREBAY_FAILPOINT("acknowledge.before_wake");
  const uint64_t written = generation.journal->bytes() - before;
  journal_bytes_written_.fetch_add(written, std::memory_order_relaxed);
  open_journal_bytes_.fetch_add(written, std::memory_order_relaxed);
  return status;
}

bool WalImpl::RotationDue(MonotonicTime now) {
  if (now < next_rotation_attempt_) return false;
  MutexLock lock(mutex_);
  const Generation& open = *open_;
  if (rotate_up_to_ >= open.identity().sequence) return true;
  // A journal grows also by requests of which no sample is kept.
  const uint64_t journal = open_journal_bytes_.load(std::memory_order_relaxed);
  if (journal > kJournalHeaderBytes && journal >= options_.generation.max_journal.value)
    return true;
  if (open.memory_bytes() == 0) return false;
  const auto age = now - open.identity().opened;
  // A full disk: the journal takes several times what its segments will, and only segments can be
  // uploaded.
  if (DiskFull() && age >= kRotateWhenFull) return true;
  return age >= options_.generation.max_age || open.memory_bytes() >= rotate_memory_bytes_;
}

// Begins the next generation; the open one goes to the sealer. On an error nothing has changed.
Status WalImpl::Rotate() {
  FOREBAY_FAILPOINT("rotate.before_create");
  const uint64_t id = ids_->Next();
  FOREBAY_ASSIGN_OR_RETURN(auto journal,
                           JournalWriter::Create(parts_.fs, JournalPath(id), id,
                                                 options_.durability != config::Durability::kNone));
  FOREBAY_FAILPOINT("rotate.after_create");
  Install(id, std::move(journal));
  return {};
}

// The first generation. On a full volume it has no journal: nothing is acknowledged until one can
// be made, but what lies there can be uploaded, which is what makes room.
Status WalImpl::OpenFirst() {
  Status rotated = Rotate();
  if (rotated.ok() || rotated.error().code() != ErrorCode::kNoSpace) return rotated;
  LogError("no journal can be begun: the node starts without taking requests",
           {{"error", rotated.error().ToString()}});
  journal_errors_.fetch_add(1);
  Install(ids_->Next(), nullptr);
  MutexLock lock(mutex_);
  rotate_up_to_ = open_->identity().sequence;
  return {};
}

// Makes a generation the open one; the one before goes to the sealer. journal: null when there is
// none to write to.
void WalImpl::Install(uint64_t id, std::unique_ptr<JournalWriter> journal) {
  std::shared_ptr<Generation> old;
  {
    MutexLock lock(mutex_);
    const uint64_t sequence = next_sequence_++;
    auto fresh = MakeGeneration(sequence, id);
    const uint64_t header_bytes = journal == nullptr ? 0 : journal->bytes();
    journal_broken_.store(journal == nullptr);
    fresh->journal = std::move(journal);
    parts_.series.SetOpenGeneration(sequence);
    old = std::move(open_);
    open_ = std::move(fresh);
    const uint64_t old_bytes = open_journal_bytes_.exchange(header_bytes);
    if (old != nullptr) {
      sealing_journal_bytes_.fetch_add(old_bytes);
      old->journal_bytes = old_bytes;
      sealing_.push_back(old);
    }
  }
  if (old != nullptr) old->Close();
}

// After each group: what was written must not outrun the watermark by more than that.
void WalImpl::CheckDisk() {
  if (parts_.disk != nullptr) parts_.disk->Check();
}

}  // namespace forebay::wal
