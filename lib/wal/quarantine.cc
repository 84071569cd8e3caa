// Copies of damaged bytes, each durable with its reason before the caller goes on.
#include "wal/quarantine.h"

#include <fmt/core.h>

#include <utility>

namespace forebay::wal {
namespace {

constexpr std::string_view kReasonSuffix = ".reason";
constexpr std::string_view kTemporarySuffix = ".tmp";

bool IsItem(std::string_view name) {
  return !name.ends_with(kReasonSuffix) && !name.ends_with(kTemporarySuffix);
}

}  // namespace

Quarantine::Quarantine(io::FileSystem& fs, std::string directory, uint64_t max_bytes)
    : fs_(fs), directory_(std::move(directory)), max_bytes_(max_bytes) {}

Status Quarantine::Open() {
  FOREBAY_RETURN_IF_ERROR(fs_.CreateDirectories(directory_));
  FOREBAY_ASSIGN_OR_RETURN(const auto entries, fs_.List(directory_));
  MutexLock lock(mutex_);
  files_ = 0;
  bytes_ = 0;
  for (const io::DirectoryEntry& entry : entries) {
    if (entry.is_directory || !IsItem(entry.name)) continue;
    ++files_;
    bytes_ += entry.size;
  }
  return OkStatus();
}

Result<bool> Quarantine::Keep(const std::string& name, std::string_view bytes,
                              std::string_view reason) {
  const std::string path = io::JoinPath(directory_, name);
  const std::string_view kept = bytes.substr(0, kMaxQuarantineItem);
  if (auto file = fs_.Open(path, io::OpenMode::kRead); file.ok()) {
    const auto size = (*file)->Size();
    if (size.ok() && *size == kept.size()) return false;
  }
  {
    MutexLock lock(mutex_);
    if (bytes_ + kept.size() > max_bytes_) {
      items_.fetch_add(1, std::memory_order_relaxed);
      return Error(ErrorCode::kResourceExhausted, fmt::format("{}: quarantine holds {} of {} bytes",
                                                              directory_, bytes_, max_bytes_))
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
  return io::WriteFileDurably(fs_, io::JoinPath(directory_, name + std::string(kReasonSuffix)),
                              fmt::format("{}\n", reason));
}

void Quarantine::Count(uint64_t bytes) {
  items_.fetch_add(1, std::memory_order_relaxed);
  MutexLock lock(mutex_);
  ++files_;
  bytes_ += bytes;
}

}  // namespace forebay::wal
