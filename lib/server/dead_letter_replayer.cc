#include "server/dead_letter_replayer.h"

#include <string>
#include <utility>

#include "base/log.h"

namespace forebay::server {

DeadLetterReplayer::DeadLetterReplayer(Parts parts, std::string dead_letters, std::string segments)
    : parts_(parts) {
  options_.dead_letters = std::move(dead_letters);
  options_.segments = std::move(segments);
  options_.is_live = [this](const std::string& id) { return parts_.queue.Contains(id); };
  options_.returned = [this](wal::BatchManifest manifest) {
    const std::string id = manifest.id;
    if (const Status back = parts_.batcher.TakeBack(std::move(manifest)); !back.ok()) {
      LogError("a replayed batch waits for the next start",
               {{"batch", id}, {"error", back.error().ToString()}});
    }
  };
}

void DeadLetterReplayer::Stop() {
  MutexLock lock(mutex_);
  stopped_ = true;
}

Status DeadLetterReplayer::Run() {
  MutexLock lock(mutex_);
  if (stopped_) return OkStatus();
  Status replayed = upload::ReplayDeadLetters(parts_.fs, parts_.manifests, options_);
  if (!replayed.ok()) {
    LogError("dead letters could not be replayed, trying again",
             {{"error", replayed.error().ToString()}});
  }
  return replayed;
}

}  // namespace forebay::server
