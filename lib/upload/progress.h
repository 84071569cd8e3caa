// How far the deliveries that run now are, for the status page.
//
// A delivery is as far as its reader has read of the batch's segments: what is rendered and sent
// follows it by a few hundred kilobytes. Cost: one relaxed store for each block read (256 KiB).
// Limits: one entry per delivery under way, which upload.workers bounds.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"

namespace forebay::upload {

struct DeliveryProgress {
  std::string batch;
  std::string sink;
  uint64_t read_bytes = 0;   // of the segments' files, so far in this try
  uint64_t total_bytes = 0;  // of these files
  double seconds = 0;        // since this try began
};

// Threads: any.
class ProgressBoard {
  struct Entry {
    std::string batch;
    std::string sink;
    uint64_t total_bytes = 0;
    MonotonicTime began;
    std::atomic<uint64_t> read_bytes{0};
  };

 public:
  // One delivery under way; it leaves the board when this is destroyed.
  class Delivery {
   public:
    Delivery(ProgressBoard& board, std::string batch, std::string sink, uint64_t total_bytes);
    ~Delivery();
    Delivery(const Delivery&) = delete;
    Delivery& operator=(const Delivery&) = delete;
    // For BatchReader::set_progress.
    std::atomic<uint64_t>& read_bytes() { return entry_->read_bytes; }

   private:
    ProgressBoard& board_;
    std::list<Entry>::iterator entry_;
  };

  explicit ProgressBoard(const Clock& clock) : clock_(clock) {}
  // Oldest first.
  std::vector<DeliveryProgress> Snapshot() const EXCLUDES(mutex_);

 private:
  const Clock& clock_;
  mutable Mutex mutex_;
  std::list<Entry> entries_ GUARDED_BY(mutex_);
};

}  // namespace forebay::upload
