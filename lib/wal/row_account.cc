#include "wal/row_account.h"

#include <algorithm>

namespace forebay::wal {

RowCounts& RowAccount::Of(std::string_view database) {
  const auto found = counts_.find(database);
  if (found != counts_.end()) return found->second;
  return counts_.emplace(std::string(database), RowCounts{}).first->second;
}

void RowAccount::Arrived(std::string_view database, const ArrivedRows& rows) {
  MutexLock lock(mutex_);
  RowCounts& counts = Of(database);
  counts.received += rows.received;
  counts.unsealed += rows.stored;
  counts.deduplicated += rows.deduplicated;
  counts.dropped += rows.dropped;
  counts.refused += rows.refused;
}

void RowAccount::ArrivedFromPeer(std::string_view database, uint64_t rows) {
  MutexLock lock(mutex_);
  RowCounts& counts = Of(database);
  counts.from_peers += rows;
  counts.unsealed += rows;
}

void RowAccount::Entered(std::string_view database, RowOrigin origin, uint64_t rows) {
  MutexLock lock(mutex_);
  RowCounts& counts = Of(database);
  counts.sealed += rows;
  if (origin == RowOrigin::kRecovered) {
    counts.recovered += rows;
  } else {
    // Modulo 2^64: more rows sealed than were accepted show as a pending that is absurdly large,
    // and the sum stays true.
    counts.unsealed -= rows;
  }
}

void RowAccount::Left(std::string_view database, RowFate fate, uint64_t rows) {
  MutexLock lock(mutex_);
  RowCounts& counts = Of(database);
  counts.sealed -= rows;
  switch (fate) {
    case RowFate::kUploaded:
      counts.uploaded += rows;
      return;
    case RowFate::kTransferred:
      counts.transferred += rows;
      return;
    case RowFate::kDeadLettered:
      counts.dead_lettered += rows;
      return;
  }
}

void RowAccount::Correct(std::string_view database, const Shortfall& shortfall) {
  MutexLock lock(mutex_);
  RowCounts& counts = Of(database);
  if (shortfall.delivered > shortfall.expected) {
    const uint64_t untold = shortfall.delivered - shortfall.expected;
    counts.uploaded += untold;
    counts.recovered += untold;
    return;
  }
  const uint64_t missing = shortfall.expected - shortfall.delivered;
  const uint64_t rejected = std::min(missing, shortfall.rejected);
  counts.uploaded -= missing;
  counts.dead_lettered += rejected;
  if (shortfall.damaged) counts.quarantined += missing - rejected;
}

std::map<std::string, RowCounts> RowAccount::Snapshot() const {
  MutexLock lock(mutex_);
  return {counts_.begin(), counts_.end()};
}

}  // namespace forebay::wal
