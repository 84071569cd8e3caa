// The file system seam: the few verbs that Forebay's durability needs, so that tests can put a file
// system below that forgets, tears and refuses. Everything the daemon stores goes through it.
//
// Two implementations: PosixFileSystem (io/posix_file_system.h) and MemoryFileSystem
// (io/memory_file_system.h; keeps what was synced apart from what was not, injects faults).
// Paths are absolute or relative to the process, '/'-separated.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace forebay::io {

// How File is opened.
enum class OpenMode {
  kRead,    // must exist; ReadAt and Size only
  kCreate,  // must not exist; Write appends
  kCreateOrTruncate,
  kReadWrite,  // must exist; Write appends at the end, WriteAt overwrites
};

// One open file. Threads: ReadAt from any; the rest from one at a time.
class File {
 public:
  virtual ~File() = default;  // closes without syncing and without an error

  // Appends all parts, or fails. After an error the file's end is unknown: give the file up.
  virtual Status Write(std::span<const std::string_view> parts) = 0;
  Status Write(std::string_view bytes) { return Write(std::span(&bytes, 1)); }
  // Writes all parts from `offset` on, over what is there, or fails. The file grows as far as it
  // must; Write goes on behind its end. After an error what lies there is unknown: give the file
  // up.
  virtual Status WriteAt(uint64_t offset, std::span<const std::string_view> parts) = 0;
  Status WriteAt(uint64_t offset, std::string_view bytes) {
    return WriteAt(offset, std::span(&bytes, 1));
  }
  // Returns the bytes read, fewer than asked only at the end of the file.
  virtual Result<size_t> ReadAt(uint64_t offset, std::span<char> out) = 0;
  virtual Result<uint64_t> Size() = 0;
  // Reserves space for [0, size) without changing what readers see. kUnimplemented where the volume
  // cannot.
  virtual Status Allocate(uint64_t size) = 0;
  virtual Status Truncate(uint64_t size) = 0;
  // Durable: contents and size, when it returns OK. After an error never call it again on this
  // file: the kernel may have marked the lost pages clean. Source: Rebello et al. 2020.
  virtual Status SyncData() = 0;
  // Reports what the destructor would hide. Not a sync.
  virtual Status Close() = 0;
};

struct DirectoryEntry {
  std::string name;        // without the directory
  uint64_t size = 0;       // of a regular file
  uint64_t allocated = 0;  // bytes of its blocks, reserved ones too; 0 where that is not known
  bool is_directory = false;
  bool is_other = false;  // neither a regular file nor a directory: a link, a pipe, a device
};

struct Space {
  uint64_t total_bytes = 0;
  uint64_t available_bytes = 0;  // to this process
  uint64_t total_files = 0;      // inodes; 0: the volume makes them as it needs them
  uint64_t available_files = 0;
};

// Threads: any.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) = 0;
  // Replaces `to`. Durable after SyncDirectory of both parents.
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  virtual Status Remove(const std::string& path) = 0;
  // Creates the missing ones of the path, each durable.
  virtual Status CreateDirectories(const std::string& path) = 0;
  virtual Status RemoveDirectory(const std::string& path) = 0;  // must be empty
  // Names and sizes, in no order; an entry that vanishes meanwhile is left out. Links are not
  // followed.
  virtual Result<std::vector<DirectoryEntry>> List(const std::string& path) = 0;
  virtual Result<bool> Exists(const std::string& path) = 0;
  // Durable: creations, renames and removals in the directory.
  virtual Status SyncDirectory(const std::string& path) = 0;
  // Durable: everything written to the volume that holds path (syncfs).
  virtual Status SyncVolume(const std::string& path) = 0;
  virtual Result<Space> VolumeSpace(const std::string& path) = 0;
};

// Conveniences over the verbs. All of the file, at most max_bytes (more: kOutOfRange).
Result<std::string> ReadFile(FileSystem& fs, const std::string& path, uint64_t max_bytes);
// What a crash in WriteFileDurably may leave ends so.
inline constexpr std::string_view kTemporarySuffix = ".tmp";
// Durable: writes path + kTemporarySuffix, syncs, renames over path, syncs the directory.
Status WriteFileDurably(FileSystem& fs, const std::string& path, std::string_view contents);

// "a/b" from "a" and "b".
std::string JoinPath(std::string_view directory, std::string_view name);
// The part before the last '/', "." when there is none.
std::string DirectoryOf(std::string_view path);
// The part behind the last '/', all of it when there is none.
std::string_view BaseName(std::string_view path);

}  // namespace forebay::io
