#include "transfer/client.h"

// Before gRPC, whose Abseil has macros of the same names.
// clang-format off
#include "base/mutex.h"
// clang-format on

#include <fmt/core.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "transfer.grpc.pb.h"
#include "transfer/internal/credentials.h"
#include "transfer/internal/wire.h"
#include "wal/segment_format.h"

namespace forebay::transfer {
namespace {

using internal::FromStatus;
using internal::FromWire;

// Of a connection that failed: how long until it is tried again.
constexpr int kReconnectMinMillis = 200;
// A try to connect may take so long: lines are slow, handshakes long.
constexpr int kConnectMillis = 5000;
constexpr int kReconnectMaxMillis = 2000;
// A peer that is there answers this at once.
constexpr std::chrono::seconds kHelloTime{5};

Answer NotSent(std::string reason) { return {Outcome::kRefused, {}, -1, std::move(reason)}; }

class GrpcClient final : public PeerClient {
 public:
  GrpcClient(ClientOptions options, io::FileSystem& fs,
             std::shared_ptr<grpc::ChannelCredentials> credentials)
      : options_(std::move(options)), fs_(fs), credentials_(std::move(credentials)) {}

  CallResult Send(const Peer& peer, std::span<const OutgoingSegment> segments,
                  MonotonicTime deadline) override {
    CallResult result;
    result.answers.assign(segments.size(), NotSent("not sent"));
    const auto stub = StubOf(peer);
    // What fails here leaves nothing open: no byte of a segment was sent.
    const auto hello = SayHello(*stub, peer, deadline);
    if (!hello.ok()) {
      result.failure = hello.error();
      return result;
    }
    if (hello->leaving()) {
      result.answers.assign(segments.size(), NotSent("the peer is about to leave"));
      result.leaving = true;
      return result;
    }
    SendCall call(*this, peer, segments, hello->max_segment_bytes());
    call.Run(*stub, deadline, result);
    return result;
  }

  CallResult Recall(const Peer& peer, std::span<const OutgoingSegment> segments,
                    MonotonicTime deadline) override {
    CallResult result;
    result.answers.assign(segments.size(), Answer{Outcome::kUnknown, {}, -1, "not asked"});
    v1::RecallRequest request;
    SetParties(peer, *request.mutable_parties());
    for (const OutgoingSegment& segment : segments) FillHead(segment, *request.add_segments());
    const auto stub = StubOf(peer);
    Call call(*this, deadline);
    v1::RecallReply reply;
    const grpc::Status status = stub->Recall(&call.context, request, &reply);
    if (!status.ok()) {
      result.failure = FromStatus(status, peer.name);
      return result;
    }
    for (const v1::Answer& answer : reply.answers()) {
      if (answer.index() < segments.size()) result.answers[answer.index()] = FromWire(answer);
    }
    return result;
  }

  void Stop() override {
    MutexLock lock(mutex_);
    stopped_ = true;
    for (grpc::ClientContext* context : running_) context->TryCancel();
  }

 private:
  using Stub = v1::Transfer::Stub;

  // A context that Stop can cancel.
  struct Call {
    Call(GrpcClient& client, MonotonicTime deadline) : owner(client) {
      const auto left = deadline - std::chrono::steady_clock::now();
      context.set_deadline(std::chrono::system_clock::now() +
                           std::chrono::duration_cast<std::chrono::milliseconds>(left));
      MutexLock lock(owner.mutex_);
      owner.running_.insert(&context);
      if (owner.stopped_) context.TryCancel();
    }
    ~Call() {
      MutexLock lock(owner.mutex_);
      owner.running_.erase(&context);
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    GrpcClient& owner;
    grpc::ClientContext context;
  };

  // One stream of segments.
  class SendCall {
   public:
    SendCall(GrpcClient& client, const Peer& peer, std::span<const OutgoingSegment> segments,
             uint64_t max_bytes)
        : client_(client), peer_(peer), segments_(segments), max_bytes_(max_bytes) {}

    void Run(Stub& stub, MonotonicTime deadline, CallResult& result) {
      Call call(client_, deadline);
      v1::SendReply reply;
      const auto writer = stub.Send(&call.context, &reply);
      v1::SendRequest message;
      client_.SetParties(peer_, *message.mutable_parties());
      bool open = writer->Write(message);
      std::vector<size_t> sent;  // by index in the call
      for (size_t i = 0; i < segments_.size() && open; ++i) {
        if (segments_[i].bytes > max_bytes_) {
          result.answers[i] = {Outcome::kInvalid, {}, -1, "it is larger than the peer takes"};
          continue;
        }
        const auto file = client_.fs_.Open(segments_[i].path, io::OpenMode::kRead);
        if (!file.ok()) {
          result.answers[i] = NotSent(file.error().ToString());
          continue;
        }
        sent.push_back(i);
        open = WriteSegment(*writer, i, **file, result);
      }
      if (!broken_) (void)writer->WritesDone();
      if (broken_) call.context.TryCancel();
      const grpc::Status status = writer->Finish();
      if (!status.ok()) {
        result.failure = broken_ ? *broken_ : FromStatus(status, peer_.name);
        return;
      }
      // The peer has decided on all that it names, and has none of the others.
      for (const size_t i : sent) result.answers[i] = NotSent("the peer stopped reading");
      for (const v1::Answer& answer : reply.answers()) {
        if (answer.index() < sent.size()) {
          result.answers[sent[answer.index()]] = FromWire(answer);
        }
      }
    }

   private:
    // False when the stream takes no more: the peer has answered, or is gone.
    bool WriteSegment(grpc::ClientWriter<v1::SendRequest>& writer, size_t index, io::File& file,
                      CallResult& result) {
      const OutgoingSegment& segment = segments_[index];
      v1::SendRequest message;
      FillHead(segment, *message.mutable_head());
      if (!writer.Write(message)) return false;
      for (uint64_t offset = 0; offset < segment.bytes;) {
        const uint64_t bytes = std::min<uint64_t>(kChunkBytes, segment.bytes - offset);
        std::string& data = *message.mutable_data();
        data.resize(bytes);
        const auto got = file.ReadAt(offset, data);
        if (!got.ok() || *got != bytes) {
          broken_ =
              got.ok() ? Error(ErrorCode::kIo, segment.path + ": became shorter") : got.error();
          return false;
        }
        offset += bytes;
        // From its last byte on the peer may have it.
        if (offset == segment.bytes) {
          result.answers[index] = {Outcome::kUnknown, {}, -1, "sent, not answered"};
        }
        if (!writer.Write(message)) return false;
      }
      return true;
    }

    GrpcClient& client_;
    const Peer& peer_;
    const std::span<const OutgoingSegment> segments_;
    const uint64_t max_bytes_;
    std::optional<Error> broken_;  // on this side
  };

  static void FillHead(const OutgoingSegment& segment, v1::SegmentHead& head) {
    head.set_file_name(segment.file_name);
    head.set_bytes(segment.bytes);
    head.set_rows(segment.rows);
    head.set_min_timestamp(segment.min_timestamp);
    head.set_max_timestamp(segment.max_timestamp);
  }

  void SetParties(const Peer& peer, v1::Parties& parties) const {
    parties.set_from(options_.member);
    parties.set_to(peer.name);
  }

  Result<v1::HelloReply> SayHello(Stub& stub, const Peer& peer, MonotonicTime deadline) {
    Call call(*this, std::min(deadline, std::chrono::steady_clock::now() + kHelloTime));
    v1::HelloRequest request;
    SetParties(peer, *request.mutable_parties());
    request.set_protocol(kProtocol);
    request.set_block_version(wal::kBlockVersionSeries);
    request.set_release(options_.release);
    v1::HelloReply reply;
    const grpc::Status status = stub.Hello(&call.context, request, &reply);
    if (!status.ok()) return FromStatus(status, peer.name);
    if (reply.protocol() != kProtocol || reply.block_version() < wal::kBlockVersionSeries) {
      return Error(ErrorCode::kFailedPrecondition,
                   fmt::format("peer {} of release {} speaks protocol {} and reads blocks up to "
                               "version {}; {} and {} are needed",
                               peer.name, reply.release(), reply.protocol(), reply.block_version(),
                               kProtocol, wal::kBlockVersionSeries));
    }
    return reply;
  }

  std::shared_ptr<Stub> StubOf(const Peer& peer) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    Connection& connection = connections_[peer.name];
    if (connection.stub == nullptr || connection.address != peer.address) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, internal::kKeepaliveMillis);
      arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, internal::kKeepaliveTimeoutMillis);
      arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectMillis);
      arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMinMillis);
      arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMaxMillis);
      // A pod that comes back has another address and the same name.
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      if (!options_.tls.server_name.empty()) {
        arguments.SetSslTargetNameOverride(options_.tls.server_name);
      }
      connection.address = peer.address;
      connection.stub =
          v1::Transfer::NewStub(grpc::CreateCustomChannel(peer.address, credentials_, arguments));
    }
    return connection.stub;
  }

  struct Connection {
    std::string address;
    std::shared_ptr<Stub> stub;
  };

  const ClientOptions options_;
  io::FileSystem& fs_;
  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
  Mutex mutex_;
  bool stopped_ GUARDED_BY(mutex_) = false;
  std::set<grpc::ClientContext*> running_ GUARDED_BY(mutex_);
  std::map<std::string, Connection> connections_ GUARDED_BY(mutex_);  // by peer
};

}  // namespace

Result<std::unique_ptr<PeerClient>> MakePeerClient(const ClientOptions& options,
                                                   io::FileSystem& fs) {
  FOREBAY_ASSIGN_OR_RETURN(auto credentials, internal::ChannelCredentials(options.tls));
  return std::unique_ptr<PeerClient>(
      std::make_unique<GrpcClient>(options, fs, std::move(credentials)));
}

}  // namespace forebay::transfer
