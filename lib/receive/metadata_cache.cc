#include "receive/metadata_cache.h"

namespace forebay::receive {

bool MetadataCache::TakeDue(uint64_t key, UnixMillis now) {
  MutexLock lock(mutex_);
  const auto found = stored_.find(key);
  if (found != stored_.end()) {
    const int64_t age = now.value - found->second;
    // A clock that was set back makes it due as well.
    if (age >= 0 && age < kRefresh.count()) return false;
    found->second = now.value;
    return true;
  }
  if (stored_.size() >= kMaxEntries) {
    stored_.clear();
    epoch_.fetch_add(1, std::memory_order_release);
  }
  stored_.emplace(key, now.value);
  return true;
}

void MetadataCache::Forget(std::span<const uint64_t> keys) {
  if (keys.empty()) return;
  MutexLock lock(mutex_);
  for (const uint64_t key : keys) stored_.erase(key);
  epoch_.fetch_add(1, std::memory_order_release);
}

}  // namespace forebay::receive
