// State of one sink; every method is short and takes the mutex.
#include "upload/sink_health.h"

#include <algorithm>

#include "base/check.h"

namespace forebay::upload {

std::chrono::milliseconds Backoff(const config::Upload& config, uint32_t failures,
                                  uint64_t random) {
  const uint32_t doublings = std::min<uint32_t>(failures == 0 ? 0 : failures - 1, 30);
  const int64_t initial = std::max<int64_t>(config.retry_initial.count(), 1);
  const int64_t most = std::max<int64_t>(config.retry_max.count(), 1);
  const int64_t ceiling = initial > (most >> doublings) ? most : initial << doublings;
  return std::chrono::milliseconds(1 +
                                   static_cast<int64_t>(random % static_cast<uint64_t>(ceiling)));
}

SinkHealth::SinkHealth(const Clock& clock, const config::Upload& config, bool alone)
    : clock_(clock), config_(config), alone_(alone), random_(std::random_device{}()) {}

// How many workers a sink that works may have.
uint32_t SinkHealth::MostWorkers() const {
  const uint32_t workers = std::max<uint32_t>(config_.workers, 1);
  if (alone_) return workers;
  return std::max<uint32_t>(Slow() ? workers / 2 : workers - 1, 1);
}

// How many tries may run at once.
uint32_t SinkHealth::Share() const {
  return Healthy() ? std::min(MostWorkers(), limit_.value()) : 1;
}

bool SinkHealth::HasRoom() const {
  MutexLock lock(mutex_);
  return status_.in_flight < Share();
}

bool SinkHealth::Well() const {
  MutexLock lock(mutex_);
  return Healthy() && !Slow() && clock_.Monotonic() >= quiet_until_;
}

void SinkHealth::End() {
  FOREBAY_CHECK(status_.in_flight > 0);
  --status_.in_flight;
  progress_ = clock_.Monotonic();
}

SinkHealth::Admission SinkHealth::Admit(uint64_t retry_epoch) {
  MutexLock lock(mutex_);
  const MonotonicTime now = clock_.Monotonic();
  if (retry_epoch != retry_epoch_) {
    retry_epoch_ = retry_epoch;
    not_before_ = MonotonicTime::min();
  }
  Admission admission;
  if (now < quiet_until_) {
    admission.ask_again = quiet_until_;
    admission.closed_by = error_;
    return admission;
  }
  if (!Healthy()) {
    if (status_.in_flight > 0) {
      admission.ask_again = now + kProbeWait;
      return admission;
    }
    if (now < not_before_) {
      admission.ask_again = not_before_;
      admission.closed_by = error_;
      return admission;
    }
  } else if (status_.in_flight >= Share()) {
    admission.ask_again = now + kShareWait;
    return admission;
  }
  admission.admitted = true;
  if (status_.in_flight++ == 0) progress_ = now;
  return admission;
}

bool SinkHealth::Succeeded(uint64_t batches, uint64_t rows) {
  MutexLock lock(mutex_);
  End();
  const bool reopened = !Healthy();
  succeeded_ = true;
  failures_in_a_row_ = 0;
  if (!limit_.EndedStale()) limit_.Succeeded(MostWorkers());
  not_before_ = MonotonicTime::min();
  status_.delivered_batches += batches;
  status_.delivered_rows += rows;
  status_.last_success_time = clock_.Now();
  return reopened;
}

void SinkHealth::Failed(const Error& error) {
  MutexLock lock(mutex_);
  End();
  error_ = error;
  Note(error);
  const bool stale = limit_.EndedStale();
  const bool overload = error.code() == ErrorCode::kResourceExhausted;
  // Fewer at once is the answer to overload, as long as there is more than one.
  if (overload && limit_.value() > 1) {
    if (!stale) limit_.Overloaded(status_.in_flight);
  } else if (!overload || !stale) {
    ++failures_in_a_row_;
  }
  if (failures_in_a_row_ >= kFailuresToOpen) limit_.Outage();
  const MonotonicTime now = clock_.Monotonic();
  const auto backoff = Backoff(config_, failures_in_a_row_, random_());
  not_before_ = now + backoff;
  if (!error.retry_after()) return;
  // Not all nodes at the moment it named.
  const auto wish = std::min<std::chrono::milliseconds>(*error.retry_after(), kMaxRetryAfter);
  quiet_until_ = std::max(quiet_until_, now + wish + std::min(backoff, wish));
}

void SinkHealth::Withdrawn() {
  MutexLock lock(mutex_);
  End();
  (void)limit_.EndedStale();
}

void SinkHealth::NoteError(const Error& error) {
  MutexLock lock(mutex_);
  Note(error);
}

void SinkHealth::Note(const Error& error) {
  ++status_.failures;
  status_.last_error = error.ToString();
  status_.last_error_time = clock_.Now();
}

SinkStatus SinkHealth::status() const {
  MutexLock lock(mutex_);
  SinkStatus status = status_;
  status.healthy = failures_in_a_row_ < kFailuresToOpen;
  status.concurrency_limit = Share();
  return status;
}

}  // namespace forebay::upload
