// Looks now and then whether a replay of dead letters was asked for (forebay dlq replay), and does
// it beside the workers. At start the node does it before it loads its segments.
#pragma once

#include <chrono>
#include <string>

#include "base/mutex.h"
#include "base/result.h"
#include "batch/batcher.h"
#include "io/file_system.h"
#include "upload/dead_letter_replay.h"
#include "wal/batch_manifest.h"
#include "wal/batch_queue.h"

namespace forebay::server {

class DeadLetterReplayer {
 public:
  // Between two looks; the housekeeper keeps to it.
  static constexpr std::chrono::seconds kInterval{10};

  // What it works with; all outlive it. directories: of dead letters and segments.
  struct Parts {
    io::FileSystem& fs;
    wal::ManifestStore& manifests;
    wal::BatchQueue& queue;
    batch::Batcher& batcher;
  };
  DeadLetterReplayer(Parts parts, std::string dead_letters, std::string segments);

  // Idempotent; waits for a look that is under way. No batch comes from here afterwards. To be
  // called before the batcher stops.
  void Stop() EXCLUDES(mutex_);
  // Looks now. Errors: those of the disk; what is left is done by the next look. Threads: any; one
  // at a time runs.
  Status Run() EXCLUDES(mutex_);

 private:
  Parts parts_;
  upload::ReplayOptions options_;
  Mutex mutex_;  // held while the disk is read, by nobody who is in a hurry
  bool stopped_ GUARDED_BY(mutex_) = false;
};

}  // namespace forebay::server
