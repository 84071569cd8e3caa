// One process per storage directory: an exclusive flock on a file that also names its holder.
//
// The kernel drops the lock when the process ends in any way, so a kill leaves no stale lock; the
// file itself stays, since removing it would let two processes lock two files of one name.
#pragma once

#include <string>

#include "base/result.h"

namespace forebay::io {

// Holds the lock until destroyed. Not on the FileSystem seam: locks are the kernel's business and a
// file system in memory has no second process.
// Threads: one.
class FileLock {
 public:
  // Creates the file when missing and writes this process' id into it.
  // Errors: kFailedPrecondition when another process (or another FileLock of this one) holds it,
  // naming its id; kNotFound, kPermissionDenied, kNoSpace, kIo of the calls below.
  static Result<FileLock> Acquire(const std::string& path);

  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}

  int fd_;  // -1 when moved from
};

}  // namespace forebay::io
