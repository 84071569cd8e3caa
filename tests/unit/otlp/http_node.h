// OTLP over HTTP, the log and a server over a file system in memory, for tests of the handler.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "http/client.h"
#include "http/server.h"
#include "io/memory_file_system.h"
#include "otlp/http_handler.h"
#include "otlp/replay.h"
#include "otlp_builder.h"
#include "unit/receive/handler_harness.h"

namespace forebay::testing {

class OtlpNode {
 public:
  explicit OtlpNode(io::FileSystem& file_system, config::Config configuration = {})
      : config(std::move(configuration)), fs(file_system) {
    config.databases = {{.name = "Metrics", .relabel_configs = {}, .lift_labels = {}, .sinks = {}}};
    store = std::make_unique<wal::SegmentStore>(fs, clock, "data/segments");
    state =
        Must(receive::RemoteWriteState::Create(config, series, tables, registry, &store->rows()));
    others = std::make_unique<receive::RemoteWriteReplay>(*state);
    replay = std::make_unique<otlp::OtlpReplay>(*state, *others);
    quarantine = std::make_unique<wal::Quarantine>(fs, "data/quarantine");
    REQUIRE(quarantine->Open().ok());
    ledger = std::make_unique<wal::RequestLedger>(
        fs, clock,
        wal::RequestLedger::Options{"data/ledger", config.idempotency.window,
                                    config.idempotency.max_entries});
    REQUIRE(ledger->Load().ok());
    wal::WalOptions options;
    options.storage = config.storage;
    options.storage.dir = "data";
    options.limits = config.limits;
    options.shards = 2;
    real_wal = Must(wal::Wal::Open(options, fs, clock, series, tables, *store, *quarantine, *replay,
                                   {ledger.get()}));
    wal = std::make_unique<FailingWal>(*real_wal);
    otlp_metrics = std::make_unique<otlp::OtlpMetrics>(registry);
    otlp::Ingest::Options ingest_options;
    ingest_options.in_flight_bodies = config.limits.in_flight_bodies;
    ingest_options.ledger = ledger.get();
    ingest = std::make_unique<otlp::Ingest>(ingest_options, *state, *wal, clock, *otlp_metrics);
    handler = std::make_unique<otlp::HttpHandler>(
        otlp::HttpHandler::Options{config.http.max_body, 2}, *ingest);
    http::ServerOptions server_options;
    server_options.limits = config.http;
    server_options.limits.io_threads = 2;
    server = Must(http::Server::Create(server_options));
    for (const char* path : {otlp::kMetricsPath, otlp::kLogsPath, otlp::kTracesPath}) {
      server->Route("POST", path, handler.get());
    }
    REQUIRE(server->Start().ok());
    client = Must(http::Client::Create({}));
  }
  ~OtlpNode() {
    (void)server->Stop(Soon());
    handler->Stop();
    (void)real_wal->Stop(disk_is_gone ? clock.Monotonic() : Soon());
  }

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
  http::ClientResponse Logs(const std::string& body, http::HeaderList more = {}) {
    more.emplace_back("Content-Type", "application/x-protobuf");
    return Send(otlp::kLogsPath, body, std::move(more));
  }
  http::ClientResponse Json(const std::string& path, const std::string& body) {
    return Send(path, body, {{"Content-Type", "application/json; charset=utf-8"}});
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
  std::unique_ptr<receive::RemoteWriteReplay> others;
  std::unique_ptr<otlp::OtlpReplay> replay;
  std::unique_ptr<wal::Quarantine> quarantine;
  std::unique_ptr<wal::RequestLedger> ledger;
  std::unique_ptr<wal::Wal> real_wal;
  std::unique_ptr<FailingWal> wal;
  std::unique_ptr<otlp::OtlpMetrics> otlp_metrics;
  std::unique_ptr<otlp::Ingest> ingest;
  std::unique_ptr<otlp::HttpHandler> handler;
  std::unique_ptr<http::Server> server;
  std::unique_ptr<http::Client> client;
};

}  // namespace forebay::testing
