// Random sequences of what can happen to a node: requests of several senders and their repetitions,
// rotation, uploads that work, fail or lose their answer, calls that fail, a full disk, bit rot,
// power cuts and clean stops. Against the simplest model: each sample is acknowledged, failed or
// damaged, and in the end it is there once, not at all, or at most once. What was answered 503 and
// not repeated is not there, but in two cases: the power went between a failed commit and the next
// journal that could be begun (failed_sync.cc), or the bits that rotted are those of the record
// that said so. A failing sequence is shortened by leaving out operations while it still fails, and
// printed.
#include <catch2/catch.hpp>
#include <cerrno>
#include <random>

#include "model/damage.h"
#include "model/node.h"
#include "model/seeds.h"

namespace forebay::testing {
namespace {

constexpr uint64_t kSequences = 50'000;
constexpr int kOperations = 9;
constexpr int kShrinkTries = 3;  // runs before an operation counts as not needed

struct Operation {
  enum class Kind : uint8_t {
    kWrite,
    kRepeat,
    kFlush,
    kUpload,
    kSinkFails,
    kSinkAnswerLost,
    kCallFails,
    kDiskFull,
    kMended,
    kPowerCut,
    kStop,
    kBitRot,
  };
  Kind kind = Kind::kWrite;
  uint64_t a = 0;
  uint64_t b = 0;
};
constexpr const char* kNames[] = {"write",      "repeat",           "flush",      "upload",
                                  "sink fails", "sink answer lost", "call fails", "disk full",
                                  "mended",     "power cut",        "stop",       "bit rot"};

std::vector<Operation> SequenceOf(uint64_t seed) {
  // What is frequent stands several times.
  using Kind = Operation::Kind;
  constexpr Kind kChoice[] = {
      Kind::kWrite,     Kind::kWrite,     Kind::kWrite,     Kind::kWrite,          Kind::kRepeat,
      Kind::kRepeat,    Kind::kFlush,     Kind::kFlush,     Kind::kUpload,         Kind::kUpload,
      Kind::kSinkFails, Kind::kCallFails, Kind::kCallFails, Kind::kSinkAnswerLost, Kind::kDiskFull,
      Kind::kMended,    Kind::kPowerCut,  Kind::kPowerCut,  Kind::kStop,           Kind::kBitRot};
  std::mt19937_64 random(seed);
  std::vector<Operation> sequence = {{Kind::kWrite, random(), random()}};
  while (sequence.size() < kOperations) {
    sequence.push_back({kChoice[random() % std::size(kChoice)], random(), random()});
  }
  return sequence;
}

class Machine {
 public:
  // What is wrong, or nothing.
  std::string Run(const std::vector<Operation>& sequence) {
    Open();
    for (const Operation& operation : sequence) {
      Do(operation);
      if (!wrong_.empty()) return wrong_;
    }
    Mend();
    if (node_ == nullptr) Open();
    if (!wrong_.empty()) return wrong_;
    if (!node_->Serves()) return "no service after all is mended";
    Verify();
    return wrong_;
  }

  Account& account() { return account_; }

 private:
  void Do(const Operation& operation) {
    using Kind = Operation::Kind;
    const uint64_t a = operation.a;
    const uint64_t b = operation.b;
    if (node_ == nullptr) Open();
    if (node_ == nullptr) return;  // the disk does not let it; a later operation mends that
    switch (operation.kind) {
      case Kind::kWrite:
        return Write(1 + a % 3, b);
      case Kind::kRepeat:
        return Repeat(a);
      case Kind::kFlush:
        return (void)node_->Flush(std::chrono::milliseconds(faults_ ? 5 : 20'000));
      case Kind::kUpload:
        return node_->Work();
      case Kind::kSinkFails:
        return AddFault(a % 2 == 0 ? io::FileOperation::kWrite : io::FileOperation::kSyncData,
                        "out/", a, b, false);
      case Kind::kSinkAnswerLost:
        return AddFault(a % 2 == 0 ? io::FileOperation::kRename : io::FileOperation::kSyncDirectory,
                        "out/", a, b, true);
      case Kind::kCallFails:
        return AddFault(io::FileOperation::kAny, "data/", a, b, a % 5 == 0);
      case Kind::kDiskFull:
        no_space_ = true;
        faults_ = true;
        return disk_->SetCapacity(disk_->UsedBytes() + a % 3000);
      case Kind::kMended:
        return Mend();
      case Kind::kPowerCut:
        return PowerCutNow(a);
      case Kind::kStop:
        return Stop();
      case Kind::kBitRot:
        PowerCutNow(a);
        return Rot(a, b);
    }
  }

  void Open() {
    node_ = std::make_unique<Node>(*disk_);
    const Status opened = node_->Open();
    if (opened.ok()) return;
    node_.reset();
    // It may refuse while the disk fails, not because of what lies there.
    if (!faults_) wrong_ = "the node does not start: " + opened.error().ToString();
  }

  // A group of requests of different senders.
  void Write(uint64_t count, uint64_t random) {
    std::vector<WalHarness::Request> group;
    for (uint64_t i = 0; i < count; ++i) {
      const size_t samples = 1 + (random >> (i * 8)) % 30;
      group.push_back(RequestOf(account_.Send(samples), samples, 1 + (random >> 32) % 7 + 1));
    }
    (void)SendAll(*node_, account_, group);
    requests_.insert(requests_.end(), group.begin(), group.end());
  }

  void Repeat(uint64_t random) {
    if (requests_.empty()) return;
    const WalHarness::Request& request = requests_[random % requests_.size()];
    // A full volume may have cost the ledger's file: see docs/format/wal.md, "Ledger files".
    const uint64_t first = static_cast<uint64_t>(std::bit_cast<double>(request.samples[0].value));
    const Account::Fate fate = account_.Fates()[first - 1];
    const bool failed = fate == Account::Fate::kFailed || fate == Account::Fate::kUndecided;
    if (no_space_ && !failed) return;
    (void)SendAll(*node_, account_, {request});
  }

  void AddFault(io::FileOperation operation, const char* path, uint64_t a, uint64_t b,
                bool takes_effect) {
    constexpr int kErrors[] = {EIO, EIO, ENOSPC, EDQUOT, EMFILE, EINTR};
    io::Fault fault;
    fault.operation = operation;
    fault.path_contains = path;
    fault.first = 1 + a % 11;
    fault.count = 1 + b % 3;
    fault.short_write_bytes = b % 100;
    fault.takes_effect = takes_effect;
    const int error_number = kErrors[b % std::size(kErrors)];
    no_space_ = no_space_ || error_number == ENOSPC || error_number == EDQUOT;
    fault.error = ErrnoError(error_number, "injected");
    faults_ = true;
    disk_->AddFault(fault);
  }

  void Mend() {
    disk_->ClearFaults();
    disk_->SetCapacity(uint64_t{1} << 40);
    faults_ = false;
    if (node_ != nullptr) node_->clock().Skip(std::chrono::seconds(2));
  }

  void PowerCutNow(uint64_t random) {
    io::CrashOptions crash;
    crash.seed = random;
    crash.granularity = random % 2 == 0 ? 512 : 4096;
    crash.keep_probability = static_cast<double>(random / 2 % 5) / 4;
    disk_ = PowerCut(*disk_, node_, crash, &account_);
    Mend();  // an operator has looked at it
  }

  void Stop() {
    Mend();
    wal::Wal& wal = node_->log().wal();
    // What is sealed has no journal from which anything could come back.
    if (wal.Stop(SystemClock().Monotonic() + std::chrono::seconds(20)).ok()) account_.Decide();
    disk_ = PowerCut(*disk_, node_, std::nullopt, &account_);
    if (account_.Count(Account::Fate::kUndecided) != 0) account_.Cut();
  }

  // One bit of one file flips while the node is down.
  void Rot(uint64_t a, uint64_t b) {
    std::vector<std::string> paths;
    for (const char* directory : {"data/journal", "data/segments", "data/batches"}) {
      for (const auto& [path, bytes] : FilesOf(*disk_, directory)) {
        if (!bytes.empty()) paths.push_back(path);
      }
    }
    if (paths.empty()) return;
    const std::string& path = paths[a % paths.size()];
    std::string bytes = *disk_->Contents(path);
    const uint64_t at = b % bytes.size();
    const auto hit = NumbersIn(PartsOf(*disk_, path), at, at + 1);
    for (const uint64_t number : hit) account_.Damage(number);
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (a / 64 % 8)));
    const std::set<uint64_t> abandoned = AbandonedNumbers(*disk_, "data/journal");
    const Status replaced = disk_->Replace(path, std::move(bytes));
    if (!replaced.ok()) wrong_ = replaced.error().ToString();
    const std::set<uint64_t> still = AbandonedNumbers(*disk_, "data/journal");
    for (const uint64_t number : abandoned) {
      if (!still.contains(number)) account_.MayReturn(number);
    }
  }

  void Verify() {
    const Status drained = node_->Drain();
    if (!drained.ok()) {
      wrong_ = "the node does not drain: " + drained.error().ToString();
      return;
    }
    const auto delivered = Delivered(*disk_);
    if (!delivered.ok()) {
      wrong_ = delivered.error().ToString();
      return;
    }
    wrong_ = CheckAccount(account_.Fates(), *delivered);
  }

  std::unique_ptr<io::MemoryFileSystem> disk_ = std::make_unique<io::MemoryFileSystem>();
  std::unique_ptr<Node> node_;
  Account account_;
  std::vector<WalHarness::Request> requests_;
  bool faults_ = false;    // some may be met
  bool no_space_ = false;  // there was a moment without room
  std::string wrong_;
};

std::string RunOnce(const std::vector<Operation>& sequence) { return Machine().Run(sequence); }

// Leaves out what the failure does not need.
std::vector<Operation> Shrink(std::vector<Operation> sequence) {
  for (size_t i = 0; i < sequence.size();) {
    std::vector<Operation> shorter = sequence;
    shorter.erase(shorter.begin() + static_cast<std::ptrdiff_t>(i));
    bool fails = false;
    for (int n = 0; n < kShrinkTries && !fails; ++n) fails = !RunOnce(shorter).empty();
    if (fails) {
      sequence = std::move(shorter);
      i = 0;
    } else {
      ++i;
    }
  }
  return sequence;
}

std::string Print(const std::vector<Operation>& sequence) {
  std::string text;
  for (const Operation& operation : sequence) {
    text += std::string("\n    ") + kNames[static_cast<size_t>(operation.kind)] + ' ' +
            std::to_string(operation.a) + ' ' + std::to_string(operation.b);
  }
  return text;
}

std::string RunSequence(uint64_t seed, Tally& tally) {
  const std::vector<Operation> sequence = SequenceOf(seed);
  Machine machine;
  const std::string wrong = machine.Run(sequence);
  tally["operations"] += sequence.size();
  tally["samples accounted"] += machine.account().sent();
  tally["samples acknowledged"] += machine.account().Count(Account::Fate::kAcknowledged);
  tally["samples answered 503"] += machine.account().Count(Account::Fate::kFailed);
  tally["of them may be there"] += machine.account().Count(Account::Fate::kMayReturn);
  if (wrong.empty()) return wrong;
  return wrong + "; the shortest sequence that fails:" + Print(Shrink(sequence));
}

TEST_CASE("random operations: whatever happens in whatever order, the account is exact") {
  CHECK(RunSeeds("random operations", kSequences, RunSequence) == 0);
}

}  // namespace
}  // namespace forebay::testing
