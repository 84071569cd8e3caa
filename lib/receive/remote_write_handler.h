// Serves remote write 1.0 and 2.0: admission before the body, decoding, group commit, the answer.
// Place: routed by the server for every path of remote_write.paths (method POST).
// A request's way: Admit() negotiates and reserves the body's bytes; Handle() enters the open
// generation, decodes on the io thread and hands the record to the journal; when that is durable
// the io thread appends the samples and answers. Limits: limits.in_flight_bodies (503 above),
// http.max_body and http.max_decoded_body (413), tenants.* (429).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/units.h"
#include "http/server.h"
#include "receive/decode_worker.h"
#include "receive/remote_write_state.h"
#include "wal/request_ledger.h"
#include "wal/wal.h"

namespace forebay::receive {

// Statuses (docs/remote-write.md, Answers): 204 all accepted; 400 undecodable, or refused in
// part, then the good part is kept; 413 too large; 415 negotiation; 429 with Retry-After when the
// tenant is above a rate, its body unread; 503 with Retry-After when the
// bytes in flight are spent, the log cannot be entered or the commit failed, or another attempt of
// the same request is under way. A request that was stored before is answered as it was then. 2.0
// requests get the three X-Prometheus-Remote-Write-*-Written headers with each of them but 415, 1.0
// requests never.
class RemoteWriteHandler final : public http::Handler {
 public:
  struct Options {
    ByteCount max_body;                    // http.max_body
    ByteCount in_flight_bodies;            // limits.in_flight_bodies
    uint32_t io_threads = 1;               // of the server; also the shards of the log
    wal::RequestLedger* ledger = nullptr;  // null or off: a request that comes again is new
  };

  // References outlive the handler; so does the server's last call.
  RemoteWriteHandler(const Options& options, RemoteWriteState& state, wal::Wal& wal,
                     const Clock& clock);
  ~RemoteWriteHandler() override;

  std::optional<http::Response> Admit(const http::RequestHead& head) override;
  void Handle(http::Exchange& exchange) override;
  void Abandoned(const http::RequestHead& head) override;
  std::optional<http::Response> Grown(const http::RequestHead& head, uint64_t bytes) override;
  http::Response TooLarge(const http::RequestHead& head, ByteCount limit) override;
  std::optional<ByteCount> body_limit() const override { return options_.max_body; }

  // Stores what was committed but will not be answered, since the server was stopped meanwhile, and
  // leaves the generations. Call after Server::Stop() and before Wal::Stop(). Idempotent.
  void Stop();

 private:
  struct Request;
  struct IoState;

  Request& TakeRequest(http::Exchange& exchange);
  // The answer to a request that goes no further; counts it.
  http::Response Refuse(std::optional<wal::RecordKind> kind, int status, std::string text);
  void Finish(Request& request, http::Response response);
  // False when the ledger knows the request: it is answered then.
  bool BeginOnce(Request& request, const wal::RequestParts& parts);
  void Answer(Request& request);
  void Settle(Request& request);
  void Release(Request& request);
  static void OnCommitted(wal::PendingRecord* record);
  static void OnResumed(void* argument);
  // Takes what the tenant is allowed; the answer when that is not enough.
  std::optional<http::Response> AskTenant(const http::RequestHead& head, wal::RecordKind kind,
                                          uint64_t bytes);
  // Notes what was in a request that the tenant's limits let in.
  void ChargeTenant(const Request& request, std::string_view tenant, uint64_t body_bytes);
  // False when decoded requests take too much: it is answered then.
  bool ReserveStaged(Request& request);
  bool Reserve(uint64_t bytes);
  void Unreserve(uint64_t bytes);

  const Options options_;
  RemoteWriteState& state_;
  wal::Wal& wal_;
  const Clock& clock_;
  std::vector<std::unique_ptr<IoState>> io_;  // by io thread
  // The last Enter() failed: Admit() asks before the next body is read.
  std::atomic<bool> log_unavailable_{false};
};

}  // namespace forebay::receive
