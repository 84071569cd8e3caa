#include "upload/progress.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace forebay::upload {

ProgressBoard::Delivery::Delivery(ProgressBoard& board, std::string batch, std::string sink,
                                  uint64_t total_bytes)
    : board_(board) {
  MutexLock lock(board_.mutex_);
  entry_ = board_.entries_.emplace(board_.entries_.end());
  entry_->batch = std::move(batch);
  entry_->sink = std::move(sink);
  entry_->total_bytes = total_bytes;
  entry_->began = board_.clock_.Monotonic();
}

ProgressBoard::Delivery::~Delivery() {
  MutexLock lock(board_.mutex_);
  board_.entries_.erase(entry_);
}

std::vector<DeliveryProgress> ProgressBoard::Snapshot() const {
  const MonotonicTime now = clock_.Monotonic();
  std::vector<DeliveryProgress> list;
  MutexLock lock(mutex_);
  for (const Entry& entry : entries_) {
    // A file's footer is not read, and a damaged place may be read twice.
    list.push_back({entry.batch, entry.sink,
                    std::min(entry.read_bytes.load(std::memory_order_relaxed), entry.total_bytes),
                    entry.total_bytes, std::chrono::duration<double>(now - entry.began).count()});
  }
  return list;
}

}  // namespace forebay::upload
