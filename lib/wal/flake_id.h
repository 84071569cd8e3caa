// Ids of segments and generations that grow with time and need no coordination.
//
//   bits 63..23  milliseconds since 2014-01-01T00:00:00Z (41 bits, until 2083)
//   bits 22..13  host (10 bits)
//   bits 12..0   sequence within the millisecond (13 bits)
// Source: adx-mon, pkg/wal (the ids in its segment names).
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "base/mutex.h"

namespace forebay::wal {

inline constexpr int64_t kFlakeEpochMillis = 1388534400000;  // 2014-01-01T00:00:00Z as Unix ms
inline constexpr uint32_t kMaxFlakeHost = 1023;

// When the id was made, by its maker's clock.
UnixMillis MillisOf(uint64_t flake_id);

// Makes ids that are strictly increasing, also when the clock stands still or jumps back: it goes
// on from the last id then. Threads: any.
class FlakeIds {
 public:
  // `host` is at most kMaxFlakeHost. `last` is the greatest id that this host has made before (0:
  // none): what is found on disk at start. Ids of the last two years before 2083 cannot have been
  // made in earnest and are ignored.
  FlakeIds(uint32_t host, const Clock& clock, uint64_t last);

  uint64_t Next() EXCLUDES(mutex_);

 private:
  const Clock& clock_;
  const uint64_t host_;
  Mutex mutex_;
  uint64_t last_ GUARDED_BY(mutex_);
};

}  // namespace forebay::wal
