// What every receiver over HTTP stands on: the log, the ledger, a server and a client, over a file
// system in memory. A node of one protocol opens the log and serves its handler.
#pragma once

#include <atomic>
#include <catch2/catch.hpp>
#include <initializer_list>
#include <memory>
#include <string>

#include "http/client.h"
#include "http/server.h"
#include "io/memory_file_system.h"
#include "receive/remote_write_replay.h"
#include "wal/wal.h"

namespace forebay::testing {

// Passes on to a real log, and fails on command.
class FailingWal final : public wal::Wal {
 public:
  explicit FailingWal(wal::Wal& wal) : wal_(wal) {}
  Result<wal::GenerationLease> Enter() override {
    if (enter_fails) return Error(ErrorCode::kUnavailable, "disk above storage.max_disk");
    return wal_.Enter();
  }
  Result<wal::GenerationLease> EnterForPeer() override { return Enter(); }
  void Hold(std::string reason) override { wal_.Hold(std::move(reason)); }
  void Commit(const wal::GenerationLease& lease, wal::PendingRecord* record) override {
    if (commit_held) {
      held = record;
      return;
    }
    if (!commit_fails) return wal_.Commit(lease, record);
    record->status = Error(ErrorCode::kNoSpace, "journal: no space left");
    record->done(record);
  }
  Status Flush(MonotonicTime deadline) override { return wal_.Flush(deadline); }
  Status Stop(MonotonicTime deadline) override { return wal_.Stop(deadline); }
  wal::WalStats stats() const override { return wal_.stats(); }

  std::atomic<bool> enter_fails{false};
  std::atomic<bool> commit_fails{false};
  // The next record goes nowhere until the test calls its done.
  std::atomic<bool> commit_held{false};
  std::atomic<wal::PendingRecord*> held{nullptr};

 private:
  wal::Wal& wal_;
};

class ReceivingNode {
 public:
  ReceivingNode(io::FileSystem& file_system, config::Config configuration)
      : config(std::move(configuration)), fs(file_system) {
    config.databases = {{.name = "Metrics", .relabel_configs = {}, .lift_labels = {}, .sinks = {}}};
    config.storage.dir = "data";
    config.storage.reserve = {0};
    store = std::make_unique<wal::SegmentStore>(fs, clock, "data/segments");
    state =
        Must(receive::RemoteWriteState::Create(config, series, tables, registry, &store->rows()));
    remote_write_replay = std::make_unique<receive::RemoteWriteReplay>(*state);
    quarantine = std::make_unique<wal::Quarantine>(fs, "data/quarantine");
    REQUIRE(quarantine->Open().ok());
    ledger = std::make_unique<wal::RequestLedger>(
        fs, clock,
        wal::RequestLedger::Options{"data/ledger", config.idempotency.window,
                                    config.idempotency.max_entries});
    REQUIRE(ledger->Load().ok());
    client = Must(http::Client::Create({}));
  }
  ReceivingNode(const ReceivingNode&) = delete;
  ReceivingNode& operator=(const ReceivingNode&) = delete;

  template <typename T>
  static T Must(Result<T> result) {
    if (!result.ok()) FAIL(result.error().ToString());
    return std::move(*result);
  }
  MonotonicTime Soon() const { return clock.Monotonic() + std::chrono::seconds(20); }

  http::ClientResponse Send(const std::string& path, const std::string& body,
                            http::HeaderList headers) {
    http::ClientRequest request;
    request.method = "POST";
    request.url = "http://127.0.0.1:" + std::to_string(server->port()) + path;
    request.headers = std::move(headers);
    request.body = body;
    return Must(client->Do(request));
  }

  // Once all requests are answered both sides of the account are equal.
  wal::RowCounts Rows() {
    const wal::RowCounts rows = store->rows().Snapshot()["Metrics"];
    CHECK(rows.in() == rows.out());
    return rows;
  }
  uint64_t StoredRows() {
    REQUIRE(wal->Flush(Soon()).ok());
    return store->Totals().rows;
  }
  bool Exposes(const std::string& line) const {
    return ("\n" + registry.Expose()).find("\n" + line + "\n") != std::string::npos;
  }

  bool disk_is_gone = false;
  config::Config config;
  io::FileSystem& fs;
  SystemClock clock;
  metrics::Registry registry;
  table::SeriesTable series{{.hash_seed = 3}};
  table::TableRegistry tables{1000};
  std::unique_ptr<wal::SegmentStore> store;
  std::unique_ptr<receive::RemoteWriteState> state;
  std::unique_ptr<receive::RemoteWriteReplay> remote_write_replay;
  std::unique_ptr<wal::Quarantine> quarantine;
  std::unique_ptr<wal::RequestLedger> ledger;
  std::unique_ptr<wal::Wal> real_wal;
  std::unique_ptr<FailingWal> wal;
  std::unique_ptr<http::Server> server;
  std::unique_ptr<http::Client> client;

 protected:
  ~ReceivingNode() = default;

  void OpenWal(wal::ReplayHandler& replay) {
    wal::WalOptions options;
    options.storage = config.storage;
    options.limits = config.limits;
    options.shards = 2;
    options.durability = config.durability;
    real_wal = Must(wal::Wal::Open(options, fs, clock, series, tables, *store, *quarantine, replay,
                                   {ledger.get()}));
    wal = std::make_unique<FailingWal>(*real_wal);
  }
  void Serve(std::initializer_list<const char*> paths, http::Handler& handler) {
    http::ServerOptions options;
    options.limits = config.http;
    options.limits.io_threads = 2;
    server = Must(http::Server::Create(options));
    for (const char* path : paths) server->Route("POST", path, &handler);
    REQUIRE(server->Start().ok());
  }
  // For the destructor, while the handler is there.
  template <typename Handler>
  void Stop(Handler& handler) {
    (void)server->Stop(Soon());
    handler.Stop();
    // A disk that is gone does not come back.
    (void)real_wal->Stop(disk_is_gone ? clock.Monotonic() : Soon());
  }
};

}  // namespace forebay::testing
