#include "server/dead_letter_replayer.h"

#include <string>
#include <utility>

#include "base/log.h"
#include "base/thread.h"

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

DeadLetterReplayer::~DeadLetterReplayer() { Stop(); }

void DeadLetterReplayer::Start() {
  thread_ = StartThread("dlq-replay", [this](const std::stop_token&) {
    while (true) {
      const MonotonicTime next = std::chrono::steady_clock::now() + kInterval;
      {
        MutexLock lock(stop_mutex_);
        while (!stopping_ && stop_changed_.WaitUntil(lock, next)) {
        }
        if (stopping_) return;
      }
      (void)Run();  // logs what fails
    }
  });
}

void DeadLetterReplayer::Stop() {
  {
    MutexLock lock(stop_mutex_);
    stopping_ = true;
    stop_changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
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
