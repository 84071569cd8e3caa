// A file of reserved blocks that is given up when a volume is full, so that the small files that
// lead out of it can still be written: a manifest before an upload, the ledger before a journal
// goes. Deleting needs no space, so segments leave, and the reserve is made again.
//
// File: <storage.dir>/reserve.space: blocks are reserved and nothing is written, or zeros where a
// volume cannot reserve. Anything else under that name is left alone, and there is no reserve then.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "io/file_system.h"

namespace forebay::wal {

// Some hundred manifests.
inline constexpr uint64_t kReserveFileBytes = 4ULL << 20;

// Threads: any; Make from one at a time.
class DiskReserve {
 public:
  // bytes: at most kReserveFileBytes are asked for; 0: none is kept.
  DiskReserve(io::FileSystem& fs, const std::string& directory, uint64_t bytes);

  // Makes the file when it is not there. Durable: when it returns OK. Errors: kNoSpace and those of
  // writing (there is none now; the caller tries again later), kAlreadyExists (a file that is not
  // ours).
  Status Make();
  // Frees its blocks. Returns whether there were any.
  bool GiveUp();
  bool ready() const { return ready_.load(std::memory_order_relaxed); }
  // How many times it was given up.
  uint64_t given_up() const { return given_up_.load(std::memory_order_relaxed); }
  uint64_t bytes() const { return bytes_; }

  // As io::WriteFileDurably; when there is no space, the reserve is given up and it is tried again.
  Status WriteFileDurably(io::FileSystem& fs, const std::string& path, std::string_view contents);

 private:
  Status Fill(io::File& file) const;

  io::FileSystem& fs_;
  const std::string directory_;
  const std::string path_;
  const uint64_t bytes_;
  std::atomic<bool> ready_{false};
  std::atomic<uint64_t> given_up_{0};
};

}  // namespace forebay::wal
