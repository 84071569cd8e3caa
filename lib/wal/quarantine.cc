// Copies of damaged bytes, each durable with its reason before the caller goes on.
#include "wal/quarantine.h"

#include <fmt/core.h>

#include <utility>

#include "base/log.h"

namespace forebay::wal {
namespace {

bool IsItem(std::string_view name) {
  return !name.ends_with(kQuarantineReasonSuffix) && !name.ends_with(io::kTemporarySuffix);
}

}  // namespace

Quarantine::Quarantine(io::FileSystem& fs, std::string directory, uint64_t max_bytes)
    : fs_(fs), directory_(std::move(directory)), max_bytes_(max_bytes) {}

Status Quarantine::Open() {
  FOREBAY_RETURN_IF_ERROR(fs_.CreateDirectories(directory_));
  return Recount();
}

Status Quarantine::Recount() {
  FOREBAY_ASSIGN_OR_RETURN(const auto entries, fs_.List(directory_));
  MutexLock lock(mutex_);
  files_ = 0;
  bytes_ = 0;
  for (const io::DirectoryEntry& entry : entries) {
    if (entry.is_directory || entry.is_other || !IsItem(entry.name)) continue;
    ++files_;
    bytes_ += entry.size;
  }
  if (bytes_ < max_bytes_ / 100 * kQuarantineWarnPercent) warned_ = false;
  return OkStatus();
}

bool Quarantine::HasRoom(uint64_t bytes) {
  MutexLock lock(mutex_);
  return bytes_ + bytes <= max_bytes_;
}

Result<bool> Quarantine::Keep(const std::string& name, std::string_view bytes,
                              std::string_view reason) {
  const std::string path = io::JoinPath(directory_, name);
  const std::string_view kept = bytes.substr(0, kMaxQuarantineItem);
  if (auto file = fs_.Open(path, io::OpenMode::kRead); file.ok()) {
    const auto size = (*file)->Size();
    if (size.ok() && *size == kept.size()) return false;
  }
  if (!HasRoom(kept.size())) {
    // Somebody may have made room.
    FOREBAY_RETURN_IF_ERROR(Recount());
    if (!HasRoom(kept.size())) {
      items_.fetch_add(1, std::memory_order_relaxed);
      dropped_items_.fetch_add(1, std::memory_order_relaxed);
      dropped_bytes_.fetch_add(bytes.size(), std::memory_order_relaxed);
      return Error(ErrorCode::kResourceExhausted,
                   fmt::format("{}: the quarantine is full ({} of {} bytes, "
                               "storage.quarantine_max); drop what was looked at: forebay wal "
                               "quarantine drop",
                               directory_, this->bytes(), max_bytes_))
          .WithRetryable(false);
    }
  }
  FOREBAY_RETURN_IF_ERROR(io::WriteFileDurably(fs_, path, kept));
  std::string text(reason);
  if (kept.size() < bytes.size()) {
    text += fmt::format(" (the first {} of {} bytes are kept)", kept.size(), bytes.size());
  }
  FOREBAY_RETURN_IF_ERROR(WriteReason(name, text));
  Count(kept.size());
  return true;
}

Status Quarantine::Move(const std::string& path, const std::string& name, std::string_view reason) {
  uint64_t size = 0;
  if (auto file = fs_.Open(path, io::OpenMode::kRead); file.ok()) {
    size = (*file)->Size().value_or(0);
  }
  FOREBAY_RETURN_IF_ERROR(WriteReason(name, reason));
  FOREBAY_RETURN_IF_ERROR(fs_.Rename(path, io::JoinPath(directory_, name)));
  FOREBAY_RETURN_IF_ERROR(fs_.SyncDirectory(directory_));
  FOREBAY_RETURN_IF_ERROR(fs_.SyncDirectory(io::DirectoryOf(path)));
  Count(size);
  return OkStatus();
}

uint64_t Quarantine::files() const {
  MutexLock lock(mutex_);
  return files_;
}

uint64_t Quarantine::bytes() const {
  MutexLock lock(mutex_);
  return bytes_;
}

Status Quarantine::WriteReason(const std::string& name, std::string_view reason) {
  return io::WriteFileDurably(fs_,
                              io::JoinPath(directory_, name + std::string(kQuarantineReasonSuffix)),
                              fmt::format("{}\n", reason));
}

void Quarantine::Count(uint64_t bytes) {
  items_.fetch_add(1, std::memory_order_relaxed);
  uint64_t total = 0;
  {
    MutexLock lock(mutex_);
    ++files_;
    bytes_ += bytes;
    total = bytes_;
    if (warned_ || bytes_ < max_bytes_ / 100 * kQuarantineWarnPercent) return;
    warned_ = true;
  }
  LogWarn(
      "the quarantine is nearly full; what comes above its bound is not kept: look at it and "
      "drop what was understood (forebay wal quarantine)",
      {{"directory", directory_}, {"bytes", total}, {"storage.quarantine_max", max_bytes_}});
}

}  // namespace forebay::wal
