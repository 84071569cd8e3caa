// Compares the account of bytes on disk with the disk, now and then and on demand, and says what
// was wrong. What it finds is mostly an operator's doing (a file taken out of the quarantine); in
// the other directories it hints at an error of Forebay.
#pragma once

#include "base/mutex.h"
#include "base/result.h"
#include "metrics/registry.h"
#include "wal/disk_account.h"
#include "wal/quarantine.h"

namespace forebay::server {

class DiskAuditor {
 public:
  // All references outlive it.
  DiskAuditor(wal::DiskAccount& account, wal::Quarantine& quarantine, metrics::Registry& registry);

  // Audits now. Errors: those of listing; nothing is changed then. Threads: any; one at a time
  // runs.
  Result<wal::AuditReport> Run() EXCLUDES(mutex_);

 private:
  wal::DiskAccount& account_;
  wal::Quarantine& quarantine_;
  metrics::Counter* audits_;
  metrics::Counter* failures_;
  metrics::Counter* differences_;
  metrics::Counter* corrected_;
  Mutex mutex_;  // one audit at a time; held while the disk is read, by nobody who is in a hurry
};

}  // namespace forebay::server
