// Where bytes go that could not be read: damaged parts of segments, journals and manifests.
//
// Files: <storage.dir>/quarantine/<name> with the bytes and <name>.reason with one line of text.
// Nothing reads them back; they are for people, who may delete them also while the node runs.
// Limits: one item is at most kMaxQuarantineItem bytes (what is longer is cut, and the reason says
// so); copies stop at max_bytes in all, above it only the counters grow. From
// kQuarantineWarnPercent of it on the log says so. Whole files that are moved here are never
// refused: they take no room that they did not take before.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "base/result.h"
#include "io/file_system.h"

namespace forebay::wal {

inline constexpr size_t kMaxQuarantineItem = 64U << 20;
inline constexpr uint64_t kDefaultQuarantineBytes = 1ULL << 30;
inline constexpr uint64_t kQuarantineWarnPercent = 80;
inline constexpr std::string_view kQuarantineReasonSuffix = ".reason";

// Threads: any.
class Quarantine {
 public:
  Quarantine(io::FileSystem& fs, std::string directory,
             uint64_t max_bytes = kDefaultQuarantineBytes);

  // Creates the directory and counts what earlier runs left there. Call once, before the rest.
  Status Open() EXCLUDES(mutex_);
  // Counts again what is there: people delete items. Called by each audit, and before an item is
  // not kept for want of room.
  Status Recount() EXCLUDES(mutex_);

  // Keeps a copy of `bytes`. An item of that name and size that is there already is left as it is:
  // the same damage was met again. Returns whether it is new. Shape: name is a file name without
  // '/'; reason is one line. Durable: when it returns OK. Errors: kResourceExhausted when max_bytes
  // are reached (the caller goes on without a copy); those of writing (the caller tries again
  // later).
  Result<bool> Keep(const std::string& name, std::string_view bytes, std::string_view reason)
      EXCLUDES(mutex_);
  // Moves a whole file here, which may be of any size; `path` is gone afterwards. Durable: when it
  // returns OK.
  Status Move(const std::string& path, const std::string& name, std::string_view reason)
      EXCLUDES(mutex_);

  // Of this process: items kept or moved, repetitions not counted.
  uint64_t items() const { return items_.load(std::memory_order_relaxed); }
  // Of these, those that were not kept since max_bytes were reached, and their bytes.
  uint64_t dropped_items() const { return dropped_items_.load(std::memory_order_relaxed); }
  uint64_t dropped_bytes() const { return dropped_bytes_.load(std::memory_order_relaxed); }
  uint64_t max_bytes() const { return max_bytes_; }
  // On disk, those of earlier runs included.
  uint64_t files() const EXCLUDES(mutex_);
  uint64_t bytes() const EXCLUDES(mutex_);
  const std::string& directory() const { return directory_; }

 private:
  Status WriteReason(const std::string& name, std::string_view reason);
  bool HasRoom(uint64_t bytes) EXCLUDES(mutex_);
  void Count(uint64_t bytes) EXCLUDES(mutex_);

  io::FileSystem& fs_;
  const std::string directory_;
  const uint64_t max_bytes_;
  std::atomic<uint64_t> items_{0};
  std::atomic<uint64_t> dropped_items_{0};
  std::atomic<uint64_t> dropped_bytes_{0};
  mutable Mutex mutex_;
  uint64_t files_ GUARDED_BY(mutex_) = 0;
  uint64_t bytes_ GUARDED_BY(mutex_) = 0;
  bool warned_ GUARDED_BY(mutex_) = false;  // that it is nearly full
};

}  // namespace forebay::wal
