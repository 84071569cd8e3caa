// Batches given to peers, each seen to its end, with a peer that answers as the test says.
#include "transfer/pool.h"

#include <catch2/catch.hpp>
#include <functional>
#include <set>

#include "support/segments.h"

namespace forebay::transfer {
namespace {

using testing::SegmentMaker;

cluster::MemberSet Set(std::vector<cluster::Member> members) {
  return cluster::MemberSet(std::move(members));
}

class ScriptedPeer final : public PeerClient {
 public:
  using Script = std::function<CallResult(std::span<const OutgoingSegment>)>;

  CallResult Send(const Peer& peer, std::span<const OutgoingSegment> segments,
                  MonotonicTime) override {
    calls.push_back("send " + peer.name + " " + std::to_string(segments.size()));
    return send(segments);
  }
  CallResult Recall(const Peer& peer, std::span<const OutgoingSegment> segments,
                    MonotonicTime) override {
    calls.push_back("recall " + peer.name + " " + std::to_string(segments.size()));
    return recall(segments);
  }
  void Stop() override {}

  static Script Always(Outcome outcome) {
    return [outcome](std::span<const OutgoingSegment> segments) {
      CallResult result;
      result.answers.assign(segments.size(), Answer{outcome, {}, -1, "scripted"});
      return result;
    };
  }
  static Script Each(std::vector<Outcome> outcomes) {
    return [outcomes](std::span<const OutgoingSegment> segments) {
      REQUIRE(segments.size() == outcomes.size());
      CallResult result;
      for (const Outcome outcome : outcomes) result.answers.push_back({outcome, {}, -1, ""});
      return result;
    };
  }
  static Script Broken() {
    return [](std::span<const OutgoingSegment> segments) {
      CallResult result = Always(Outcome::kUnknown)(segments);
      result.failure = Error(ErrorCode::kUnavailable, "the line is cut");
      return result;
    };
  }

  Script send = Always(Outcome::kAccepted);
  Script recall = Always(Outcome::kDuplicate);
  std::vector<std::string> calls;
};

// A node with segments of table T, which its peer owns.
class PoolNode {
 public:
  explicit PoolNode(io::FileSystem& file_system) : fs(file_system) {
    config.unhealthy_for = std::chrono::minutes(1);
    maker.emplace(fs, "data/segments");
  }
  // As at the start of a process.
  void Open() {
    pool.reset();
    store = std::make_unique<wal::SegmentStore>(fs, clock, "data/segments");
    REQUIRE(store->LoadExisting().ok());
    quarantine = std::make_unique<wal::Quarantine>(fs, "data/quarantine");
    manifests = std::make_unique<wal::ManifestStore>(fs, "data/batches", *quarantine);
    const auto loaded = manifests->Load();
    REQUIRE(loaded.ok());
    registry = std::make_unique<metrics::Registry>();
    membership = std::make_unique<cluster::Membership>("node-1", *registry);
    (void)membership->Replace(Set({{"node-0", "0:1"}}));
    pool = std::make_unique<TransferPool>(
        config, PoolParts{clock, *store, *manifests, *membership, peer, *registry});
    for (const auto& manifest : loaded->manifests) {
      wal::Batch batch;
      for (const auto& segment : manifest.segments) {
        auto lease = store->Take(segment.file_name);
        if (lease.ok()) batch.leases.push_back(*std::move(lease));
      }
      batch.manifest = manifest;
      pool->Push(std::move(batch), true);
    }
  }
  // Gives all free segments to the peer in one batch.
  void Push() {
    wal::Batch batch;
    std::vector<std::string> names;
    for (const auto& table : store->Backlog()) {
      for (const auto& info : table.segments) {
        batch.leases.push_back(*store->Take(info->file_name));
        batch.manifest.segments.push_back({info->file_name, info->rows, info->row_bytes});
        names.push_back(info->file_name);
      }
    }
    batch.manifest.id = wal::BatchId(1, names);
    batch.manifest.database = "Metrics";
    batch.manifest.table = "T";
    batch.manifest.created = clock.Now();
    batch.manifest.peer = "node-0";
    REQUIRE(manifests->Save(batch.manifest).ok());
    pool->Push(std::move(batch), false);
  }
  void Write(uint64_t id) { (void)maker->Write("T", id, {{1, "h", {1, 2}, {1, 2}}}); }
  bool Run() { return pool->RunOnce(clock.Monotonic()); }
  // Segments that nobody holds, and those that stay.
  std::string Free() {
    std::string text;
    for (const auto& table : store->Backlog()) {
      for (const auto& info : table.segments) {
        text += std::to_string(info->name.id) + (info->stays ? "s " : " ");
      }
    }
    return text;
  }
  size_t Manifests() { return testing::FilesBelow(fs, "data/batches", ".batch").size(); }
  size_t Files() { return testing::FilesBelow(fs, "data/segments", ".wal").size(); }
  wal::RowCounts Rows() { return store->rows().Snapshot()["Metrics"]; }

  io::FileSystem& fs;
  ManualClock clock{UnixMillis{1'793'500'000'000}};
  config::Transfer config;
  ScriptedPeer peer;
  std::optional<SegmentMaker> maker;
  std::unique_ptr<wal::SegmentStore> store;
  std::unique_ptr<wal::Quarantine> quarantine;
  std::unique_ptr<wal::ManifestStore> manifests;
  std::unique_ptr<metrics::Registry> registry;
  std::unique_ptr<cluster::Membership> membership;
  std::unique_ptr<TransferPool> pool;
};

TEST_CASE("pool: what the peer has is deleted here, with its manifest") {
  io::MemoryFileSystem fs;
  PoolNode node(fs);
  node.Write(1);
  node.Write(2);
  node.Open();
  node.peer.send = ScriptedPeer::Each({Outcome::kAccepted, Outcome::kDuplicate});
  node.Push();
  CHECK(node.Run());
  CHECK_FALSE(node.Run());
  CHECK(node.Files() == 0);
  CHECK(node.Manifests() == 0);
  CHECK(node.Rows().transferred == 4);
  CHECK(node.Rows().in() == node.Rows().out());
}

TEST_CASE("pool: what the peer has no room for is free again, and the peer is left alone") {
  io::MemoryFileSystem fs;
  PoolNode node(fs);
  node.Write(1);
  node.Write(2);
  node.Open();
  CHECK(node.pool->PeerFor("Metrics_T_2cawzsrvl4mw4") == "node-0");
  node.peer.send = [](std::span<const OutgoingSegment> segments) {
    CallResult result;
    result.answers.assign(segments.size(),
                          Answer{Outcome::kRefused, std::chrono::seconds(5), -1, "full"});
    result.answers[0] = {Outcome::kAccepted, {}, -1, ""};
    return result;
  };
  node.Push();
  CHECK(node.Run());
  CHECK(node.Free() == "2 ");
  CHECK(node.Manifests() == 0);
  CHECK_FALSE(node.pool->PeerFor("Metrics_T_2cawzsrvl4mw4").has_value());
  node.clock.Advance(std::chrono::seconds(6));
  CHECK(node.pool->PeerFor("Metrics_T_2cawzsrvl4mw4").has_value());
}

TEST_CASE("pool: what the peer will never take stays with this node") {
  io::MemoryFileSystem fs;
  PoolNode node(fs);
  node.Write(1);
  node.Open();
  node.peer.send = ScriptedPeer::Always(Outcome::kInvalid);
  node.Push();
  CHECK(node.Run());
  CHECK(node.Free() == "1s ");
  CHECK(node.Manifests() == 0);
}

TEST_CASE(
    "pool: what a broken call left open is asked about, also after a restart, and never sent") {
  io::MemoryFileSystem fs;
  PoolNode node(fs);
  node.Write(1);
  node.Write(2);
  node.Write(3);
  node.Open();
  node.peer.send = [](std::span<const OutgoingSegment> segments) {
    CallResult result = ScriptedPeer::Broken()(segments);
    result.answers[2] = {Outcome::kRefused, {}, -1, "not sent"};
    return result;
  };
  node.peer.recall = ScriptedPeer::Broken();
  node.Push();
  CHECK(node.Run());
  CHECK(node.Free() == "3 ");  // never sent
  CHECK(node.Manifests() == 1);
  CHECK_FALSE(node.pool->PeerFor("Metrics_T_2cawzsrvl4mw4").has_value());
  CHECK_FALSE(node.Run());  // not at once
  node.clock.Advance(std::chrono::seconds(1));
  CHECK(node.Run());
  CHECK(node.peer.calls.back() == "recall node-0 2");
  const bool restart = GENERATE(false, true);
  if (restart) {
    node.Open();
    CHECK(node.Free() == "3 ");
  }
  node.peer.recall = ScriptedPeer::Each({Outcome::kDuplicate, Outcome::kRefused});
  node.clock.Advance(std::chrono::seconds(30));
  CHECK(node.Run());
  CHECK(node.peer.calls.back() == "recall node-0 2");
  CHECK(node.Free() == "2s 3 ");
  CHECK(node.Manifests() == 0);
  CHECK(node.Rows().transferred == 2);
  CHECK(node.Rows().in() == node.Rows().out());
}

TEST_CASE("pool: a peer that is gone leaves open what it may have, until the time is over") {
  io::MemoryFileSystem fs;
  PoolNode node(fs);
  node.Write(1);
  node.Write(2);
  node.Open();
  node.peer.send = ScriptedPeer::Broken();
  node.Push();
  CHECK(node.Run());
  (void)node.membership->Replace(Set({{"node-1", "1:1"}}));
  node.clock.Advance(std::chrono::minutes(1));
  CHECK(node.Run());
  CHECK(node.peer.calls.size() == 1);
  CHECK(node.Free().empty());
  CHECK(node.pool->status().open_rows == 4);
  SECTION("and gone for good: uploaded, counted") {
    node.clock.Advance(node.config.doubt_timeout);
    CHECK(node.Run());
    CHECK(node.Free() == "1s 2s ");
    CHECK(node.Manifests() == 0);
    CHECK_THAT(node.registry->Expose(), Catch::Contains("forebay_transfer_gave_up_rows_total 4"));
  }
  SECTION("and back in time") {
    (void)node.membership->Replace(Set({{"node-0", "0:2"}}));
    node.clock.Advance(std::chrono::minutes(1));
    CHECK(node.Run());
    CHECK(node.Files() == 0);
    CHECK(node.pool->status().open_rows == 0);
  }
  SECTION("and back so late that it may have forgotten: only its yes counts") {
    node.peer.recall = ScriptedPeer::Each({Outcome::kRefused, Outcome::kDuplicate});
    (void)node.membership->Replace(Set({{"node-0", "0:2"}}));
    node.clock.Advance(node.config.doubt_timeout);
    CHECK(node.Run());
    CHECK(node.Free() == "1s ");
    CHECK_THAT(node.registry->Expose(), Catch::Contains("forebay_transfer_gave_up_rows_total 2"));
  }
}

TEST_CASE(
    "pool: a crash at any operation is continued, and a segment is either the peer's or ours") {
  for (uint64_t operation = 1;; ++operation) {
    io::MemoryFileSystem fs;
    PoolNode node(fs);
    for (uint64_t id = 1; id <= 3; ++id) node.Write(id);
    node.Open();
    // The peer keeps what it takes; it takes the first and the second.
    std::set<std::string> taken;
    node.peer.send = [&](std::span<const OutgoingSegment> segments) {
      CallResult result;
      for (const auto& segment : segments) {
        const bool takes = segment.file_name.find("_3.wal") == std::string::npos;
        if (takes) taken.insert(segment.file_name);
        result.answers.push_back({takes ? Outcome::kAccepted : Outcome::kRefused, {}, -1, ""});
      }
      return result;
    };
    node.peer.recall = [&](std::span<const OutgoingSegment> segments) {
      CallResult result;
      for (const auto& segment : segments) {
        const bool has = taken.contains(segment.file_name);
        result.answers.push_back({has ? Outcome::kDuplicate : Outcome::kRefused, {}, -1, ""});
      }
      return result;
    };
    node.Push();
    io::Fault power_off;
    power_off.first = operation;
    power_off.count = io::Fault::kForever;
    fs.AddFault(power_off);
    CHECK(node.Run());
    const bool all_done = node.Manifests() == 0 && node.Free() == "3 ";
    fs.ClearFaults();
    fs.Crash(testing::kLoseAll);
    node.Open();
    node.clock.Advance(std::chrono::seconds(10));
    while (node.Run()) {
    }
    CAPTURE(operation);
    CHECK(taken.size() == 2);
    CHECK(node.Files() == 1);
    CHECK(node.Free().substr(0, 1) == "3");
    CHECK(node.Manifests() == 0);
    if (all_done) break;
  }
}

TEST_CASE("pool: a stop leaves what may be sent with its manifest, and frees what was not") {
  io::MemoryFileSystem fs;
  PoolNode node(fs);
  node.Write(1);
  node.Open();
  node.Push();
  node.pool->Stop(node.clock.Monotonic());
  CHECK(node.Manifests() == 0);
  CHECK_FALSE(node.pool->HasRoom());
  CHECK_FALSE(node.pool->PeerFor("Metrics_T_2cawzsrvl4mw4").has_value());
  node.Open();
  CHECK(node.Free() == "1 ");
  node.peer.send = ScriptedPeer::Broken();
  node.Push();
  CHECK(node.Run());
  node.pool->Stop(node.clock.Monotonic());
  CHECK(node.Manifests() == 1);
}

TEST_CASE("pool: a peer that leaves keeps nothing, and others own its tables for a time") {
  io::MemoryFileSystem fs;
  PoolNode node(fs);
  node.Write(1);
  node.Open();
  (void)node.membership->Replace(Set({{"node-0", "0:1"}, {"node-1", "1:1"}, {"node-2", "2:1"}}));
  std::vector<std::string> keys;
  for (int i = 0; i < 60; ++i) keys.push_back("Metrics_T" + std::to_string(i));
  node.peer.send = [](std::span<const OutgoingSegment> segments) {
    CallResult result = ScriptedPeer::Always(Outcome::kRefused)(segments);
    result.leaving = true;
    return result;
  };
  node.Push();
  REQUIRE(node.Run());
  CHECK(node.Free() == "1 ");
  CHECK(node.Manifests() == 0);
  CHECK(node.pool->status().avoided_peers.empty());
  CHECK(node.pool->status().leaving_peers == std::vector<std::string>{"node-0"});
  const cluster::MemberSet rest = Set({{"node-1", "1:1"}, {"node-2", "2:1"}});
  for (const std::string& key : keys) {
    const bool ours = rest.OwnerOf(key)->name == "node-1";
    CHECK(node.pool->PeerFor(key) == (ours ? std::nullopt : std::optional<std::string>("node-2")));
  }
  const auto asked_again = [&] {
    return std::any_of(keys.begin(), keys.end(),
                       [&](const auto& key) { return node.pool->PeerFor(key) == "node-0"; });
  };
  CHECK_FALSE(asked_again());
  node.clock.Advance(std::chrono::seconds(6));
  CHECK(asked_again());
  // It has left for good: others go on owning its tables.
  node.peer.send = [](std::span<const OutgoingSegment> segments) {
    CallResult result = ScriptedPeer::Always(Outcome::kRefused)(segments);
    result.failure = Error(ErrorCode::kUnavailable, "nobody is there");
    return result;
  };
  node.Push();
  REQUIRE(node.Run());
  CHECK(node.pool->status().leaving_peers == std::vector<std::string>{"node-0"});
  node.clock.Advance(node.config.unhealthy_for);
  CHECK(asked_again());
  // It is back: what fails later is a failure like any other.
  node.peer.send = ScriptedPeer::Always(Outcome::kAccepted);
  node.Push();
  REQUIRE(node.Run());
  CHECK(node.Files() == 0);
  REQUIRE(node.pool->status().leaving_peers.empty());
  CHECK(asked_again());
}

TEST_CASE("pool: who drains owns nothing and goes round peers that are not well") {
  io::MemoryFileSystem fs;
  PoolNode node(fs);
  node.Write(1);
  node.Open();
  (void)node.membership->Replace(Set({{"node-0", "0:1"}, {"node-1", "1:1"}, {"node-2", "2:1"}}));
  std::set<std::string> owners;
  const auto peers = [&] {
    owners.clear();
    for (int i = 0; i < 60; ++i) {
      owners.insert(node.pool->PeerFor("Metrics_T" + std::to_string(i)).value_or("nobody"));
    }
    return owners;
  };
  CHECK(peers() == std::set<std::string>{"node-0", "node-2", "nobody"});
  node.pool->SetDraining(true);
  CHECK(peers() == std::set<std::string>{"node-0", "node-2"});
  node.peer.send = ScriptedPeer::Broken();
  node.Push();
  REQUIRE(node.Run());  // node-0 is not well
  CHECK(peers() == std::set<std::string>{"node-2"});
  node.pool->SetDraining(false);
  CHECK(peers() == std::set<std::string>{"node-2", "nobody"});
}

TEST_CASE("pool: tables that this node owns have no peer") {
  io::MemoryFileSystem fs;
  PoolNode node(fs);
  node.Open();
  (void)node.membership->Replace(Set({{"node-0", "0:1"}, {"node-1", "1:1"}}));
  int here = 0;
  int there = 0;
  for (int i = 0; i < 100; ++i) {
    const auto peer = node.pool->PeerFor("Metrics_T" + std::to_string(i) + "_2cawzsrvl4mw4");
    (peer.has_value() ? there : here) += 1;
  }
  CHECK(here > 20);
  CHECK(there > 20);
}

}  // namespace
}  // namespace forebay::transfer
