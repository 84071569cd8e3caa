// A node that receives OTLP over HTTP, for tests of the handler.
#pragma once

#include <memory>
#include <string>

#include "otlp/http_handler.h"
#include "otlp/replay.h"
#include "otlp_builder.h"
#include "unit/receive/receiving_node.h"

namespace forebay::testing {

class OtlpNode : public ReceivingNode {
 public:
  explicit OtlpNode(io::FileSystem& file_system, config::Config configuration = {})
      : ReceivingNode(file_system, std::move(configuration)) {
    replay = std::make_unique<otlp::OtlpReplay>(*state, *remote_write_replay);
    OpenWal(*replay);
    otlp_metrics = std::make_unique<otlp::OtlpMetrics>(registry);
    otlp::Ingest::Options options;
    options.in_flight_bodies = config.limits.in_flight_bodies;
    options.ledger = ledger.get();
    ingest = std::make_unique<otlp::Ingest>(options, *state, *wal, clock, *otlp_metrics);
    handler = std::make_unique<otlp::HttpHandler>(
        otlp::HttpHandler::Options{config.http.max_body, 2}, *ingest);
    Serve({otlp::kMetricsPath, otlp::kLogsPath, otlp::kTracesPath}, *handler);
  }
  ~OtlpNode() { Stop(*handler); }

  http::ClientResponse Logs(const std::string& body, http::HeaderList more = {}) {
    more.emplace_back("Content-Type", "application/x-protobuf");
    return Send(otlp::kLogsPath, body, std::move(more));
  }
  http::ClientResponse Json(const std::string& path, const std::string& body) {
    return Send(path, body, {{"Content-Type", "application/json; charset=utf-8"}});
  }

  std::unique_ptr<otlp::OtlpReplay> replay;
  std::unique_ptr<otlp::OtlpMetrics> otlp_metrics;
  std::unique_ptr<otlp::Ingest> ingest;
  std::unique_ptr<otlp::HttpHandler> handler;
};

}  // namespace forebay::testing
