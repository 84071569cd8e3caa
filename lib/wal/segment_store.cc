// A map of small values under one mutex; file operations are done outside it.
#include "wal/segment_store.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "wal/flake_id.h"
#include "wal/internal/peek_rows.h"
#include "wal/segment_reader.h"
#include "wal/table_activity.h"

namespace forebay::wal {
namespace {

// last: of the segment before, null at the first.
bool IsOfSameTable(const SegmentName* last, const SegmentName& name) {
  return last != nullptr && last->table == name.table && last->schema_hash == name.schema_hash &&
         last->database == name.database;
}

}  // namespace

SegmentLease::SegmentLease(SegmentLease&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)),
      info_(std::move(other.info_)),
      path_(std::move(other.path_)) {}

SegmentLease& SegmentLease::operator=(SegmentLease&& other) noexcept {
  if (this != &other) {
    Release();
    store_ = std::exchange(other.store_, nullptr);
    info_ = std::move(other.info_);
    path_ = std::move(other.path_);
  }
  return *this;
}

SegmentLease::~SegmentLease() { Release(); }

const SegmentInfo& SegmentLease::info() const {
  static const SegmentInfo kNothing;
  return info_ ? *info_ : kNothing;
}

void SegmentLease::Release() {
  if (store_ != nullptr) std::exchange(store_, nullptr)->GiveBack(info_->file_name);
}

SegmentStore::SegmentStore(io::FileSystem& fs, const Clock& clock, std::string directory,
                           TableActivity* activity)
    : fs_(fs), clock_(clock), directory_(std::move(directory)), activity_(activity) {}

Status SegmentStore::LoadExisting() {
  FOREBAY_ASSIGN_OR_RETURN(const auto entries, fs_.List(directory_));
  for (const io::DirectoryEntry& entry : entries) {
    const auto name = ParseSegmentName(entry.name);
    if (!name.ok() || entry.is_directory || entry.is_other) {
      LogWarn("what lies in the directory of segments is not a segment, left alone",
              {{"file", io::JoinPath(directory_, entry.name)},
               {"error", name.ok() ? std::string("not a file") : name.error().message()}});
      continue;
    }
    auto info = Inspect(*name, entry);
    if (!info.ok()) {
      LogError(
          "segment cannot be read, left alone",
          {{"file", io::JoinPath(directory_, entry.name)}, {"error", info.error().ToString()}});
      MutexLock lock(mutex_);
      ++totals_.unreadable;
      continue;
    }
    MutexLock lock(mutex_);
    AddLocked(*std::move(info), RowOrigin::kRecovered);
  }
  Notify();
  return OkStatus();
}

Result<SegmentInfo> SegmentStore::Inspect(const SegmentName& name,
                                          const io::DirectoryEntry& entry) const {
  const std::string path = io::JoinPath(directory_, entry.name);
  Result<std::optional<SegmentSummary>> summary = ReadSummary(fs_, path);
  // A file with a damaged magic may hold good blocks: the scan says.
  if (!summary.ok() && summary.error().code() != ErrorCode::kCorruption) return summary.error();
  const bool ours = summary.ok() && summary->has_value();
  if (!ours) {
    FOREBAY_ASSIGN_OR_RETURN(summary, ScanSummary(fs_, path, internal::PeekRows));
  }
  const SegmentSummary& found = **summary;
  SegmentInfo info;
  info.name = name;
  info.file_name = entry.name;
  info.file_bytes = entry.size;
  info.rows = found.rows;
  info.row_bytes = found.row_bytes;
  // Who wrote it is not known then, so it goes no further.
  info.stays = !ours || found.from_peer;
  if (found.has_timestamps()) {
    info.min_timestamp = found.min_timestamp;
    info.max_timestamp = found.max_timestamp;
  }
  info.created = found.created_ms != 0 ? UnixMillis{static_cast<int64_t>(found.created_ms)}
                                       : MillisOf(name.id);
  info.known_since = clock_.Monotonic();
  return info;
}

void SegmentStore::AddLocked(SegmentInfo info, RowOrigin origin) {
  const auto [entry, added] = segments_.try_emplace(info.file_name);
  // A name is made once: by the generation's id and the table.
  FOREBAY_CHECK(added);
  totals_.segments += 1;
  totals_.file_bytes += info.file_bytes;
  totals_.rows += info.rows;
  totals_.row_bytes += info.row_bytes;
  rows_.Entered(info.name.database, origin, info.rows);
  entry->second.info = std::make_shared<const SegmentInfo>(std::move(info));
}

void SegmentStore::Add(std::vector<SegmentInfo> segments, RowOrigin origin) {
  if (activity_ != nullptr && origin == RowOrigin::kSealed) activity_->Add(segments);
  MutexLock lock(mutex_);
  for (SegmentInfo& segment : segments) AddLocked(std::move(segment), origin);
  arrivals_.fetch_add(1, std::memory_order_release);
  ++version_;
  changed_.NotifyAll();
}

std::vector<TableBacklog> SegmentStore::Backlog() const {
  MutexLock lock(mutex_);
  std::vector<TableBacklog> tables;
  const SegmentName* last = nullptr;
  for (const auto& [file_name, entry] : segments_) {
    if (entry.leased) continue;
    // Mostly the table of the one before. Names with and without a schema may interleave; see
    // below.
    const SegmentName& name = entry.info->name;
    if (!IsOfSameTable(last, name)) tables.push_back({SegmentKey(name), {}});
    last = &name;
    tables.back().segments.push_back(entry.info);
  }
  std::stable_sort(tables.begin(), tables.end(),
                   [](const auto& a, const auto& b) { return a.key < b.key; });
  std::vector<TableBacklog> merged;
  for (TableBacklog& table : tables) {
    if (merged.empty() || merged.back().key != table.key) {
      merged.push_back(std::move(table));
    } else {
      std::move(table.segments.begin(), table.segments.end(),
                std::back_inserter(merged.back().segments));
    }
  }
  // Ids have no leading zeros, so the order of names is not the order of ids.
  for (TableBacklog& table : merged) {
    std::sort(table.segments.begin(), table.segments.end(),
              [](const auto& a, const auto& b) { return a->name.id < b->name.id; });
  }
  return merged;
}

Result<SegmentLease> SegmentStore::Take(const std::string& file_name) {
  MutexLock lock(mutex_);
  const auto entry = segments_.find(file_name);
  if (entry == segments_.end()) {
    return Error(ErrorCode::kNotFound, "segment " + file_name + " is gone");
  }
  if (entry->second.leased) {
    return Error(ErrorCode::kFailedPrecondition, "segment " + file_name + " is being worked on");
  }
  return Lease(entry->second);
}

SegmentLease SegmentStore::Lease(Entry& entry) {
  entry.leased = true;
  SegmentLease lease;
  lease.store_ = this;
  lease.info_ = entry.info;
  lease.path_ = io::JoinPath(directory_, entry.info->file_name);
  return lease;
}

Result<SegmentLease> SegmentStore::Adopt(const std::string& file_name) {
  FOREBAY_ASSIGN_OR_RETURN(const SegmentName name, ParseSegmentName(file_name));
  io::DirectoryEntry file;
  file.name = file_name;
  {
    FOREBAY_ASSIGN_OR_RETURN(const auto opened,
                             fs_.Open(io::JoinPath(directory_, file_name), io::OpenMode::kRead));
    FOREBAY_ASSIGN_OR_RETURN(file.size, opened->Size());
  }
  FOREBAY_ASSIGN_OR_RETURN(SegmentInfo info, Inspect(name, file));
  MutexLock lock(mutex_);
  if (segments_.contains(file_name)) {
    return Error(ErrorCode::kAlreadyExists, "segment " + file_name + " is known");
  }
  AddLocked(std::move(info), RowOrigin::kRecovered);
  return Lease(segments_.at(file_name));
}

void SegmentStore::GiveBack(const std::string& file_name) {
  MutexLock lock(mutex_);
  const auto entry = segments_.find(file_name);
  FOREBAY_CHECK(entry != segments_.end() && entry->second.leased);
  entry->second.leased = false;
  arrivals_.fetch_add(1, std::memory_order_release);
  ++version_;
  changed_.NotifyAll();
}

void SegmentStore::Forget(SegmentLease& lease, RowFate fate) {
  lease.store_ = nullptr;
  MutexLock lock(mutex_);
  const auto entry = segments_.find(lease.info_->file_name);
  FOREBAY_CHECK(entry != segments_.end() && entry->second.leased);
  const SegmentInfo& info = *entry->second.info;
  totals_.segments -= 1;
  totals_.file_bytes -= info.file_bytes;
  totals_.rows -= info.rows;
  totals_.row_bytes -= info.row_bytes;
  rows_.Left(info.name.database, fate, info.rows);
  segments_.erase(entry);
  ++version_;
  changed_.NotifyAll();
}

Status SegmentStore::DeleteSegments(std::span<SegmentLease> leases, RowFate fate) {
  for (SegmentLease& lease : leases) {
    if (!lease) continue;
    Status removed = fs_.Remove(lease.path());
    if (!removed.ok() && removed.error().code() != ErrorCode::kNotFound) return removed;
    Forget(lease, fate);
  }
  return fs_.SyncDirectory(directory_);
}

Status SegmentStore::MoveSegments(std::span<SegmentLease> leases, const std::string& directory) {
  for (SegmentLease& lease : leases) {
    if (!lease) continue;
    FOREBAY_RETURN_IF_ERROR(
        fs_.Rename(lease.path(), io::JoinPath(directory, lease.info().file_name)));
    Forget(lease, RowFate::kDeadLettered);
  }
  // The new place first: a crash between the two leaves both names, never none.
  FOREBAY_RETURN_IF_ERROR(fs_.SyncDirectory(directory));
  return fs_.SyncDirectory(directory_);
}

void SegmentStore::KeepHere(const SegmentLease& lease) {
  MutexLock lock(mutex_);
  const auto entry = segments_.find(lease.info_->file_name);
  if (entry == segments_.end()) return;
  SegmentInfo changed = *entry->second.info;
  changed.stays = true;
  entry->second.info = std::make_shared<const SegmentInfo>(std::move(changed));
}

uint64_t SegmentStore::CountFree(MonotonicTime known_until) const {
  MutexLock lock(mutex_);
  uint64_t free = 0;
  for (const auto& [file_name, entry] : segments_) {
    if (!entry.leased && entry.info->known_since <= known_until) ++free;
  }
  return free;
}

StoreTotals SegmentStore::Totals() const {
  MutexLock lock(mutex_);
  return totals_;
}

std::vector<TableTotals> SegmentStore::Tables() const {
  std::vector<TableTotals> tables;
  MutexLock lock(mutex_);
  const SegmentName* last = nullptr;
  for (const auto& [file_name, entry] : segments_) {
    const SegmentInfo& info = *entry.info;
    if (!IsOfSameTable(last, info.name)) {
      tables.push_back({SegmentKey(info.name), 0, 0, 0, 0, info.created});
    }
    last = &info.name;
    TableTotals& table = tables.back();
    table.oldest = std::min(table.oldest, info.created);
    table.segments += 1;
    table.rows += info.rows;
    table.row_bytes += info.row_bytes;
    table.file_bytes += info.file_bytes;
  }
  return tables;
}

std::optional<UnixMillis> SegmentStore::OldestCreated() const {
  MutexLock lock(mutex_);
  std::optional<UnixMillis> oldest;
  for (const auto& [file_name, entry] : segments_) {
    if (!oldest || entry.info->created < *oldest) oldest = entry.info->created;
  }
  return oldest;
}

std::map<std::string, uint64_t> SegmentStore::PendingRows() const {
  MutexLock lock(mutex_);
  std::map<std::string, uint64_t> rows;
  for (const auto& [file_name, entry] : segments_) {
    rows[entry.info->name.database] += entry.info->rows;
  }
  return rows;
}

uint64_t SegmentStore::WaitForChange(uint64_t seen, MonotonicTime deadline) const {
  MutexLock lock(mutex_);
  while (version_ == seen) {
    if (!changed_.WaitUntil(lock, deadline)) break;
  }
  return version_;
}

uint64_t SegmentStore::version() const {
  MutexLock lock(mutex_);
  return version_;
}

void SegmentStore::Notify() {
  MutexLock lock(mutex_);
  ++version_;
  changed_.NotifyAll();
}

}  // namespace forebay::wal
