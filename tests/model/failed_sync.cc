// Syncs fail: once, for ever, of directories only; with the data lost, and with the data written
// all the same. A failed sync is answered 503 and never 2xx, a new journal takes over, what was
// answered 503 is delivered only when the sender repeats it; while syncs fail for ever the node
// refuses and lives on, and a start on a good disk delivers all that was acknowledged.
#include <catch2/catch.hpp>
#include <cerrno>
#include <random>

#include "model/node.h"
#include "model/seeds.h"

namespace forebay::testing {
namespace {

constexpr uint64_t kSeeds = 600;
constexpr int kRequests = 12;

class FailedSync {
 public:
  explicit FailedSync(uint64_t seed) : seed_(seed), random_(seed) {
    fault_.operation =
        seed % 3 == 0 ? io::FileOperation::kSyncDirectory : io::FileOperation::kSyncData;
    fault_.first = 1 + random_() % 12;
    fault_.count = seed % 2 == 0 ? io::Fault::kForever : 1 + random_() % 2;
    fault_.takes_effect = random_() % 2 == 0;
    fault_.error = ErrnoError(random_() % 2 == 0 ? EIO : EINTR, "injected");
  }

  std::string Go(Tally& tally) {
    node_ = std::make_unique<Node>(*disk_);
    const Status opened = node_->Open();
    if (!opened.ok()) return opened.error().ToString();
    disk_->AddFault(fault_);
    for (int i = 0; i < kRequests; ++i) {
      Write();
      if (random_() % 4 == 0) (void)node_->Flush(std::chrono::milliseconds(30));
      if (random_() % 4 == 0) node_->Work();
      if (random_() % 3 == 0) node_->clock().Skip(std::chrono::milliseconds(1100));
    }
    const uint64_t refused = account_.Count(Account::Fate::kFailed);
    tally["samples answered 503"] += refused;
    tally["samples acknowledged"] += account_.Count(Account::Fate::kAcknowledged);
    const bool forever = fault_.count == io::Fault::kForever;
    // Of two syncs for ever one is the journal's: nothing is acknowledged behind it.
    if (forever && fault_.operation == io::FileOperation::kSyncData && refused == 0) {
      return "syncs fail for ever and nobody was told";
    }
    return forever ? Restart() : GoOn();
  }

 private:
  void Write() {
    const auto request = RequestOf(account_.Send(5), 5, 4);
    const bool stored = node_->log().WriteOnce(std::vector{request}).front().ok();
    account_.Answer(request, stored);
    if (!stored) failed_.push_back(request);
  }

  // The disk is mended; the same process serves on.
  std::string GoOn() {
    disk_->ClearFaults();
    if (!node_->Serves()) return "no service after the fault";
    // A new journal stands, and what it says of the failed one is durable: the power may go.
    const size_t before = failed_.size();
    Write();
    if (failed_.size() != before) return "a request fails after the fault";
    if (random_() % 2 == 0) return Restart();
    std::string wrong = Verify("served on");
    return wrong.empty() ? Repeat() : wrong;
  }

  std::string Restart() {
    io::CrashOptions crash;
    crash.seed = seed_;
    crash.keep_probability = static_cast<double>(random_() % 3) / 2;
    disk_ = PowerCut(*disk_, node_, crash);
    restarted_ = true;
    node_ = std::make_unique<Node>(*disk_);
    const Status opened = node_->Open();
    if (!opened.ok()) return "no start on a good disk: " + opened.error().ToString();
    std::string wrong = Verify("started again");
    return wrong.empty() ? Repeat() : wrong;
  }

  std::string Repeat() {
    for (const WalHarness::Request& request : failed_) {
      const Status status = node_->log().WriteOnce(std::vector{request}).front();
      if (!status.ok()) return "a repeated request is not stored: " + status.error().ToString();
      account_.Answer(request, true);
    }
    return Verify("repeated");
  }

  std::string Verify(const char* when) {
    const Status drained = node_->Drain();
    if (!drained.ok()) return std::string(when) + ": " + drained.error().ToString();
    const auto delivered = Delivered(*disk_);
    if (!delivered.ok()) return std::string(when) + ": " + delivered.error().ToString();
    CheckOptions options;
    // When no journal could be begun any more, nothing could say that the last one had failed.
    options.failed_may_be_there = fault_.count == io::Fault::kForever || restarted_;
    const std::string wrong = CheckAccount(account_.Fates(), *delivered, options);
    return wrong.empty() ? wrong : std::string(when) + ": " + wrong;
  }

  const uint64_t seed_;
  std::mt19937_64 random_;
  io::Fault fault_;
  std::unique_ptr<io::MemoryFileSystem> disk_ = std::make_unique<io::MemoryFileSystem>();
  std::unique_ptr<Node> node_;
  Account account_;
  std::vector<WalHarness::Request> failed_;
  bool restarted_ = false;
};

TEST_CASE("failed sync: no false answer, a new journal, and nothing comes back unasked") {
  CHECK(RunSeeds("failed sync", kSeeds,
                 [](uint64_t seed, Tally& tally) { return FailedSync(seed).Go(tally); }) == 0);
}

}  // namespace
}  // namespace forebay::testing
