// Compares the account of bytes on disk with the disk, now and then and on demand, and says what
// was wrong. What it finds is mostly an operator's doing (a file taken out of the quarantine); in
// the other directories it hints at an error of Forebay.
#pragma once

#include <chrono>
#include <thread>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "metrics/registry.h"
#include "wal/disk_account.h"
#include "wal/quarantine.h"

namespace forebay::server {

class DiskAuditor {
 public:
  // interval: 0: only on demand. All references outlive it.
  DiskAuditor(wal::DiskAccount& account, wal::Quarantine& quarantine,
              std::chrono::milliseconds interval, metrics::Registry& registry);
  ~DiskAuditor();

  // Begins the thread "disk-audit", when there is an interval.
  void Start();
  // Idempotent; waits for an audit that runs.
  void Stop();

  // Audits now. Errors: those of listing; nothing is changed then. Threads: any; one at a time
  // runs.
  Result<wal::AuditReport> Run() EXCLUDES(mutex_);

 private:
  wal::DiskAccount& account_;
  wal::Quarantine& quarantine_;
  const std::chrono::milliseconds interval_;
  metrics::Counter* audits_;
  metrics::Counter* failures_;
  metrics::Counter* differences_;
  metrics::Counter* corrected_;
  Mutex mutex_;  // one audit at a time; held while the disk is read, by nobody who is in a hurry
  Mutex stop_mutex_;
  CondVar stop_changed_;
  bool stopping_ GUARDED_BY(stop_mutex_) = false;
  std::jthread thread_;
};

}  // namespace forebay::server
