// The Wal's state and its two threads. wal.cc: life cycle and the callers' side; journal_thread.cc:
// group commit and rotation; sealer_thread.cc: sealing, commit, eviction; recovery.cc: what an
// earlier run left.
//
// Lock order: mutex_ alone; no I/O and no foreign call under it.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "wal/flake_id.h"
#include "wal/generation.h"
#include "wal/journal_spares.h"
#include "wal/sealer.h"
#include "wal/wal.h"

namespace forebay::wal {

class WalImpl final : public Wal {
 public:
  struct Parts {
    io::FileSystem& fs;
    const Clock& clock;
    table::SeriesTable& series;
    const table::TableRegistry& tables;
    SegmentStore& store;
    Quarantine& quarantine;
    ReplayHandler& replay;
    RequestLedger* ledger;       // null: none
    RequestLedger* peer_ledger;  // null: none
    DiskBudget* disk;            // null: no bound
  };

  WalImpl(const WalOptions& options, const Parts& parts);
  ~WalImpl() override;

  // Creates directories, recovers, opens the first generation, starts the threads.
  Status Start();

  Result<GenerationLease> Enter() override { return Enter(DiskFull()); }
  Result<GenerationLease> EnterForPeer() override { return Enter(DiskFullForPeers()); }
  void Hold(std::string reason) override;
  void Commit(const GenerationLease& lease, PendingRecord* record) override;
  Status Flush(MonotonicTime deadline) override;
  Status Stop(MonotonicTime deadline) override;
  WalStats stats() const override;

 private:
  // A journal found at start of which it is not known yet which earlier ones it names as abandoned.
  struct UnreadJournal {
    std::string path;
    bool read = false;
  };
  // What a replay has done; counted for all to see when it has succeeded.
  struct ReplayCounts {
    uint64_t records = 0;
    uint64_t duplicates = 0;
  };

  // wal.cc
  Result<GenerationLease> Enter(bool disk_full) EXCLUDES(mutex_);
  Error Refusal(bool disk_full) const REQUIRES(mutex_);
  bool WaitSealed(uint64_t sequence, MonotonicTime deadline) EXCLUDES(mutex_);
  std::shared_ptr<Generation> MakeGeneration(uint64_t sequence, const JournalIdentity& journal);

  // recovery.cc
  Status Recover();
  uint64_t JournalLimit(uint64_t id) const;
  Status ReadAbandoned(UnreadJournal& journal);
  Status DropScrap(const std::vector<uint64_t>& journal_ids, uint64_t& newest_id);
  void EnterIdentities(const Generation& generation);
  Status ReplayJournal(const std::shared_ptr<Generation>& generation);
  Result<ReplayCounts> ReplayRecords(class JournalReader& reader, GenerationLease& lease,
                                     uint64_t id);
  Status PutWholeAside(const Generation& generation);
  Status KeepDamage(class JournalReader& reader, uint64_t id);
  RequestLedger* LedgerOf(RecordKind kind) const {
    return kind == RecordKind::kPeerSegment ? parts_.peer_ledger : parts_.ledger;
  }
  bool IsDuplicate(const ReplayedRecord& record, RequestLedger::Owner owner) const;
  Status ReplayRecord(const ReplayedRecord& record, GenerationLease& lease);
  Status PutAside(const std::string& name, std::string_view bytes, std::string_view reason);

  // journal_thread.cc
  void JournalLoop();
  PendingRecord* WaitForWork();
  void CommitGroups(PendingRecord* list);
  Status WriteGroup(Generation& generation, PendingRecord* first);
  bool RotationDue(MonotonicTime now) EXCLUDES(mutex_);
  Status Rotate();
  void TryRotate();
  Status OpenFirst();
  JournalIdentity NextJournal();
  Result<std::unique_ptr<JournalWriter>> BeginJournal(const JournalIdentity& journal);
  std::vector<AbandonedJournal> AbandonedStillThere() EXCLUDES(mutex_);
  void Install(const JournalIdentity& identity, std::unique_ptr<JournalWriter> journal)
      EXCLUDES(mutex_);
  void JournalFailed(Generation& generation, uint64_t good_bytes, const Error& error)
      EXCLUDES(mutex_);
  void CountJournalBytes(Generation& generation, uint64_t bytes);
  bool DiskFull() const { return parts_.disk != nullptr && parts_.disk->full(); }
  bool DiskFullForPeers() const { return parts_.disk != nullptr && parts_.disk->full_for_peers(); }
  bool SpaceIsShort() const { return parts_.disk != nullptr && parts_.disk->nearly_full(); }
  void CheckDisk();

  // sealer_thread.cc
  void SealerLoop();
  std::shared_ptr<Generation> WaitForDrained();
  Status SealOnce(const std::shared_ptr<Generation>& generation);
  Status PersistIdentities(const Generation& generation);
  Status PersistLedger(RequestLedger& ledger, const Generation& generation);
  Status RemoveJournal(Generation& generation);
  bool Recyclable(const Generation& generation) const;
  void Finish(const std::shared_ptr<Generation>& generation, GenerationContents contents);
  void EvictIdleSeries(uint64_t sequence);
  bool Backoff(int attempt);

  const WalOptions options_;
  const Parts parts_;
  const std::string journal_directory_;
  const uint64_t rotate_memory_bytes_;
  ChunkPool pool_;
  Sealer sealer_;
  JournalSpares spares_;
  std::random_device salts_;       // journal thread, and start
  std::unique_ptr<FlakeIds> ids_;  // once the ids in use are known

  mutable Mutex mutex_;
  CondVar work_;     // journal thread
  CondVar drained_;  // sealer thread
  CondVar sealed_;   // Flush, Stop
  std::shared_ptr<Generation> open_ GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<Generation>> sealing_ GUARDED_BY(mutex_);
  PendingRecord* queue_head_ GUARDED_BY(mutex_) = nullptr;
  PendingRecord* queue_tail_ GUARDED_BY(mutex_) = nullptr;
  uint64_t next_sequence_ GUARDED_BY(mutex_) = 1;
  uint64_t rotate_up_to_ GUARDED_BY(mutex_) =
      0;  // rotate the open generation if its sequence is not above
  uint64_t sealed_up_to_ GUARDED_BY(mutex_) = 0;
  // Journals whose last commit failed, while their generation is not sealed.
  std::vector<AbandonedJournal> abandoned_ GUARDED_BY(mutex_);
  uint64_t recovered_up_to_ GUARDED_BY(mutex_) =
      0;  // generations of an earlier run have sequences up to this
  bool stopping_ GUARDED_BY(mutex_) = false;  // no Enter
  std::string hold_ GUARDED_BY(mutex_);       // not empty: no Enter, and why
  bool stop_journal_ GUARDED_BY(mutex_) = false;
  bool stop_sealer_ GUARDED_BY(mutex_) = false;
  bool stopped_ GUARDED_BY(mutex_) = false;

  std::atomic<bool> journal_broken_{false};       // the open generation has no file to write to
  std::atomic<bool> refused_may_return_{false};   // no journal names the last failed one
  std::atomic<int64_t> commit_started_nanos_{0};  // of the group being written; 0: none
  std::atomic<uint64_t> journal_disk_bytes_{0};   // of all generations

  // Journal thread.
  MonotonicTime next_rotation_attempt_{};
  // Start, then sealer thread.
  std::vector<UnreadJournal> unread_;
  std::vector<AbandonedJournal> found_abandoned_;
  // Sealer thread: when each of the last generations was sealed, for evicting by age.
  std::deque<std::pair<uint64_t, MonotonicTime>> sealed_at_;

  std::atomic<uint64_t> journal_bytes_written_{0};
  std::atomic<uint64_t> journal_records_{0};
  std::atomic<uint64_t> journal_commits_{0};
  std::atomic<uint64_t> journal_errors_{0};
  std::atomic<uint64_t> journals_recycled_{0};
  std::atomic<uint64_t> torn_tails_{0};
  std::atomic<uint64_t> seal_errors_{0};
  std::atomic<uint64_t> generations_sealed_{0};
  std::atomic<uint64_t> sealed_rows_{0};
  std::atomic<uint64_t> sealed_file_bytes_{0};
  std::atomic<uint64_t> replayed_records_{0};
  std::atomic<uint64_t> quarantined_records_{0};
  std::atomic<uint64_t> deduplicated_records_{0};
  std::atomic<uint64_t> series_evicted_{0};

  std::jthread journal_thread_;
  std::jthread sealer_thread_;
};

}  // namespace forebay::wal
