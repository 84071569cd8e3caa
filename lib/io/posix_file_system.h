// FileSystem over the kernel: what the daemon runs on.
//
// Every descriptor is O_CLOEXEC. Short writes and EINTR are the loops of this file, so callers see
// a write that happened or did not. Errors name the path and the call. Linux only (fallocate,
// syncfs).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/file_system.h"

namespace forebay::io {

// Files it opens: after a failed Write, Write fails until Truncate has made the end known again;
// after a failed SyncData, Write and SyncData fail for good (kFailedPrecondition), because the
// kernel may have marked pages clean that never reached the disk. Threads: any.
class PosixFileSystem final : public FileSystem {
 public:
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
};

}  // namespace forebay::io
