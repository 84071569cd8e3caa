// Syncs fail: once or twice, for ever, of directories only; with the data lost, and with the data
// written all the same. A failed sync is answered 503 and never 2xx, a new journal takes over, and
// what was answered 503 is never delivered unless the sender repeats it: not while the process goes
// on, not after it was killed, and not after a power cut at any moment between two requests, also
// right behind the failed one. A start on a good disk delivers all that was acknowledged, once.
//
// The one exception: between a failed commit and the next journal that can be begun nothing durable
// says that it failed. When the power goes in that time, the requests whose commit was under way
// may come back; also when the process is killed in that time and could not cut the file. That is
// one commit: without a journal nothing is let in. It takes a disk that fails for the commit and
// for the new journal too, and ends with the first journal after it.
#include <catch2/catch.hpp>
#include <cerrno>
#include <random>

#include "model/node.h"
#include "model/seeds.h"

namespace forebay::testing {
namespace {

constexpr uint64_t kSeeds = 1200;
constexpr int kRequests = 12;
constexpr size_t kSamples = 5;  // of a request

class FailedSync {
 public:
  explicit FailedSync(uint64_t seed) : seed_(seed), random_(seed) {
    fault_.operation =
        seed % 3 == 0 ? io::FileOperation::kSyncDirectory : io::FileOperation::kSyncData;
    fault_.first = 1 + random_() % 12;
    fault_.count = seed % 2 == 0 ? io::Fault::kForever : 1 + random_() % 2;
    fault_.takes_effect = random_() % 2 == 0;
    fault_.error = ErrnoError(random_() % 2 == 0 ? EIO : EINTR, "injected");
    seals_ = random_() % 2 == 0;
    cuts_ = random_() % 2 == 0;
  }

  std::string Go(Tally& tally) {
    node_ = std::make_unique<Node>(*disk_);
    const Status opened = node_->Open();
    if (!opened.ok()) return opened.error().ToString();
    disk_->AddFault(fault_);
    KeepJournals();
    // Half of the seeds end at once, behind one of the requests; the disk as it is then.
    const uint64_t last = random_() % 2 == 0 ? kRequests : 1 + random_() % kRequests;
    const bool at_once = last < kRequests;
    for (uint64_t i = 1; i <= last; ++i) {
      Write();
      if (at_once && i == last) break;
      if (random_() % 4 == 0) (void)node_->Flush(std::chrono::milliseconds(30));
      if (random_() % 4 == 0) node_->Work();
      if (random_() % 3 == 0) node_->clock().Skip(std::chrono::milliseconds(1100));
    }
    if (fault_.count == 1 && account_.Count(Account::Fate::kUndecided) != 0) {
      return "one sync fails, and no journal says what failed";
    }
    const bool forever = fault_.count == io::Fault::kForever;
    // Of two syncs for ever one is the journal's: nothing is acknowledged behind it.
    if (!at_once && forever && fault_.operation == io::FileOperation::kSyncData &&
        failed_.empty()) {
      return "syncs fail for ever and nobody was told";
    }
    const std::string wrong = at_once || forever ? Restart(tally) : GoOn(tally);
    tally["samples answered 503"] += failed_.size() * kSamples;
    tally["samples acknowledged"] += account_.Count(Account::Fate::kAcknowledged);
    return wrong;
  }

 private:
  // A failed journal is still there when the node starts again, with all that reached it.
  void KeepJournals() {
    io::Fault fault;
    fault.count = io::Fault::kForever;
    fault.operation = io::FileOperation::kOpen;
    fault.path_contains = "segments/";
    if (!seals_) disk_->AddFault(fault);
    fault.operation = io::FileOperation::kTruncate;
    fault.path_contains = "journal/";
    if (!cuts_) disk_->AddFault(fault);
  }

  bool Write() {
    const auto request = RequestOf(account_.Send(kSamples), kSamples, 4);
    const bool stored = SendAll(*node_, account_, {request}).front().ok();
    if (!stored) failed_.push_back(request);
    return stored;
  }

  // The disk is mended; the same process serves on.
  std::string GoOn(Tally& tally) {
    const bool restarts = random_() % 2 == 0;
    disk_->ClearFaults();
    if (restarts) KeepJournals();
    if (!node_->Serves()) return "no service after the fault";
    if (!Write()) return "a request fails after the fault";
    if (!node_->Decides()) return "the disk is mended and no journal says what failed";
    if (restarts) return Restart(tally);
    std::string wrong = Verify("served on");
    return wrong.empty() ? Repeat() : wrong;
  }

  // The power goes, or the process is killed and the kernel keeps what it has seen.
  std::string Restart(Tally& tally) {
    std::optional<io::CrashOptions> crash;
    if (random_() % 4 != 0) {
      crash.emplace();
      crash->seed = seed_;
      crash->keep_probability = static_cast<double>(random_() % 3) / 2;
    }
    disk_ = PowerCut(*disk_, node_, crash, &account_);
    if (!cuts_) account_.Cut();
    const uint64_t may_return = account_.Count(Account::Fate::kMayReturn);
    if (may_return > kSamples) return "more may come back than one commit";
    if (may_return != 0) ++tally["cuts before a journal could say what failed"];
    if (may_return == 0 && !failed_.empty()) ++tally["restarts behind decided failures"];
    node_ = std::make_unique<Node>(*disk_);
    const Status opened = node_->Open();
    if (!opened.ok()) return "no start on a good disk: " + opened.error().ToString();
    std::string wrong = Verify("started again");
    return wrong.empty() ? Repeat() : wrong;
  }

  std::string Repeat() {
    for (const WalHarness::Request& request : failed_) {
      const Status status = SendAll(*node_, account_, {request}).front();
      if (!status.ok()) return "a repeated request is not stored: " + status.error().ToString();
    }
    return Verify("repeated");
  }

  std::string Verify(const char* when) { return Settle(*node_, *disk_, account_, when); }

  const uint64_t seed_;
  bool seals_ = true;  // segments can be written
  bool cuts_ = true;   // journals can be cut
  std::mt19937_64 random_;
  io::Fault fault_;
  std::unique_ptr<io::MemoryFileSystem> disk_ = std::make_unique<io::MemoryFileSystem>();
  std::unique_ptr<Node> node_;
  Account account_;
  std::vector<WalHarness::Request> failed_;
};

TEST_CASE("failed sync: no false answer, a new journal, and nothing comes back unasked") {
  CHECK(RunSeeds("failed sync", kSeeds,
                 [](uint64_t seed, Tally& tally) { return FailedSync(seed).Go(tally); }) == 0);
}

}  // namespace
}  // namespace forebay::testing
