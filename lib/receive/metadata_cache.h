// Which metadata was stored lately, so that a row is written when it changes or once an hour, not
// with every request (2.0 senders repeat it with every series). Place: shared by all decoders.
// Limits: kMaxEntries; when full it is emptied, which costs rows that say the same again.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <span>
#include <unordered_map>

#include "base/mutex.h"
#include "base/time.h"

namespace forebay::receive {

// Threads: any.
class MetadataCache {
 public:
  static constexpr size_t kMaxEntries = 65'536;
  static constexpr std::chrono::milliseconds kRefresh = std::chrono::hours(1);

  // `key`: a hash of database, metric, type, help and unit. True: a row is due, and noted as
  // stored.
  bool TakeDue(uint64_t key, UnixMillis now) EXCLUDES(mutex_);
  // The rows of these keys were not stored after all.
  void Forget(std::span<const uint64_t> keys) EXCLUDES(mutex_);
  // Changes with every Forget: what a thread has remembered by itself is void then.
  uint64_t epoch() const { return epoch_.load(std::memory_order_acquire); }

 private:
  std::atomic<uint64_t> epoch_{0};
  Mutex mutex_;
  std::unordered_map<uint64_t, int64_t> stored_ GUARDED_BY(mutex_);  // key to Unix ms
};

}  // namespace forebay::receive
