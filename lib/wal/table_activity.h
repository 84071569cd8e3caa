// How many rows each table got of late: what the status page ranks tables by. Counted when segments
// enter the store, once per table and generation, so a row costs nothing.
//
// The window is kBuckets spans of time, the last of them not yet over; a span is as long as a
// generation lives, and a minute at least, so that a table that gets rows all the time has some in
// each. Limits: max_tables tables, 150 B each and their names; further ones are not followed.
// Tables that got nothing in the whole window leave.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"

namespace forebay::wal {

struct SegmentInfo;

struct TableRate {
  std::string key;  // wal::SegmentKey
  double rows_per_second = 0;
  double row_bytes_per_second = 0;  // as CSV
};

// Threads: any.
class TableActivity {
 public:
  static constexpr size_t kBuckets = 6;
  static constexpr std::chrono::minutes kMinSpan{1};

  struct Options {
    std::chrono::milliseconds generation_age{0};
    size_t max_tables = 0;
  };
  TableActivity(const Options& options, const Clock& clock);

  // Sealed segments enter the store.
  void Add(std::span<const SegmentInfo> segments) EXCLUDES(mutex_);
  // Means over the window, or over the time since the process began; by key.
  std::vector<TableRate> Rates() const EXCLUDES(mutex_);
  // Length of the window, the part of its last span that is over included.
  std::chrono::milliseconds window() const;

 private:
  struct Counts {
    uint64_t rows = 0;
    uint64_t row_bytes = 0;
  };
  struct Table {
    int64_t last_span = 0;  // number of the span that buckets were last brought to
    std::array<Counts, kBuckets> buckets;
  };

  int64_t SpanNow() const;
  static void Roll(Table& table, int64_t span);
  void Prune(int64_t span) REQUIRES(mutex_);

  const Clock& clock_;
  const size_t max_tables_;
  const std::chrono::milliseconds span_;
  const MonotonicTime began_;
  mutable Mutex mutex_;
  std::map<std::string, Table> tables_ GUARDED_BY(mutex_);  // by key
  int64_t pruned_ GUARDED_BY(mutex_) = 0;                   // span of the last Prune
};

}  // namespace forebay::wal
