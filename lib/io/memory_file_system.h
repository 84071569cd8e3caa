// A file system in memory that is as unkind as POSIX allows: it forgets what was not synced, tears
// what was written, refuses on command and counts every operation. For tests of everything that
// stores.
//
// What it keeps apart: contents that SyncData made durable from those that only a running kernel
// has, and names that SyncDirectory made durable from those that it has not. A file that was
// created, written and synced can lose its name in a crash when its directory was not synced; a
// removed one can come back. Paths are relative to the root, with or without a leading '/'; "." is
// the root, ".." is refused.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/file_system.h"

namespace forebay::io {

// What faults and counters select. kAny stands for every one of them.
enum class FileOperation {
  kOpen,
  kWrite,
  kRead,
  kSize,
  kAllocate,
  kTruncate,
  kSyncData,
  kClose,
  kRename,
  kRemove,
  kCreateDirectories,
  kRemoveDirectory,
  kList,
  kExists,
  kSyncDirectory,
  kSyncVolume,
  kVolumeSpace,
  kAny,
};

// A fault: matching operations number first, first + 1 ... (count of them) fail, without effect
// unless said otherwise. Errors as the kernel's: ErrnoError(EMFILE, "injected").
struct Fault {
  static constexpr uint64_t kForever = std::numeric_limits<uint64_t>::max();

  FileOperation operation = FileOperation::kAny;
  std::string path_contains;       // part of the path; empty: every path
  uint64_t first = 1;              // 1 is the next matching operation
  uint64_t count = 1;              // kForever: until ClearFaults
  uint64_t short_write_bytes = 0;  // of a failing Write, so many bytes are appended before it fails
  // SyncData, SyncDirectory, SyncVolume, Rename, Remove: all is done, and the error is reported
  // nevertheless: whoever sees a failure cannot know that nothing has happened.
  bool takes_effect = false;
  Error error = Error(ErrorCode::kIo, "injected");
};

struct CrashOptions {
  uint64_t seed = 1;
  // Unsynced contents are kept or lost in pieces of this size: a sector (512) or a page (4096).
  uint64_t granularity = 4096;
  // Chance of each unsynced piece, and of each unsynced change of a directory, to have reached the
  // disk. 0 loses everything that was not synced, 1 keeps everything.
  double keep_probability = 0.5;
};

// A failed SyncData or SyncVolume is as unkind as kernels are (Rebello et al. 2020): what it was to
// write counts as clean from then on. Readers see it, later syncs of the file by a new opening say
// OK, and a crash loses it: zeros, or what was there before. Each File that was open learns of it
// once, at its next SyncData; then its Write and SyncData fail (kFailedPrecondition). A failed
// SyncDirectory loses nothing: names are in the volume's own journal, which a later one writes.
// After a failed Write, Write fails until Truncate. Files may outlive the file system. Threads:
// any; one mutex around everything.
class MemoryFileSystem final : public FileSystem {
 public:
  MemoryFileSystem();
  ~MemoryFileSystem() override;

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Remove(const std::string& path) override;
  Status CreateDirectories(const std::string& path) override;
  Status RemoveDirectory(const std::string& path) override;
  Result<std::vector<DirectoryEntry>> List(const std::string& path) override;
  Result<bool> Exists(const std::string& path) override;
  Status SyncDirectory(const std::string& path) override;
  Status SyncVolume(const std::string& path) override;
  Result<Space> VolumeSpace(const std::string& path) override;

  // The power goes and comes back: what was not synced is kept, lost or torn as the options say,
  // each rename as a whole. Files that are open fail every operation afterwards (kIo). Faults are
  // cleared, counters and capacity stay. The same history and options give the same result.
  void Crash(const CrashOptions& options);

  // A second file system that is as this one is now, what is not durable included; without open
  // files, faults, counts and observer.
  std::unique_ptr<MemoryFileSystem> Clone() const;
  // Called before each operation that may change contents, names or what is durable, on its thread
  // and without a lock: it may Clone. Empty: none. Set while nothing else runs.
  using Observer = std::function<void(FileOperation operation, const std::string& path)>;
  void SetObserver(Observer observer);

  void AddFault(Fault fault);
  // The nth matching operation from now (1 is the next) fails once.
  void FailNth(FileOperation operation, uint64_t n, Error error);
  void FailAlways(FileOperation operation, Error error);
  void ClearFaults();

  // Bytes of visible files, or of their reservation where that is more; above it kNoSpace, after as
  // many bytes as fit. Default 1 TiB.
  void SetCapacity(uint64_t bytes);
  uint64_t UsedBytes() const;
  // What VolumeSpace says of inodes; nothing is refused for them. Default: none of them are
  // counted.
  void SetFiles(uint64_t total, uint64_t available);

  // Operations so far, those that failed included.
  uint64_t OperationCount(FileOperation operation = FileOperation::kAny) const;

  // Bit rot: replaces bytes of what is stored and of what is seen, as far as the file reaches. No
  // operation, no fault. Errors: kNotFound.
  Status Overwrite(const std::string& path, uint64_t offset, std::string_view bytes);
  // The same for the whole file, whose size may change. What was not synced is so afterwards.
  Status Replace(const std::string& path, std::string contents);
  // The whole file as readers see it. No operation, no fault. Errors: kNotFound.
  Result<std::string> Contents(const std::string& path) const;

  struct Core;  // shared with the open files

 private:
  std::shared_ptr<Core> core_;
};

}  // namespace forebay::io
