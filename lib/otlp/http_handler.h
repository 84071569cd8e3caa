// OTLP over HTTP: POST /v1/metrics, /v1/logs and /v1/traces on the ingest port, protobuf and JSON.
// A request's way: Admit() negotiates and reserves the body's bytes; Handle() decodes on the io
// thread and hands the record to the journal; when that is durable the io thread appends the rows
// and answers. Limits: limits.in_flight_bodies (503 above), http.max_body and
// http.max_decoded_body (413), tenants.* (429).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "http/server.h"
#include "otlp/ingest.h"

namespace forebay::otlp {

inline constexpr const char* kMetricsPath = "/v1/metrics";
inline constexpr const char* kLogsPath = "/v1/logs";
inline constexpr const char* kTracesPath = "/v1/traces";

// The format by path and headers. Errors: kInvalidArgument naming the header that is not
// supported. Threads: any.
Result<RequestFormat> Negotiate(const http::RequestHead& head);

// Statuses (docs/otlp.md, Answers): 200 with Export...ServiceResponse, also when records were
// rejected; else google.rpc.Status in the request's encoding with 400, 413, 415, 429, 500 or 503.
class HttpHandler final : public http::Handler {
 public:
  struct Options {
    ByteCount max_body;  // http.max_body
    uint32_t io_threads = 1;
  };

  // ingest outlives the handler; so does the server's last call.
  HttpHandler(const Options& options, Ingest& ingest);
  ~HttpHandler() override;

  std::optional<http::Response> Admit(const http::RequestHead& head) override;
  void Handle(http::Exchange& exchange) override;
  void Abandoned(const http::RequestHead& head) override;
  std::optional<http::Response> Grown(const http::RequestHead& head, uint64_t bytes) override;
  http::Response TooLarge(const http::RequestHead& head, ByteCount limit) override;
  std::optional<ByteCount> body_limit() const override { return options_.max_body; }

  // Stores what was committed but will not be answered, since the server was stopped meanwhile.
  // Call after Server::Stop() and before Wal::Stop(). Idempotent.
  void Stop();

 private:
  struct Request;
  struct IoState;

  Request& TakeRequest(http::Exchange& exchange);
  http::Response Refuse(const RequestFormat& format, const Outcome& outcome);
  void Finish(Request& request, const Outcome& outcome);
  void Release(Request& request);
  static void OnCommitted(IngestRequest* request);
  static void OnResumed(void* argument);
  std::string_view TenantOf(const http::RequestHead& head) const;

  const Options options_;
  Ingest& ingest_;
  std::vector<std::unique_ptr<IoState>> io_;  // by io thread
  // The last request could not enter the log: Admit() asks before the next body is read.
  std::atomic<bool> log_unavailable_{false};
};

}  // namespace forebay::otlp
