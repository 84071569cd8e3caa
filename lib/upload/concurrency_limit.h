// How many tries a sink may have at once, found out from its answers: one more after every round in
// which all went well, half after an answer that says overload, one after an outage. Additive
// increase and multiplicative decrease share what a backend can take among the nodes that write to
// it. Pure; the caller brings the lock. Source: Chiu and Jain, "Analysis of the Increase and
// Decrease Algorithms for Congestion Avoidance", 1989.
#pragma once

#include <algorithm>
#include <cstdint>

namespace forebay::upload {

// Threads: one at a time.
class ConcurrencyLimit {
 public:
  // At least 1.
  uint32_t value() const { return limit_; }

  // A try that was begun before the last decrease: its answer is of the load of that time, and
  // tells nothing new. To be asked before the two below, once for each try that ends.
  bool EndedStale() {
    if (stale_ == 0) return false;
    --stale_;
    return true;
  }
  // A round is as many successes as the limit is. most: what the limit may grow to.
  void Succeeded(uint32_t most) {
    if (limit_ >= most) return;
    if (++round_ < limit_) return;
    ++limit_;
    round_ = 0;
  }
  // under_way: other tries that have not ended.
  void Overloaded(uint32_t under_way) {
    limit_ = std::max<uint32_t>(limit_ / 2, 1);
    round_ = 0;
    stale_ = under_way;
  }
  // The sink was left alone: what it can take now is not known.
  void Outage() {
    limit_ = 1;
    round_ = 0;
  }

 private:
  uint32_t limit_ = 1;
  uint32_t round_ = 0;  // successes since the limit changed
  uint32_t stale_ = 0;  // tries under way at the last decrease that have not ended since
};

}  // namespace forebay::upload
