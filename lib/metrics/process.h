// The metrics that every Prometheus client library has of its own process, and forebay_build_info.
// Place: made once by the server beside its Registry; read from /proc/self at scrape time.
// Limits: on a system without /proc the values that need it are 0.
#pragma once

#include <string>
#include <vector>

#include "metrics/registry.h"

namespace forebay::metrics {

// Exposes, as long as it lives: process_cpu_seconds_total, process_resident_memory_bytes,
// process_virtual_memory_bytes, process_open_fds, process_max_fds, process_start_time_seconds,
// process_threads, forebay_build_info{version,compiler} 1. Threads: any.
class ProcessMetrics {
 public:
  ProcessMetrics(Registry& registry, const std::string& version);

 private:
  std::vector<Registry::Callback> callbacks_;
};

}  // namespace forebay::metrics
