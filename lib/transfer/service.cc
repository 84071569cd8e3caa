#include "transfer/service.h"

#include <fmt/core.h>
#include <grpc/support/log.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <deque>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "transfer.grpc.pb.h"
#include "transfer/internal/credentials.h"
#include "transfer/internal/wire.h"
#include "wal/segment_format.h"

namespace forebay::transfer {
namespace {

constexpr size_t kMaxMemberName = 253;
constexpr std::chrono::milliseconds kServiceRoomStep{20};
// The next call learns from Hello that this node leaves.
constexpr std::chrono::milliseconds kLeavingRetry{1000};
constexpr int kStreamsPerConnection = 16;
// gRPC keeps some threads for itself.
constexpr int kThreadsOfGrpc = 8;

using grpc::StatusCode;
using internal::ToWire;

// Names stand in journal records, divided by blanks.
bool IsMemberName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxMemberName &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

void ForwardLog(gpr_log_func_args* line) {
  if (line->severity != GPR_LOG_SEVERITY_ERROR) return;
  LogWarn("grpc", {{"message", std::string(line->message)}});
}

class Service final : public v1::Transfer::Service {
 public:
  Service(ServiceOptions options, Intake& intake) : options_(std::move(options)), intake_(intake) {}

  grpc::Status Hello(grpc::ServerContext* context, const v1::HelloRequest* request,
                     v1::HelloReply* reply) override {
    if (auto status = CheckCall(*context, request->parties()); !status.ok()) return status;
    if (request->protocol() == 0) {
      return {StatusCode::FAILED_PRECONDITION, "a protocol before 1 is not spoken here"};
    }
    reply->set_protocol(std::min(request->protocol(), kProtocol));
    reply->set_block_version(wal::kBlockVersionSeries);
    reply->set_release(options_.release);
    reply->set_leaving(intake_.leaving());
    reply->set_max_segment_bytes(wal::kMaxPeerSegmentBytes);
    return grpc::Status::OK;
  }

  grpc::Status Send(grpc::ServerContext* context, grpc::ServerReader<v1::SendRequest>* reader,
                    v1::SendReply* reply) override {
    v1::SendRequest message;
    if (!reader->Read(&message) || !message.has_parties()) {
      return {StatusCode::INVALID_ARGUMENT, "the first message does not say who calls"};
    }
    if (auto status = CheckCall(*context, message.parties()); !status.ok()) return status;
    Stream stream(*this, message.parties().from(), *reply);
    while (reader->Read(&message)) {
      const Stream::Next next = stream.Take(message);
      if (next == Stream::Next::kStop) break;
      if (next == Stream::Next::kBad) {
        stream.SettleAll();
        return {StatusCode::INVALID_ARGUMENT, stream.fault()};
      }
    }
    stream.SettleAll();
    return grpc::Status::OK;
  }

  grpc::Status Recall(grpc::ServerContext* context, const v1::RecallRequest* request,
                      v1::RecallReply* reply) override {
    if (auto status = CheckCall(*context, request->parties()); !status.ok()) return status;
    if (static_cast<size_t>(request->segments_size()) > kMaxSegmentsPerStream) {
      return {StatusCode::INVALID_ARGUMENT, "too many segments in one call"};
    }
    for (int i = 0; i < request->segments_size(); ++i) {
      const v1::SegmentHead& head = request->segments(i);
      const Answer answer = intake_.Recall(
          {request->parties().from(), head.file_name(), head.bytes(), head.rows(), {}, {}});
      ToWire(answer, static_cast<uint32_t>(i), *reply->add_answers());
    }
    return grpc::Status::OK;
  }

 private:
  // The segments of one call.
  class Stream {
   public:
    enum class Next { kMore, kStop, kBad };

    Stream(Service& service, std::string origin, v1::SendReply& reply)
        : service_(service), origin_(std::move(origin)), reply_(reply) {}
    ~Stream() { FOREBAY_CHECK(offers_.empty()); }

    const std::string& fault() const { return fault_; }

    Next Take(const v1::SendRequest& message) {
      while (!offers_.empty() && Intake::Decided(*offers_.front().second)) SettleFront();
      if (message.has_head()) return Open(message.head());
      return Add(message.data());
    }
    void SettleAll() {
      while (!offers_.empty()) SettleFront();
    }

   private:
    Next Bad(std::string fault) {
      fault_ = std::move(fault);
      return Next::kBad;
    }

    Next Open(const v1::SegmentHead& head) {
      if (expected_ != 0) return Bad("a segment begins before the one before has ended");
      if (index_ == kMaxSegmentsPerStream) return Bad("too many segments in one call");
      auto name = wal::ParseSegmentName(head.file_name());
      if (!name.ok()) return Bad(name.error().message());
      if (head.bytes() < wal::kSegmentMagic.size() || head.bytes() > wal::kMaxPeerSegmentBytes) {
        return Bad(fmt::format("{}: {} bytes in a segment", head.file_name(), head.bytes()));
      }
      const uint32_t number = static_cast<uint32_t>(index_++);
      if (service_.intake_.leaving()) {
        ToWire({Outcome::kRefused, kLeavingRetry, -1, "this node is about to leave"}, number,
               *reply_.add_answers());
        return Next::kStop;
      }
      room_ = WaitForRoom(head.bytes());
      if (!room_) {
        ToWire({Outcome::kRefused, std::chrono::milliseconds(1000), -1,
                "cluster.transfer.max_in_flight is spent"},
               number, *reply_.add_answers());
        return Next::kStop;
      }
      segment_ = {};
      segment_.origin = origin_;
      segment_.name = *std::move(name);
      segment_.min_timestamp = head.min_timestamp();
      segment_.max_timestamp = head.max_timestamp();
      segment_.bytes.reserve(head.bytes());
      expected_ = head.bytes();
      rows_ = head.rows();
      number_ = number;
      return Next::kMore;
    }

    Next Add(const std::string& data) {
      if (data.empty() || segment_.bytes.size() + data.size() > expected_) {
        return Bad("more or fewer bytes than the segment's head says");
      }
      segment_.bytes += data;
      if (segment_.bytes.size() < expected_) return Next::kMore;
      expected_ = 0;
      offers_.emplace_back(
          number_, service_.intake_.Begin(std::move(segment_), {rows_, {}}, std::move(room_)));
      segment_ = {};
      return Next::kMore;
    }

    // The other offers of this call may be what takes the room: they end by themselves.
    Intake::Room WaitForRoom(uint64_t bytes) {
      const auto until = std::chrono::steady_clock::now() + service_.options_.room_wait;
      while (true) {
        Intake::Room room = service_.intake_.Reserve(origin_, bytes);
        if (room || std::chrono::steady_clock::now() >= until) return room;
        if (offers_.empty()) {
          std::this_thread::sleep_for(kServiceRoomStep);
        } else {
          SettleFront();
        }
      }
    }

    void SettleFront() {
      auto [number, offer] = std::move(offers_.front());
      offers_.pop_front();
      ToWire(service_.intake_.Settle(std::move(offer)), number, *reply_.add_answers());
    }

    Service& service_;
    const std::string origin_;
    v1::SendReply& reply_;
    std::string fault_;
    size_t index_ = 0;       // segments begun
    uint64_t expected_ = 0;  // bytes of the segment that is being read; 0: none is
    uint64_t rows_ = 0;      // that its head announced
    uint32_t number_ = 0;    // its index
    wal::PeerSegment segment_;
    Intake::Room room_;
    std::deque<std::pair<uint32_t, Intake::OfferPtr>> offers_;
  };

  // Without a deadline a peer that stops in the middle would hold a thread for ever.
  grpc::Status CheckCall(const grpc::ServerContext& context, const v1::Parties& parties) const {
    if (context.deadline() > std::chrono::system_clock::now() + kMaxCallTime) {
      return {StatusCode::FAILED_PRECONDITION,
              fmt::format("the call needs a deadline within {} minutes", kMaxCallTime.count())};
    }
    if (!IsMemberName(parties.from())) {
      return {StatusCode::INVALID_ARGUMENT, "the sender's name is empty or has odd characters"};
    }
    if (parties.to() != options_.member) {
      return {StatusCode::FAILED_PRECONDITION,
              fmt::format("this is {}, not {}", options_.member, parties.to())};
    }
    return grpc::Status::OK;
  }

  const ServiceOptions options_;
  Intake& intake_;
};

class GrpcServer final : public TransferServer {
 public:
  GrpcServer(const ServiceOptions& options, Intake& intake,
             std::shared_ptr<grpc::ServerCredentials> credentials)
      : options_(options), service_(options, intake), credentials_(std::move(credentials)) {}
  ~GrpcServer() override { Stop(std::chrono::steady_clock::now()); }

  Status Start() override {
    grpc::ServerBuilder builder;
    int port = 0;
    const bool any_host = options_.listen.starts_with(":");
    builder.AddListeningPort(any_host ? "[::]" + options_.listen : options_.listen, credentials_,
                             &port);
    builder.RegisterService(&service_);
    builder.SetMaxReceiveMessageSize(static_cast<int>(2 * kChunkBytes));
    grpc::ResourceQuota quota("transfer");
    quota.SetMaxThreads(kMaxCalls + kThreadsOfGrpc);
    builder.SetResourceQuota(quota);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnection);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, internal::kKeepaliveMillis);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, internal::kKeepaliveTimeoutMillis);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                               internal::kKeepaliveMillis / 2);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port == 0) {
      return Error(ErrorCode::kUnavailable,
                   fmt::format("listen.transfer: {} cannot be had", options_.listen));
    }
    port_ = static_cast<uint16_t>(port);
    return {};
  }
  uint16_t port() const override { return port_; }

  void Stop(MonotonicTime deadline) override {
    if (server_ == nullptr) return;
    const auto left = std::max(deadline - std::chrono::steady_clock::now(),
                               std::chrono::steady_clock::duration::zero());
    server_->Shutdown(std::chrono::system_clock::now() +
                      std::chrono::duration_cast<std::chrono::milliseconds>(left));
    server_->Wait();
    server_.reset();
  }

 private:
  const ServiceOptions options_;
  Service service_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
  std::unique_ptr<grpc::Server> server_;
  uint16_t port_ = 0;
};

}  // namespace

Result<std::unique_ptr<TransferServer>> TransferServer::Create(const ServiceOptions& options,
                                                               Intake& intake) {
  gpr_set_log_function(ForwardLog);
  FOREBAY_ASSIGN_OR_RETURN(auto credentials, internal::ServerCredentials(options.tls));
  return std::unique_ptr<TransferServer>(
      std::make_unique<GrpcServer>(options, intake, std::move(credentials)));
}

}  // namespace forebay::transfer
