// Start: what an earlier run left. Segments of generations whose journal is still there are scrap
// and go; the journals are replayed by the sealer thread, in the background, through the same code
// as a live request.
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/failpoint.h"
#include "base/log.h"
#include "wal/internal/wal_impl.h"
#include "wal/journal_reader.h"
#include "wal/segment_name.h"

namespace forebay::wal {
namespace {

constexpr std::string_view kJournalSuffix = ".log";

// The id in "<hex>.log", written as JournalPath writes it; nothing for other names.
std::optional<uint64_t> JournalId(std::string_view name) {
  uint64_t id = 0;
  (void)std::from_chars(name.data(), name.data() + name.size(), id, 16);
  if (name != fmt::format("{:x}{}", id, kJournalSuffix)) return std::nullopt;
  return id;
}

}  // namespace

Status WalImpl::Recover() {
  std::vector<uint64_t> ids;
  FOREBAY_ASSIGN_OR_RETURN(const auto entries, parts_.fs.List(journal_directory_));
  std::vector<std::pair<uint64_t, uint64_t>> journals;  // id, size
  for (const io::DirectoryEntry& entry : entries) {
    const bool file = !entry.is_directory && !entry.is_other;
    const std::optional<uint64_t> id = JournalId(entry.name);
    if (!file || !id) {
      LogWarn("what lies in the journal directory is not a journal and is left alone",
              {{"file", entry.name}});
      continue;
    }
    ids.push_back(*id);
    journals.emplace_back(*id, entry.size);
  }
  std::sort(journals.begin(), journals.end());
  uint64_t newest_id = journals.empty() ? 0 : journals.back().first;
  FOREBAY_RETURN_IF_ERROR(DropScrap(ids, newest_id));
  ids_ = std::make_unique<FlakeIds>(options_.host_id, parts_.clock, newest_id);
  FOREBAY_RETURN_IF_ERROR(parts_.store.LoadExisting());
  std::vector<std::shared_ptr<Generation>> found;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, size] : journals) {
      auto generation = MakeGeneration(next_sequence_++, id);
      generation->replay_first = true;
      generation->recovered = true;
      generation->journal_bytes = size;
      sealing_journal_bytes_.fetch_add(size);
      recovered_up_to_ = generation->identity().sequence;
      found.push_back(generation);
      sealing_.push_back(std::move(generation));
    }
  }
  for (const auto& generation : found) EnterIdentities(*generation);
  return {};
}

// Before the first request: a retry of what waits for its replay must be known. Nothing is decoded.
// What cannot be read now is entered by the replay.
void WalImpl::EnterIdentities(const Generation& generation) {
  if (parts_.ledger == nullptr || !parts_.ledger->enabled()) return;
  const Generation::Identity& identity = generation.identity();
  Result<std::unique_ptr<JournalReader>> reader =
      JournalReader::Open(parts_.fs, identity.journal_path);
  if (!reader.ok()) return;
  while (true) {
    const Result<std::optional<ReplayedRecord>> record = (*reader)->Next();
    if (!record.ok()) {
      LogError("a journal cannot be read for the identities of its requests",
               {{"journal", identity.journal_path}, {"error", record.error().ToString()}});
      return;
    }
    if (!*record) return;
    parts_.ledger->Recovered({(*record)->identity, (*record)->received, (*record)->outcome},
                             {identity.sequence, identity.id});
  }
}

// True when another generation has the request: an attempt whose commit failed, and was answered
// so, may have reached the disk nevertheless, and its retry lies in a later journal.
bool WalImpl::IsDuplicate(const ReplayedRecord& record, RequestLedger::Owner owner) const {
  return parts_.ledger != nullptr &&
         !parts_.ledger->MayReplay({record.identity, record.received, record.outcome}, owner);
}

// Removes segments of uncommitted generations; raises newest_id to the highest id in use.
Status WalImpl::DropScrap(const std::vector<uint64_t>& journal_ids, uint64_t& newest_id) {
  const std::set<uint64_t> uncommitted(journal_ids.begin(), journal_ids.end());
  FOREBAY_ASSIGN_OR_RETURN(const auto entries, parts_.fs.List(parts_.store.directory()));
  size_t removed = 0;
  for (const io::DirectoryEntry& entry : entries) {
    const Result<SegmentName> name = ParseSegmentName(entry.name);
    if (!name.ok() || entry.is_directory || entry.is_other) continue;
    newest_id = std::max(newest_id, name->id);
    if (!uncommitted.contains(name->id)) continue;
    FOREBAY_RETURN_IF_ERROR(parts_.fs.Remove(io::JoinPath(parts_.store.directory(), entry.name)));
    ++removed;
  }
  if (removed == 0) return {};
  LogInfo(
      "segments of generations that were not committed are dropped; their journals are replayed",
      {{"segments", removed}});
  return parts_.fs.SyncDirectory(parts_.store.directory());
}

// Fills the generation from its journal. On an error the generation is empty again.
Status WalImpl::ReplayJournal(const std::shared_ptr<Generation>& generation) {
  const std::string& path = generation->identity().journal_path;
  Result<std::unique_ptr<JournalReader>> reader = JournalReader::Open(parts_.fs, path);
  if (!reader.ok()) {
    if (reader.error().code() != ErrorCode::kCorruption) return Error(std::move(reader.error()));
    // A crash between creating the file and its header leaves nothing of worth; anything longer is
    // kept aside.
    FOREBAY_ASSIGN_OR_RETURN(auto file, parts_.fs.Open(path, io::OpenMode::kRead));
    FOREBAY_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
    if (size > kJournalHeaderBytes) {
      LogError("a journal's header cannot be read; the file goes to quarantine",
               {{"journal", path}});
      quarantined_records_.fetch_add(1);
      FOREBAY_RETURN_IF_ERROR(
          parts_.quarantine.Move(path, fmt::format("journal-{:x}.log", generation->identity().id),
                                 reader.error().message()));
    }
  } else {
    const uint64_t before = replayed_records_.load();
    GenerationLease lease = generation->Enter(generation);
    Status replayed = ReplayRecords(**reader, lease, generation->identity().id);
    lease.Release();
    if (!replayed.ok()) {
      generation->Discard();
      return replayed;
    }
    LogInfo("journal replayed",
            {{"journal", path}, {"records", replayed_records_.load() - before}});
  }
  FOREBAY_FAILPOINT("replay.before_seal");
  generation->replay_first = false;
  generation->Close();
  return {};
}

Status WalImpl::ReplayRecords(JournalReader& reader, GenerationLease& lease, uint64_t id) {
  while (true) {
    FOREBAY_ASSIGN_OR_RETURN(const std::optional<ReplayedRecord> record, reader.Next());
    if (!record) break;
    FOREBAY_FAILPOINT("replay.before_record");
    const RequestLedger::Owner owner{lease.sequence(), id};
    if (IsDuplicate(*record, owner)) {
      deduplicated_records_.fetch_add(1);
      continue;
    }
    const Status replayed = parts_.replay.Replay(*record, lease);
    if (replayed.ok()) {
      replayed_records_.fetch_add(1);
      if (parts_.ledger != nullptr) {
        parts_.ledger->Recovered({record->identity, record->received, record->outcome}, owner);
      }
      continue;
    }
    LogError("a journal record cannot be replayed and goes to quarantine",
             {{"error", replayed.error().ToString()}});
    FOREBAY_RETURN_IF_ERROR(PutAside(fmt::format("journal-{:x}-{}.record", id, reader.offset()),
                                     {record->body.data(), record->body.size()},
                                     replayed.error().ToString()));
  }
  for (const JournalDamage& damage : reader.damage()) {
    if (damage.torn_tail) {
      LogInfo("a journal ends in a torn record, as after a crash in mid-write",
              {{"journal", fmt::format("{:x}.log", id)},
               {"offset", damage.offset},
               {"bytes", damage.length}});
      continue;
    }
    LogError("a journal holds damaged bytes; they go to quarantine",
             {{"journal", fmt::format("{:x}.log", id)},
              {"offset", damage.offset},
              {"bytes", damage.length}});
    FOREBAY_ASSIGN_OR_RETURN(const std::string bytes,
                             reader.ReadRange(damage.offset, damage.length));
    FOREBAY_RETURN_IF_ERROR(PutAside(fmt::format("journal-{:x}-{}.damage", id, damage.offset),
                                     bytes, "damaged journal record"));
  }
  return {};
}

// A full quarantine must not keep good records from being replayed: it goes on without a copy.
Status WalImpl::PutAside(const std::string& name, std::string_view bytes, std::string_view reason) {
  const Result<bool> kept = parts_.quarantine.Keep(name, bytes, reason);
  if (!kept.ok()) {
    if (kept.error().code() != ErrorCode::kResourceExhausted) return Error(kept.error());
    LogError("the quarantine is full: damaged bytes are not kept",
             {{"item", name}, {"bytes", bytes.size()}});
  }
  if (!kept.ok() || *kept) quarantined_records_.fetch_add(1);
  return {};
}

}  // namespace forebay::wal
