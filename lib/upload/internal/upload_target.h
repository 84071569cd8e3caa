// A sink as the pool sees it: private to worker.cc and worker_metrics.cc.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>

#include "upload/worker.h"

namespace forebay::upload {

struct UploadPool::Target {
  Target(std::string db, Sink& s, const Clock& clock, const config::Upload& config, bool alone)
      : database(std::move(db)), sink(s), health(clock, config, alone) {}

  // How tries of a batch end, by reason of the batch.
  struct Outcomes {
    metrics::Counter* delivered;
    metrics::Counter* already_there;
    metrics::Counter* failed;
    metrics::Counter* refused;
  };

  const std::string database;
  Sink& sink;
  SinkHealth health;
  metrics::Counter* rows = nullptr;
  metrics::Counter* row_bytes = nullptr;
  metrics::Counter* stored_bytes = nullptr;
  metrics::Counter* retries = nullptr;
  metrics::Counter* drifts = nullptr;
  metrics::Histogram* batch_bytes = nullptr;
  metrics::Histogram* duration = nullptr;
  metrics::Registry::Callback concurrency;
  std::map<wal::BatchReason, Outcomes> outcomes;
  Mutex mutex;
  std::set<std::string> prepared
      GUARDED_BY(mutex);  // "<table> <schema hash>"; bounded by limits.tables_max
};

}  // namespace forebay::upload
