#include "server/housekeeper.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/thread.h"

namespace forebay::server {

Housekeeper::~Housekeeper() { Stop(); }

void Housekeeper::Add(std::chrono::milliseconds interval, std::function<void()> work) {
  FOREBAY_CHECK(!thread_.joinable());
  if (interval.count() == 0) return;
  duties_.push_back({interval, std::move(work), {}});
}

void Housekeeper::Start() {
  FOREBAY_CHECK(!thread_.joinable());
  if (duties_.empty()) return;
  for (Duty& duty : duties_) duty.due = std::chrono::steady_clock::now() + duty.interval;
  thread_ = StartThread("housekeeping", [this](const std::stop_token&) { Run(); });
}

void Housekeeper::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void Housekeeper::Run() {
  while (true) {
    Duty& next = *std::min_element(duties_.begin(), duties_.end(),
                                   [](const Duty& a, const Duty& b) { return a.due < b.due; });
    {
      MutexLock lock(mutex_);
      while (!stopping_ && changed_.WaitUntil(lock, next.due)) {
      }
      if (stopping_) return;
    }
    next.work();
    // What is late is not made up for.
    next.due = std::max(next.due + next.interval, std::chrono::steady_clock::now());
  }
}

}  // namespace forebay::server
