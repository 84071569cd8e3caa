// The verbs of MemoryFileSystem over its core. Every operation counts itself and asks for a fault
// first.
#include "io/memory_file_system.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "io/internal/memory_core.h"

namespace forebay::io {
namespace {

using internal::Inode;
using internal::InodePtr;
using internal::Location;

class MemoryFile final : public File {
 public:
  using Core = MemoryFileSystem::Core;

  MemoryFile(std::shared_ptr<Core> core, InodePtr inode, std::string path, OpenMode mode)
      : core_(std::move(core)),
        inode_(std::move(inode)),
        path_(std::move(path)),
        read_only_(mode == OpenMode::kRead) {
    MutexLock lock(core_->mutex);
    epoch_ = core_->epoch;
    sync_errors_seen_ = inode_->sync_errors;
  }

  Status Write(std::span<const std::string_view> parts) override {
    return WriteFrom(std::nullopt, parts);
  }

  Status WriteAt(uint64_t offset, std::span<const std::string_view> parts) override {
    return WriteFrom(offset, parts);
  }

  Result<size_t> ReadAt(uint64_t offset, std::span<char> out) override {
    MutexLock lock(core_->mutex);
    FOREBAY_RETURN_IF_ERROR(core_->Begin(FileOperation::kRead, path_));
    FOREBAY_RETURN_IF_ERROR(CheckAlive(*core_));
    if (offset >= inode_->content.size()) return size_t{0};
    return inode_->content.copy(out.data(), out.size(), offset);
  }

  Result<uint64_t> Size() override {
    MutexLock lock(core_->mutex);
    FOREBAY_RETURN_IF_ERROR(core_->Begin(FileOperation::kSize, path_));
    FOREBAY_RETURN_IF_ERROR(CheckAlive(*core_));
    return inode_->content.size();
  }

  Status Allocate(uint64_t size) override {
    core_->Announce(FileOperation::kAllocate, path_);
    MutexLock lock(core_->mutex);
    FOREBAY_RETURN_IF_ERROR(core_->Begin(FileOperation::kAllocate, path_));
    FOREBAY_RETURN_IF_ERROR(CheckAlive(*core_));
    if (read_only_) return ReadOnly();
    const uint64_t end = inode_->content.size();
    if (size > end && size - end > core_->RoomFor(*inode_)) return NoSpace();
    inode_->allocated = std::max(inode_->allocated, size);
    return OkStatus();
  }

  Status Truncate(uint64_t size) override {
    core_->Announce(FileOperation::kTruncate, path_);
    MutexLock lock(core_->mutex);
    FOREBAY_RETURN_IF_ERROR(core_->Begin(FileOperation::kTruncate, path_));
    FOREBAY_RETURN_IF_ERROR(CheckAlive(*core_));
    if (read_only_) return ReadOnly();
    if (size < inode_->content.size()) inode_->allocated = size;
    inode_->Resize(size);
    write_failed_ = false;
    return OkStatus();
  }

  Status SyncData() override {
    core_->Announce(FileOperation::kSyncData, path_);
    MutexLock lock(core_->mutex);
    const Fault* fault = core_->Meet(FileOperation::kSyncData, path_);
    FOREBAY_RETURN_IF_ERROR(CheckAlive(*core_));
    if (sync_failed_) return GivenUp();
    if (fault != nullptr) {
      sync_failed_ = true;
      if (fault->takes_effect) {
        inode_->MakeDurable();
      } else {
        inode_->LoseDirty();
      }
      return fault->error.WithContext(path_);
    }
    if (inode_->sync_errors != sync_errors_seen_) {
      sync_failed_ = true;
      return Error(ErrorCode::kIo, path_ + ": an earlier sync of the volume or the file failed");
    }
    inode_->MakeDurable();
    return OkStatus();
  }

  Status Close() override {
    MutexLock lock(core_->mutex);
    FOREBAY_RETURN_IF_ERROR(core_->Begin(FileOperation::kClose, path_));
    closed_ = true;
    return OkStatus();
  }

 private:
  // offset: the end when there is none.
  Status WriteFrom(std::optional<uint64_t> offset, std::span<const std::string_view> parts) {
    core_->Announce(FileOperation::kWrite, path_);
    MutexLock lock(core_->mutex);
    const Fault* fault = core_->Meet(FileOperation::kWrite, path_);
    FOREBAY_RETURN_IF_ERROR(CheckAlive(*core_));
    FOREBAY_RETURN_IF_ERROR(CheckWritable());
    std::string& content = inode_->content;
    uint64_t at = offset.value_or(content.size());
    // Bytes that are there already need no room.
    uint64_t limit = content.size() + core_->RoomFor(*inode_);
    if (fault != nullptr) limit = std::min(limit, at + fault->short_write_bytes);
    inode_->MarkDirty(std::min<uint64_t>(at, content.size()));
    if (at > content.size() && at <= limit) content.resize(at);
    bool all = true;
    for (const std::string_view part : parts) {
      const std::string_view fits = part.substr(0, limit > at ? limit - at : 0);
      if (!fits.empty()) content.replace(at, fits.size(), fits);
      inode_->Rewrite(at, at + fits.size());
      at += fits.size();
      all = all && fits.size() == part.size();
    }
    if (fault == nullptr && all) return OkStatus();
    write_failed_ = true;
    if (fault != nullptr) return fault->error.WithContext(path_);
    return NoSpace();
  }

  Status CheckAlive(const Core& core) const REQUIRES(core.mutex) {
    if (closed_) return Error(ErrorCode::kFailedPrecondition, path_ + ": the file is closed");
    if (epoch_ != core.epoch) return Error(ErrorCode::kIo, path_ + ": opened before the crash");
    return OkStatus();
  }

  Status CheckWritable() const {
    if (read_only_) return ReadOnly();
    if (write_failed_ || sync_failed_) return GivenUp();
    return OkStatus();
  }

  Error ReadOnly() const {
    return Error(ErrorCode::kFailedPrecondition, path_ + ": opened for reading");
  }

  Error GivenUp() const {
    return Error(ErrorCode::kFailedPrecondition, path_ + ": given up after an earlier failure");
  }

  Error NoSpace() const { return Error(ErrorCode::kNoSpace, path_ + ": no space left"); }

  std::shared_ptr<Core> core_;
  InodePtr inode_;    // guarded by core_->mutex
  std::string path_;  // for messages and faults
  bool read_only_;
  uint64_t epoch_ = 0;             // of the file system when opened
  uint64_t sync_errors_seen_ = 0;  // of the inode when opened
  bool sync_failed_ = false;       // for good
  bool write_failed_ = false;      // the end of the file is unknown
  bool closed_ = false;
};

// Of an operation that was done.
Status Reported(const Fault* fault, const std::string& path) {
  if (fault != nullptr) return fault->error.WithContext(path);
  return OkStatus();
}

}  // namespace

MemoryFileSystem::MemoryFileSystem() : core_(std::make_shared<Core>()) {}
MemoryFileSystem::~MemoryFileSystem() = default;

Result<std::unique_ptr<File>> MemoryFileSystem::Open(const std::string& path, OpenMode mode) {
  const bool creates = mode == OpenMode::kCreate || mode == OpenMode::kCreateOrTruncate;
  if (creates) core_->Announce(FileOperation::kOpen, path);
  InodePtr inode;
  {
    MutexLock lock(core_->mutex);
    FOREBAY_RETURN_IF_ERROR(core_->Begin(FileOperation::kOpen, path));
    FOREBAY_ASSIGN_OR_RETURN(const Location at, core_->Find(path));
    inode = at.inode;
    if (inode != nullptr && inode->is_directory) {
      return Error(ErrorCode::kIo, path + ": is a directory");
    }
    if (inode != nullptr && mode == OpenMode::kCreate) {
      return Error(ErrorCode::kAlreadyExists, path + ": exists");
    }
    if (inode == nullptr && !creates) {
      return Error(ErrorCode::kNotFound, path + ": no such file");
    }
    if (inode == nullptr) {
      inode = std::make_shared<Inode>();
      core_->Apply(
          {.inode = inode, .edits = {{.directory = at.parent, .name = at.name, .target = inode}}});
    } else if (mode == OpenMode::kCreateOrTruncate) {
      inode->Resize(0);
      inode->allocated = 0;
    }
  }
  return std::unique_ptr<File>(std::make_unique<MemoryFile>(core_, std::move(inode), path, mode));
}

Status MemoryFileSystem::Rename(const std::string& from, const std::string& to) {
  core_->Announce(FileOperation::kRename, from);
  MutexLock lock(core_->mutex);
  const Fault* fault = core_->Meet(FileOperation::kRename, from);
  if (fault != nullptr && !fault->takes_effect) return fault->error.WithContext(from);
  FOREBAY_ASSIGN_OR_RETURN(const Location source, core_->FindExisting(from));
  FOREBAY_ASSIGN_OR_RETURN(const Location target, core_->Find(to));
  if (source.parent == nullptr || target.parent == nullptr) {
    return Error(ErrorCode::kInvalidArgument, from + ": the root cannot be renamed");
  }
  if (target.inode == source.inode) return OkStatus();
  if (target.inode != nullptr) {
    if (target.inode->is_directory != source.inode->is_directory) {
      return Error(ErrorCode::kIo, to + ": file and directory cannot replace each other");
    }
    if (!target.inode->entries.empty()) {
      return Error(ErrorCode::kAlreadyExists, to + ": directory not empty");
    }
  }
  core_->Apply(
      {.inode = source.inode,
       .edits = {{.directory = source.parent, .name = source.name, .target = nullptr},
                 {.directory = target.parent, .name = target.name, .target = source.inode}}});
  return Reported(fault, from);
}

Status MemoryFileSystem::Remove(const std::string& path) {
  core_->Announce(FileOperation::kRemove, path);
  MutexLock lock(core_->mutex);
  const Fault* fault = core_->Meet(FileOperation::kRemove, path);
  if (fault != nullptr && !fault->takes_effect) return fault->error.WithContext(path);
  FOREBAY_ASSIGN_OR_RETURN(const Location at, core_->FindExisting(path));
  if (at.inode->is_directory) return Error(ErrorCode::kIo, path + ": is a directory");
  core_->Apply(
      {.inode = at.inode, .edits = {{.directory = at.parent, .name = at.name, .target = nullptr}}});
  return Reported(fault, path);
}

Status MemoryFileSystem::CreateDirectories(const std::string& path) {
  core_->Announce(FileOperation::kCreateDirectories, path);
  MutexLock lock(core_->mutex);
  FOREBAY_RETURN_IF_ERROR(core_->Begin(FileOperation::kCreateDirectories, path));
  for (size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    const std::string level = path.substr(0, end);
    FOREBAY_ASSIGN_OR_RETURN(const Location at, core_->Find(level));
    if (at.inode != nullptr && at.inode->is_directory) continue;
    if (at.inode != nullptr) return Error(ErrorCode::kAlreadyExists, level + ": not a directory");
    auto directory = std::make_shared<Inode>();
    directory->is_directory = true;
    core_->Apply(
        {.inode = directory,
         .edits = {{.directory = at.parent, .name = at.name, .target = std::move(directory)}}});
    core_->SyncDirectory(at.parent);
  }
  return OkStatus();
}

Status MemoryFileSystem::RemoveDirectory(const std::string& path) {
  core_->Announce(FileOperation::kRemoveDirectory, path);
  MutexLock lock(core_->mutex);
  FOREBAY_RETURN_IF_ERROR(core_->Begin(FileOperation::kRemoveDirectory, path));
  FOREBAY_ASSIGN_OR_RETURN(const Location at, core_->FindExisting(path));
  if (!at.inode->is_directory) return Error(ErrorCode::kNotFound, path + ": not a directory");
  if (at.parent == nullptr) return Error(ErrorCode::kInvalidArgument, path + ": is the root");
  if (!at.inode->entries.empty()) {
    return Error(ErrorCode::kAlreadyExists, path + ": directory not empty");
  }
  core_->Apply(
      {.inode = at.inode, .edits = {{.directory = at.parent, .name = at.name, .target = nullptr}}});
  return OkStatus();
}

Result<std::vector<DirectoryEntry>> MemoryFileSystem::List(const std::string& path) {
  MutexLock lock(core_->mutex);
  FOREBAY_RETURN_IF_ERROR(core_->Begin(FileOperation::kList, path));
  FOREBAY_ASSIGN_OR_RETURN(const InodePtr directory, core_->FindDirectory(path));
  std::vector<DirectoryEntry> entries;
  for (const auto& [name, inode] : directory->entries) {
    entries.push_back({.name = name,
                       .size = inode->content.size(),
                       .allocated = std::max<uint64_t>(inode->content.size(), inode->allocated),
                       .is_directory = inode->is_directory});
  }
  return entries;
}

Result<bool> MemoryFileSystem::Exists(const std::string& path) {
  MutexLock lock(core_->mutex);
  FOREBAY_RETURN_IF_ERROR(core_->Begin(FileOperation::kExists, path));
  auto at = core_->Find(path);
  if (at.ok()) return at->inode != nullptr;
  if (at.error().code() == ErrorCode::kNotFound) return false;
  return at.error();
}

Status MemoryFileSystem::SyncDirectory(const std::string& path) {
  core_->Announce(FileOperation::kSyncDirectory, path);
  MutexLock lock(core_->mutex);
  const Fault* fault = core_->Meet(FileOperation::kSyncDirectory, path);
  if (fault != nullptr && !fault->takes_effect) return fault->error.WithContext(path);
  FOREBAY_ASSIGN_OR_RETURN(const InodePtr directory, core_->FindDirectory(path));
  core_->SyncDirectory(directory);
  return Reported(fault, path);
}

Status MemoryFileSystem::SyncVolume(const std::string& path) {
  core_->Announce(FileOperation::kSyncVolume, path);
  MutexLock lock(core_->mutex);
  const Fault* fault = core_->Meet(FileOperation::kSyncVolume, path);
  if (fault != nullptr && !fault->takes_effect) {
    core_->LoseEverything();
    return fault->error.WithContext(path);
  }
  FOREBAY_RETURN_IF_ERROR(core_->FindExisting(path));
  core_->SyncEverything();
  return Reported(fault, path);
}

Result<Space> MemoryFileSystem::VolumeSpace(const std::string& path) {
  MutexLock lock(core_->mutex);
  FOREBAY_RETURN_IF_ERROR(core_->Begin(FileOperation::kVolumeSpace, path));
  FOREBAY_RETURN_IF_ERROR(core_->FindExisting(path));
  const uint64_t used = core_->UsedBytes();
  return Space{.total_bytes = core_->capacity,
               .available_bytes = used < core_->capacity ? core_->capacity - used : 0,
               .total_files = core_->total_files,
               .available_files = core_->available_files};
}

void MemoryFileSystem::Crash(const CrashOptions& options) {
  MutexLock lock(core_->mutex);
  core_->Crash(options);
}

void MemoryFileSystem::AddFault(Fault fault) {
  MutexLock lock(core_->mutex);
  if (fault.count > 0) core_->faults.push_back(std::move(fault));
}

void MemoryFileSystem::FailNth(FileOperation operation, uint64_t n, Error error) {
  AddFault({.operation = operation, .path_contains = {}, .first = n, .error = std::move(error)});
}

void MemoryFileSystem::FailAlways(FileOperation operation, Error error) {
  AddFault({.operation = operation,
            .path_contains = {},
            .count = Fault::kForever,
            .error = std::move(error)});
}

void MemoryFileSystem::ClearFaults() {
  MutexLock lock(core_->mutex);
  core_->faults.clear();
}

void MemoryFileSystem::SetCapacity(uint64_t bytes) {
  MutexLock lock(core_->mutex);
  core_->capacity = bytes;
}

void MemoryFileSystem::SetFiles(uint64_t total, uint64_t available) {
  MutexLock lock(core_->mutex);
  core_->total_files = total;
  core_->available_files = available;
}

uint64_t MemoryFileSystem::UsedBytes() const {
  MutexLock lock(core_->mutex);
  return core_->UsedBytes();
}

std::unique_ptr<MemoryFileSystem> MemoryFileSystem::Clone() const {
  auto copy = std::make_unique<MemoryFileSystem>();
  MutexLock lock(core_->mutex);
  core_->CopyTo(*copy->core_);
  return copy;
}

void MemoryFileSystem::SetObserver(Observer observer) {
  MutexLock lock(core_->observer_mutex);
  core_->observer = std::move(observer);
}

uint64_t MemoryFileSystem::OperationCount(FileOperation operation) const {
  MutexLock lock(core_->mutex);
  return core_->counts[static_cast<size_t>(operation)];
}

Status MemoryFileSystem::Overwrite(const std::string& path, uint64_t offset,
                                   std::string_view bytes) {
  MutexLock lock(core_->mutex);
  FOREBAY_ASSIGN_OR_RETURN(const Location at, core_->FindExisting(path));
  for (std::string* content : {&at.inode->content, &at.inode->durable}) {
    if (offset >= content->size()) continue;
    const size_t fits = std::min<size_t>(bytes.size(), content->size() - offset);
    content->replace(offset, fits, bytes.substr(0, fits));
  }
  return OkStatus();
}

Status MemoryFileSystem::Replace(const std::string& path, std::string contents) {
  MutexLock lock(core_->mutex);
  FOREBAY_ASSIGN_OR_RETURN(const Location at, core_->FindExisting(path));
  at.inode->Resize(contents.size());
  at.inode->lost.clear();
  at.inode->content = contents;
  at.inode->durable = std::move(contents);
  at.inode->dirty_from = at.inode->content.size();
  return OkStatus();
}

Result<std::string> MemoryFileSystem::Contents(const std::string& path) const {
  MutexLock lock(core_->mutex);
  FOREBAY_ASSIGN_OR_RETURN(const Location at, core_->FindExisting(path));
  return at.inode->content;
}

}  // namespace forebay::io
