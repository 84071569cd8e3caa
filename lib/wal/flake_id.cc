// Bits of flake ids: see wal/flake_id.h.
#include "wal/flake_id.h"

#include <algorithm>

#include "base/check.h"

namespace forebay::wal {
namespace {

constexpr unsigned kHostShift = 13;
constexpr unsigned kMillisShift = 23;
constexpr uint64_t kMaxSequence = (uint64_t{1} << kHostShift) - 1;
constexpr uint64_t kMaxMillis = (uint64_t{1} << 41) - 1;
constexpr uint64_t kMaxLastMillis = kMaxMillis - (uint64_t{1} << 36);  // about 2.2 years less

uint64_t Compose(uint64_t millis, uint64_t host, uint64_t sequence) {
  FOREBAY_CHECK(millis <= kMaxMillis);
  return millis << kMillisShift | host << kHostShift | sequence;
}

}  // namespace

UnixMillis MillisOf(uint64_t flake_id) {
  return {kFlakeEpochMillis + static_cast<int64_t>(flake_id >> kMillisShift)};
}

FlakeIds::FlakeIds(uint32_t host, const Clock& clock, uint64_t last)
    : clock_(clock), host_(host), last_(last >> kMillisShift > kMaxLastMillis ? 0 : last) {
  FOREBAY_CHECK(host <= kMaxFlakeHost);
}

uint64_t FlakeIds::Next() {
  const int64_t since_epoch = std::clamp<int64_t>(clock_.Now().value, kFlakeEpochMillis,
                                                  kFlakeEpochMillis + kMaxLastMillis) -
                              kFlakeEpochMillis;
  MutexLock lock(mutex_);
  uint64_t id = Compose(static_cast<uint64_t>(since_epoch), host_, 0);
  if (id <= last_) {
    // Go on from the last id, which another host of this volume may have made.
    const uint64_t millis = last_ >> kMillisShift;
    const uint64_t last_host = last_ >> kHostShift & kMaxFlakeHost;
    const uint64_t sequence = last_ & kMaxSequence;
    if (host_ > last_host) {
      id = Compose(millis, host_, 0);
    } else if (host_ == last_host && sequence < kMaxSequence) {
      id = last_ + 1;
    } else {
      id = Compose(millis + 1, host_, 0);
    }
  }
  FOREBAY_CHECK(id > last_);
  last_ = id;
  return id;
}

}  // namespace forebay::wal
