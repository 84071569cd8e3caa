// A receiving node's parts over a file system in memory, and segments to send to it.
#pragma once

#include <catch2/catch.hpp>

#include "support/segments.h"
#include "support/wal_harness.h"
#include "transfer/client.h"
#include "transfer/intake.h"
#include "transfer/service.h"

namespace forebay::testing {

// A log whose commits can be held back or made to fail.
class HeldWal final : public wal::Wal {
 public:
  explicit HeldWal(wal::Wal& wal) : wal_(wal) {}
  Result<wal::GenerationLease> Enter() override {
    if (full) return Error(ErrorCode::kUnavailable, "the storage is full");
    return wal_.Enter();
  }
  Result<wal::GenerationLease> EnterForPeer() override {
    if (full) return Error(ErrorCode::kUnavailable, "the storage is full");
    return wal_.EnterForPeer();
  }
  void Hold(std::string reason) override { wal_.Hold(std::move(reason)); }
  void Commit(const wal::GenerationLease& lease, wal::PendingRecord* record) override {
    if (fail) {
      record->status = Error(ErrorCode::kNoSpace, "journal: no space left");
      return record->done(record);
    }
    if (hold) {
      held_lease = &lease;
      held = record;
      return;
    }
    wal_.Commit(lease, record);
  }
  Status Flush(MonotonicTime deadline) override { return wal_.Flush(deadline); }
  Status Stop(MonotonicTime deadline) override { return wal_.Stop(deadline); }
  wal::WalStats stats() const override { return wal_.stats(); }
  void LetGo() {
    hold = false;
    wal_.Commit(*held_lease, held.exchange(nullptr));
  }

  std::atomic<bool> full{false};
  std::atomic<bool> fail{false};
  std::atomic<bool> hold{false};
  std::atomic<wal::PendingRecord*> held{nullptr};
  const wal::GenerationLease* held_lease = nullptr;

 private:
  wal::Wal& wal_;
};

inline transfer::Intake::Options IntakeOptions(uint64_t max_in_flight) {
  transfer::Intake::Options options;
  options.max_in_flight = ByteCount{max_in_flight};
  options.databases = {"Metrics"};
  return options;
}

// The node that receives.
class Receiver {
 public:
  explicit Receiver(io::FileSystem& fs, uint64_t max_in_flight = 64 << 20)
      : harness(fs, Options()) {
    harness.set_ledger_window(std::chrono::hours(1));
    REQUIRE(harness.Open().ok());
    wal = std::make_unique<HeldWal>(harness.wal());
    intake = std::make_unique<transfer::Intake>(
        IntakeOptions(max_in_flight),
        transfer::Intake::Parts{clock, *wal, harness.peer_ledger(), harness.store(), registry});
  }
  void Serve(config::TransferTls tls = {}, std::string member = "node-0",
             std::chrono::milliseconds room_wait = std::chrono::milliseconds(2000)) {
    server = *transfer::TransferServer::Create(
        {"127.0.0.1:0", std::move(tls), std::move(member), "test", room_wait}, *intake);
    REQUIRE(server->Start().ok());
  }
  transfer::Peer peer() const { return {"node-0", "127.0.0.1:" + std::to_string(server->port())}; }
  ValueCounts Values() {
    REQUIRE(harness.Flush().ok());
    return harness.StoredValues();
  }
  static wal::WalOptions Options() {
    wal::WalOptions options;
    options.generation.max_age = std::chrono::hours(1);
    return options;
  }

  SystemClock clock;
  metrics::Registry registry;
  WalHarness harness;
  std::unique_ptr<HeldWal> wal;
  std::unique_ptr<transfer::Intake> intake;
  std::unique_ptr<transfer::TransferServer> server;
};

// The node that sends.
class Sender {
 public:
  explicit Sender(config::TransferTls tls = {}, const std::string& member = "node-1") {
    auto made = transfer::MakePeerClient({member, "test", std::move(tls)}, fs);
    REQUIRE(made.ok());
    client = std::move(*made);
  }
  // `series` series of two samples each, values from `first` on. rows_of_text: some text too.
  transfer::OutgoingSegment Make(const std::string& table, uint64_t id, uint64_t first,
                                 int64_t series = 5, int labels = 1) {
    std::vector<TestSeries> all;
    for (int64_t i = 0; i < series; ++i) {
      const auto value = static_cast<double>(first) + static_cast<double>(2 * i);
      all.push_back({i, "h" + std::to_string(i), {1000 + i, 2000 + i}, {value, value + 1}, labels});
    }
    transfer::OutgoingSegment segment;
    segment.file_name = maker.Write(table, id, all, "", 2);
    segment.path = "sent/" + segment.file_name;
    segment.bytes = (*io::ReadFile(fs, segment.path, 1ULL << 30)).size();
    segment.rows = static_cast<uint64_t>(2 * series);
    segment.min_timestamp = 1000;
    segment.max_timestamp = 2000 + series;
    return segment;
  }
  static MonotonicTime Soon() {
    return std::chrono::steady_clock::now() + std::chrono::seconds(30);
  }

  io::MemoryFileSystem fs;
  SegmentMaker maker{fs, "sent"};
  std::unique_ptr<transfer::PeerClient> client;
};

inline ValueCounts Doubles(uint64_t first, uint64_t count) {
  ValueCounts values;
  for (uint64_t i = 0; i < count; ++i) {
    values[std::bit_cast<uint64_t>(static_cast<double>(first + i))] = 1;
  }
  return values;
}

}  // namespace forebay::testing
