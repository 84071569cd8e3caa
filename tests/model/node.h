// A node without HTTP: log, batcher, upload and file sink over a file system in memory, as the
// server wires them, driven by the test; and the account of what was sent to it.
//
// Each sample carries a number of its own, from 1, as its value; series and time follow from the
// number, so that a row in the output says whether it is right. Output: below "out", storage: below
// "data".
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "batch/batcher.h"
#include "io/memory_file_system.h"
#include "support/wal_harness.h"
#include "upload/worker.h"

namespace forebay::testing {

// The system's time, and the test may skip some: waits for retries then are over.
class SkippingClock final : public Clock {
 public:
  UnixMillis Now() const override { return {system_.Now().value + skipped_.load()}; }
  MonotonicTime Monotonic() const override {
    return system_.Monotonic() + std::chrono::milliseconds(skipped_.load());
  }
  void Skip(std::chrono::milliseconds step) { skipped_ += step.count(); }
  // Deadlines that the clock gives are real ones again.
  void Reset() { skipped_ = 0; }

 private:
  const SystemClock system_{};
  std::atomic<int64_t> skipped_{0};
};

// Numbers of samples by how often they were found.
using NumberCounts = std::map<uint64_t, int>;

TestSample SampleOf(uint64_t number);
// The request of `count` samples from `first` on; every `refuse_each`-th is refused (0: none).
WalHarness::Request RequestOf(uint64_t first, size_t count, size_t refuse_each = 0);

// Threads: one, but for what the log's threads do.
class Node {
 public:
  struct Options {
    uint64_t max_memory = 64U << 20;
    uint64_t max_disk = uint64_t{1} << 40;
    uint64_t reserve = 0;
  };

  explicit Node(io::MemoryFileSystem& fs);
  Node(io::MemoryFileSystem& fs, const Options& options);
  ~Node();

  // As a process that starts: recovery, and the batches of the run before.
  Status Open();
  WalHarness& log() { return log_; }
  SkippingClock& clock() { return clock_; }

  // Rotates and seals, and waits at most so long in real time.
  Status Flush(std::chrono::milliseconds limit = std::chrono::seconds(20));
  // Makes batches of all sealed segments and tries each until nothing is due.
  void Work();
  // Flush and Work, again and again, until everything is delivered. Errors: the last one, when it
  // does not end.
  Status Drain(std::chrono::milliseconds limit = std::chrono::seconds(20));
  // Waits until requests are taken (again), at most two seconds of real time. False: they are not.
  bool Serves();
  // Waits until a journal says what failed, at most two seconds of real time. False: none does.
  bool Decides();
  // What still lies there: live batches and sealed segments.
  size_t Waiting();

 private:
  bool WaitFor(const std::function<bool()>& condition);

  io::MemoryFileSystem& fs_;
  SkippingClock clock_;
  WalHarness log_;
  metrics::Registry registry_;
  // Made by Open, which makes the store that they refer to.
  std::unique_ptr<wal::ManifestStore> manifests_;
  std::unique_ptr<wal::BatchQueue> queue_;
  std::unique_ptr<upload::UploadPool> pool_;
  std::unique_ptr<batch::Batcher> batcher_;
};

// Every sample in the files of the sink, or what is wrong with a file or a row.
Result<NumberCounts> Delivered(const io::MemoryFileSystem& fs);

// Every file below `directory` with its bytes; by path.
std::map<std::string, std::string> FilesOf(io::FileSystem& fs, const std::string& directory);

// What was said to the senders. Threads: any.
class Account {
 public:
  enum class Fate : uint8_t {
    kUnanswered,    // may be there or not
    kAcknowledged,  // must be there
    kFailed,        // answered 503: must not be there, also after a restart
    // Answered 503 by a commit that failed, and no journal that says so could be begun since: must
    // not be there while the process goes on, and may come back with a power cut: kMayReturn.
    kUndecided,
    kMayReturn,
    kRefused,  // answered 400 for this sample: must not be there
    kDamaged,  // was acknowledged, then its bytes were damaged: may be gone
  };

  // Numbers for `count` new samples. Returns the first.
  uint64_t Send(size_t count);
  // A request with these samples was answered: kAcknowledged, kFailed or kUndecided.
  void Answer(const WalHarness::Request& request, Fate answer);
  // A journal says durably what has failed so far.
  void Decide();
  // The power went.
  void Cut();
  // Its bytes were damaged: what was acknowledged may be gone, and nothing else changes.
  void Damage(uint64_t number);
  // What said that it has failed was damaged.
  void MayReturn(uint64_t number);
  uint64_t sent() const;
  uint64_t Count(Fate fate) const;

  // Fates of all numbers at this moment, from number 1 on.
  std::vector<Fate> Fates() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Fate> fates_;
};

// Sends the requests at the same time, as receivers do, and enters the answers.
std::vector<Status> SendAll(Node& node, Account& account,
                            const std::vector<WalHarness::Request>& requests);

// The power goes: nothing that the node does from now on reaches the disk that is returned. `node`
// is destroyed. crash: what becomes of what was not synced; without: the process is killed and the
// kernel lives on. account: learns it; null: none.
std::unique_ptr<io::MemoryFileSystem> PowerCut(io::MemoryFileSystem& disk,
                                               std::unique_ptr<Node>& node,
                                               const std::optional<io::CrashOptions>& crash,
                                               Account* account = nullptr);

struct CheckOptions {
  // Everything but what was refused must be there: the senders have repeated what had no answer.
  bool all_must_be_there = false;
};

// What is wrong, or nothing: what must be there is there once, and nothing else is.
std::string CheckAccount(const std::vector<Account::Fate>& fates, const NumberCounts& delivered,
                         const CheckOptions& options = {});
// Drains the node and checks what its sink has then. What is wrong with `when` before it, or
// nothing.
std::string Settle(Node& node, const io::MemoryFileSystem& disk, const Account& account,
                   const std::string& when);

}  // namespace forebay::testing
