// The only file of the module that knows gRPC.
#include "loadgen/grpc_sender.h"

#include <fmt/core.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "loadgen/otlp_answer.h"
#include "loadgen/sender.h"

namespace forebay::loadgen {
namespace {

constexpr std::chrono::milliseconds kGrpcStopCheck{100};

constexpr const char* kExportMethods[] = {
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export"};

using MetadataList = std::vector<std::pair<std::string, std::string>>;

void AddMetadata(std::string name, const std::string& value, MetadataList& out) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  out.emplace_back(std::move(name), value);
}

Result<std::string> ReadPem(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file || text.empty())
    return Error(ErrorCode::kNotFound, fmt::format("'{}' cannot be read or is empty", path));
  return text;
}

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices)
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

}  // namespace

struct GrpcSender::Impl {
  Impl(const LoadOptions& options, std::shared_ptr<grpc::Channel> to)
      : method(kExportMethods[static_cast<size_t>(options.signal)]),
        channel(std::move(to)),
        stub(channel) {
    if (!options.tenant.empty()) AddMetadata(options.tenant_header, options.tenant, metadata);
    if (!options.basic.empty())
      AddMetadata("authorization", "Basic " + Base64(options.basic), metadata);
    if (!options.bearer.empty()) AddMetadata("authorization", "Bearer " + options.bearer, metadata);
    for (const auto& [name, value] : options.headers) AddMetadata(name, value, metadata);
  }
  ~Impl() {
    // Nothing is under way: each call was waited for.
    queue.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue.Next(&tag, &ok)) {
    }
  }

  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<Reply> Post(std::string_view body, MonotonicTime deadline, const std::stop_token& stop,
                     std::chrono::milliseconds stop_grace) {
    FOREBAY_RETURN_IF_ERROR(Connect(deadline, stop));
    grpc::ClientContext context;
    context.set_deadline(SystemTime(deadline));
    for (const auto& [name, value] : metadata) context.AddMetadata(name, value);
    // The body outlives the call, so its bytes are not copied.
    const grpc::Slice slice(const_cast<char*>(body.data()), body.size(), grpc::Slice::STATIC_SLICE);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    grpc::Status status;
    const auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
    call->StartCall();
    call->Finish(&response, &status, this);
    Wait(context, stop, stop_grace);
    return MakeReply(status, response);
  }

  static std::chrono::system_clock::time_point SystemTime(MonotonicTime time) {
    return std::chrono::system_clock::now() +
           std::chrono::duration_cast<std::chrono::system_clock::duration>(
               time - std::chrono::steady_clock::now());
  }

  // A call is begun on a connection that stands, so what failed before it was not taken.
  Status Connect(MonotonicTime deadline, const std::stop_token& stop) {
    grpc_connectivity_state state = channel->GetState(true);
    if (state == GRPC_CHANNEL_READY && connects > 0) return OkStatus();
    while (state != GRPC_CHANNEL_READY) {
      const auto now = std::chrono::steady_clock::now();
      if (state == GRPC_CHANNEL_TRANSIENT_FAILURE)
        return Error(ErrorCode::kUnavailable, "the connection cannot be made");
      if (stop.stop_requested() || now >= deadline)
        return Error(ErrorCode::kUnavailable, "no connection in time");
      channel->WaitForStateChange(state, SystemTime(std::min(deadline, now + kGrpcStopCheck)));
      state = channel->GetState(true);
    }
    ++connects;
    return OkStatus();
  }

  void Wait(grpc::ClientContext& context, const std::stop_token& stop,
            std::chrono::milliseconds stop_grace) {
    std::optional<std::chrono::steady_clock::time_point> give_up;
    void* tag = nullptr;
    bool ok = false;
    while (queue.AsyncNext(&tag, &ok, std::chrono::system_clock::now() + kGrpcStopCheck) ==
           grpc::CompletionQueue::TIMEOUT) {
      const auto now = std::chrono::steady_clock::now();
      if (stop.stop_requested() && !give_up) give_up = now + stop_grace;
      if (give_up && now >= *give_up) context.TryCancel();
    }
  }

  static Result<Reply> MakeReply(const grpc::Status& status, const grpc::ByteBuffer& response) {
    Reply reply;
    reply.status = status.error_code();
    if (status.ok()) {
      reply.body = BytesOf(response);
      return reply;
    }
    reply.body = status.error_message();
    reply.retry_after = ParseRetryInfo(status.error_details());
    const bool own = status.error_code() == grpc::StatusCode::CANCELLED ||
                     status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED ||
                     status.error_code() == grpc::StatusCode::UNAVAILABLE;
    if (own && !reply.retry_after) return Error(ErrorCode::kAborted, reply.body);
    return reply;
  }

  const std::string method;
  const std::shared_ptr<grpc::Channel> channel;
  grpc::GenericStub stub;
  grpc::CompletionQueue queue;
  MetadataList metadata;
  uint64_t connects = 0;
};

GrpcSender::GrpcSender(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GrpcSender::GrpcSender(GrpcSender&&) noexcept = default;
GrpcSender& GrpcSender::operator=(GrpcSender&&) noexcept = default;
GrpcSender::~GrpcSender() = default;

Result<Reply> GrpcSender::Post(std::string_view body, MonotonicTime deadline,
                               const std::stop_token& stop, std::chrono::milliseconds stop_grace) {
  return impl_->Post(body, deadline, stop, stop_grace);
}
uint64_t GrpcSender::connects() const { return impl_->connects; }

Result<GrpcSender> GrpcSender::Create(const LoadOptions& options) {
  FOREBAY_ASSIGN_OR_RETURN(const Endpoint endpoint, ParseUrl(options.url));
  if (endpoint.target != "/") {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("url '{}': gRPC takes no path, only host and port", options.url));
  }
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (endpoint.tls) {
    grpc::SslCredentialsOptions tls;
    FOREBAY_ASSIGN_OR_RETURN(tls.pem_root_certs, ReadPem(options.tls.ca_file));
    FOREBAY_ASSIGN_OR_RETURN(tls.pem_cert_chain, ReadPem(options.tls.certificate_file));
    FOREBAY_ASSIGN_OR_RETURN(tls.pem_private_key, ReadPem(options.tls.key_file));
    credentials = grpc::SslCredentials(tls);
  }
  grpc::ChannelArguments arguments;
  // Else all channels of one address would share a connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetMaxReceiveMessageSize(static_cast<int>(kMaxReplyBody));
  arguments.SetUserAgentPrefix(options.user_agent);
  const bool bracketed = endpoint.host.find(':') != std::string::npos;
  const std::string address = bracketed ? fmt::format("[{}]:{}", endpoint.host, endpoint.port)
                                        : fmt::format("{}:{}", endpoint.host, endpoint.port);
  return GrpcSender(std::make_unique<Impl>(
      options, grpc::CreateCustomChannel("dns:///" + address, credentials, arguments)));
}

}  // namespace forebay::loadgen
