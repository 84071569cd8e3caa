// Which request comes when: the order of series groups and rounds, timestamps, and the schedule of
// a rate. All of it is arithmetic, apart from threads and sockets.
//
// Round r sends every series group once, with samples r * K to r * K + K - 1 of its series. Request
// number n is group n mod groups of round n / groups.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>

#include "base/time.h"
#include "loadgen/options.h"
#include "loadgen/series_model.h"

namespace forebay::loadgen {

// Threads: any; immutable.
class RequestPlan {
 public:
  // `options` are resolved; `now` is the start of the run.
  RequestPlan(const LoadOptions& options, UnixMillis now);

  uint64_t groups() const { return groups_; }
  uint64_t first_series(uint64_t group) const { return group * series_per_request_; }
  uint32_t group_series(uint64_t group) const;
  // Requests of the whole run; none when only the duration ends it.
  uint64_t max_requests() const { return max_requests_; }

  // The timestamps of a group's samples in a round. Shape: out has samples_per_series places;
  // `last` is the greatest timestamp that the group had before, or 0. Strictly rising, above
  // `last`; in simulated time evenly spaced; in real time the last one is now (or just above `last`
  // when less than 1 ms a sample has passed).
  void Timestamps(uint64_t round, UnixMillis now, int64_t last, std::span<int64_t> out) const;

  // For churn: how far the run has come, by the clock that was asked for.
  std::chrono::milliseconds ChurnTime(uint64_t round, std::chrono::milliseconds elapsed) const;

  // With a rate: when request number `n` is due after the start.
  std::chrono::nanoseconds Due(uint64_t n) const;

 private:
  uint64_t series_;
  uint64_t series_per_request_;
  uint64_t samples_per_series_;
  uint64_t groups_;
  uint64_t max_requests_ = UINT64_MAX;
  double rate_;
  int64_t start_ = 0;  // Unix ms
  int64_t step_ = 0;   // ms; 0: real time
  bool churn_by_samples_;
};

}  // namespace forebay::loadgen
