// How many bytes the node has on disk: the one place that knows, by class of file.
//
// Place: fed by AccountedFileSystem, through which everything below storage.dir is written, so no
// module can forget to say what it stores. Compared with the disk by Audit: an operator deletes
// from the quarantine, a file is put there by hand, a write fails half-way.
// What is counted: of each file the larger of its length and what was reserved for it, rounded up
// to blocks of 4 KiB. The length alone would hide a thousand small segments (a block each) and
// preallocated journals; the volume's own count of blocks changes behind our back (delayed
// allocation, compression, extent trees) and would make each audit a difference. Directories and
// inodes are not counted, and neither is what lies outside of the known directories: a file sink's
// output may be below storage.dir. Memory: about 150 B a file.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "io/file_system.h"

namespace forebay::wal {

enum class DiskClass : uint8_t {
  kJournal,
  kSegments,
  kBatches,
  kLedger,
  kQuarantine,
  kDeadLetters,
  kReserve,
};
inline constexpr size_t kDiskClasses = 7;
// "journal", "segments", "batches", "ledger", "quarantine", "dead_letters", "reserve".
std::string_view Name(DiskClass disk_class);

inline constexpr uint64_t kDiskBlock = 4096;
// Directories in a class's directory are looked into so deep; what is below is not counted.
inline constexpr int kMaxDiskDepth = 4;
inline constexpr size_t kMaxAuditExamples = 8;
inline constexpr std::string_view kReserveFile = "reserve.space";

struct DiskUsage {
  uint64_t bytes = 0;
  uint64_t files = 0;
};

struct AuditReport {
  uint64_t files = 0;                 // looked at
  uint64_t differences = 0;           // files of which account and disk said different things
  uint64_t corrected_bytes = 0;       // sum of what each of them was off by
  std::vector<std::string> examples;  // at most kMaxAuditExamples, each "<path>: ..."
};

// Threads: any, unless said otherwise. One short lock per call; nothing is read under it.
class DiskAccount {
 public:
  // One file. Held by the account and by whoever has it open.
  struct Charge {
    DiskClass disk_class = DiskClass::kJournal;
    uint64_t size = 0;
    uint64_t reserved = 0;
    uint64_t changed = 0;  // number of its last change, for the audit
    bool counted = true;   // false: removed or replaced, whoever may have it open
  };
  using ChargePtr = std::shared_ptr<Charge>;

  // root: storage.dir, as it stands at the head of all paths. fs: the one below the accounted one.
  DiskAccount(io::FileSystem& fs, std::string root);

  // Counts what is there. Call once, before anything is written. A directory that cannot be listed
  // counts nothing and is logged.
  void Load() EXCLUDES(mutex_);

  // Sum of all classes.
  uint64_t used() const { return used_.load(std::memory_order_relaxed); }
  std::array<DiskUsage, kDiskClasses> usage() const EXCLUDES(mutex_);

  // Compares with the disk and takes over what the disk says. What changes while it looks is no
  // difference: one counts when it is the same in three looks, `settle` and ten times that apart.
  // Blocks for the time of the walks, and of the waits where there is a suspicion. Errors: io of
  // listing; nothing is changed then.
  Result<AuditReport> Audit(std::chrono::milliseconds settle) EXCLUDES(mutex_);

  // For AccountedFileSystem. Charge: null for paths that are not counted.
  ChargePtr Opened(const std::string& path, std::optional<uint64_t> size) EXCLUDES(mutex_);
  void Grew(const ChargePtr& charge, uint64_t bytes) EXCLUDES(mutex_);
  void GrewTo(const ChargePtr& charge, uint64_t size) EXCLUDES(mutex_);
  void Resized(const ChargePtr& charge, uint64_t size) EXCLUDES(mutex_);
  void Reserved(const ChargePtr& charge, uint64_t bytes) EXCLUDES(mutex_);
  void Renamed(const std::string& from, const std::string& to) EXCLUDES(mutex_);
  void Removed(const std::string& path) EXCLUDES(mutex_);

 private:
  struct OnDisk {
    uint64_t size = 0;
    uint64_t reserved = 0;
    bool operator==(const OnDisk&) const = default;
  };
  using Found = std::map<std::string, OnDisk>;  // by path
  struct Difference {
    std::optional<OnDisk> disk;       // nullopt: not there
    std::optional<uint64_t> counted;  // size; nullopt: not counted
    uint64_t changed = 0;
    bool operator==(const Difference&) const = default;
  };
  using Differences = std::map<std::string, Difference>;

  std::optional<DiskClass> ClassOf(std::string_view path) const;
  Status Walk(const std::string& directory, int depth, Found& found) const;
  Result<Found> WalkAll() const;
  Differences Compare(const Found& found) const EXCLUDES(mutex_);
  uint64_t Correct(const std::string& path, const Difference& difference) EXCLUDES(mutex_);
  void Count(const Charge& charge, bool add) REQUIRES(mutex_);
  void Change(Charge& charge, uint64_t size, uint64_t reserved) REQUIRES(mutex_);
  void Drop(const std::string& path) REQUIRES(mutex_);

  io::FileSystem& fs_;
  const std::string root_;  // without a '/' at its end
  std::atomic<uint64_t> used_{0};
  mutable Mutex mutex_;
  std::unordered_map<std::string, ChargePtr> charges_ GUARDED_BY(mutex_);  // by path
  std::array<DiskUsage, kDiskClasses> usage_ GUARDED_BY(mutex_);
  uint64_t changes_ GUARDED_BY(mutex_) = 0;
};

}  // namespace forebay::wal
