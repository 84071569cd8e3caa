// A node's receiving half over a directory of its own: decoder, log with its threads, server. What
// it is sent are requests of `forebay load`.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "bench/pipeline.h"
#include "http/server.h"
#include "receive/remote_write_handler.h"
#include "receive/remote_write_replay.h"
#include "wal/wal.h"

namespace forebay::testing {

class SteadyNode {
 public:
  SteadyNode() {
    config = bench::PipelineConfig();
    config.storage.dir = directory.path();
    config.storage.reserve = {0};
    store = std::make_unique<wal::SegmentStore>(fs, clock, directory.path() + "/segments");
    quarantine = std::make_unique<wal::Quarantine>(fs, directory.path() + "/quarantine");
    REQUIRE(quarantine->Open().ok());
    state = bench::Must(
        receive::RemoteWriteState::Create(config, series, tables, registry, &store->rows()));
    replay = std::make_unique<receive::RemoteWriteReplay>(*state);
    ledger = std::make_unique<wal::RequestLedger>(
        fs, clock,
        wal::RequestLedger::Options{directory.path() + "/ledger", config.idempotency.window,
                                    config.idempotency.max_entries});
    REQUIRE(ledger->Load().ok());
    wal::WalOptions options;
    options.storage = config.storage;
    options.limits = config.limits;
    // The tests say when: nothing else begins a generation.
    options.generation.max_age = std::chrono::hours(1);
    log = bench::Must(wal::Wal::Open(options, fs, clock, series, tables, *store, *quarantine,
                                     *replay, {ledger.get()}));
  }
  ~SteadyNode() {
    if (server != nullptr) {
      (void)server->Stop(Soon());
      handler->Stop();
    }
    (void)log->Stop(Soon());
  }
  SteadyNode(const SteadyNode&) = delete;
  SteadyNode& operator=(const SteadyNode&) = delete;

  // Serves remote write; returns the port. used_ledger: null: requests are not remembered.
  uint16_t Serve(wal::RequestLedger* used_ledger) {
    receive::RemoteWriteHandler::Options options;
    options.max_body = config.http.max_body;
    options.in_flight_bodies = config.limits.in_flight_bodies;
    options.io_threads = 1;
    options.ledger = used_ledger;
    handler = std::make_unique<receive::RemoteWriteHandler>(options, *state, *log, clock);
    http::ServerOptions server_options;
    server_options.limits = config.http;
    server_options.limits.io_threads = 1;
    server = bench::Must(http::Server::Create(server_options));
    server->Route("POST", "/api/v1/write", handler.get());
    REQUIRE(server->Start().ok());
    return server->port();
  }
  MonotonicTime Soon() const { return clock.Monotonic() + std::chrono::seconds(20); }
  // Everything goes to segments; the next request is the first of a new generation.
  void SealAll() { REQUIRE(log->Flush(Soon()).ok()); }

  bench::ScratchDirectory directory;
  config::Config config;
  io::PosixFileSystem fs;
  SystemClock clock;
  metrics::Registry registry;
  table::SeriesTable series{{.hash_seed = 3}};
  table::TableRegistry tables{1000};
  std::unique_ptr<wal::SegmentStore> store;
  std::unique_ptr<wal::Quarantine> quarantine;
  std::unique_ptr<receive::RemoteWriteState> state;
  std::unique_ptr<receive::RemoteWriteReplay> replay;
  std::unique_ptr<wal::RequestLedger> ledger;
  std::unique_ptr<wal::Wal> log;
  std::unique_ptr<receive::RemoteWriteHandler> handler;
  std::unique_ptr<http::Server> server;
};

}  // namespace forebay::testing
