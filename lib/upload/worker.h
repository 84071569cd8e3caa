// Delivers batches: takes them from the queue, gives each to every sink of its database that does
// not have it yet, notes that durably, and then deletes the segments.
//
// A batch ends in this order, each step durable before the next, so a crash anywhere is continued
// by the manifest:
//   sink has it -> manifest says so (for each sink) -> segments deleted, or moved to the dead
//   letters -> manifest removed
// A sink is asked again after a crash between the first two; its batch id tells it that it has the
// batch. Nothing is held up by what fails: a batch that waits for its next try is in the queue, not
// with a worker, and a sink that is down gets one worker at a time (upload/sink_health.h). Threads:
// config upload.workers, "upload-<n>".
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "config/config.h"
#include "io/file_system.h"
#include "metrics/registry.h"
#include "upload/batch_reader.h"
#include "upload/dead_letters.h"
#include "upload/free_list.h"
#include "upload/progress.h"
#include "upload/sink_health.h"
#include "upload/sink_set.h"
#include "wal/batch_manifest.h"
#include "wal/batch_queue.h"
#include "wal/quarantine.h"
#include "wal/segment_store.h"

namespace forebay::upload {

// What the pool works with. All outlive it.
struct UploadParts {
  io::FileSystem& fs;
  const Clock& clock;
  wal::SegmentStore& store;
  wal::ManifestStore& manifests;
  wal::BatchQueue& queue;
  wal::Quarantine& quarantine;
  metrics::Registry& registry;
};

// How many batches of one database may run at once: upload.per_database, else all workers, and one
// less when there are several databases. So none of them, busy or hanging, holds all. Threads: any.
size_t BatchesPerDatabase(const config::Upload& config, size_t databases);

// For the status API.
struct DeadLetterStatus {
  DeadLetterTotals totals;
  uint64_t max_bytes = 0;
  size_t waiting_batches = 0;  // refused ones that wait for room
};

class UploadPool {
 public:
  UploadPool(const config::Upload& config, DeadLetterPlace dead_letters, SinkSet sinks,
             UploadParts parts);
  ~UploadPool();

  void Start();
  // Closes the queue, lets running uploads go on until the deadline, then cancels them (their
  // batches stay, with their manifests). Idempotent. Errors: kDeadlineExceeded when some were
  // cancelled.
  Status Stop(MonotonicTime deadline);

  // Takes a batch that is due and tries it once. False: none was due. Threads: workers; tests.
  bool RunOnce(MonotonicTime deadline);

  std::vector<SinkStatus> SinkStatuses() const;
  // Deliveries that run now. Threads: any.
  std::vector<DeliveryProgress> Running() const { return progress_.Snapshot(); }
  // Reads the directories of the dead letters.
  DeadLetterStatus DeadLettersNow() const EXCLUDES(mutex_);

 private:
  struct Target;  // a sink with its health, counters and prepared tables
  struct Tried {
    std::optional<Error> error;  // of this try, or why there was none
    bool failed = false;         // a sink or a file failed; else nothing was tried
    MonotonicTime ask_again = MonotonicTime::max();
  };

  // False: every sink that still wants the batch has its share of the workers.
  bool CanTry(const wal::BatchManifest& manifest) const;
  Target* Find(const std::string& database, const std::string& sink) const;
  void AddMetrics();
  void AddCounters(Target& target);
  void Process(wal::Batch batch);
  void TrySinks(wal::Batch& batch, Tried& tried);
  void TrySink(wal::Batch& batch, wal::ManifestSink& sink, Tried& tried);
  Result<Receipt> Deliver(wal::Batch& batch, const wal::ManifestSink& sink, Target& target,
                          bool& source_error);
  Result<std::optional<table::Schema>> SchemaOf(wal::Batch& batch);
  Status KeepRejected(wal::Batch& batch, const RejectedRows& rejected, Target& target);
  void NoteDelivered(const wal::Batch& batch, const Receipt& receipt, Target& target);
  Status Save(wal::Batch& batch);
  Status DeleteSegments(wal::Batch& batch);
  Status Complete(wal::Batch& batch);
  bool HasRoom(const wal::Batch& batch, Tried& tried) EXCLUDES(mutex_);
  size_t WaitingForRoom() const EXCLUDES(mutex_);
  void GiveBack(wal::Batch batch, const Tried& tried) EXCLUDES(mutex_);
  uint64_t Random() EXCLUDES(mutex_);

  const config::Upload config_;
  UploadParts parts_;
  DeadLetters dead_letters_;
  ProgressBoard progress_;
  SinkSet sinks_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<Target>>
      targets_;  // database, sink
  metrics::Counter* damage_;
  metrics::Counter* dead_lettered_;
  metrics::Counter* rejected_rows_;
  metrics::Counter* row_mismatches_;
  metrics::Counter* stale_markers_;
  metrics::Counter* nans_;
  metrics::Counter* infinities_;
  metrics::Registry::Callback quarantine_bytes_;
  std::vector<metrics::Registry::Callback> dead_letter_gauges_;
  const UnixMillis started_;  // no earlier process knew segments that are younger
  std::stop_source stop_;     // of running uploads
  FreeList<BatchReaderMemory> reader_memory_;
  mutable Mutex mutex_;
  std::set<std::string> waiting_for_room_ GUARDED_BY(mutex_);  // ids of refused batches
  std::optional<Error> no_room_ GUARDED_BY(mutex_);            // among the dead letters
  MonotonicTime no_room_until_ GUARDED_BY(mutex_) = MonotonicTime::min();
  std::minstd_rand random_ GUARDED_BY(mutex_);
  std::vector<std::jthread> threads_;
};

}  // namespace forebay::upload
