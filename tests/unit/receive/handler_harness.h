// A node that receives remote write, for tests of the handler.
#pragma once

#include <snappy.h>

#include <memory>
#include <string>

#include "receive/remote_write_handler.h"
#include "request_builder.h"
#include "unit/receive/receiving_node.h"

namespace forebay::testing {

using receive::RemoteWriteHandler;
using receive::RemoteWriteReplay;
using receive::RemoteWriteState;

inline constexpr const char* kV2Type =
    "application/x-protobuf;proto=io.prometheus.write.v2.Request";

class HandlerNode : public ReceivingNode {
 public:
  explicit HandlerNode(io::FileSystem& file_system, config::Config configuration = {})
      : ReceivingNode(file_system, std::move(configuration)) {
    OpenWal(*remote_write_replay);
    RemoteWriteHandler::Options options;
    options.max_body = config.http.max_body;
    options.in_flight_bodies = config.limits.in_flight_bodies;
    options.io_threads = 2;
    options.ledger = ledger.get();
    handler = std::make_unique<RemoteWriteHandler>(options, *state, *wal, clock);
    Serve({"/api/v1/write"}, *handler);
  }
  ~HandlerNode() { Stop(*handler); }

  http::ClientResponse Send(const std::string& body, http::HeaderList headers) {
    return ReceivingNode::Send("/api/v1/write", body, std::move(headers));
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

  std::unique_ptr<RemoteWriteHandler> handler;
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
