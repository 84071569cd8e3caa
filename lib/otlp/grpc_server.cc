// The only file of the module that knows gRPC.
#include "otlp/grpc_server.h"

#include <fmt/core.h>
#include <grpc/compression.h>
#include <grpc/support/log.h>
#include <grpcpp/impl/codegen/method_handler.h>
#include <grpcpp/impl/codegen/rpc_service_method.h>
#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/byte_buffer.h>

#include <algorithm>
#include <atomic>
#include <semaphore>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"

namespace forebay::otlp {
namespace {

// Beyond kMaxCalls a call is refused with RetryInfo, for which it needs a thread for a moment.
// Without one gRPC refuses it itself, and then senders do not come again.
constexpr int kMaxThreads = 4 * kMaxCalls;
constexpr std::chrono::milliseconds kStopStep{2};
constexpr int kKeepaliveMillis = 30'000;
constexpr int kKeepaliveTimeoutMillis = 10'000;
// Clients ping each ten seconds at most.
constexpr int kLeastPingMillis = 5'000;
constexpr unsigned int kReadFilesSeconds = 60;
// What a body of a connection may grow to before it is trimmed.
constexpr size_t kKeptBody = 4U << 20;

constexpr const char* kMethods[kSignals] = {
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export"};

// What gRPC complains of is what senders do.
void ForwardLog(gpr_log_func_args* line) {
  if (line->severity != GPR_LOG_SEVERITY_ERROR) return;
  LogWarn("grpc", {{"message", std::string(line->message)}});
}

std::string_view View(const grpc::string_ref& text) { return {text.data(), text.size()}; }

std::string_view Metadata(const grpc::ServerContext& context, const std::string& name) {
  const auto& all = context.client_metadata();
  const auto found = all.find(grpc::string_ref(name));
  return found == all.end() ? std::string_view() : View(found->second);
}

// Bytes of gzip begin no protobuf message: they would be a group's end.
bool LooksLikeGzip(std::span<const char> body) {
  return body.size() >= 2 && body[0] == '\x1f' && body[1] == '\x8b';
}

grpc::ByteBuffer ToBuffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return {&slice, 1};
}

// What a call needs while it runs; kept for the next ones.
struct Call {
  explicit Call(receive::RemoteWriteState& state) : worker(state) {}
  Worker worker;
  IngestRequest request;
  ByteBuffer body;
  std::binary_semaphore committed{0};
};

class Service final : public grpc::Service {
 public:
  Service(const GrpcOptions& options, Ingest& ingest) : options_(options), ingest_(ingest) {
    for (size_t s = 0; s < kSignals; ++s) {
      const auto signal = static_cast<Signal>(s);
      using Handler = grpc::internal::RpcMethodHandler<Service, grpc::ByteBuffer, grpc::ByteBuffer,
                                                       grpc::ByteBuffer, grpc::ByteBuffer>;
      // gRPC owns both.
      AddMethod(new grpc::internal::RpcServiceMethod(
          kMethods[s], grpc::internal::RpcMethod::NORMAL_RPC,
          new Handler(
              [signal](Service* service, grpc::ServerContext* context,
                       const grpc::ByteBuffer* request, grpc::ByteBuffer* response) {
                return service->Export(signal, *context, *request, *response);
              },
              this)));
    }
  }

  void UseSecurity(const http::SecurityPtr& security) EXCLUDES(mutex_) {
    const MutexLock lock(mutex_);
    security_ = security;
  }
  int running() const { return running_.load(std::memory_order_acquire); }
  void RefuseAll() { stopping_.store(true, std::memory_order_release); }

 private:
  grpc::Status Export(Signal signal, grpc::ServerContext& context, const grpc::ByteBuffer& message,
                      grpc::ByteBuffer& response) {
    const int others = running_.fetch_add(1, std::memory_order_acq_rel);
    grpc::Status status(grpc::StatusCode::UNAVAILABLE, "the server stops");
    if (!stopping_.load(std::memory_order_acquire)) {
      status = Run(signal, context, message, response, others < kMaxCalls);
    }
    running_.fetch_sub(1, std::memory_order_acq_rel);
    return status;
  }

  grpc::Status Run(Signal signal, grpc::ServerContext& context, const grpc::ByteBuffer& message,
                   grpc::ByteBuffer& response, bool has_place) {
    http::SecurityPtr security;
    {
      const MutexLock lock(mutex_);
      security = security_;
    }
    if (!http::Server::MayCall(security, Metadata(context, "authorization"))) {
      return {grpc::StatusCode::UNAUTHENTICATED, "the authorization metadata is missing or wrong"};
    }
    const MonotonicTime began = ingest_.clock().Monotonic();
    const RequestFormat format{signal, Encoding::kProtobuf, Compression::kNone};
    const uint64_t bytes = message.Length();
    const auto done = [&](const Outcome& outcome) {
      ingest_.metrics().CountRequest(Transport::kGrpc, signal, outcome.code,
                                     ingest_.clock().Monotonic() - began);
      if (outcome.code == Code::kOk) {
        response = ToBuffer(ExportResponse(format, outcome));
        return grpc::Status::OK;
      }
      return grpc::Status(static_cast<grpc::StatusCode>(GrpcStatusOf(outcome.code)),
                          outcome.message.substr(0, kMaxMessage),
                          StatusMessage(Encoding::kProtobuf, outcome));
    };
    const std::string_view tenant = TenantOf(context);
    if (bytes > options_.max_body.value) {
      return done({Code::kTooLarge,
                   0,
                   fmt::format("at most {} bytes of a message are taken (http.max_body), this one "
                               "has {}; send less per request",
                               options_.max_body.value, bytes),
                   {}});
    }
    if (auto refused = ingest_.AdmitTenant(tenant, bytes)) return done(*refused);
    if (!has_place || !ingest_.Reserve(bytes)) return done(Ingest::NoRoom());
    std::unique_ptr<Call> call = TakeCall();
    const Outcome outcome = Store(format, context, message, tenant, *call);
    ingest_.Unreserve(bytes);
    GiveCall(std::move(call));
    return done(outcome);
  }

  Outcome Store(const RequestFormat& format, const grpc::ServerContext& context,
                const grpc::ByteBuffer& message, std::string_view tenant, Call& call) {
    std::vector<grpc::Slice> slices;
    if (!message.Dump(&slices).ok()) {
      return {Code::kBadData, 0, "the message cannot be read", {}};
    }
    call.body.clear();
    for (const grpc::Slice& slice : slices) {
      call.body.Append({reinterpret_cast<const char*>(slice.begin()), slice.size()});
    }
    IngestRequest& request = call.request;
    request.format = format;
    request.body = {call.body.data(), call.body.size()};
    if (LooksLikeGzip(request.body)) request.format.compression = Compression::kGzip;
    request.tenant = tenant;
    request.idempotency_key = Metadata(context, "idempotency-key");
    request.charge_bytes = false;
    request.shard = next_shard_.fetch_add(1, std::memory_order_relaxed) % options_.shards;
    request.transport = &call;
    request.committed = [](IngestRequest* committed) {
      static_cast<Call*>(committed->transport)->committed.release();
    };
    auto outcome = ingest_.Begin(request, call.worker);
    if (!outcome) {
      call.committed.acquire();
      outcome = ingest_.Settle(request);
    }
    ingest_.Release(request);
    return std::move(*outcome);
  }

  std::string_view TenantOf(const grpc::ServerContext& context) const {
    std::string header = ingest_.state().rules()->remote_write().tenant_header;
    if (header.empty()) return {};
    for (char& c : header) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return Metadata(context, header).substr(0, kMaxTenantBytes);
  }

  std::unique_ptr<Call> TakeCall() EXCLUDES(mutex_) {
    {
      const MutexLock lock(mutex_);
      if (!free_.empty()) {
        auto call = std::move(free_.back());
        free_.pop_back();
        return call;
      }
    }
    return std::make_unique<Call>(ingest_.state());
  }
  void GiveCall(std::unique_ptr<Call> call) EXCLUDES(mutex_) {
    if (call->body.capacity() > kKeptBody) call->body = ByteBuffer();
    const MutexLock lock(mutex_);
    if (free_.size() < kKeptCalls) free_.push_back(std::move(call));
  }

  static constexpr size_t kKeptCalls = 8;
  const GrpcOptions options_;
  Ingest& ingest_;
  std::atomic<uint32_t> next_shard_{0};
  std::atomic<int> running_{0};
  std::atomic<bool> stopping_{false};
  Mutex mutex_;
  http::SecurityPtr security_ GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Call>> free_ GUARDED_BY(mutex_);
};

std::shared_ptr<grpc::ServerCredentials> CredentialsOf(const config::Tls& tls) {
  if (!tls.enabled()) return grpc::InsecureServerCredentials();
  namespace experimental = grpc::experimental;
  const bool verifies = !tls.client_ca_file.empty();
  auto provider = verifies ? std::make_shared<experimental::FileWatcherCertificateProvider>(
                                 tls.key_file, tls.cert_file, tls.client_ca_file, kReadFilesSeconds)
                           : std::make_shared<experimental::FileWatcherCertificateProvider>(
                                 tls.key_file, tls.cert_file, kReadFilesSeconds);
  experimental::TlsServerCredentialsOptions options(std::move(provider));
  options.watch_identity_key_cert_pairs();
  if (verifies) options.watch_root_certs();
  options.set_cert_request_type(verifies
                                    ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                    : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  options.set_check_call_host(false);
  return experimental::TlsServerCredentials(options);
}

class GrpcServerImpl final : public GrpcServer {
 public:
  GrpcServerImpl(const GrpcOptions& options, Ingest& ingest)
      : options_(options), service_(options, ingest) {}
  ~GrpcServerImpl() override { Stop(std::chrono::steady_clock::now()); }

  Status Start() override {
    grpc::ServerBuilder builder;
    int port = 0;
    const bool any_host = options_.listen.starts_with(":");
    builder.AddListeningPort(any_host ? "[::]" + options_.listen : options_.listen,
                             CredentialsOf(options_.tls), &port);
    builder.RegisterService(&service_);
    // Larger messages are refused by gRPC itself before they are read.
    builder.SetMaxReceiveMessageSize(
        static_cast<int>(std::min<uint64_t>(options_.max_body.value, INT32_MAX)));
    grpc::ResourceQuota quota("otlp");
    quota.SetMaxThreads(kMaxThreads);
    builder.SetResourceQuota(quota);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
    builder.AddChannelArgument(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
                               (1 << GRPC_COMPRESS_NONE) | (1 << GRPC_COMPRESS_GZIP));
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnection);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMillis);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMillis);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                               kLeastPingMillis);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) {
      return Error(ErrorCode::kUnavailable,
                   fmt::format("listen.otlp_grpc: {} cannot be had", options_.listen));
    }
    port_ = static_cast<uint16_t>(port);
    return {};
  }
  uint16_t port() const override { return port_; }
  void UseSecurity(const http::SecurityPtr& security) override { service_.UseSecurity(security); }

  void Stop(MonotonicTime deadline) override {
    if (server_ == nullptr) return;
    // Waited for are calls alone: gRPC's own grace would last as long as idle clients are slow to
    // close their connections.
    service_.RefuseAll();
    while (service_.running() != 0 && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(kStopStep);
    }
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }

 private:
  const GrpcOptions options_;
  Service service_;
  std::unique_ptr<grpc::Server> server_;
  uint16_t port_ = 0;
};

}  // namespace

Result<std::unique_ptr<GrpcServer>> GrpcServer::Create(const GrpcOptions& options, Ingest& ingest) {
  gpr_set_log_function(ForwardLog);
  // Names the file that cannot be read, which gRPC would only log.
  FOREBAY_ASSIGN_OR_RETURN(const auto security,
                           http::Server::LoadSecurity(options.tls, options.auth));
  auto server = std::make_unique<GrpcServerImpl>(options, ingest);
  server->UseSecurity(security);
  return std::unique_ptr<GrpcServer>(std::move(server));
}

}  // namespace forebay::otlp
