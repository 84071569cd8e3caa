// Whether a sink may be tried now, and what it did last: a circuit breaker per database and sink.
//
// A sink that works takes as many batches at once as there are workers; beside other sinks one
// less, and half of them once it has ended no try for kSlowTry. So a sink that begins to hang never
// holds all. Below that, its answers say how many it gets (upload/concurrency_limit.h): one at
// first and after an outage, one more with each round of successes, half after an overload. One
// that has not yet worked in this process, or failed kFailuresToOpen times in a row, gets one try
// at a time, and after a failure only when a backoff with full jitter is over. A single batch that
// fails again and again does not close the sink for others, since their successes lie between. A
// wait that the sink asks for (Retry-After) holds for all of its batches, also in a flush.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <string>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "config/config.h"
#include "upload/concurrency_limit.h"

namespace forebay::upload {

inline constexpr uint32_t kFailuresToOpen = 2;
inline constexpr std::chrono::milliseconds kProbeWait{1000};  // while another worker tries
inline constexpr std::chrono::milliseconds kShareWait{100};   // while its share of workers is busy
inline constexpr std::chrono::seconds kSlowTry{30};
inline constexpr std::chrono::minutes kMaxRetryAfter{10};  // longer ones are cut to this

// Exponential backoff with full jitter: uniform in (0, min(retry_max, retry_initial *
// 2^(failures-1))]. Source: Brooker, "Exponential Backoff And Jitter". Threads: any.
std::chrono::milliseconds Backoff(const config::Upload& config, uint32_t failures, uint64_t random);

// For the status API.
struct SinkStatus {
  std::string name;
  std::string database;
  bool healthy = true;  // false: failed several times in a row, tried now and then
  uint32_t in_flight = 0;
  uint32_t concurrency_limit = 1;  // tries that it may have at once now
  uint64_t delivered_batches = 0;
  uint64_t delivered_rows = 0;
  uint64_t failures = 0;
  std::string last_error;
  std::optional<UnixMillis> last_error_time;
  std::optional<UnixMillis> last_success_time;
};

// Threads: any.
class SinkHealth {
 public:
  // alone: there is no other sink that workers would have to be left for.
  SinkHealth(const Clock& clock, const config::Upload& config, bool alone = true);

  // Either an entry (true), to be ended by one of the three below; or when to ask again, and the
  // error that closed it.
  struct Admission {
    bool admitted = false;
    MonotonicTime ask_again;
    std::optional<Error> closed_by;
  };
  // retry_epoch: when it differs from the last call's, a backoff is over; not what the sink asked
  // for.
  Admission Admit(uint64_t retry_epoch) EXCLUDES(mutex_);

  // Whether Admit may give one more entry now as far as workers go. Well: and the sink works and is
  // not slow, so that it is served before those that are not.
  bool HasRoom() const EXCLUDES(mutex_);
  bool Well() const EXCLUDES(mutex_);

  // Returns true when the sink was not healthy before: what waits for it may go.
  bool Succeeded(uint64_t batches, uint64_t rows) EXCLUDES(mutex_);
  void Failed(const Error& error) EXCLUDES(mutex_);
  // The try ended before it could tell anything about the sink.
  void Withdrawn() EXCLUDES(mutex_);
  // Notes an error that says nothing about the sink's health: it answered.
  void NoteError(const Error& error) EXCLUDES(mutex_);

  // Name and database are left empty.
  SinkStatus status() const EXCLUDES(mutex_);

 private:
  bool Healthy() const REQUIRES(mutex_) {
    return succeeded_ && failures_in_a_row_ < kFailuresToOpen;
  }
  bool Slow() const REQUIRES(mutex_) {
    return status_.in_flight > 0 && clock_.Monotonic() - progress_ > kSlowTry;
  }
  uint32_t MostWorkers() const REQUIRES(mutex_);
  uint32_t Share() const REQUIRES(mutex_);
  void End() REQUIRES(mutex_);
  void Note(const Error& error) REQUIRES(mutex_);

  const Clock& clock_;
  const config::Upload config_;
  const bool alone_;
  mutable Mutex mutex_;
  std::minstd_rand random_ GUARDED_BY(mutex_);
  bool succeeded_ GUARDED_BY(mutex_) = false;
  uint32_t failures_in_a_row_ GUARDED_BY(mutex_) = 0;
  uint64_t retry_epoch_ GUARDED_BY(mutex_) = 0;
  ConcurrencyLimit limit_ GUARDED_BY(mutex_);
  MonotonicTime not_before_ GUARDED_BY(mutex_) = MonotonicTime::min();
  MonotonicTime quiet_until_ GUARDED_BY(mutex_) = MonotonicTime::min();  // the sink asked for it
  // When a try last ended, or the first of those under way began.
  MonotonicTime progress_ GUARDED_BY(mutex_) = MonotonicTime::min();
  std::optional<Error> error_ GUARDED_BY(mutex_);  // of the last failure
  SinkStatus status_ GUARDED_BY(mutex_);
};

}  // namespace forebay::upload
