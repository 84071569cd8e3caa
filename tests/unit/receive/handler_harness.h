// Receiver, write-ahead log and HTTP server over a file system in memory, for tests of the handler.
#pragma once

#include <snappy.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "http/client.h"
#include "http/server.h"
#include "io/memory_file_system.h"
#include "receive/remote_write_handler.h"
#include "receive/remote_write_replay.h"
#include "request_builder.h"
#include "wal/wal.h"

namespace forebay::testing {

using receive::RemoteWriteHandler;
using receive::RemoteWriteReplay;
using receive::RemoteWriteState;

inline constexpr const char* kV2Type =
    "application/x-protobuf;proto=io.prometheus.write.v2.Request";

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

// Receiver, log and server over a file system in memory.
class HandlerNode {
 public:
  explicit HandlerNode(io::FileSystem& file_system, config::Config configuration = {})
      : config(std::move(configuration)), fs(file_system) {
    config.databases = {{.name = "Metrics", .relabel_configs = {}, .lift_labels = {}, .sinks = {}}};
    config.storage.dir = "data";
    config.storage.reserve = {0};
    store = std::make_unique<wal::SegmentStore>(fs, clock, "data/segments");
    state = Must(RemoteWriteState::Create(config, series, tables, registry, &store->rows()));
    replay = std::make_unique<RemoteWriteReplay>(*state);
    quarantine = std::make_unique<wal::Quarantine>(fs, "data/quarantine");
    REQUIRE(quarantine->Open().ok());
    wal::WalOptions options;
    options.storage = config.storage;
    options.limits = config.limits;
    options.shards = 2;
    options.durability = config.durability;
    ledger = std::make_unique<wal::RequestLedger>(
        fs, clock,
        wal::RequestLedger::Options{"data/ledger", config.idempotency.window,
                                    config.idempotency.max_entries});
    REQUIRE(ledger->Load().ok());
    real_wal = Must(wal::Wal::Open(options, fs, clock, series, tables, *store, *quarantine, *replay,
                                   {ledger.get()}));
    wal = std::make_unique<FailingWal>(*real_wal);
    RemoteWriteHandler::Options handler_options;
    handler_options.max_body = config.http.max_body;
    handler_options.in_flight_bodies = config.limits.in_flight_bodies;
    handler_options.io_threads = 2;
    handler_options.ledger = ledger.get();
    handler = std::make_unique<RemoteWriteHandler>(handler_options, *state, *wal, clock);
    http::ServerOptions server_options;
    server_options.limits = config.http;
    server_options.limits.io_threads = 2;
    server = Must(http::Server::Create(server_options));
    server->Route("POST", "/api/v1/write", handler.get());
    REQUIRE(server->Start().ok());
    client = Must(http::Client::Create({}));
  }
  ~HandlerNode() {
    (void)server->Stop(Soon());
    handler->Stop();
    // A disk that is gone does not come back.
    (void)real_wal->Stop(disk_is_gone ? clock.Monotonic() : Soon());
  }

  template <typename T>
  static T Must(Result<T> result) {
    if (!result.ok()) FAIL(result.error().ToString());
    return std::move(*result);
  }
  MonotonicTime Soon() const { return clock.Monotonic() + std::chrono::seconds(20); }

  http::ClientResponse Send(const std::string& body, http::HeaderList headers) {
    http::ClientRequest request;
    request.method = "POST";
    request.url = "http://127.0.0.1:" + std::to_string(server->port()) + "/api/v1/write";
    request.headers = std::move(headers);
    request.body = body;
    return Must(client->Do(request));
  }
  static std::string Compress(const std::string& message) {
    std::string body;
    snappy::Compress(message.data(), message.size(), &body);
    return body;
  }
  http::ClientResponse Send1(const std::string& message) {
    return Send(Compress(message), {{"Content-Type", "application/x-protobuf"}});
  }
  http::ClientResponse Send2(const std::string& message) {
    return Send(Compress(message), {{"Content-Type", kV2Type}, {"Content-Encoding", "snappy"}});
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
  std::unique_ptr<RemoteWriteState> state;
  std::unique_ptr<RemoteWriteReplay> replay;
  std::unique_ptr<wal::Quarantine> quarantine;
  std::unique_ptr<wal::RequestLedger> ledger;
  std::unique_ptr<wal::Wal> real_wal;
  std::unique_ptr<FailingWal> wal;
  std::unique_ptr<RemoteWriteHandler> handler;
  std::unique_ptr<http::Server> server;
  std::unique_ptr<http::Client> client;
};

inline std::string Written(const http::ClientResponse& response) {
  std::string counts;
  for (const char* kind : {"Samples", "Histograms", "Exemplars"}) {
    const auto value =
        response.Header("X-Prometheus-Remote-Write-" + std::string(kind) + "-Written");
    if (value) counts += (counts.empty() ? "" : " ") + std::string(*value);
  }
  return counts;
}

}  // namespace forebay::testing
