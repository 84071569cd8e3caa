// A map of the counted files under one mutex, and walks of the disk that correct it.
#include "wal/disk_account.h"

#include <fmt/core.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "base/log.h"

namespace forebay::wal {
namespace {

struct Folder {
  std::string_view name;
  DiskClass disk_class;
};
constexpr Folder kFolders[] = {
    {"journal", DiskClass::kJournal},       {"segments", DiskClass::kSegments},
    {"batches", DiskClass::kBatches},       {"ledger", DiskClass::kLedger},
    {"peer-ledger", DiskClass::kLedger},    {"spool", DiskClass::kSegments},
    {"quarantine", DiskClass::kQuarantine}, {"dlq", DiskClass::kDeadLetters},
};
// Blocks beyond the length that a volume has for its own ends (extent trees, what it reserves for
// a writer) are less than this; more were reserved by us.
constexpr uint64_t kReservedBeyond = 1U << 20;

uint64_t ChargeOf(uint64_t size, uint64_t reserved) {
  return (std::max(size, reserved) + kDiskBlock - 1) / kDiskBlock * kDiskBlock;
}

std::string WithoutSlash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

std::string Describe(const std::string& path, const std::optional<uint64_t>& disk,
                     const std::optional<uint64_t>& counted) {
  if (!disk) return fmt::format("{}: is gone, {} bytes were counted", path, *counted);
  if (!counted) return fmt::format("{}: {} bytes were not counted", path, *disk);
  return fmt::format("{}: has {} bytes, {} were counted", path, *disk, *counted);
}

}  // namespace

std::string_view Name(DiskClass disk_class) {
  switch (disk_class) {
    case DiskClass::kJournal:
      return "journal";
    case DiskClass::kSegments:
      return "segments";
    case DiskClass::kBatches:
      return "batches";
    case DiskClass::kLedger:
      return "ledger";
    case DiskClass::kQuarantine:
      return "quarantine";
    case DiskClass::kDeadLetters:
      return "dead_letters";
    case DiskClass::kReserve:
      return "reserve";
  }
  return "unknown";
}

DiskAccount::DiskAccount(io::FileSystem& fs, std::string root)
    : fs_(fs), root_(WithoutSlash(std::move(root))) {}

std::optional<DiskClass> DiskAccount::ClassOf(std::string_view path) const {
  if (!path.starts_with(root_)) return std::nullopt;
  path.remove_prefix(root_.size());
  if (root_ != "/") {
    if (!path.starts_with('/')) return std::nullopt;
    path.remove_prefix(1);
  }
  const size_t slash = path.find('/');
  if (slash == std::string_view::npos) {
    if (path == kReserveFile) return DiskClass::kReserve;
    return std::nullopt;
  }
  for (const Folder& folder : kFolders) {
    if (path.substr(0, slash) == folder.name) return folder.disk_class;
  }
  return std::nullopt;
}

Status DiskAccount::Walk(const std::string& directory, int depth, Found& found) const {
  const auto entries = fs_.List(directory);
  if (!entries.ok()) {
    // Not made yet, or removed meanwhile.
    if (entries.error().code() == ErrorCode::kNotFound) return OkStatus();
    return entries.error();
  }
  for (const io::DirectoryEntry& entry : *entries) {
    const std::string path = io::JoinPath(directory, entry.name);
    if (entry.is_directory) {
      if (depth < kMaxDiskDepth) FOREBAY_RETURN_IF_ERROR(Walk(path, depth + 1, found));
    } else if (!entry.is_other) {
      const bool reserved = entry.allocated > ChargeOf(entry.size, 0) + kReservedBeyond;
      found[path] = {entry.size, reserved ? entry.allocated : 0};
    }
  }
  return OkStatus();
}

Result<DiskAccount::Found> DiskAccount::WalkAll() const {
  Found found;
  for (const Folder& folder : kFolders) {
    FOREBAY_RETURN_IF_ERROR(Walk(io::JoinPath(root_, folder.name), 1, found));
  }
  const auto top = fs_.List(root_);
  if (!top.ok()) {
    if (top.error().code() == ErrorCode::kNotFound) return found;  // a first start
    return Error(top.error());
  }
  for (const io::DirectoryEntry& entry : *top) {
    if (entry.name != kReserveFile || entry.is_directory || entry.is_other) continue;
    found[io::JoinPath(root_, entry.name)] = {entry.size, entry.allocated};
  }
  return found;
}

void DiskAccount::Load() {
  const auto found = WalkAll();
  if (!found.ok()) {
    LogError("the files of storage.dir cannot be counted; the next audit tries again",
             {{"error", found.error().ToString()}});
    return;
  }
  MutexLock lock(mutex_);
  for (const auto& [path, on_disk] : *found) {
    auto charge = std::make_shared<Charge>();
    charge->disk_class = *ClassOf(path);
    charge->size = on_disk.size;
    charge->reserved = on_disk.reserved;
    Count(*charge, true);
    charges_[path] = std::move(charge);
  }
}

std::array<DiskUsage, kDiskClasses> DiskAccount::usage() const {
  MutexLock lock(mutex_);
  return usage_;
}

void DiskAccount::Count(const Charge& charge, bool add) {
  const uint64_t bytes = ChargeOf(charge.size, charge.reserved);
  DiskUsage& usage = usage_[static_cast<size_t>(charge.disk_class)];
  usage.bytes += add ? bytes : 0 - bytes;
  usage.files += add ? 1 : uint64_t{0} - 1;
  used_.fetch_add(add ? bytes : 0 - bytes, std::memory_order_relaxed);
}

void DiskAccount::Change(Charge& charge, uint64_t size, uint64_t reserved) {
  charge.changed = ++changes_;
  const uint64_t before = ChargeOf(charge.size, charge.reserved);
  charge.size = size;
  charge.reserved = reserved;
  if (!charge.counted) return;
  const uint64_t more = ChargeOf(size, reserved) - before;  // modulo 2^64
  usage_[static_cast<size_t>(charge.disk_class)].bytes += more;
  used_.fetch_add(more, std::memory_order_relaxed);
}

void DiskAccount::Drop(const std::string& path) {
  const auto found = charges_.find(path);
  if (found == charges_.end()) return;
  Count(*found->second, false);
  found->second->counted = false;
  charges_.erase(found);
}

DiskAccount::ChargePtr DiskAccount::Opened(const std::string& path, std::optional<uint64_t> size) {
  const auto disk_class = ClassOf(path);
  if (!disk_class) return nullptr;
  MutexLock lock(mutex_);
  ChargePtr& charge = charges_[path];
  if (charge == nullptr) {
    charge = std::make_shared<Charge>();
    charge->disk_class = *disk_class;
    charge->size = size.value_or(0);
    charge->changed = ++changes_;
    Count(*charge, true);
  } else if (size) {
    Change(*charge, *size, *size == 0 ? 0 : charge->reserved);
  }
  return charge;
}

void DiskAccount::Grew(const ChargePtr& charge, uint64_t bytes) {
  MutexLock lock(mutex_);
  Change(*charge, charge->size + bytes, charge->reserved);
}

void DiskAccount::GrewTo(const ChargePtr& charge, uint64_t size) {
  MutexLock lock(mutex_);
  if (size > charge->size) Change(*charge, size, charge->reserved);
}

void DiskAccount::Resized(const ChargePtr& charge, uint64_t size) {
  MutexLock lock(mutex_);
  Change(*charge, size, size < charge->size ? 0 : charge->reserved);
}

void DiskAccount::Reserved(const ChargePtr& charge, uint64_t bytes) {
  MutexLock lock(mutex_);
  Change(*charge, charge->size, std::max(charge->reserved, bytes));
}

void DiskAccount::Renamed(const std::string& from, const std::string& to) {
  MutexLock lock(mutex_);
  Drop(to);
  const auto found = charges_.find(from);
  if (found == charges_.end()) return;
  const ChargePtr charge = found->second;
  const auto disk_class = ClassOf(to);
  Drop(from);
  if (!disk_class) return;
  charge->disk_class = *disk_class;
  charge->counted = true;
  charge->changed = ++changes_;
  Count(*charge, true);
  charges_[to] = charge;
}

void DiskAccount::Removed(const std::string& path) {
  MutexLock lock(mutex_);
  Drop(path);
}

DiskAccount::Differences DiskAccount::Compare(const Found& found) const {
  Differences differences;
  MutexLock lock(mutex_);
  for (const auto& [path, on_disk] : found) {
    const auto known = charges_.find(path);
    if (known == charges_.end()) {
      differences[path] = {on_disk, std::nullopt, 0};
    } else if (known->second->size != on_disk.size) {
      differences[path] = {on_disk, known->second->size, known->second->changed};
    }
  }
  for (const auto& [path, charge] : charges_) {
    if (!found.contains(path)) differences[path] = {std::nullopt, charge->size, charge->changed};
  }
  return differences;
}

// Returns by how many bytes the account was off.
uint64_t DiskAccount::Correct(const std::string& path, const Difference& difference) {
  MutexLock lock(mutex_);
  const auto known = charges_.find(path);
  const bool counted = known != charges_.end();
  if (counted != difference.counted.has_value()) return 0;  // changed meanwhile
  if (counted && known->second->changed != difference.changed) return 0;
  const uint64_t before = counted ? ChargeOf(known->second->size, known->second->reserved) : 0;
  if (!difference.disk) {
    Drop(path);
    return before;
  }
  const uint64_t after = ChargeOf(difference.disk->size, difference.disk->reserved);
  if (counted) {
    Change(*known->second, difference.disk->size, difference.disk->reserved);
    return std::max(before, after) - std::min(before, after);
  }
  auto charge = std::make_shared<Charge>();
  charge->disk_class = *ClassOf(path);
  charge->size = difference.disk->size;
  charge->reserved = difference.disk->reserved;
  charge->changed = ++changes_;
  Count(*charge, true);
  charges_[path] = std::move(charge);
  return after;
}

Result<AuditReport> DiskAccount::Audit(std::chrono::milliseconds settle) {
  AuditReport report;
  FOREBAY_ASSIGN_OR_RETURN(const Found first, WalkAll());
  report.files = first.size();
  Differences suspects = Compare(first);
  // What is on its way between disk and account is so for a moment; where the disk is slow, for
  // longer.
  for (const int patience : {1, 10}) {
    if (suspects.empty()) return report;
    std::this_thread::sleep_for(settle * patience);
    FOREBAY_ASSIGN_OR_RETURN(const Found again, WalkAll());
    const Differences now = Compare(again);
    std::erase_if(suspects, [&now](const auto& suspect) {
      const auto found = now.find(suspect.first);
      return found == now.end() || found->second != suspect.second;
    });
  }
  for (const auto& [path, difference] : suspects) {
    report.corrected_bytes += Correct(path, difference);
    ++report.differences;
    if (report.examples.size() == kMaxAuditExamples) continue;
    std::optional<uint64_t> disk;
    if (difference.disk) disk = difference.disk->size;
    report.examples.push_back(Describe(path, disk, difference.counted));
  }
  return report;
}

}  // namespace forebay::wal
