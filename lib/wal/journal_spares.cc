#include "wal/journal_spares.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace forebay::wal {
namespace {

// A spare that cannot be removed is found again at the next start.
void Remove(io::FileSystem& fs, const std::string& path) {
  const Status removed = fs.Remove(path);
  if (removed.ok() || removed.error().code() == ErrorCode::kNotFound) return;
  LogWarn("a spare journal file cannot be removed",
          {{"file", path}, {"error", removed.error().ToString()}});
}

}  // namespace

bool JournalSpares::HasRoom(uint64_t bytes) const {
  return spares_.size() < kMaxSpares && bytes != 0 && bytes <= options_.max_bytes &&
         bytes_ <= options_.max_bytes - bytes;
}

bool JournalSpares::Wants(uint64_t bytes) const {
  MutexLock lock(mutex_);
  return HasRoom(bytes);
}

void JournalSpares::Keep(Spare spare) {
  {
    MutexLock lock(mutex_);
    if (HasRoom(spare.bytes)) {
      bytes_ += spare.bytes;
      spares_.push_back(std::move(spare));
      return;
    }
  }
  Remove(fs_, spare.path);
}

std::optional<JournalSpares::Spare> JournalSpares::Take() {
  MutexLock lock(mutex_);
  if (spares_.empty()) return std::nullopt;
  const auto largest =
      std::max_element(spares_.begin(), spares_.end(),
                       [](const Spare& a, const Spare& b) { return a.bytes < b.bytes; });
  Spare spare = std::move(*largest);
  spares_.erase(largest);
  bytes_ -= spare.bytes;
  return spare;
}

bool JournalSpares::Drop() {
  std::vector<Spare> dropped;
  {
    MutexLock lock(mutex_);
    dropped.swap(spares_);
    bytes_ = 0;
  }
  for (const Spare& spare : dropped) Remove(fs_, spare.path);
  return !dropped.empty();
}

uint64_t JournalSpares::bytes() const {
  MutexLock lock(mutex_);
  return bytes_;
}

}  // namespace forebay::wal
