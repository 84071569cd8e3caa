// One thread for what a node does now and then: the audit of the disk account, a point of the
// flow's history, a look for dead letters that are to be replayed. Duties run one after the other,
// so each may come late by the time that another takes.
#pragma once

#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"

namespace forebay::server {

class Housekeeper {
 public:
  ~Housekeeper();

  // Before Start. The first time is one interval after it. interval: 0: never.
  void Add(std::chrono::milliseconds interval, std::function<void()> work);
  // Begins the thread "housekeeping". Once.
  void Start();
  // Idempotent; waits for a duty that runs.
  void Stop() EXCLUDES(mutex_);

 private:
  struct Duty {
    std::chrono::milliseconds interval;
    std::function<void()> work;
    MonotonicTime due;
  };
  void Run() EXCLUDES(mutex_);

  std::vector<Duty> duties_;  // the thread's, once it runs
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::jthread thread_;
};

}  // namespace forebay::server
