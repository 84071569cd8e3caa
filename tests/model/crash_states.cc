// Power cuts at every system call. A scenario runs the whole way of samples (journal, rotation,
// sealing, manifest, upload, deletion) with restarts, and keeps the disk as it was before each call
// that changes something. From each of these disks the states are made that a power cut may leave
// there: nothing, all or some of what was not synced, in pieces of 512 and 4096 bytes, and some of
// the unsynced creations, renames and removals. Each distinct state is recovered by a new node and
// drained, and the account must be exact: what was acknowledged is delivered once, what was refused
// is not, what was answered 503 since its commit failed is not, nothing else is. On half of the
// states the senders repeat every request at once, and then everything must be there once.
#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <set>

#include "model/node.h"
#include "model/seeds.h"

namespace forebay::testing {
namespace {

constexpr uint64_t kScenarios = 26;  // make about 25 000 distinct states
constexpr uint64_t kMinStates = 20'000;
constexpr int kCutsPerDisk = 12;  // tried; those that make the same state are left out
constexpr int kSteps = 14;

// The disk before a call, and what had been said to the senders.
struct Snapshot {
  std::unique_ptr<io::MemoryFileSystem> disk;
  std::vector<Account::Fate> fates;
  size_t requests = 0;  // sent so far
  std::string call;
};

class Scenario {
 public:
  // Every second scenario has more tables than are synced one by one.
  explicit Scenario(uint64_t seed)
      : tables_(seed % 2 == 0 ? 5 : 20),
        random_(seed),
        disk_(std::make_unique<io::MemoryFileSystem>()) {}

  // What went wrong, or nothing.
  std::string Run() {
    std::string wrong = Start();
    for (int step = 0; step < kSteps && wrong.empty(); ++step) wrong = Step();
    if (wrong.empty() && random_() % 2 == 0) {
      const Status drained = node_->Drain();
      if (!drained.ok()) wrong = drained.error().ToString();
    }
    Keep("the end");
    disk_->SetObserver({});
    node_.reset();
    return wrong;
  }

  std::vector<Snapshot>& snapshots() { return snapshots_; }
  const std::vector<WalHarness::Request>& requests() const { return requests_; }
  std::mt19937_64& random() { return random_; }
  uint32_t tables() const { return tables_; }

 private:
  std::string Start() {
    disk_->SetObserver([this](io::FileOperation operation, const std::string& path) {
      Keep(std::to_string(static_cast<int>(operation)) + ' ' + path);
    });
    node_ = std::make_unique<Node>(*disk_);
    node_->log().set_tables(tables_);
    node_->log().set_on_done([this](const wal::PendingRecord& record) {
      WalHarness::Request request{DecodeBody(record.body), {}};
      request.refused.assign(record.refused.begin(), record.refused.end());
      account_.Answer(request,
                      record.status.ok() ? Account::Fate::kAcknowledged : Account::Fate::kFailed);
    });
    const Status opened = node_->Open();
    return opened.ok() ? "" : "the scenario's node does not start: " + opened.error().ToString();
  }

  std::string Step() {
    switch (random_() % 8) {
      case 0: {
        const Status flushed = node_->Flush();
        return flushed.ok() ? "" : flushed.error().ToString();
      }
      case 1:
      case 2:
        node_->Work();
        return "";
      case 3: {
        // A power cut within the scenario: recovery itself is cut short in the states that follow.
        io::CrashOptions crash;
        crash.seed = random_();
        crash.granularity = random_() % 2 == 0 ? 512 : 4096;
        disk_->SetObserver({});
        disk_ = PowerCut(*disk_, node_, crash);
        return Start();
      }
      case 4: {
        // A commit fails; what it wrote may be on the disk. The new journal that says so is durable
        // before the answer.
        io::Fault fault;
        fault.operation =
            random_() % 3 == 0 ? io::FileOperation::kWrite : io::FileOperation::kSyncData;
        fault.path_contains = "journal/";
        fault.short_write_bytes = random_() % 1000;
        fault.takes_effect = random_() % 2 == 0;
        disk_->AddFault(fault);
        return Write(/*may_fail=*/true);
      }
      default:
        return Write(/*may_fail=*/false);
    }
  }

  // One to four requests at the same time; some larger than a page, some with refused samples.
  std::string Write(bool may_fail) {
    std::vector<WalHarness::Request> group;
    const size_t count = 1 + random_() % 4;
    for (size_t i = 0; i < count; ++i) {
      const size_t samples = random_() % 4 == 0 ? 50 + random_() % 300 : 1 + random_() % 5;
      const size_t refuse_each = random_() % 3 == 0 ? 2 + random_() % 3 : 0;
      group.push_back(RequestOf(account_.Send(samples), samples, refuse_each));
    }
    {
      const std::lock_guard lock(mutex_);
      requests_.insert(requests_.end(), group.begin(), group.end());
      begun_ = account_.sent();
    }
    for (const Status& status : node_->log().WriteOnce(group)) {
      if (may_fail || status.ok()) continue;
      return "a request was not answered: " + status.error().ToString();
    }
    return "";
  }

  // On the thread that is about to change the disk; the test's may be sending at the same time. So
  // an answer counts that was given before the copy, and a request that was begun before its end.
  void Keep(const std::string& call) {
    Snapshot snapshot;
    snapshot.fates = account_.Fates();
    snapshot.disk = disk_->Clone();
    snapshot.call = call;
    const std::lock_guard lock(mutex_);
    snapshot.requests = requests_.size();
    snapshot.fates.resize(begun_, Account::Fate::kUnanswered);
    snapshots_.push_back(std::move(snapshot));
  }

  const uint32_t tables_;
  std::mt19937_64 random_;
  std::unique_ptr<io::MemoryFileSystem> disk_;
  std::unique_ptr<Node> node_;
  Account account_;
  std::mutex mutex_;
  std::vector<WalHarness::Request> requests_;
  size_t begun_ = 0;  // samples of requests_
  std::vector<Snapshot> snapshots_;
};

// What a power cut leaves of the snapshot's disk: everything that a reader can see.
std::string StateOf(io::MemoryFileSystem& disk, const std::vector<Account::Fate>& fates) {
  std::string state;
  for (const auto& [path, bytes] : FilesOf(disk, ".")) {
    state += path + '\0' + std::to_string(bytes.size()) + '\0' + bytes;
  }
  state.append(reinterpret_cast<const char*>(fates.data()), fates.size());
  return state;
}

io::CrashOptions CutOf(int number, std::mt19937_64& random) {
  io::CrashOptions cut;
  cut.seed = random();
  cut.granularity = random() % 2 == 0 ? 512 : 4096;
  if (number == 0) {
    cut.keep_probability = 0;
  } else if (number == 1) {
    cut.keep_probability = 1;
  } else {
    cut.keep_probability = static_cast<double>(1 + random() % 3) / 4;
  }
  return cut;
}

// Recovers the disk as a node that starts does. Returns what is wrong, or nothing.
std::string Recover(io::MemoryFileSystem& disk, const std::vector<Account::Fate>& fates,
                    std::span<const WalHarness::Request> repeated, uint32_t tables) {
  Node node(disk);
  node.log().set_tables(tables);
  const Status opened = node.Open();
  if (!opened.ok()) return "the node does not start: " + opened.error().ToString();
  for (const WalHarness::Request& request : repeated) {
    const Status status = node.log().WriteOnce(std::vector{request}).front();
    if (!status.ok()) return "a repeated request is not answered: " + status.error().ToString();
  }
  const Status drained = node.Drain();
  if (!drained.ok()) return "the node does not drain: " + drained.error().ToString();
  const auto delivered = Delivered(disk);
  if (!delivered.ok()) return delivered.error().ToString();
  std::vector<Account::Fate> expected = fates;
  if (!repeated.empty()) {
    std::replace(expected.begin(), expected.end(), Account::Fate::kFailed,
                 Account::Fate::kAcknowledged);
  }
  // A refused sample is refused at every attempt; those that had no answer yet are asked for by
  // their request.
  for (const WalHarness::Request& request : repeated) {
    for (const uint32_t index : request.refused) {
      const uint64_t number =
          static_cast<uint64_t>(request.samples[index].timestamp -
                                request.samples.front().timestamp) +
          static_cast<uint64_t>(std::bit_cast<double>(request.samples.front().value));
      expected[number - 1] = Account::Fate::kRefused;
    }
  }
  CheckOptions options;
  options.all_must_be_there = !repeated.empty();
  std::string wrong = CheckAccount(expected, *delivered, options);
  if (!wrong.empty()) return wrong;
  for (const char* directory : {"data/segments", "data/batches"}) {
    if (!FilesOf(disk, directory).empty()) return std::string(directory) + " is not empty";
  }
  return {};
}

std::string Explore(uint64_t seed, Tally& tally) {
  Scenario scenario(seed);
  std::string wrong = scenario.Run();
  if (!wrong.empty()) return wrong;
  std::set<std::string> seen;
  size_t number = 0;
  for (Snapshot& snapshot : scenario.snapshots()) {
    ++number;
    for (int cut = 0; cut < kCutsPerDisk; ++cut) {
      const io::CrashOptions options = CutOf(cut, scenario.random());
      const bool repeat = scenario.random()() % 2 == 0;
      auto disk = snapshot.disk->Clone();
      disk->Crash(options);
      if (!seen.insert(StateOf(*disk, snapshot.fates)).second) {
        ++tally["same states"];
        continue;
      }
      const std::span<const WalHarness::Request> repeated(scenario.requests().data(),
                                                          repeat ? snapshot.requests : 0);
      wrong = Recover(*disk, snapshot.fates, repeated, scenario.tables());
      ++tally["distinct states recovered"];
      tally["samples accounted"] += snapshot.fates.size();
      if (!wrong.empty()) {
        return "before call " + std::to_string(number) + " (" + snapshot.call + "), cut " +
               std::to_string(cut) + ": " + wrong;
      }
    }
    snapshot.disk.reset();
  }
  tally["calls cut"] += number;
  return {};
}

TEST_CASE("crash states: every power cut leaves a disk that recovers with an exact account") {
  Tally total;
  std::mutex mutex;
  const uint64_t failed = RunSeeds("crash states", kScenarios, [&](uint64_t seed, Tally& tally) {
    std::string wrong = Explore(seed, tally);
    const std::lock_guard lock(mutex);
    total["states"] += tally["distinct states recovered"];
    return wrong;
  });
  CHECK(failed == 0);
  if (!OneSeedOnly()) CHECK(static_cast<double>(total["states"]) >= kMinStates * SeedScale());
}

}  // namespace
}  // namespace forebay::testing
