// Where every row of this process is: what came in equals what went out and what is still here, per
// database, at any moment at which no request is in flight.
//
// in:  received (in requests that could be decoded) + from peers + recovered (found on disk, of
//      earlier runs)
// out: deduplicated + dropped + refused + uploaded + transferred + pending + quarantined +
//      dead-lettered
//
// Unit: rows. A sample, a native histogram and an exemplar is one row each, also when none is made
// of it; so is a metadata entry, which counts as deduplicated while it repeats what is stored. Rows
// of journals that are replayed count as recovered when their segments are committed. What is
// refused, dropped or repeated counts for the database of the request's tenant, what is stored for
// the database it is stored in. Place: SegmentStore owns one; receivers and upload workers add to
// it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/mutex.h"

namespace forebay::wal {

// Rows of one database since the process began.
struct RowCounts {
  uint64_t received = 0;
  uint64_t from_peers = 0;
  uint64_t recovered = 0;
  uint64_t deduplicated = 0;
  uint64_t dropped = 0;        // by a rule of the configuration
  uint64_t refused = 0;        // and said so to the sender
  uint64_t uploaded = 0;       // every sink has them
  uint64_t transferred = 0;    // a peer has them
  uint64_t unsealed = 0;       // in generations: durable in a journal
  uint64_t sealed = 0;         // in segments that not every sink has
  uint64_t quarantined = 0;    // in damaged blocks of segments
  uint64_t dead_lettered = 0;  // a sink refused them for good

  uint64_t in() const { return received + from_peers + recovered; }
  uint64_t pending() const { return unsealed + sealed; }
  uint64_t out() const {
    return deduplicated + dropped + refused + uploaded + transferred + pending() + quarantined +
           dead_lettered;
  }
};

// Why segments enter the store, and why they leave it.
enum class RowOrigin { kSealed, kRecovered };
enum class RowFate { kUploaded, kTransferred, kDeadLettered };

// A whole request, or a part of one: received = stored + deduplicated + dropped + refused.
struct ArrivedRows {
  uint64_t received = 0;
  uint64_t stored = 0;
  uint64_t deduplicated = 0;
  uint64_t dropped = 0;
  uint64_t refused = 0;
};

// Threads: any, for everything. Allocates for a database that it has not seen, else not.
class RowAccount {
 public:
  void Arrived(std::string_view database, const ArrivedRows& rows) EXCLUDES(mutex_);
  // A segment of a peer is in the generation.
  void ArrivedFromPeer(std::string_view database, uint64_t rows) EXCLUDES(mutex_);
  // A committed segment enters the store.
  void Entered(std::string_view database, RowOrigin origin, uint64_t rows) EXCLUDES(mutex_);
  // A segment has left the store.
  void Left(std::string_view database, RowFate fate, uint64_t rows) EXCLUDES(mutex_);
  // Of a batch that has left as uploaded, `expected` rows by its segments, sinks got `delivered`.
  // Fewer and damaged: the difference lies in the quarantine; fewer and not damaged: nobody knows,
  // and the account does not add up from here on. More: segments of others do not tell their rows;
  // these are recovered now.
  struct Shortfall {
    uint64_t expected = 0;
    uint64_t delivered = 0;
    bool damaged = false;
    uint64_t rejected = 0;  // of the missing ones, those that are kept as dead letters
  };
  void Correct(std::string_view database, const Shortfall& shortfall) EXCLUDES(mutex_);

  std::map<std::string, RowCounts> Snapshot() const EXCLUDES(mutex_);

 private:
  RowCounts& Of(std::string_view database) REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::map<std::string, RowCounts, std::less<>> counts_ GUARDED_BY(mutex_);
};

}  // namespace forebay::wal
