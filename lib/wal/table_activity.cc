#include "wal/table_activity.h"

#include <algorithm>

#include "wal/segment_store.h"

namespace forebay::wal {
namespace {

using std::chrono::milliseconds;

// A mean of less time than that would say nothing.
constexpr milliseconds kMinWindow{1000};

}  // namespace

TableActivity::TableActivity(const Options& options, const Clock& clock)
    : clock_(clock),
      max_tables_(options.max_tables),
      span_(std::max<milliseconds>(options.generation_age, kMinSpan)),
      began_(clock.Monotonic()) {}

int64_t TableActivity::SpanNow() const { return (clock_.Monotonic() - began_) / span_; }

milliseconds TableActivity::window() const {
  const auto since = std::chrono::duration_cast<milliseconds>(clock_.Monotonic() - began_);
  const int64_t spans = since / span_;
  const milliseconds whole = span_ * std::min<int64_t>(spans, kBuckets - 1);
  return std::max(whole + since % span_, kMinWindow);
}

// Empties the buckets of the spans between the last one and this.
void TableActivity::Roll(Table& table, int64_t span) {
  const int64_t passed = std::min<int64_t>(span - table.last_span, kBuckets);
  for (int64_t i = 1; i <= passed; ++i) {
    table.buckets[static_cast<size_t>(table.last_span + i) % kBuckets] = {};
  }
  table.last_span = std::max(span, table.last_span);
}

void TableActivity::Prune(int64_t span) {
  if (pruned_ == span) return;
  pruned_ = span;
  std::erase_if(tables_, [span](const auto& entry) {
    return span - entry.second.last_span >= static_cast<int64_t>(kBuckets);
  });
}

void TableActivity::Add(std::span<const SegmentInfo> segments) {
  const int64_t span = SpanNow();
  MutexLock lock(mutex_);
  Prune(span);
  for (const SegmentInfo& segment : segments) {
    const std::string key = SegmentKey(segment.name);
    auto found = tables_.find(key);
    if (found == tables_.end()) {
      if (tables_.size() >= max_tables_) continue;
      found = tables_.emplace(key, Table{span, {}}).first;
    }
    Table& table = found->second;
    Roll(table, span);
    Counts& counts = table.buckets[static_cast<size_t>(span) % kBuckets];
    counts.rows += segment.rows;
    counts.row_bytes += segment.row_bytes;
  }
}

std::vector<TableRate> TableActivity::Rates() const {
  const int64_t span = SpanNow();
  const double seconds = std::chrono::duration<double>(window()).count();
  std::vector<TableRate> rates;
  MutexLock lock(mutex_);
  rates.reserve(tables_.size());
  for (const auto& [key, table] : tables_) {
    // Buckets that have run out since the last segment came are left out here.
    const int64_t left = static_cast<int64_t>(kBuckets) - (span - table.last_span);
    TableRate& rate = rates.emplace_back();
    rate.key = key;
    for (int64_t i = 0; i < left; ++i) {
      // A process that is younger than the window has empty buckets.
      const auto at = static_cast<size_t>(table.last_span - i + static_cast<int64_t>(kBuckets));
      rate.rows_per_second += static_cast<double>(table.buckets[at % kBuckets].rows);
      rate.row_bytes_per_second += static_cast<double>(table.buckets[at % kBuckets].row_bytes);
    }
    rate.rows_per_second /= seconds;
    rate.row_bytes_per_second /= seconds;
  }
  return rates;
}

}  // namespace forebay::wal
