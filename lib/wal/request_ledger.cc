#include "wal/request_ledger.h"

#include <fmt/core.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "io/crc.h"

namespace forebay::wal {
namespace {

constexpr std::string_view kSuffix = ".ids";
constexpr size_t kMaxFreeNodes = 4096;
constexpr size_t kChecksumBegin = 24;

template <typename T>
void Put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
T Get(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// The id in "<hex>.ids", written as PathOf writes it; nothing for other names.
std::optional<uint64_t> FileId(std::string_view name) {
  uint64_t id = 0;
  (void)std::from_chars(name.data(), name.data() + name.size(), id, 16);
  if (name != fmt::format("{:x}{}", id, kSuffix)) return std::nullopt;
  return id;
}

// "<hex>.ids.tmp".
bool IsTemporary(std::string_view name) {
  if (!name.ends_with(io::kTemporarySuffix)) return false;
  return FileId(name.substr(0, name.size() - io::kTemporarySuffix.size())).has_value();
}

void Update(XXH3_state_t& state, std::string_view text) {
  const uint64_t size = text.size();
  XXH3_128bits_update(&state, &size, sizeof size);
  XXH3_128bits_update(&state, text.data(), text.size());
}

std::string Encode(uint64_t id, const std::vector<RequestLedger::Row>& rows, size_t first) {
  std::string body;
  body.reserve(rows.size() * kLedgerRowBytes);
  for (size_t i = 0; i < rows.size(); ++i) {
    const RequestLedger::Row& row = rows[(first + i) % rows.size()];
    Put(body, row.identity.low);
    Put(body, row.identity.high);
    Put(body, row.received.value);
    Put(body, row.outcome.samples);
    Put(body, row.outcome.histograms);
    Put(body, row.outcome.exemplars);
    Put(body, row.outcome.refused);
  }
  std::string head(kLedgerMagic);
  Put(head, id);
  Put(head, static_cast<uint32_t>(rows.size()));
  const uint32_t crc = io::Crc32c(body, io::Crc32c(head));
  Put(head, crc);
  return head + body;
}

// Errors: kCorruption.
Result<std::vector<RequestLedger::Row>> Decode(std::string_view bytes, uint64_t id) {
  static_assert(kLedgerHeaderBytes == kChecksumBegin);
  if (bytes.size() < kLedgerHeaderBytes || bytes.substr(0, kLedgerMagic.size()) != kLedgerMagic ||
      Get<uint64_t>(&bytes[8]) != id) {
    return Error(ErrorCode::kCorruption, "not a ledger file of this version and name");
  }
  const uint64_t count = Get<uint32_t>(&bytes[16]);
  if (bytes.size() != kLedgerHeaderBytes + count * kLedgerRowBytes) {
    return Error(ErrorCode::kCorruption, "its size is not that of its rows");
  }
  const std::string_view body = bytes.substr(kLedgerHeaderBytes);
  if (io::Crc32c(body, io::Crc32c(bytes.substr(0, 20))) != Get<uint32_t>(&bytes[20])) {
    return Error(ErrorCode::kCorruption, "its checksum does not hold");
  }
  std::vector<RequestLedger::Row> rows(count);
  for (size_t i = 0; i < rows.size(); ++i) {
    const char* at = body.data() + i * kLedgerRowBytes;
    rows[i].identity = {Get<uint64_t>(at), Get<uint64_t>(at + 8)};
    rows[i].received = {Get<int64_t>(at + 16)};
    rows[i].outcome = {Get<uint32_t>(at + 24), Get<uint32_t>(at + 28), Get<uint32_t>(at + 32),
                       Get<uint32_t>(at + 36)};
  }
  return rows;
}

}  // namespace

RequestIdentity IdentityOf(const RequestParts& parts) {
  XXH3_state_t state;
  XXH3_INITSTATE(&state);
  XXH3_128bits_reset(&state);
  Update(state, parts.domain);
  Update(state, parts.tenant);
  Update(state, parts.key);
  if (parts.key.empty()) {
    XXH3_128bits_update(&state, &parts.kind, sizeof parts.kind);
    Update(state, {parts.body.data(), parts.body.size()});
  }
  const XXH128_hash_t hash = XXH3_128bits_digest(&state);
  RequestIdentity identity{hash.low64, hash.high64};
  if (!identity) identity.low = 1;
  return identity;
}

RequestLedger::RequestLedger(io::FileSystem& fs, const Clock& clock, Options options)
    : fs_(fs), clock_(clock), options_(std::move(options)) {}

RequestLedger::~RequestLedger() = default;

std::string RequestLedger::PathOf(uint64_t id) const {
  return io::JoinPath(options_.directory, fmt::format("{:x}{}", id, kSuffix));
}

Status RequestLedger::Load() {
  if (!enabled()) return {};
  FOREBAY_RETURN_IF_ERROR(fs_.CreateDirectories(options_.directory));
  FOREBAY_ASSIGN_OR_RETURN(const auto entries, fs_.List(options_.directory));
  std::vector<uint64_t> ids;
  for (const io::DirectoryEntry& entry : entries) {
    const std::string path = io::JoinPath(options_.directory, entry.name);
    const bool file = !entry.is_directory && !entry.is_other;
    if (const auto id = FileId(entry.name); file && id) {
      ids.push_back(*id);
    } else if (file && IsTemporary(entry.name)) {
      (void)fs_.Remove(path);  // what a crash in mid-write left
    } else {
      LogWarn("what lies in the directory of the ledger is not one of its files, left alone",
              {{"file", path}});
    }
  }
  std::sort(ids.begin(), ids.end());  // oldest first
  const UnixMillis now = clock_.Now();
  for (const uint64_t id : ids) {
    const Status loaded = LoadFile(PathOf(id), id, now);
    if (loaded.ok()) continue;
    LogError("a ledger file cannot be used: retries of its requests may be stored again",
             {{"file", PathOf(id)}, {"error", loaded.error().ToString()}});
    MutexLock lock(mutex_);
    files_.push_back({PathOf(id), now});
  }
  return {};
}

Status RequestLedger::LoadFile(const std::string& path, uint64_t id, UnixMillis now) {
  FOREBAY_ASSIGN_OR_RETURN(const std::string bytes, io::ReadFile(fs_, path, kMaxLedgerFileBytes));
  FOREBAY_ASSIGN_OR_RETURN(const std::vector<Row> rows, Decode(bytes, id));
  MutexLock lock(mutex_);
  UnixMillis newest{0};
  for (const Row& row : rows) {
    newest.value = std::max(newest.value, row.received.value);
    if (!row.identity || row.received.value + options_.window.count() <= now.value) continue;
    Entry& entry = Insert(row.identity);
    if (entry.done) continue;
    entry.id = id;
    // A clock that went back must not keep it for longer than the window.
    Enter(entry, row, {std::min(row.received.value, now.value)});
  }
  files_.push_back({path, {std::min(newest.value, now.value)}});
  return {};
}

// The entry of the identity, made when there is none.
RequestLedger::Entry& RequestLedger::Insert(const RequestIdentity& identity) {
  if (const auto found = entries_.find(identity); found != entries_.end()) return found->second;
  if (free_.empty()) return entries_[identity];
  Entries::node_type node = std::move(free_.back());
  free_.pop_back();
  node.key() = identity;
  node.mapped() = Entry();
  return entries_.insert(std::move(node)).position->second;
}

// Makes it the newest of those done.
void RequestLedger::Enter(Entry& entry, const Row& row, UnixMillis since) {
  entry.done = true;
  entry.row = row;
  entry.since = since;
  (newest_ == nullptr ? oldest_ : newest_->newer) = &entry;
  newest_ = &entry;
  ++done_;
  while (done_ > options_.max_entries) DropOldest();
}

void RequestLedger::DropOldest() {
  Entry* const entry = oldest_;
  oldest_ = entry->newer;
  if (oldest_ == nullptr) newest_ = nullptr;
  --done_;
  Entries::node_type node = entries_.extract(entry->row.identity);
  if (free_.size() < kMaxFreeNodes) free_.push_back(std::move(node));
}

void RequestLedger::Prune() {
  const int64_t expired = clock_.Now().value - options_.window.count();
  while (oldest_ != nullptr && oldest_->since.value <= expired) DropOldest();
}

// For the generation's ledger file.
void RequestLedger::Note(const Row& row, uint64_t sequence) {
  Pending& pending = pending_[sequence];
  if (pending.rows.size() < options_.max_entries) {
    pending.rows.push_back(row);
  } else {
    pending.rows[pending.next] = row;
    pending.next = (pending.next + 1) % pending.rows.size();
  }
}

RequestLedger::Answer RequestLedger::Begin(const RequestIdentity& identity) {
  MutexLock lock(mutex_);
  Prune();
  if (const auto found = entries_.find(identity); found != entries_.end()) {
    if (!found->second.done) return {State::kInFlight, {}};
    return {State::kDone, found->second.row.outcome};
  }
  Insert(identity);
  return {};
}

void RequestLedger::Finish(const Row& row, uint64_t sequence) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(row.identity);
  FOREBAY_CHECK(found != entries_.end() && !found->second.done);
  found->second.sequence = sequence;
  Enter(found->second, row, clock_.Now());
  Note(row, sequence);
}

void RequestLedger::Abort(const RequestIdentity& identity) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(identity);
  FOREBAY_CHECK(found != entries_.end() && !found->second.done);
  Entries::node_type node = entries_.extract(found);
  if (free_.size() < kMaxFreeNodes) free_.push_back(std::move(node));
}

void RequestLedger::Recovered(const Row& row, Owner owner) {
  if (!enabled() || !row.identity) return;
  MutexLock lock(mutex_);
  const auto found = entries_.find(row.identity);
  // From this generation's own ledger file: a crash came between it and the journal's removal.
  const bool own_file = found != entries_.end() && found->second.done &&
                        found->second.sequence == 0 && found->second.id == owner.id;
  if (found != entries_.end() && !own_file) return;
  Entry& entry = Insert(row.identity);
  entry.sequence = owner.sequence;
  entry.id = owner.id;
  // The window begins anew: while the node was down nobody could send again.
  if (!own_file) Enter(entry, row, clock_.Now());
  Note(row, owner.sequence);
}

bool RequestLedger::MayReplay(const Row& row, Owner owner) const {
  if (!enabled() || !row.identity) return true;
  MutexLock lock(mutex_);
  const auto found = entries_.find(row.identity);
  if (found == entries_.end() || !found->second.done) return true;
  const Entry& entry = found->second;
  const int64_t apart = row.received.value - entry.row.received.value;
  return entry.id == owner.id || std::abs(apart) > options_.window.count();
}

Status RequestLedger::Persist(Owner owner) {
  if (!enabled()) return {};
  std::string bytes;
  {
    MutexLock lock(mutex_);
    const auto found = pending_.find(owner.sequence);
    if (found == pending_.end() || found->second.persisted) return {};
    bytes = Encode(owner.id, found->second.rows, found->second.next);
  }
  const std::string path = PathOf(owner.id);
  FOREBAY_RETURN_IF_ERROR(options_.reserve == nullptr
                              ? io::WriteFileDurably(fs_, path, bytes)
                              : options_.reserve->WriteFileDurably(fs_, path, bytes));
  MutexLock lock(mutex_);
  pending_[owner.sequence].persisted = true;
  return {};
}

void RequestLedger::Committed(Owner owner) {
  if (!enabled()) return;
  const UnixMillis now = clock_.Now();
  std::vector<std::string> expired;
  {
    MutexLock lock(mutex_);
    const auto found = pending_.find(owner.sequence);
    if (found != pending_.end()) {
      const std::string path = PathOf(owner.id);
      std::erase_if(files_, [&path](const LedgerFile& file) { return file.path == path; });
      if (found->second.persisted) files_.push_back({path, now});
      pending_.erase(found);
    }
    Prune();
    const int64_t limit = now.value - options_.window.count();
    std::erase_if(files_, [&](const LedgerFile& file) {
      if (file.newest.value > limit) return false;
      expired.push_back(file.path);
      return true;
    });
  }
  for (const std::string& path : expired) {
    // One that cannot be removed is found again at the next start.
    const Status removed = fs_.Remove(path);
    if (!removed.ok()) {
      LogWarn("an old ledger file cannot be removed",
              {{"file", path}, {"error", removed.error().ToString()}});
    }
  }
}

size_t RequestLedger::size() const {
  MutexLock lock(mutex_);
  return entries_.size();
}

}  // namespace forebay::wal
