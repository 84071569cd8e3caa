// A file system that tells a DiskAccount of everything that is made, grows, moves or goes through
// it. Everything below storage.dir is written through one; sinks have the file system below.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/file_system.h"
#include "wal/disk_account.h"

namespace forebay::wal {

// Adds no operation to those of the file system below, but for the size of a file that is opened
// for writing and after a failed write. Threads: as io::FileSystem. Both outlive it; it outlives
// its files.
class AccountedFileSystem final : public io::FileSystem {
 public:
  AccountedFileSystem(io::FileSystem& below, DiskAccount& account)
      : below_(below), account_(account) {}

  Result<std::unique_ptr<io::File>> Open(const std::string& path, io::OpenMode mode) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Remove(const std::string& path) override;
  Status CreateDirectories(const std::string& path) override {
    return below_.CreateDirectories(path);
  }
  Status RemoveDirectory(const std::string& path) override { return below_.RemoveDirectory(path); }
  Result<std::vector<io::DirectoryEntry>> List(const std::string& path) override {
    return below_.List(path);
  }
  Result<bool> Exists(const std::string& path) override { return below_.Exists(path); }
  Status SyncDirectory(const std::string& path) override { return below_.SyncDirectory(path); }
  Status SyncVolume(const std::string& path) override { return below_.SyncVolume(path); }
  Result<io::Space> VolumeSpace(const std::string& path) override {
    return below_.VolumeSpace(path);
  }

 private:
  io::FileSystem& below_;
  DiskAccount& account_;
};

}  // namespace forebay::wal
