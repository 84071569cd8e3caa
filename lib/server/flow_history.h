// What went through the node in the last 15 minutes, for those who come to look after it happened:
// a ring of kPoints points, one each kInterval, sampled by the housekeeper from counters that are
// kept anyway. Memory: 20 KiB. A restart begins anew.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"

namespace forebay::server {

// All of the node, since it started, and now.
struct FlowTotals {
  uint64_t received_rows = 0;  // from clients
  uint64_t from_peers_rows = 0;
  uint64_t uploaded_rows = 0;     // every sink has them
  uint64_t transferred_rows = 0;  // a peer has them
  uint64_t refused_rows = 0;
  uint64_t errors = 0;  // answers 4xx and 5xx, tries to deliver, journal writes, seals that failed
  uint64_t pending_rows = 0;  // now, as all below
  uint64_t quarantine_bytes = 0;
  uint64_t disk_bytes = 0;
  uint64_t memory_bytes = 0;  // of generations
};

// Threads: any.
class FlowHistory {
 public:
  static constexpr size_t kPoints = 180;
  static constexpr std::chrono::seconds kInterval{5};

  // The first point is the mean since now, when all counters are 0.
  explicit FlowHistory(const Clock& clock);

  // Adds a point: rates since the last one. A counter that went back counts as unchanged.
  void Sample(const FlowTotals& totals) EXCLUDES(mutex_);

  // The points from number `from` on, oldest first, at most kPoints; all when there is none of that
  // number yet (who asks has seen another run). Shape: one JSON object of arrays of equal length,
  // docs/http-api.md.
  std::string Json(uint64_t from) const EXCLUDES(mutex_);

 private:
  struct Point {
    UnixMillis time;
    double seconds = 0;   // that it stands for
    double received = 0;  // rows a second, as the next four
    double from_peers = 0;
    double uploaded = 0;
    double transferred = 0;
    double refused = 0;
    uint64_t errors = 0;  // in its time
    FlowTotals totals;
  };

  const Clock& clock_;
  mutable Mutex mutex_;
  std::array<Point, kPoints> points_ GUARDED_BY(mutex_);
  uint64_t next_ GUARDED_BY(mutex_) = 0;  // number of the next point; it is at next_ % kPoints
  FlowTotals last_ GUARDED_BY(mutex_);
  MonotonicTime last_time_ GUARDED_BY(mutex_);
};

}  // namespace forebay::server
