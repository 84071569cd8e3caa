// Files of committed journals that wait to be written over by the next ones: their blocks are
// there, so that a commit there writes data and no metadata.
//
// A spare may be written to once it is known durably not to be a journal any more: the sealer
// renames, syncs the directory and only then calls Keep. Limits: kMaxSpares files, each and all
// together within Options. Spares are the first to go when space is short.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "io/file_system.h"

namespace forebay::wal {

// Threads: any. No I/O under the lock.
class JournalSpares {
 public:
  static constexpr size_t kMaxSpares = 2;
  struct Spare {
    std::string path;
    uint64_t bytes = 0;
  };
  struct Options {
    uint64_t max_bytes = 0;  // of all
  };

  JournalSpares(io::FileSystem& fs, const Options& options) : fs_(fs), options_(options) {}

  // True when a file of this size would be kept. Ask before renaming.
  bool Wants(uint64_t bytes) const EXCLUDES(mutex_);
  // Takes the file over, or removes it.
  void Keep(Spare spare) EXCLUDES(mutex_);
  // The largest one; it is the caller's from here on.
  std::optional<Spare> Take() EXCLUDES(mutex_);
  // Removes all. Returns whether there were any.
  bool Drop() EXCLUDES(mutex_);
  uint64_t bytes() const EXCLUDES(mutex_);

 private:
  bool HasRoom(uint64_t bytes) const REQUIRES(mutex_);

  io::FileSystem& fs_;
  const Options options_;
  mutable Mutex mutex_;
  std::vector<Spare> spares_ GUARDED_BY(mutex_);
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
};

}  // namespace forebay::wal
