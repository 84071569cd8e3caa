#include "receive/remote_write_handler.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "receive/negotiation.h"

namespace forebay::receive {
namespace {

constexpr std::chrono::seconds kSlowRequest{10};
// What Retry-After asks for: long enough for a group commit or a seal, short enough to lose no
// time.
constexpr std::chrono::seconds kRetryDelay{5};
// Reserved for a body before it comes: what the connection's buffer has room for anyhow. The rest
// is reserved as it comes, since anybody may announce a large body and never send it.
constexpr uint64_t kFirstReserve = 4U << 10;
// While another attempt is under way: a group commit.
constexpr std::chrono::seconds kConcurrentRetryDelay{1};
// Memory that requests not in use hold for the next ones, per io thread.
constexpr uint64_t kMaxKeptStaging = 16U << 20;
constexpr size_t kMaxTenantBytes = 65'535;
constexpr size_t kMaxIdempotencyKeyBytes = 255;
constexpr const char* kBodiesInFlight =
    "too many request bodies are in flight (limits.in_flight_bodies); send again";
constexpr std::string_view kIdempotencyHeader = "Idempotency-Key";

// What was accepted of the request, as 2.0 senders want to know it.
struct Written {
  uint64_t samples = 0;
  uint64_t histograms = 0;
  uint64_t exemplars = 0;
};

void AddWritten(http::Response& response, wal::RecordKind kind, const Written& written) {
  if (kind != wal::RecordKind::kRemoteWrite2) return;
  response.headers.emplace_back("X-Prometheus-Remote-Write-Samples-Written",
                                std::to_string(written.samples));
  response.headers.emplace_back("X-Prometheus-Remote-Write-Histograms-Written",
                                std::to_string(written.histograms));
  response.headers.emplace_back("X-Prometheus-Remote-Write-Exemplars-Written",
                                std::to_string(written.exemplars));
}

uint32_t Saturated(uint64_t count) {
  return static_cast<uint32_t>(std::min<uint64_t>(count, std::numeric_limits<uint32_t>::max()));
}

wal::RequestOutcome OutcomeOf(const StagedWrite& staged) {
  return {Saturated(staged.samples.accepted()), Saturated(staged.histograms.accepted()),
          Saturated(staged.exemplars.accepted()),
          Saturated(staged.refused.size() + staged.items_refused)};
}

// Errors of Decode, Enter and Commit at the HTTP boundary.
int StatusOf(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kFailedPrecondition:
      return 400;
    case ErrorCode::kOutOfRange:
      return 413;
    case ErrorCode::kUnavailable:
    case ErrorCode::kResourceExhausted:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kAborted:
    case ErrorCode::kCancelled:
    case ErrorCode::kNoSpace:
    case ErrorCode::kIo:
      return 503;
    case ErrorCode::kNotFound:
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kUnauthenticated:
    case ErrorCode::kUnimplemented:
    case ErrorCode::kInternal:
    case ErrorCode::kCorruption:
      return 500;
  }
  FOREBAY_CHECK(false);
}

std::string_view TenantOf(const http::RequestHead& head, std::string_view header) {
  if (header.empty()) return {};
  return head.Header(header).value_or("").substr(0, kMaxTenantBytes);
}

http::Response MakeRefusal(int status, std::string text) {
  text += '\n';
  if (status == 503) return http::Response::RetryAfter(status, kRetryDelay, std::move(text));
  return http::Response::Text(status, std::move(text));
}

}  // namespace

// One request from Handle() to its answer. Pooled per io thread.
struct RemoteWriteHandler::Request {
  RemoteWriteHandler* handler = nullptr;
  http::Exchange* exchange = nullptr;  // null: not in use
  IoState* io = nullptr;
  wal::RecordKind kind = wal::RecordKind::kRemoteWrite1;
  MonotonicTime began;
  uint64_t reserved = 0;         // bytes of the body
  uint64_t reserved_staged = 0;  // bytes of `staged`
  uint32_t shard = 0;
  wal::GenerationLease lease;
  wal::PendingRecord record;
  wal::RequestIdentity identity;  // not zero: begun in the ledger and not ended
  StagedWrite staged;
  std::atomic<bool> committed{false};  // the journal is done with the record
};

struct RemoteWriteHandler::IoState {
  explicit IoState(RemoteWriteState& state) : worker(state) {}
  DecodeWorker worker;
  std::vector<std::unique_ptr<Request>> requests;
  std::vector<Request*> free;
  uint64_t kept_bytes = 0;  // that the free ones hold
};

RemoteWriteHandler::RemoteWriteHandler(const Options& options, RemoteWriteState& state,
                                       wal::Wal& wal, const Clock& clock)
    : options_(options), state_(state), wal_(wal), clock_(clock) {
  for (uint32_t i = 0; i < options_.io_threads; ++i) {
    io_.push_back(std::make_unique<IoState>(state));
  }
}

RemoteWriteHandler::~RemoteWriteHandler() = default;

bool RemoteWriteHandler::Reserve(uint64_t bytes) {
  auto& in_flight = state_.metrics().in_flight_bytes;
  const uint64_t before = in_flight.fetch_add(bytes, std::memory_order_relaxed);
  // One body is always let in, so that a small budget cannot refuse a large body for ever.
  if (before == 0 || before + bytes <= options_.in_flight_bodies.value) return true;
  Unreserve(bytes);
  return false;
}

void RemoteWriteHandler::Unreserve(uint64_t bytes) {
  state_.metrics().in_flight_bytes.fetch_sub(bytes, std::memory_order_relaxed);
}

http::Response RemoteWriteHandler::Refuse(std::optional<wal::RecordKind> kind, int status,
                                          std::string text) {
  http::Response response = MakeRefusal(status, std::move(text));
  if (kind) AddWritten(response, *kind, {});
  state_.metrics().CountRequest(kind ? ProtocolOf(*kind) : Protocol::kUnknown, status, {});
  return response;
}

std::optional<http::Response> RemoteWriteHandler::Admit(const http::RequestHead& head) {
  head.set_admission(0);
  const auto kind = Negotiate(head);
  if (!kind.ok()) return Refuse(std::nullopt, 415, kind.error().message());
  if (head.Header("Retry-Attempt").value_or("0") != "0") {
    state_.metrics().retried_requests->Increment();
  }
  if (log_unavailable_.load(std::memory_order_relaxed)) {
    const auto lease = wal_.Enter();
    if (!lease.ok()) return Refuse(*kind, 503, lease.error().message());
    log_unavailable_.store(false, std::memory_order_relaxed);
  }
  const uint64_t announced = head.content_length().value_or(head.chunked() ? kFirstReserve : 0);
  const uint64_t in_flight = state_.metrics().in_flight_bytes.load(std::memory_order_relaxed);
  const uint64_t bytes = std::min(announced, kFirstReserve);
  if ((in_flight != 0 && in_flight + announced > options_.in_flight_bodies.value) ||
      !Reserve(bytes)) {
    return Refuse(*kind, 503, kBodiesInFlight);
  }
  if (auto refusal = AskTenant(head, *kind, head.content_length().value_or(0))) {
    Unreserve(bytes);
    return refusal;
  }
  head.set_admission(bytes);
  return std::nullopt;
}

std::optional<http::Response> RemoteWriteHandler::AskTenant(const http::RequestHead& head,
                                                            wal::RecordKind kind, uint64_t bytes) {
  TenantLimits& tenants = state_.tenants();
  if (!tenants.enabled()) return std::nullopt;
  const std::string_view tenant = TenantOf(head, tenants.header());
  const auto refusal = tenants.Admit(tenant, bytes, clock_.Monotonic());
  if (!refusal) return std::nullopt;
  auto response = http::Response::RetryAfter(429, refusal->retry_after, refusal->text + "\n");
  AddWritten(response, kind, {});
  state_.metrics().CountRequest(ProtocolOf(kind), 429, {});
  return response;
}

void RemoteWriteHandler::ChargeTenant(const Request& request, std::string_view tenant,
                                      uint64_t body_bytes) {
  const StagedWrite& staged = request.staged;
  const uint64_t samples =
      staged.samples.received + staged.histograms.received + staged.exemplars.received;
  // A body with a Content-Length was taken by it.
  const uint64_t bytes = request.exchange->head().chunked() ? body_bytes : 0;
  state_.tenants().Charge(tenant, samples, bytes, clock_.Monotonic());
}

bool RemoteWriteHandler::ReserveStaged(Request& request) {
  auto& in_flight = state_.metrics().in_flight_decoded_bytes;
  const uint64_t bytes = request.staged.used_bytes();
  const uint64_t before = in_flight.fetch_add(bytes, std::memory_order_relaxed);
  request.reserved_staged = bytes;
  // As with bodies, one is always let in.
  if (before == 0 || before + bytes <= options_.in_flight_bodies.value) return true;
  state_.metadata().Forget(request.staged.metadata_keys);
  state_.metrics().CountWrite(request.staged, false, RefusalReason::kOverloaded);
  Finish(request, MakeRefusal(503,
                              "too many decoded requests wait for the disk "
                              "(limits.in_flight_bodies); send again"));
  return false;
}

void RemoteWriteHandler::Abandoned(const http::RequestHead& head) {
  Unreserve(head.admission());
  head.set_admission(0);
}

std::optional<http::Response> RemoteWriteHandler::Grown(const http::RequestHead& head,
                                                        uint64_t bytes) {
  // The buffer grows by doubling: what comes next is reserved before it comes.
  const uint64_t wanted =
      std::min(2 * bytes, head.content_length().value_or(options_.max_body.value));
  if (wanted <= head.admission()) return std::nullopt;
  if (!Reserve(wanted - head.admission())) {
    return Refuse(Negotiate(head).value_or(wal::RecordKind::kRemoteWrite1), 503, kBodiesInFlight);
  }
  head.set_admission(wanted);
  return std::nullopt;
}

http::Response RemoteWriteHandler::TooLarge(const http::RequestHead& head, ByteCount limit) {
  const auto kind = Negotiate(head);
  if (!kind.ok()) return Refuse(std::nullopt, 415, kind.error().message());
  std::string size = "more than that";
  if (head.content_length()) size = fmt::format("{}", *head.content_length());
  return Refuse(*kind, 413,
                fmt::format("at most {} bytes of a body are taken (http.max_body), this one has "
                            "{}; send fewer samples per request",
                            limit.value, size));
}

RemoteWriteHandler::Request& RemoteWriteHandler::TakeRequest(http::Exchange& exchange) {
  const auto shard = static_cast<uint32_t>(exchange.io_thread());
  FOREBAY_CHECK(shard < io_.size());
  IoState& io = *io_[shard];
  if (io.free.empty()) {
    io.requests.push_back(std::make_unique<Request>());
    io.free.push_back(io.requests.back().get());
  }
  Request& request = *io.free.back();
  io.free.pop_back();
  io.kept_bytes -= std::min<uint64_t>(io.kept_bytes, request.staged.held_bytes());
  request.handler = this;
  request.exchange = &exchange;
  request.io = &io;
  request.shard = shard;
  request.began = clock_.Monotonic();
  request.reserved = exchange.head().admission();
  request.committed.store(false, std::memory_order_relaxed);
  state_.metrics().in_flight_requests.fetch_add(1, std::memory_order_relaxed);
  return request;
}

void RemoteWriteHandler::Handle(http::Exchange& exchange) {
  Request& request = TakeRequest(exchange);
  const http::RequestHead& head = exchange.head();
  const std::span<const char> body = exchange.body();
  // Admit() has negotiated the same headers.
  request.kind = Negotiate(head).value_or(wal::RecordKind::kRemoteWrite1);
  state_.metrics().compressed_bytes->Increment(body.size());
  if (body.size() > request.reserved) {
    if (!Reserve(body.size() - request.reserved)) {
      return Finish(request, MakeRefusal(503, kBodiesInFlight));
    }
    request.reserved = body.size();
  }
  const std::string_view tenant = TenantOf(head, request.io->worker.tenant_header());
  const std::string_view key = head.Header(kIdempotencyHeader).value_or("");
  if (key.size() > kMaxIdempotencyKeyBytes) {
    return Finish(request, MakeRefusal(400, "the Idempotency-Key has more than 255 bytes"));
  }
  const auto kind_number = static_cast<uint8_t>(request.kind);
  if (!BeginOnce(request, {"remote_write", tenant, key, kind_number, body})) return;
  auto lease = wal_.Enter();
  if (!lease.ok()) {
    log_unavailable_.store(true, std::memory_order_relaxed);
    return Finish(request, MakeRefusal(503, lease.error().message()));
  }
  request.lease = std::move(*lease);

  DecodeInput input;
  input.kind = request.kind;
  input.body = body;
  input.received = clock_.Now();
  input.tenant = tenant;
  input.generation = request.lease.sequence();
  const bool limited = state_.tenants().enabled();
  if (limited) input.quota = state_.tenants().QuotaOf(tenant, request.began);
  const Status decoded = request.io->worker.Decode(input, request.staged);
  if (!decoded.ok()) {
    state_.metrics().CountUndecodable();
    return Finish(request, MakeRefusal(StatusOf(decoded.error()), decoded.error().message()));
  }
  if (limited) ChargeTenant(request, tenant, body.size());
  if (request.staged.nothing_to_store()) return Answer(request);
  if (!ReserveStaged(request)) return;

  wal::PendingRecord& record = request.record;
  record = {};
  record.kind = request.kind;
  record.received = input.received;
  record.tenant = input.tenant;
  record.refused = request.staged.refused;
  record.body = body;
  record.identity = request.identity;
  record.outcome = OutcomeOf(request.staged);
  record.done = &RemoteWriteHandler::OnCommitted;
  record.context = &request;
  wal_.Commit(request.lease, &record);
}

bool RemoteWriteHandler::BeginOnce(Request& request, const wal::RequestParts& parts) {
  if (options_.ledger == nullptr || !options_.ledger->enabled()) return true;
  const wal::RequestIdentity identity = wal::IdentityOf(parts);
  const wal::RequestLedger::Answer answer = options_.ledger->Begin(identity);
  switch (answer.state) {
    case wal::RequestLedger::State::kNew:
      request.identity = identity;
      return true;
    case wal::RequestLedger::State::kInFlight:
      state_.metrics().concurrent_requests->Increment();
      Finish(request, http::Response::RetryAfter(
                          503, kConcurrentRetryDelay,
                          "another attempt of this request is under way; send again\n"));
      return false;
    case wal::RequestLedger::State::kDone:
      break;
  }
  const wal::RequestOutcome& outcome = answer.outcome;
  const std::shared_ptr<const Rules> rules = state_.rules();
  state_.metrics().CountDuplicate(outcome, rules->databases()[rules->Route(parts.tenant)].name);
  http::Response response =
      outcome.refused == 0
          ? http::Response::Empty(204)
          : http::Response::Text(400, fmt::format("this request was answered before: {} series or "
                                                  "items refused; the rest is stored\n",
                                                  outcome.refused));
  AddWritten(response, request.kind, {outcome.samples, outcome.histograms, outcome.exemplars});
  Finish(request, std::move(response));
  return false;
}

// On the journal's thread. The request may be gone as soon as it is resumed.
void RemoteWriteHandler::OnCommitted(wal::PendingRecord* record) {
  Request& request = *static_cast<Request*>(record->context);
  http::Exchange* exchange = request.exchange;
  request.committed.store(true, std::memory_order_release);
  exchange->Resume(&RemoteWriteHandler::OnResumed, &request);
}

void RemoteWriteHandler::OnResumed(void* argument) {
  Request& request = *static_cast<Request*>(argument);
  request.handler->Answer(request);
}

// The request's fate is known: stores what was committed, counts.
void RemoteWriteHandler::Settle(Request& request) {
  const bool committed = request.record.status.ok();
  if (committed) {
    request.staged.AppendTo(request.lease, request.shard);
    // Only what the journal has; the lease keeps the generation open until the ledger knows.
    const wal::PendingRecord& record = request.record;
    if (record.identity) {
      options_.ledger->Finish({record.identity, record.received, record.outcome},
                              request.lease.sequence());
      request.identity = {};
    }
  } else {
    state_.metadata().Forget(request.staged.metadata_keys);
  }
  state_.metrics().CountWrite(request.staged, committed);
}

void RemoteWriteHandler::Answer(Request& request) {
  const StagedWrite& staged = request.staged;
  Settle(request);
  FOREBAY_FAILPOINT("acknowledge.before_answer");
  if (!request.record.status.ok()) {
    return Finish(request, MakeRefusal(503, fmt::format("nothing was stored: {}",
                                                        request.record.status.error().message())));
  }
  http::Response response = staged.anything_refused()
                                ? http::Response::Text(400, staged.RefusalText())
                                : http::Response::Empty(204);
  AddWritten(
      response, request.kind,
      {staged.samples.accepted(), staged.histograms.accepted(), staged.exemplars.accepted()});
  Finish(request, std::move(response));
}

void RemoteWriteHandler::Finish(Request& request, http::Response response) {
  if (request.kind == wal::RecordKind::kRemoteWrite2 &&
      std::none_of(response.headers.begin(), response.headers.end(),
                   [](const auto& header) { return header.first.ends_with("-Written"); })) {
    AddWritten(response, request.kind, {});
  }
  const auto duration = clock_.Monotonic() - request.began;
  state_.metrics().CountRequest(ProtocolOf(request.kind), response.status, duration);
  http::Exchange& exchange = *request.exchange;
  if (duration >= kSlowRequest) {
    state_.metrics().slow_requests->Increment();
    LogWarn("a remote-write request was slow",
            {{"remote", exchange.head().remote_address()},
             {"status", response.status},
             {"bytes", exchange.body().size()},
             {"seconds", std::chrono::duration_cast<std::chrono::seconds>(duration).count()}});
  }
  if (response.status == 400) {
    LogDebug("a remote-write request was refused in part or in whole",
             {{"remote", exchange.head().remote_address()}, {"reason", response.body}});
  }
  Release(request);
  exchange.Respond(std::move(response));
}

void RemoteWriteHandler::Release(Request& request) {
  // Nothing was stored: the next attempt is new.
  if (request.identity) options_.ledger->Abort(request.identity);
  request.identity = {};
  request.lease.Release();
  Unreserve(request.reserved);
  request.reserved = 0;
  request.exchange = nullptr;
  request.record = {};
  request.staged.Clear();
  state_.metrics().in_flight_decoded_bytes.fetch_sub(request.reserved_staged,
                                                     std::memory_order_relaxed);
  request.reserved_staged = 0;
  const uint64_t held = request.staged.held_bytes();
  if (request.io->kept_bytes + held <= kMaxKeptStaging) {
    request.io->kept_bytes += held;
  } else {
    request.staged = {};
  }
  request.io->free.push_back(&request);
  state_.metrics().in_flight_requests.fetch_sub(1, std::memory_order_relaxed);
}

void RemoteWriteHandler::Stop() {
  for (const auto& io : io_) {
    for (const auto& request : io->requests) {
      if (request->exchange == nullptr || !request->committed.load(std::memory_order_acquire)) {
        continue;
      }
      Settle(*request);
      Release(*request);
    }
  }
}

}  // namespace forebay::receive
