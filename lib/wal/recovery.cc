// Start: what an earlier run left. Segments of generations whose journal is still there are scrap
// and go; the journals are replayed by the sealer thread, in the background, through the same code
// as a live request.
#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <set>

#include "base/failpoint.h"
#include "base/log.h"
#include "wal/internal/wal_impl.h"
#include "wal/journal_reader.h"
#include "wal/segment_name.h"

namespace forebay::wal {
namespace {

// The heads of the group that is being read, in the order of the file: only of the last group of a
// journal can payloads be torn, so only they are looked at.
using Group = std::vector<JournalReader::Head>;

// After a reading to the end: all of the file is one damage, and more than an empty journal.
bool NothingFound(const JournalReader& reader) {
  return !reader.header_holds() && reader.damage().size() == 1 &&
         reader.damage().front().offset == 0 && reader.damage().front().length == reader.size();
}

}  // namespace

Status WalImpl::Recover() {
  // An earlier process may have been killed between taking a journal's name away and making that
  // durable: the journal must not come back when its segments are uploaded or its file written to.
  FOREBAY_RETURN_IF_ERROR(parts_.fs.SyncDirectory(journal_directory_));
  FOREBAY_ASSIGN_OR_RETURN(const auto entries, parts_.fs.List(journal_directory_));
  std::vector<std::pair<JournalIdentity, uint64_t>> journals;  // and size
  for (const io::DirectoryEntry& entry : entries) {
    const bool file = !entry.is_directory && !entry.is_other;
    const std::string path = io::JoinPath(journal_directory_, entry.name);
    const auto identity = ParseJournalFileName(entry.name);
    if (file && identity) {
      journals.emplace_back(*identity, entry.size);
    } else if (file && IsSpareFileName(entry.name)) {
      spares_.Keep({path, entry.size});
    } else {
      LogWarn("what lies in the journal directory is not a journal and is left alone",
              {{"file", entry.name}});
    }
  }
  std::sort(journals.begin(), journals.end(),
            [](const auto& a, const auto& b) { return a.first.id < b.first.id; });
  std::vector<uint64_t> ids;
  ids.reserve(journals.size());
  for (const auto& [identity, size] : journals) ids.push_back(identity.id);
  uint64_t newest_id = ids.empty() ? 0 : ids.back();
  FOREBAY_RETURN_IF_ERROR(DropScrap(ids, newest_id));
  ids_ = std::make_unique<FlakeIds>(options_.host_id, parts_.clock, newest_id);
  FOREBAY_RETURN_IF_ERROR(parts_.store.LoadExisting());
  std::vector<std::shared_ptr<Generation>> found;
  {
    MutexLock lock(mutex_);
    for (const auto& [identity, size] : journals) {
      auto generation = MakeGeneration(next_sequence_++, identity);
      generation->replay_first = true;
      generation->recovered = true;
      CountJournalBytes(*generation, size);
      recovered_up_to_ = generation->identity().sequence;
      unread_.push_back({generation->identity().journal_path});
      found.push_back(generation);
      sealing_.push_back(std::move(generation));
    }
  }
  bool all_read = true;
  for (UnreadJournal& journal : unread_) {
    const Status read = ReadAbandoned(journal);
    all_read = all_read && read.ok();
    if (!read.ok()) {
      LogError("a journal cannot be read",
               {{"journal", journal.path}, {"error", read.error().ToString()}});
    }
  }
  // Without knowing what was abandoned, requests that are not replayed would be entered, and their
  // retries answered and dropped. The replay enters what it finds, and leaves out what was stored
  // by a retry meanwhile.
  if (!all_read) return {};
  for (const auto& generation : found) EnterIdentities(*generation);
  return {};
}

// What a journal says of the failed ones before it stands in front of its requests' records.
Status WalImpl::ReadAbandoned(UnreadJournal& journal) {
  if (journal.read) return {};
  const auto reader = JournalReader::Open(parts_.fs, journal.path);
  if (reader.ok()) {
    FOREBAY_RETURN_IF_ERROR((*reader)->NextHead());
    const auto& abandoned = (*reader)->abandoned();
    found_abandoned_.insert(found_abandoned_.end(), abandoned.begin(), abandoned.end());
  } else if (reader.error().code() != ErrorCode::kCorruption &&
             reader.error().code() != ErrorCode::kNotFound) {
    return Error(reader.error());
  }
  journal.read = true;
  return {};
}

uint64_t WalImpl::JournalLimit(uint64_t id) const {
  uint64_t limit = std::numeric_limits<uint64_t>::max();
  for (const AbandonedJournal& journal : found_abandoned_) {
    if (journal.id == id) limit = std::min(limit, journal.bytes);
  }
  return limit;
}

// Before the first request: a retry of what waits for its replay must be known. Payloads are read
// of the last group only: those before it were synced as a whole. What cannot be read now is
// entered by the replay.
void WalImpl::EnterIdentities(const Generation& generation) {
  const auto on = [](const RequestLedger* ledger) {
    return ledger != nullptr && ledger->enabled();
  };
  if (!on(parts_.ledger) && !on(parts_.peer_ledger)) return;
  const Generation::Identity& identity = generation.identity();
  auto reader = JournalReader::Open(parts_.fs, identity.journal_path, {JournalLimit(identity.id)});
  if (!reader.ok()) return;
  const auto enter = [&](const JournalReader::Head& head) {
    RequestLedger* ledger = LedgerOf(head.kind);
    if (!on(ledger)) return;
    ledger->Recovered({head.identity, head.received, head.outcome},
                      {identity.sequence, identity.id});
  };
  Group group;
  const auto scan = [&]() -> Status {
    while (true) {
      FOREBAY_ASSIGN_OR_RETURN(const std::optional<JournalReader::Head> head,
                               (*reader)->NextHead());
      if (!head) break;
      if (head->first_of_group) {
        std::for_each(group.begin(), group.end(), enter);
        group.clear();
      }
      group.push_back(*head);
    }
    for (const JournalReader::Head& head : group) {
      FOREBAY_ASSIGN_OR_RETURN(const bool holds, (*reader)->PayloadHolds(head));
      if (holds) enter(head);
    }
    return {};
  };
  const Status scanned = scan();
  if (!scanned.ok()) {
    LogError("a journal cannot be read for the identities of its requests",
             {{"journal", identity.journal_path}, {"error", scanned.error().ToString()}});
  }
}

// True when another generation has the request: an attempt whose commit failed, and was answered
// so, may have reached the disk nevertheless, and its retry lies in a later journal.
bool WalImpl::IsDuplicate(const ReplayedRecord& record, RequestLedger::Owner owner) const {
  const RequestLedger* ledger = LedgerOf(record.kind);
  return ledger != nullptr &&
         !ledger->MayReplay({record.identity, record.received, record.outcome}, owner);
}

// What a peer handed over needs nobody who understands requests.
Status WalImpl::ReplayRecord(const ReplayedRecord& record, GenerationLease& lease) {
  if (record.kind != RecordKind::kPeerSegment) return parts_.replay.Replay(record, lease);
  FOREBAY_ASSIGN_OR_RETURN(PeerSegment segment, ParsePeerSegment(record.tenant, record.body));
  lease.AppendPeerSegment(0, std::move(segment));
  return {};
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
  // A journal may say of an earlier one where it ends.
  for (UnreadJournal& journal : unread_) FOREBAY_RETURN_IF_ERROR(ReadAbandoned(journal));
  const uint64_t id = generation->identity().id;
  const std::string& path = generation->identity().journal_path;
  const uint64_t limit = JournalLimit(id);
  FOREBAY_ASSIGN_OR_RETURN(const auto reader, JournalReader::Open(parts_.fs, path, {limit}));
  if (limit != std::numeric_limits<uint64_t>::max()) {
    LogInfo("a commit of this journal failed and was answered so: it counts up to there",
            {{"journal", path}, {"bytes", limit}});
  }
  GenerationLease lease = generation->Enter(generation);
  Result<ReplayCounts> replayed = ReplayRecords(*reader, lease, id);
  lease.Release();
  Status status = replayed.ok() ? OkStatus() : Error(replayed.error());
  if (status.ok()) {
    status = NothingFound(*reader) ? PutWholeAside(*generation) : KeepDamage(*reader, id);
  }
  if (!status.ok()) {
    generation->Discard();
    return status;
  }
  replayed_records_.fetch_add(replayed->records);
  deduplicated_records_.fetch_add(replayed->duplicates);
  if (!reader->complete()) torn_tails_.fetch_add(1);
  LogInfo("journal replayed", {{"journal", path}, {"records", replayed->records}});
  FOREBAY_FAILPOINT("replay.before_seal");
  generation->replay_first = false;
  generation->Close();
  return {};
}

Result<WalImpl::ReplayCounts> WalImpl::ReplayRecords(JournalReader& reader, GenerationLease& lease,
                                                     uint64_t id) {
  ReplayCounts counts;
  while (true) {
    FOREBAY_ASSIGN_OR_RETURN(const std::optional<ReplayedRecord> record, reader.Next());
    if (!record) return counts;
    FOREBAY_FAILPOINT("replay.before_record");
    const RequestLedger::Owner owner{lease.sequence(), id};
    if (IsDuplicate(*record, owner)) {
      ++counts.duplicates;
      continue;
    }
    const Status replayed = ReplayRecord(*record, lease);
    if (replayed.ok()) {
      ++counts.records;
      if (RequestLedger* ledger = LedgerOf(record->kind); ledger != nullptr) {
        ledger->Recovered({record->identity, record->received, record->outcome}, owner);
      }
      continue;
    }
    LogError("a journal record cannot be replayed and goes to quarantine",
             {{"error", replayed.error().ToString()}});
    FOREBAY_RETURN_IF_ERROR(PutAside(fmt::format("journal-{:x}-{}.record", id, reader.offset()),
                                     {record->body.data(), record->body.size()},
                                     replayed.error().ToString()));
  }
}

Status WalImpl::PutWholeAside(const Generation& generation) {
  const std::string& path = generation.identity().journal_path;
  LogError("nothing of a journal can be read; the file goes to quarantine", {{"journal", path}});
  FOREBAY_RETURN_IF_ERROR(
      parts_.quarantine.Move(path, fmt::format("journal-{:x}.log", generation.identity().id),
                             "neither its header nor a record holds"));
  quarantined_records_.fetch_add(1);
  return {};
}

Status WalImpl::KeepDamage(JournalReader& reader, uint64_t id) {
  for (const JournalDamage& damage : reader.damage()) {
    if (damage.torn_tail) {
      LogInfo("a journal ends in a torn record, as after a crash in mid-write",
              {{"journal", fmt::format("{:x}", id)},
               {"offset", damage.offset},
               {"bytes", damage.length}});
      continue;
    }
    LogError("a journal holds damaged bytes; they go to quarantine",
             {{"journal", fmt::format("{:x}", id)},
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
