// A value that costs something to make and may be a moment old: made again when somebody asks and
// it is older than that. However many ask, it is made once at a time.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include "base/clock.h"
#include "base/mutex.h"

namespace forebay::server {

// Threads: any.
template <typename T>
class Cached {
 public:
  Cached(const Clock& clock, std::chrono::milliseconds max_age, std::function<T()> make)
      : clock_(clock), max_age_(max_age), make_(std::move(make)) {}

  // Never null.
  std::shared_ptr<const T> Get() const EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    const MonotonicTime now = clock_.Monotonic();
    if (value_ == nullptr || now - made_ >= max_age_) {
      value_ = std::make_shared<const T>(make_());
      made_ = now;
    }
    return value_;
  }

 private:
  const Clock& clock_;
  const std::chrono::milliseconds max_age_;
  const std::function<T()> make_;
  mutable Mutex mutex_;  // held while the value is made
  mutable std::shared_ptr<const T> value_ GUARDED_BY(mutex_);
  mutable MonotonicTime made_ GUARDED_BY(mutex_);
};

}  // namespace forebay::server
