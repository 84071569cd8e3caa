#include "otlp/http_handler.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "receive/refusal.h"

namespace forebay::otlp {
namespace {

constexpr std::chrono::seconds kSlowRequest{10};
// Reserved for a body before it comes; the rest is reserved as it comes.
constexpr uint64_t kFirstReserve = 4U << 10;
// Memory that requests not in use hold for the next ones, per io thread.
constexpr size_t kMaxKeptStaging = 16U << 20;
constexpr size_t kMaxQuoted = 128;
constexpr int kUnsupportedMediaType = 415;

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

Error Unsupported(std::string_view header, std::string_view value, std::string_view expected) {
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("{} \"{}\" is not supported, expected {}", header,
                           receive::Printable(value, kMaxQuoted), expected));
}

Signal SignalOf(const http::RequestHead& head) {
  if (head.path() == kLogsPath) return Signal::kLogs;
  return head.path() == kTracesPath ? Signal::kTraces : Signal::kMetrics;
}

http::Response MakeResponse(int status, Encoding encoding, std::string body) {
  http::Response response;
  response.status = status;
  response.headers.emplace_back("Content-Type", std::string(MediaTypeOf(encoding)));
  response.body = std::move(body);
  return response;
}

http::Response ResponseOf(const RequestFormat& format, const Outcome& outcome) {
  const int status = HttpStatusOf(outcome.code);
  if (outcome.code == Code::kOk) {
    return MakeResponse(status, format.encoding, ExportResponse(format, outcome));
  }
  http::Response response;
  if (outcome.retry_after.count() > 0) {
    response = http::Response::RetryAfter(status, outcome.retry_after, "");
    response.headers.erase(
        std::remove_if(response.headers.begin(), response.headers.end(),
                       [](const auto& header) { return header.first == "Content-Type"; }),
        response.headers.end());
  }
  response.status = status;
  response.headers.emplace_back("Content-Type", std::string(MediaTypeOf(format.encoding)));
  response.body = StatusMessage(format.encoding, outcome);
  return response;
}

}  // namespace

Result<RequestFormat> Negotiate(const http::RequestHead& head) {
  RequestFormat format;
  format.signal = SignalOf(head);
  const std::string_view type = head.Header("Content-Type").value_or("");
  const std::string_view media = Trim(type.substr(0, type.find(';')));
  if (http::EqualsIgnoreCase(media, "application/json")) {
    format.encoding = Encoding::kJson;
  } else if (!http::EqualsIgnoreCase(media, "application/x-protobuf") &&
             !http::EqualsIgnoreCase(media, "application/protobuf")) {
    return Unsupported("Content-Type", type, "application/x-protobuf or application/json");
  }
  const std::string_view coding = Trim(head.Header("Content-Encoding").value_or(""));
  if (http::EqualsIgnoreCase(coding, "gzip") || http::EqualsIgnoreCase(coding, "x-gzip")) {
    format.compression = Compression::kGzip;
  } else if (http::EqualsIgnoreCase(coding, "zstd")) {
    format.compression = Compression::kZstd;
  } else if (!coding.empty() && !http::EqualsIgnoreCase(coding, "identity")) {
    return Unsupported("Content-Encoding", coding, "gzip, zstd or none");
  }
  return format;
}

// One request from Handle() to its answer. Pooled per io thread.
struct HttpHandler::Request {
  IngestRequest ingest;
  HttpHandler* handler = nullptr;
  http::Exchange* exchange = nullptr;  // null: not in use
  IoState* io = nullptr;
  MonotonicTime began;
  uint64_t reserved = 0;               // bytes of the body
  std::atomic<bool> committed{false};  // the journal is done with the record
};

struct HttpHandler::IoState {
  explicit IoState(receive::RemoteWriteState& state) : worker(state) {}
  Worker worker;
  std::vector<std::unique_ptr<Request>> requests;
  std::vector<Request*> free;
};

HttpHandler::HttpHandler(const Options& options, Ingest& ingest)
    : options_(options), ingest_(ingest) {
  for (uint32_t i = 0; i < options_.io_threads; ++i) {
    io_.push_back(std::make_unique<IoState>(ingest.state()));
  }
}

HttpHandler::~HttpHandler() = default;

http::Response HttpHandler::Refuse(const RequestFormat& format, const Outcome& outcome) {
  ingest_.metrics().CountRequest(Transport::kHttp, format.signal, outcome.code, {});
  return ResponseOf(format, outcome);
}

std::string_view HttpHandler::TenantOf(const http::RequestHead& head) const {
  const auto rules = ingest_.state().rules();
  const std::string& header = rules->remote_write().tenant_header;
  if (header.empty()) return {};
  return head.Header(header).value_or("").substr(0, kMaxTenantBytes);
}

std::optional<http::Response> HttpHandler::Admit(const http::RequestHead& head) {
  head.set_admission(0);
  const auto format = Negotiate(head);
  if (!format.ok()) {
    ingest_.metrics().CountUnsupported(Transport::kHttp);
    const std::string_view type = head.Header("Content-Type").value_or("");
    const bool json = type.substr(0, type.find(';')) == "application/json";
    const Encoding encoding = json ? Encoding::kJson : Encoding::kProtobuf;
    return MakeResponse(kUnsupportedMediaType, encoding,
                        StatusMessage(encoding, {Code::kBadData, 0, format.error().message(), {}}));
  }
  if (log_unavailable_.load(std::memory_order_relaxed)) {
    if (auto refused = ingest_.CheckLog()) return Refuse(*format, *refused);
    log_unavailable_.store(false, std::memory_order_relaxed);
  }
  const uint64_t announced = head.content_length().value_or(head.chunked() ? kFirstReserve : 0);
  const uint64_t bytes = std::min(announced, kFirstReserve);
  if (!ingest_.HasRoom(announced) || !ingest_.Reserve(bytes)) {
    return Refuse(*format, Ingest::NoRoom());
  }
  if (ingest_.state().tenants().enabled()) {
    const std::string tenant(TenantOf(head));
    if (auto refused = ingest_.AdmitTenant(tenant, head.content_length().value_or(0))) {
      ingest_.Unreserve(bytes);
      return Refuse(*format, *refused);
    }
  }
  head.set_admission(bytes);
  return std::nullopt;
}

void HttpHandler::Abandoned(const http::RequestHead& head) {
  ingest_.Unreserve(head.admission());
  head.set_admission(0);
}

std::optional<http::Response> HttpHandler::Grown(const http::RequestHead& head, uint64_t bytes) {
  // The buffer grows by doubling: what comes next is reserved before it comes.
  const uint64_t wanted =
      std::min(2 * bytes, head.content_length().value_or(options_.max_body.value));
  if (wanted <= head.admission()) return std::nullopt;
  if (!ingest_.Reserve(wanted - head.admission())) {
    return Refuse(Negotiate(head).value_or(RequestFormat{}), Ingest::NoRoom());
  }
  head.set_admission(wanted);
  return std::nullopt;
}

http::Response HttpHandler::TooLarge(const http::RequestHead& head, ByteCount limit) {
  std::string size = "more than that";
  if (head.content_length()) size = fmt::format("{}", *head.content_length());
  return Refuse(Negotiate(head).value_or(RequestFormat{.signal = SignalOf(head)}),
                {Code::kTooLarge,
                 0,
                 fmt::format("at most {} bytes of a body are taken (http.max_body), this one has "
                             "{}; send less per request",
                             limit.value, size),
                 {}});
}

HttpHandler::Request& HttpHandler::TakeRequest(http::Exchange& exchange) {
  const auto shard = static_cast<uint32_t>(exchange.io_thread());
  FOREBAY_CHECK(shard < io_.size());
  IoState& io = *io_[shard];
  if (io.free.empty()) {
    io.requests.push_back(std::make_unique<Request>());
    io.free.push_back(io.requests.back().get());
  }
  Request& request = *io.free.back();
  io.free.pop_back();
  request.handler = this;
  request.exchange = &exchange;
  request.io = &io;
  request.began = ingest_.clock().Monotonic();
  request.reserved = exchange.head().admission();
  request.committed.store(false, std::memory_order_relaxed);
  IngestRequest& ingest = request.ingest;
  ingest.shard = shard;
  ingest.transport = &request;
  ingest.committed = &HttpHandler::OnCommitted;
  return request;
}

void HttpHandler::Handle(http::Exchange& exchange) {
  Request& request = TakeRequest(exchange);
  const http::RequestHead& head = exchange.head();
  IngestRequest& ingest = request.ingest;
  // Admit() has negotiated the same headers.
  ingest.format = Negotiate(head).value_or(RequestFormat{});
  ingest.body = exchange.body();
  ingest.tenant = TenantOf(head);
  ingest.idempotency_key = head.Header("Idempotency-Key").value_or("");
  ingest.charge_bytes = head.chunked();
  std::optional<Outcome> outcome;
  const uint64_t missing =
      ingest.body.size() > request.reserved ? ingest.body.size() - request.reserved : 0;
  if (missing != 0 && !ingest_.Reserve(missing)) {
    // Begin() has not counted the request yet.
    ingest_.state().metrics().in_flight_requests.fetch_add(1, std::memory_order_relaxed);
    return Finish(request, Ingest::NoRoom());
  }
  request.reserved += missing;
  outcome = ingest_.Begin(ingest, request.io->worker);
  if (outcome) Finish(request, *outcome);
}

// On the journal's thread. The request may be gone as soon as it is resumed.
void HttpHandler::OnCommitted(IngestRequest* ingest) {
  auto* request = static_cast<Request*>(ingest->transport);
  http::Exchange* exchange = request->exchange;
  request->committed.store(true, std::memory_order_release);
  exchange->Resume(&HttpHandler::OnResumed, request);
}

void HttpHandler::OnResumed(void* argument) {
  Request& request = *static_cast<Request*>(argument);
  request.handler->Finish(request, request.handler->ingest_.Settle(request.ingest));
}

void HttpHandler::Finish(Request& request, const Outcome& outcome) {
  const RequestFormat format = request.ingest.format;
  if (outcome.code == Code::kUnavailable) log_unavailable_.store(true, std::memory_order_relaxed);
  const auto duration = ingest_.clock().Monotonic() - request.began;
  ingest_.metrics().CountRequest(Transport::kHttp, format.signal, outcome.code, duration);
  http::Exchange& exchange = *request.exchange;
  if (duration >= kSlowRequest) {
    ingest_.state().metrics().slow_requests->Increment();
    LogWarn("an OTLP request was slow",
            {{"remote", exchange.head().remote_address()},
             {"status", HttpStatusOf(outcome.code)},
             {"bytes", exchange.body().size()},
             {"seconds", std::chrono::duration_cast<std::chrono::seconds>(duration).count()}});
  }
  if (!outcome.message.empty()) {
    LogDebug("an OTLP request was refused in part or in whole",
             {{"remote", exchange.head().remote_address()}, {"reason", outcome.message}});
  }
  Release(request);
  exchange.Respond(ResponseOf(format, outcome));
}

void HttpHandler::Release(Request& request) {
  ingest_.Release(request.ingest);
  ingest_.Unreserve(request.reserved);
  request.reserved = 0;
  request.exchange = nullptr;
  if (request.ingest.staged.held_bytes() * (request.io->free.size() + 1) > kMaxKeptStaging) {
    request.ingest.staged = {};
  }
  request.io->free.push_back(&request);
}

void HttpHandler::Stop() {
  for (const auto& io : io_) {
    for (const auto& request : io->requests) {
      if (request->exchange == nullptr || !request->committed.load(std::memory_order_acquire)) {
        continue;
      }
      (void)ingest_.Settle(request->ingest);
      Release(*request);
    }
  }
}

}  // namespace forebay::otlp
