// One thread for the few requests that take long (flush, reload), so that no io thread waits.
#pragma once

#include <functional>
#include <thread>

#include "base/bounded_queue.h"

namespace forebay::server {

inline constexpr size_t kMaxQueuedJobs = 16;

class JobThread {
 public:
  JobThread();
  ~JobThread();

  // False when too many jobs wait, or after Stop. Threads: any.
  bool Run(std::function<void()> job);
  // Finishes what is queued and ends the thread. Idempotent.
  void Stop();

 private:
  BoundedQueue<std::function<void()>> jobs_{kMaxQueuedJobs};
  std::jthread thread_;
};

}  // namespace forebay::server
