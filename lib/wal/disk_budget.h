// Whether there is room for new requests: two watermarks, so that a full disk is one long refusal
// and not a flicker of many short ones.
//
// Three things can run out, each by itself: the bytes below storage.dir (refused from
// storage.high_watermark percent of storage.max_disk, taken again below low_watermark percent), the
// volume's free bytes (refused below storage.reserve, taken again from twice that or, on a small
// volume, a quarter of what it has beyond the reserve), its inodes (storage.reserve_inodes,
// likewise). Uploads, sealing and replay never ask. Also keeps the
// DiskReserve: makes it again when there is room.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "config/config.h"
#include "io/file_system.h"
#include "wal/disk_account.h"
#include "wal/disk_reserve.h"

namespace forebay::wal {

// What ran out. Above the low and below the high watermark a flag stays as it was.
struct DiskShortage {
  bool limit = false;   // storage.max_disk
  bool volume = false;  // free bytes
  bool inodes = false;
  bool any() const { return limit || volume || inodes; }
  bool operator==(const DiskShortage&) const = default;
};

struct DiskFigures {
  uint64_t used_bytes = 0;
  io::Space space;           // as last seen
  bool space_known = false;  // false: the volume could not be asked
};

// The rule, pure: what is short now, after what was short before.
DiskShortage Judge(const DiskShortage& before, const DiskFigures& figures,
                   const config::Storage& limits);
// The watermarks that hold for what peers hand over.
config::Storage LimitsForPeers(const config::Storage& limits);
// True above a low watermark: what is only convenient (spare files) should go.
bool NearlyFull(const DiskFigures& figures, const config::Storage& limits);

struct DiskStatus {
  DiskFigures figures;
  DiskShortage shortage;
  double state_seconds = 0;       // in the present state, full or not
  double full_seconds_total = 0;  // of this process, the present time included
  uint64_t changes = 0;           // between full and not full
};

class DiskBudget {
 public:
  static constexpr std::chrono::milliseconds kSpaceInterval{20};
  static constexpr std::chrono::seconds kReserveRetry{1};

  // All references outlive it. fs: the accounted one.
  DiskBudget(const config::Storage& storage, io::FileSystem& fs, const Clock& clock,
             const DiskAccount& account, DiskReserve& reserve);

  // Looks at the figures and logs a change. Cheap: the volume is asked at most each kSpaceInterval.
  // Threads: one at a time.
  void Check() EXCLUDES(mutex_);

  // Threads: any, below.
  bool full() const { return full_.load(std::memory_order_relaxed); }
  // The segments of peers: refused at storage.max_disk itself, taken again below the high
  // watermark. What the volume is short of bounds them as all others.
  bool full_for_peers() const { return full_for_peers_.load(std::memory_order_relaxed); }
  bool nearly_full() const { return nearly_full_.load(std::memory_order_relaxed); }
  DiskStatus status() const EXCLUDES(mutex_);

 private:
  void KeepReserve(MonotonicTime now, const DiskFigures& figures);
  void LogChange(const DiskShortage& shortage, const DiskFigures& figures, double seconds) const;

  const config::Storage storage_;
  io::FileSystem& fs_;
  const Clock& clock_;
  const DiskAccount& account_;
  DiskReserve& reserve_;
  std::atomic<bool> full_{false};
  std::atomic<bool> full_for_peers_{false};
  std::atomic<bool> nearly_full_{false};
  // Of Check alone.
  DiskShortage peer_shortage_;
  MonotonicTime next_space_{};
  MonotonicTime next_reserve_{};
  bool reserve_failed_ = false;  // and was logged

  mutable Mutex mutex_;
  DiskFigures figures_ GUARDED_BY(mutex_);
  DiskShortage shortage_ GUARDED_BY(mutex_);
  MonotonicTime since_ GUARDED_BY(mutex_);      // of the present state
  double full_seconds_ GUARDED_BY(mutex_) = 0;  // of earlier states
  uint64_t changes_ GUARDED_BY(mutex_) = 0;
};

}  // namespace forebay::wal
