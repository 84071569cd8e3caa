#include "otlp/ingest.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/failpoint.h"
#include "receive/refusal.h"

namespace forebay::otlp {
namespace {

using receive::ItemCounts;
using receive::RefusalReason;
using receive::StagedWrite;

// Long enough for a group commit or a seal, short enough to lose no time.
constexpr std::chrono::seconds kRetryDelay{5};
// While another attempt is under way: a group commit.
constexpr std::chrono::seconds kConcurrentRetryDelay{1};

Outcome Unavailable(std::string message, std::chrono::milliseconds retry = kRetryDelay) {
  return {Code::kUnavailable, 0, std::move(message), retry};
}

uint32_t Saturated(uint64_t count) {
  return static_cast<uint32_t>(std::min<uint64_t>(count, std::numeric_limits<uint32_t>::max()));
}

// What the sender calls records, and of them those that were not taken.
ItemCounts RecordsOf(Signal signal, const StagedWrite& staged) {
  if (signal == Signal::kMetrics) {
    ItemCounts points;
    points.received = staged.points;
    points.refused = staged.points_refused;
    return points;
  }
  return signal == Signal::kLogs ? staged.logs : staged.spans;
}

wal::RequestOutcome LedgerOutcome(Signal signal, const StagedWrite& staged) {
  const ItemCounts records = RecordsOf(signal, staged);
  if (signal == Signal::kMetrics) {
    return {Saturated(staged.samples.accepted()), Saturated(staged.histograms.accepted()),
            Saturated(staged.exemplars.accepted()), Saturated(records.refused)};
  }
  return {Saturated(records.accepted()), 0, 0, Saturated(records.refused)};
}

std::string RefusalText(Signal signal, const StagedWrite& staged) {
  std::string reasons;
  for (size_t i = 0; i < receive::kRefusalReasons; ++i) {
    const uint64_t count = staged.refused_items[i];
    if (count == 0) continue;
    if (!reasons.empty()) reasons += ", ";
    reasons += fmt::format("{} {}", count, Name(static_cast<RefusalReason>(i)));
  }
  const ItemCounts records = RecordsOf(signal, staged);
  return fmt::format("{} of {} {} refused: {}; first: {}", records.refused, records.received,
                     RecordsName(signal), reasons, staged.first_refusal);
}

}  // namespace

std::optional<Outcome> Ingest::CheckLog() {
  const auto lease = wal_.Enter();
  if (lease.ok()) return std::nullopt;
  return Unavailable(lease.error().message());
}

std::optional<Outcome> Ingest::AdmitTenant(std::string_view tenant, uint64_t bytes) {
  receive::TenantLimits& tenants = state_.tenants();
  if (!tenants.enabled()) return std::nullopt;
  auto refusal = tenants.Admit(tenant, bytes, clock_.Monotonic());
  if (!refusal) return std::nullopt;
  return Outcome{Code::kThrottled, 0, std::move(refusal->text), refusal->retry_after};
}

bool Ingest::HasRoom(uint64_t bytes) const {
  const uint64_t in_flight = state_.metrics().in_flight_bytes.load(std::memory_order_relaxed);
  return in_flight == 0 || in_flight + bytes <= options_.in_flight_bodies.value;
}

bool Ingest::Reserve(uint64_t bytes) {
  auto& in_flight = state_.metrics().in_flight_bytes;
  const uint64_t before = in_flight.fetch_add(bytes, std::memory_order_relaxed);
  // One body is always let in, so that a small budget cannot refuse a large body for ever.
  if (before == 0 || before + bytes <= options_.in_flight_bodies.value) return true;
  Unreserve(bytes);
  return false;
}

void Ingest::Unreserve(uint64_t bytes) {
  state_.metrics().in_flight_bytes.fetch_sub(bytes, std::memory_order_relaxed);
}

Outcome Ingest::NoRoom() {
  return Unavailable("too many request bodies are in flight (limits.in_flight_bodies); send again");
}

std::optional<Outcome> Ingest::ReserveStaged(IngestRequest& request) {
  auto& in_flight = state_.metrics().in_flight_decoded_bytes;
  const uint64_t bytes = request.staged.used_bytes();
  const uint64_t before = in_flight.fetch_add(bytes, std::memory_order_relaxed);
  request.reserved_staged = bytes;
  if (before == 0 || before + bytes <= options_.in_flight_bodies.value) return std::nullopt;
  state_.metadata().Forget(request.staged.metadata_keys);
  state_.metrics().CountWrite(request.staged, false, RefusalReason::kOverloaded);
  return Unavailable(
      "too many decoded requests wait for the disk (limits.in_flight_bodies); send again");
}

void Ingest::ChargeTenant(const IngestRequest& request) {
  const StagedWrite& staged = request.staged;
  const uint64_t records = staged.samples.received + staged.histograms.received +
                           staged.exemplars.received + staged.logs.received + staged.spans.received;
  const uint64_t bytes = request.charge_bytes ? request.body.size() : 0;
  state_.tenants().Charge(request.tenant, records, bytes, clock_.Monotonic());
}

std::optional<Outcome> Ingest::BeginOnce(IngestRequest& request) {
  if (options_.ledger == nullptr || !options_.ledger->enabled()) return std::nullopt;
  const wal::RequestIdentity identity =
      wal::IdentityOf({"otlp", request.tenant, request.idempotency_key,
                       static_cast<uint8_t>(KindOf(request.format)), request.body});
  const wal::RequestLedger::Answer answer = options_.ledger->Begin(identity);
  switch (answer.state) {
    case wal::RequestLedger::State::kNew:
      request.identity = identity;
      return std::nullopt;
    case wal::RequestLedger::State::kInFlight:
      state_.metrics().concurrent_requests->Increment();
      return Unavailable("another attempt of this request is under way; send again",
                         kConcurrentRetryDelay);
    case wal::RequestLedger::State::kDone:
      break;
  }
  const std::shared_ptr<const receive::Rules> rules = state_.rules();
  const std::string& database = rules->databases()[rules->Route(request.tenant)].name;
  if (request.format.signal == Signal::kMetrics) {
    state_.metrics().CountDuplicate(answer.outcome, database);
  } else if (request.format.signal == Signal::kLogs) {
    state_.metrics().CountDuplicateLogs(answer.outcome.samples, database);
  } else {
    state_.metrics().CountDuplicateSpans(answer.outcome.samples, database);
  }
  Outcome outcome;
  outcome.rejected = answer.outcome.refused;
  if (outcome.rejected != 0) {
    outcome.message = fmt::format(
        "this request was answered before: {} {} refused; the rest is "
        "stored",
        outcome.rejected, RecordsName(request.format.signal));
  }
  return outcome;
}

std::optional<Outcome> Ingest::Begin(IngestRequest& request, Worker& worker) {
  receive::ReceiveMetrics& metrics = state_.metrics();
  metrics.in_flight_requests.fetch_add(1, std::memory_order_relaxed);
  metrics.compressed_bytes->Increment(request.body.size());
  if (request.idempotency_key.size() > kMaxIdempotencyKeyBytes) {
    return Outcome{Code::kBadData, 0, "the Idempotency-Key has more than 255 bytes", {}};
  }
  if (auto answered = BeginOnce(request)) return answered;
  auto lease = wal_.Enter();
  if (!lease.ok()) return Unavailable(lease.error().message());
  request.lease = std::move(*lease);

  WorkerInput input;
  input.format = request.format;
  input.body = request.body;
  input.tenant = request.tenant;
  input.received = clock_.Now();
  input.generation = request.lease.sequence();
  const bool limited = state_.tenants().enabled();
  if (limited) input.quota = state_.tenants().QuotaOf(request.tenant, clock_.Monotonic());
  const Status decoded = worker.Decode(input, request.staged);
  if (!decoded.ok()) {
    metrics.CountUndecodable();
    Outcome outcome{CodeOf(decoded.error()), 0, decoded.error().message(), {}};
    if (outcome.code == Code::kUnavailable) outcome.retry_after = kRetryDelay;
    return outcome;
  }
  metrics_.CountTexts(worker.counts(request.format.signal));
  if (limited) ChargeTenant(request);
  wal::PendingRecord& record = request.record;
  record = {};
  if (request.staged.nothing_to_store()) return Settle(request);
  if (auto refused = ReserveStaged(request)) return refused;
  record.kind = KindOf(request.format);
  record.received = input.received;
  record.tenant = request.tenant;
  record.refused = RefusedOf(request.format.signal, request.staged);
  record.body = request.body;
  record.identity = request.identity;
  record.outcome = LedgerOutcome(request.format.signal, request.staged);
  record.done = &Ingest::OnCommitted;
  record.context = &request;
  wal_.Commit(request.lease, &record);
  return std::nullopt;
}

void Ingest::OnCommitted(wal::PendingRecord* record) {
  auto* request = static_cast<IngestRequest*>(record->context);
  request->committed(request);
}

Outcome Ingest::Settle(IngestRequest& request) {
  StagedWrite& staged = request.staged;
  const bool committed = request.record.status.ok();
  if (committed) {
    staged.AppendTo(request.lease, request.shard);
    const wal::PendingRecord& record = request.record;
    if (record.identity) {
      options_.ledger->Finish({record.identity, record.received, record.outcome},
                              request.lease.sequence());
      request.identity = {};
    }
  } else {
    state_.metadata().Forget(staged.metadata_keys);
  }
  state_.metrics().CountWrite(staged, committed);
  FOREBAY_FAILPOINT("acknowledge.before_answer");
  if (!committed) {
    return Unavailable(
        fmt::format("nothing was stored: {}", request.record.status.error().message()));
  }
  Outcome outcome;
  outcome.rejected = RecordsOf(request.format.signal, staged).refused;
  if (staged.anything_refused()) outcome.message = RefusalText(request.format.signal, staged);
  return outcome;
}

void Ingest::Release(IngestRequest& request) {
  if (request.identity) options_.ledger->Abort(request.identity);
  request.identity = {};
  request.lease.Release();
  request.record = {};
  request.staged.Clear();
  state_.metrics().in_flight_decoded_bytes.fetch_sub(request.reserved_staged,
                                                     std::memory_order_relaxed);
  request.reserved_staged = 0;
  request.body = {};
  request.tenant = {};
  request.idempotency_key = {};
  state_.metrics().in_flight_requests.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace forebay::otlp
