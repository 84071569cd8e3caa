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
    if (RotationDue(now)) TryRotate();
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
    JournalFailed(generation, before, status.error());
    return status;
  }
  FOREBAY_FAILPOINT("acknowledge.before_wake");
  journal_bytes_written_.fetch_add(generation.journal->bytes() - before, std::memory_order_relaxed);
  CountJournalBytes(generation, generation.journal->disk_bytes());
  return status;
}

// What failed may be on the disk nevertheless, and is answered 503: it must not come back. The next
// journal says so durably, and is begun before the answer; where that fails, the file is cut as
// well as the disk still can.
void WalImpl::JournalFailed(Generation& generation, uint64_t good_bytes, const Error& error) {
  journal_errors_.fetch_add(1);
  LogError("journal failed; a new one begins",
           {{"journal", generation.identity().journal_path}, {"error", error.ToString()}});
  generation.journal->CutBehind(good_bytes);
  generation.journal.reset();
  if (error.code() == ErrorCode::kNoSpace) spares_.Drop();
  refused_may_return_.store(true);
  {
    MutexLock lock(mutex_);
    abandoned_.push_back({generation.identity().id, good_bytes});
    if (open_.get() == &generation) journal_broken_.store(true);
    rotate_up_to_ = std::max(rotate_up_to_, open_->identity().sequence);
  }
  TryRotate();
}

void WalImpl::TryRotate() {
  const Status rotated = Rotate();
  if (rotated.ok()) return;
  journal_errors_.fetch_add(1);
  next_rotation_attempt_ = parts_.clock.Monotonic() + kRotationRetry;
  LogError("cannot begin a journal", {{"error", rotated.error().ToString()}});
}

void WalImpl::CountJournalBytes(Generation& generation, uint64_t bytes) {
  const uint64_t before = generation.journal_bytes.exchange(bytes);
  journal_disk_bytes_.fetch_add(bytes - before);  // may go down: the sum is modulo 2^64
}

bool WalImpl::RotationDue(MonotonicTime now) {
  if (now < next_rotation_attempt_) return false;
  MutexLock lock(mutex_);
  const Generation& open = *open_;
  if (rotate_up_to_ >= open.identity().sequence) return true;
  // A journal grows also by requests of which no sample is kept.
  if (open.journal != nullptr && !open.journal->empty() &&
      open.journal->bytes() >= options_.generation.max_journal.value) {
    return true;
  }
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
  const JournalIdentity identity = NextJournal();
  FOREBAY_ASSIGN_OR_RETURN(auto journal, BeginJournal(identity));
  FOREBAY_FAILPOINT("rotate.after_create");
  Install(identity, std::move(journal));
  return {};
}

JournalIdentity WalImpl::NextJournal() { return {ids_->Next(), salts_()}; }

// In a spare file where there is one; what a spare cannot do a new file may.
Result<std::unique_ptr<JournalWriter>> WalImpl::BeginJournal(const JournalIdentity& journal) {
  JournalWriter::Options options;
  options.identity = journal;
  options.durable = options_.durability != config::Durability::kNone;
  if (options.durable) options.reserve_max = options_.generation.max_journal.value;
  options.abandoned = AbandonedStillThere();
  if (options.durable) {
    if (auto spare = spares_.Take()) {
      options.spare = std::move(spare->path);
      auto writer = JournalWriter::Create(parts_.fs, journal_directory_, options);
      if (writer.ok()) {
        journals_recycled_.fetch_add(1);
        return writer;
      }
      LogWarn("a spare journal file cannot be used",
              {{"file", options.spare}, {"error", writer.error().ToString()}});
      options.spare.clear();
    }
  }
  auto writer = JournalWriter::Create(parts_.fs, journal_directory_, options);
  if (!writer.ok() && writer.error().code() == ErrorCode::kNoSpace) spares_.Drop();
  return writer;
}

// The list shrinks as generations are sealed: then their journals are gone.
std::vector<AbandonedJournal> WalImpl::AbandonedStillThere() {
  MutexLock lock(mutex_);
  std::erase_if(abandoned_, [this](const AbandonedJournal& journal) REQUIRES(mutex_) {
    const auto is_it = [&](const auto& generation) {
      return generation != nullptr && generation->identity().id == journal.id;
    };
    return !is_it(open_) && std::none_of(sealing_.begin(), sealing_.end(), is_it);
  });
  return abandoned_;
}

// The first generation. On a full volume it has no journal: nothing is acknowledged until one can
// be made, but what lies there can be uploaded, which is what makes room.
Status WalImpl::OpenFirst() {
  Status rotated = Rotate();
  if (rotated.ok() || rotated.error().code() != ErrorCode::kNoSpace) return rotated;
  LogError("no journal can be begun: the node starts without taking requests",
           {{"error", rotated.error().ToString()}});
  journal_errors_.fetch_add(1);
  Install(NextJournal(), nullptr);
  MutexLock lock(mutex_);
  rotate_up_to_ = open_->identity().sequence;
  return {};
}

// Makes a generation the open one; the one before goes to the sealer. journal: null when there is
// none to write to.
void WalImpl::Install(const JournalIdentity& identity, std::unique_ptr<JournalWriter> journal) {
  std::shared_ptr<Generation> old;
  {
    MutexLock lock(mutex_);
    const uint64_t sequence = next_sequence_++;
    auto fresh = MakeGeneration(sequence, identity);
    if (journal != nullptr) CountJournalBytes(*fresh, journal->disk_bytes());
    journal_broken_.store(journal == nullptr);
    if (journal != nullptr) refused_may_return_.store(false);
    fresh->journal = std::move(journal);
    parts_.series.SetOpenGeneration(sequence);
    old = std::move(open_);
    open_ = std::move(fresh);
    if (old != nullptr) sealing_.push_back(old);
  }
  if (old != nullptr) old->Close();
}

// After each group: what was written must not outrun the watermark by more than that. Spares are
// the first to go.
void WalImpl::CheckDisk() {
  if (parts_.disk == nullptr) return;
  parts_.disk->Check();
  if (spares_.bytes() != 0 && SpaceIsShort()) spares_.Drop();
}

}  // namespace forebay::wal
