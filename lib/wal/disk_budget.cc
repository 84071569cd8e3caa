#include "wal/disk_budget.h"

#include <algorithm>

#include "base/log.h"

namespace forebay::wal {
namespace {

// Refusing ends when this part of the volume beyond what is kept is free, or twice what is kept if
// that is less: on a volume of less than twice the reserve there is never twice the reserve.
constexpr uint64_t kRoomDivisor = 4;

uint64_t Percent(uint64_t bytes, uint32_t percent) {
  return bytes / 100 * percent + bytes % 100 * percent / 100;
}

double Seconds(MonotonicTime from, MonotonicTime to) {
  return std::chrono::duration<double>(to - from).count();
}

// What is left of something of which there is `total`, against what is kept of it.
bool Short(bool before, uint64_t left, uint64_t total, uint64_t kept) {
  if (!before || total <= kept) return left < kept;
  return left < kept + std::min(kept, (total - kept) / kRoomDivisor);
}

}  // namespace

config::Storage LimitsForPeers(const config::Storage& limits) {
  config::Storage wider = limits;
  wider.high_watermark = 100;
  wider.low_watermark = std::min<uint32_t>(limits.high_watermark, 99);
  return wider;
}

DiskShortage Judge(const DiskShortage& before, const DiskFigures& figures,
                   const config::Storage& limits) {
  DiskShortage now;
  const uint32_t percent = before.limit ? limits.low_watermark : limits.high_watermark;
  now.limit = figures.used_bytes >= Percent(limits.max_disk.value, percent);
  if (!figures.space_known) {
    now.volume = before.volume;
    now.inodes = before.inodes;
    return now;
  }
  const io::Space& space = figures.space;
  now.volume = Short(before.volume, space.available_bytes, space.total_bytes, limits.reserve.value);
  now.inodes = space.total_files != 0 && Short(before.inodes, space.available_files,
                                               space.total_files, limits.reserve_inodes);
  return now;
}

bool NearlyFull(const DiskFigures& figures, const config::Storage& limits) {
  return Judge({true, true, true}, figures, limits).any();
}

DiskBudget::DiskBudget(const config::Storage& storage, io::FileSystem& fs, const Clock& clock,
                       const DiskAccount& account, DiskReserve& reserve)
    : storage_(storage),
      fs_(fs),
      clock_(clock),
      account_(account),
      reserve_(reserve),
      since_(clock.Monotonic()) {}

void DiskBudget::Check() {
  const MonotonicTime now = clock_.Monotonic();
  DiskFigures figures;
  DiskShortage before;
  {
    MutexLock lock(mutex_);
    figures = figures_;
    before = shortage_;
  }
  figures.used_bytes = account_.used();
  if (now >= next_space_) {
    next_space_ = now + kSpaceInterval;
    const Result<io::Space> space = fs_.VolumeSpace(storage_.dir);
    if (space.ok()) {
      figures.space = *space;
      figures.space_known = true;
    }
  }
  const DiskShortage shortage = Judge(before, figures, storage_);
  nearly_full_.store(NearlyFull(figures, storage_), std::memory_order_relaxed);
  full_.store(shortage.any(), std::memory_order_relaxed);
  peer_shortage_ = Judge(peer_shortage_, figures, LimitsForPeers(storage_));
  full_for_peers_.store(peer_shortage_.any(), std::memory_order_relaxed);
  double seconds = 0;
  const bool changed = shortage.any() != before.any();
  {
    MutexLock lock(mutex_);
    figures_ = figures;
    shortage_ = shortage;
    if (changed) {
      seconds = Seconds(since_, now);
      if (before.any()) full_seconds_ += seconds;
      since_ = now;
      ++changes_;
    }
  }
  if (changed) LogChange(shortage, figures, seconds);
  KeepReserve(now, figures);
}

void DiskBudget::LogChange(const DiskShortage& shortage, const DiskFigures& figures,
                           double seconds) const {
  const auto log = [&](LogLevel level, std::string_view message) {
    Log(level, message,
        {{"used_bytes", figures.used_bytes},
         {"max_disk", storage_.max_disk.value},
         {"volume_free_bytes", figures.space.available_bytes},
         {"reserve", storage_.reserve.value},
         {"volume_free_inodes", figures.space.available_files},
         {"seconds_before", seconds}});
  };
  if (!shortage.any()) return log(LogLevel::kInfo, "storage has room again: writes are taken");
  if (shortage.limit) {
    return log(LogLevel::kWarn,
               "storage is full: storage.high_watermark of storage.max_disk is reached; writes are "
               "answered 503 until uploads have made room");
  }
  log(LogLevel::kWarn,
      shortage.volume ? "storage is full: the volume has less than storage.reserve; writes are "
                        "answered 503 until there is room"
                      : "storage is full: the volume has fewer inodes than storage.reserve_inodes; "
                        "writes are answered 503 until there is room");
}

// Not while the volume is short of what is to be kept free: the reserve would take it.
void DiskBudget::KeepReserve(MonotonicTime now, const DiskFigures& figures) {
  if (reserve_.bytes() == 0 || reserve_.ready() || now < next_reserve_) return;
  next_reserve_ = now + kReserveRetry;
  if (figures.space.available_bytes < storage_.reserve.value) return;
  const Status made = reserve_.Make();
  if (!made.ok() && !reserve_failed_) {
    LogWarn("the reserve of the volume cannot be made now; it is tried again",
            {{"error", made.error().ToString()}});
  }
  reserve_failed_ = !made.ok();
}

DiskStatus DiskBudget::status() const {
  const MonotonicTime now = clock_.Monotonic();
  MutexLock lock(mutex_);
  DiskStatus status;
  status.figures = figures_;
  status.shortage = shortage_;
  status.state_seconds = Seconds(since_, now);
  status.full_seconds_total = full_seconds_ + (shortage_.any() ? status.state_seconds : 0);
  status.changes = changes_;
  return status;
}

}  // namespace forebay::wal
