// The way of an OTLP request from its body to its outcome, the same for HTTP and gRPC: limits, the
// ledger of requests, decoding, group commit, the generation.
//   Begin() -> an outcome, when the request goes no further; else the record is on its way and
//   `committed` is called by the journal's thread; then Settle() -> the outcome; then Release().
// Limits: limits.in_flight_bodies, shared with remote write; tenants.*.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/clock.h"
#include "base/units.h"
#include "otlp/answers.h"
#include "otlp/otlp_metrics.h"
#include "otlp/worker.h"
#include "receive/remote_write_state.h"
#include "wal/request_ledger.h"
#include "wal/wal.h"

namespace forebay::otlp {

inline constexpr size_t kMaxTenantBytes = 65'535;
inline constexpr size_t kMaxIdempotencyKeyBytes = 255;

// One request. Transports keep them for the next ones. Not movable: the journal points to it.
struct IngestRequest {
  IngestRequest() = default;
  IngestRequest(const IngestRequest&) = delete;
  IngestRequest& operator=(const IngestRequest&) = delete;

  // Set by the transport before Begin(); views are good until Release().
  RequestFormat format;
  std::span<const char> body;
  std::string_view tenant;
  std::string_view idempotency_key;
  uint32_t shard = 0;
  bool charge_bytes = true;  // false: AdmitTenant() has taken them
  // The journal is done with the record. On its thread: must not block.
  void (*committed)(IngestRequest* request) = nullptr;
  void* transport = nullptr;

  // The rest is Ingest's.
  uint64_t reserved_staged = 0;
  wal::GenerationLease lease;
  wal::PendingRecord record;
  wal::RequestIdentity identity;  // not zero: begun in the ledger and not ended
  receive::StagedWrite staged;
};

// Threads: any, each with its own worker and request.
class Ingest {
 public:
  struct Options {
    ByteCount in_flight_bodies;
    wal::RequestLedger* ledger = nullptr;  // null or off: a request that comes again is new
  };

  // References outlive this.
  Ingest(const Options& options, receive::RemoteWriteState& state, wal::Wal& wal,
         const Clock& clock, OtlpMetrics& metrics)
      : options_(options), state_(state), wal_(wal), clock_(clock), metrics_(metrics) {}

  // Why no request can be taken now.
  std::optional<Outcome> CheckLog();
  // Takes a request, and its bytes if known, of what the tenant is allowed.
  std::optional<Outcome> AdmitTenant(std::string_view tenant, uint64_t bytes);
  // Of limits.in_flight_bodies. False: spent.
  bool Reserve(uint64_t bytes);
  void Unreserve(uint64_t bytes);
  // Would so many more be too much?
  bool HasRoom(uint64_t bytes) const;
  static Outcome NoRoom();

  std::optional<Outcome> Begin(IngestRequest& request, Worker& worker);
  Outcome Settle(IngestRequest& request);
  // Forgets the request; what was begun and not committed is given up.
  void Release(IngestRequest& request);

  OtlpMetrics& metrics() { return metrics_; }
  receive::RemoteWriteState& state() { return state_; }
  const Clock& clock() const { return clock_; }

 private:
  std::optional<Outcome> BeginOnce(IngestRequest& request);
  std::optional<Outcome> ReserveStaged(IngestRequest& request);
  void ChargeTenant(const IngestRequest& request);
  static void OnCommitted(wal::PendingRecord* record);

  const Options options_;
  receive::RemoteWriteState& state_;
  wal::Wal& wal_;
  const Clock& clock_;
  OtlpMetrics& metrics_;
};

}  // namespace forebay::otlp
