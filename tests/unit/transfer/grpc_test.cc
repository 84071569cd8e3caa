// Client and server over gRPC on loopback.
// Before gRPC, whose Abseil has macros of the same names.
// clang-format off
#include "transfer_harness.h"
// clang-format on

#include <grpcpp/create_channel.h>
#include <grpcpp/server_builder.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "transfer.grpc.pb.h"

namespace forebay::transfer {
namespace {

using testing::Doubles;
using testing::Receiver;
using testing::Sender;

std::vector<Outcome> OutcomesOf(const CallResult& result) {
  std::vector<Outcome> outcomes;
  for (const Answer& answer : result.answers) outcomes.push_back(answer.outcome);
  return outcomes;
}

TEST_CASE("transfer: many segments in one call arrive once, whole and in chunks") {
  io::MemoryFileSystem fs;
  Sender sender;
  Receiver receiver(fs);
  receiver.Serve();
  std::vector<OutgoingSegment> segments;
  for (uint64_t i = 0; i < 20; ++i) {
    segments.push_back(sender.Make("T" + std::to_string(i % 3), 100 + i, 10 * i));
  }
  segments.push_back(sender.Make("Large", 200, 200, 20'000, 20));
  REQUIRE(segments.back().bytes > 2 * kChunkBytes);
  const auto result = sender.client->Send(receiver.peer(), segments, Sender::Soon());
  CHECK_FALSE(result.failure.has_value());
  CHECK(OutcomesOf(result) == std::vector<Outcome>(21, Outcome::kAccepted));
  const auto again = sender.client->Send(receiver.peer(), segments, Sender::Soon());
  CHECK(OutcomesOf(again) == std::vector<Outcome>(21, Outcome::kDuplicate));
  CHECK(receiver.Values() == Doubles(0, 200 + 40'000));
  const auto recalled = sender.client->Recall(receiver.peer(), segments, Sender::Soon());
  CHECK(OutcomesOf(recalled) == std::vector<Outcome>(21, Outcome::kDuplicate));
}

TEST_CASE("transfer: a node that leaves says so before any byte is sent, and answers recalls") {
  io::MemoryFileSystem fs;
  Sender sender;
  Receiver receiver(fs);
  receiver.Serve();
  const std::vector<OutgoingSegment> before = {sender.Make("T", 1, 0)};
  REQUIRE(OutcomesOf(sender.client->Send(receiver.peer(), before, Sender::Soon())) ==
          std::vector<Outcome>{Outcome::kAccepted});
  receiver.intake->SetLeaving(true);
  const std::vector<OutgoingSegment> segments = {sender.Make("T", 2, 10)};
  const auto result = sender.client->Send(receiver.peer(), segments, Sender::Soon());
  CHECK(result.leaving);
  CHECK_FALSE(result.failure.has_value());
  CHECK(OutcomesOf(result) == std::vector<Outcome>{Outcome::kRefused});
  CHECK(OutcomesOf(sender.client->Recall(receiver.peer(), before, Sender::Soon())) ==
        std::vector<Outcome>{Outcome::kDuplicate});
  receiver.intake->SetLeaving(false);
  CHECK(OutcomesOf(sender.client->Send(receiver.peer(), segments, Sender::Soon())) ==
        std::vector<Outcome>{Outcome::kAccepted});
  CHECK(receiver.Values() == Doubles(0, 20));
}

TEST_CASE("transfer: each segment has its own answer") {
  io::MemoryFileSystem fs;
  Sender sender;
  Receiver receiver(fs);
  receiver.Serve();
  const auto good = sender.Make("T", 1, 0);
  const auto bad = sender.Make("T", 2, 10);
  auto gone = sender.Make("T", 3, 20);
  const auto last = sender.Make("T", 4, 30);
  std::string bytes = *io::ReadFile(sender.fs, bad.path, 1 << 20);
  bytes[bytes.size() / 2] ^= 1;
  REQUIRE(io::WriteFileDurably(sender.fs, bad.path, bytes).ok());
  gone.path = "sent/gone";
  const auto result =
      sender.client->Send(receiver.peer(), std::vector{good, bad, gone, last}, Sender::Soon());
  CHECK(OutcomesOf(result) ==
        std::vector{Outcome::kAccepted, Outcome::kInvalid, Outcome::kRefused, Outcome::kAccepted});
  CHECK(result.answers[1].bad_block == 1);
  auto values = Doubles(0, 10);
  values.merge(Doubles(30, 10));
  CHECK(receiver.Values() == values);
}

TEST_CASE("transfer: a peer that cannot be reached or is another one leaves nothing open") {
  io::MemoryFileSystem fs;
  Sender sender;
  Receiver receiver(fs);
  receiver.Serve();
  const std::vector segments{sender.Make("T", 1, 0)};
  const auto unreachable = sender.client->Send({"node-0", "127.0.0.1:1"}, segments, Sender::Soon());
  CHECK(OutcomesOf(unreachable) == std::vector{Outcome::kRefused});
  REQUIRE(unreachable.failure.has_value());
  const auto other =
      sender.client->Send({"node-7", receiver.peer().address}, segments, Sender::Soon());
  CHECK(OutcomesOf(other) == std::vector{Outcome::kRefused});
  REQUIRE(other.failure.has_value());
  CHECK_THAT(other.failure->message(), Catch::Contains("this is node-0, not node-7"));
  CHECK(OutcomesOf(sender.client->Recall({"node-7", receiver.peer().address}, segments,
                                         Sender::Soon())) == std::vector{Outcome::kUnknown});
}

TEST_CASE("transfer: a call without an answer leaves open what was sent, until the peer is asked") {
  io::MemoryFileSystem fs;
  Sender sender;
  Receiver receiver(fs);
  receiver.Serve();
  receiver.wal->hold = true;
  const std::vector segments{sender.Make("T", 1, 0)};
  CallResult result;
  std::thread call([&] {
    result = sender.client->Send(receiver.peer(), segments,
                                 std::chrono::steady_clock::now() + std::chrono::seconds(1));
  });
  call.join();
  CHECK(OutcomesOf(result) == std::vector{Outcome::kUnknown});
  REQUIRE(result.failure.has_value());
  CHECK(OutcomesOf(sender.client->Recall(receiver.peer(), segments, Sender::Soon())) ==
        std::vector{Outcome::kUnknown});
  receiver.wal->LetGo();
  std::vector<Outcome> outcomes;
  do {
    outcomes = OutcomesOf(sender.client->Recall(receiver.peer(), segments, Sender::Soon()));
  } while (outcomes == std::vector{Outcome::kUnknown});
  CHECK(outcomes == std::vector{Outcome::kDuplicate});
  CHECK(receiver.Values() == Doubles(0, 10));
}

TEST_CASE("transfer: without room the rest goes back, and nothing is lost or left open") {
  io::MemoryFileSystem fs;
  Sender sender;
  const std::vector segments{sender.Make("T", 1, 0), sender.Make("T", 2, 10)};
  Receiver receiver(fs, segments[0].bytes + 1);
  receiver.Serve({}, "node-0", std::chrono::milliseconds(50));
  {
    const auto room = receiver.intake->Reserve("other", segments[0].bytes);
    const auto result = sender.client->Send(receiver.peer(), segments, Sender::Soon());
    CHECK_FALSE(result.failure.has_value());
    CHECK(OutcomesOf(result) == std::vector{Outcome::kRefused, Outcome::kRefused});
    CHECK(result.answers[0].retry_after.count() > 0);
  }
  // One after the other fits.
  const auto result = sender.client->Send(receiver.peer(), segments, Sender::Soon());
  CHECK(OutcomesOf(result) == std::vector{Outcome::kAccepted, Outcome::kAccepted});
}

TEST_CASE("transfer: a client that is stopped ends its calls and makes none") {
  io::MemoryFileSystem fs;
  Sender sender;
  Receiver receiver(fs);
  receiver.Serve();
  receiver.wal->hold = true;
  const std::vector segments{sender.Make("T", 1, 0)};
  CallResult result;
  std::thread call(
      [&] { result = sender.client->Send(receiver.peer(), segments, Sender::Soon()); });
  while (receiver.wal->held == nullptr) std::this_thread::yield();
  sender.client->Stop();
  call.join();
  CHECK(OutcomesOf(result) == std::vector{Outcome::kUnknown});
  receiver.wal->LetGo();
  CHECK(OutcomesOf(sender.client->Send(receiver.peer(), segments, Sender::Soon())) ==
        std::vector{Outcome::kRefused});
}

// What no client of ours sends.
class RawCalls {
 public:
  explicit RawCalls(const Receiver& receiver)
      : stub_(v1::Transfer::NewStub(
            grpc::CreateChannel(receiver.peer().address, grpc::InsecureChannelCredentials()))) {}
  // The status of a call with these messages.
  grpc::Status Send(const std::vector<v1::SendRequest>& messages,
                    std::chrono::seconds time = std::chrono::seconds(20)) {
    grpc::ClientContext context;
    if (time.count() > 0) context.set_deadline(std::chrono::system_clock::now() + time);
    v1::SendReply reply;
    const auto writer = stub_->Send(&context, &reply);
    for (const auto& message : messages) {
      if (!writer->Write(message)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }
  static v1::SendRequest Parties(const std::string& from = "x") {
    v1::SendRequest message;
    message.mutable_parties()->set_from(from);
    message.mutable_parties()->set_to("node-0");
    return message;
  }
  static v1::SendRequest Head(const std::string& name, uint64_t bytes) {
    v1::SendRequest message;
    message.mutable_head()->set_file_name(name);
    message.mutable_head()->set_bytes(bytes);
    return message;
  }
  static v1::SendRequest Data(size_t bytes) {
    v1::SendRequest message;
    message.set_data(std::string(bytes, 'x'));
    return message;
  }
  v1::HelloReply Hello(uint32_t protocol, grpc::Status& status) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    v1::HelloRequest request;
    request.mutable_parties()->set_from("x");
    request.mutable_parties()->set_to("node-0");
    request.set_protocol(protocol);
    v1::HelloReply reply;
    status = stub_->Hello(&context, request, &reply);
    return reply;
  }

 private:
  std::unique_ptr<v1::Transfer::Stub> stub_;
};

TEST_CASE("transfer: what breaks the rules is refused") {
  io::MemoryFileSystem fs;
  Receiver receiver(fs);
  receiver.Serve();
  RawCalls raw(receiver);
  using R = RawCalls;
  const std::string name = "Metrics_T_2cawzsrvl4mw4_5.wal";
  constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
  CHECK(raw.Send({}).error_code() == kInvalid);
  CHECK(raw.Send({R::Head(name, 100)}).error_code() == kInvalid);
  CHECK(raw.Send({R::Parties("")}).error_code() == kInvalid);
  CHECK(raw.Send({R::Parties("a b")}).error_code() == kInvalid);
  CHECK(raw.Send({R::Parties(), R::Head("../x.wal", 100)}).error_code() == kInvalid);
  CHECK(raw.Send({R::Parties(), R::Head(name, 1ULL << 40)}).error_code() == kInvalid);
  CHECK(raw.Send({R::Parties(), R::Head(name, 0)}).error_code() == kInvalid);
  CHECK(raw.Send({R::Parties(), R::Data(5)}).error_code() == kInvalid);
  CHECK(raw.Send({R::Parties(), R::Head(name, 100), R::Data(101)}).error_code() == kInvalid);
  CHECK(raw.Send({R::Parties(), R::Head(name, 100), R::Head(name, 100)}).error_code() == kInvalid);
  CHECK(raw.Send({R::Parties(), R::Head(name, 9), R::Data(kChunkBytes * 3)}).error_code() ==
        grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(raw.Send({R::Parties()}, std::chrono::seconds(0)).error_code() ==
        grpc::StatusCode::FAILED_PRECONDITION);
  // Cut off in a segment: the call is in order, and the segment is not there.
  CHECK(raw.Send({R::Parties(), R::Head(name, 100), R::Data(50)}).ok());
  CHECK(receiver.intake->Reserve("x", 32 << 20));  // the room is back
  CHECK(receiver.Values().empty());
}

TEST_CASE("transfer: the older of two protocols is spoken") {
  io::MemoryFileSystem fs;
  Receiver receiver(fs);
  receiver.Serve();
  RawCalls raw(receiver);
  grpc::Status status;
  CHECK(raw.Hello(99, status).protocol() == kProtocol);
  CHECK(status.ok());
  (void)raw.Hello(0, status);
  CHECK(status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
}

// A peer of another release.
class OddPeer final : public v1::Transfer::Service {
 public:
  grpc::Status Hello(grpc::ServerContext*, const v1::HelloRequest*,
                     v1::HelloReply* reply) override {
    reply->set_protocol(protocol);
    reply->set_block_version(block_version);
    reply->set_release("9.9");
    reply->set_max_segment_bytes(1 << 20);
    return grpc::Status::OK;
  }
  grpc::Status Send(grpc::ServerContext*, grpc::ServerReader<v1::SendRequest>* reader,
                    v1::SendReply* reply) override {
    v1::SendRequest message;
    while (reader->Read(&message)) {
    }
    auto* answer = reply->add_answers();
    answer->set_outcome(static_cast<v1::Outcome>(77));
    return grpc::Status::OK;
  }
  uint32_t protocol = kProtocol;
  uint32_t block_version = wal::kBlockVersionSeries;
};

TEST_CASE("transfer: a peer of another release gets only what it can read") {
  OddPeer odd;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&odd);
  const auto server = builder.BuildAndStart();
  Sender sender;
  const Peer peer{"odd", "127.0.0.1:" + std::to_string(port)};
  const std::vector segments{sender.Make("T", 1, 0)};
  SECTION("an older reader of blocks") {
    odd.block_version = wal::kBlockVersionRows;
    const auto result = sender.client->Send(peer, segments, Sender::Soon());
    CHECK(OutcomesOf(result) == std::vector{Outcome::kRefused});
    REQUIRE(result.failure.has_value());
    CHECK_THAT(result.failure->message(), Catch::Contains("9.9"));
  }
  SECTION("an answer of the future is not understood, and so not known") {
    const auto result = sender.client->Send(peer, segments, Sender::Soon());
    CHECK(OutcomesOf(result) == std::vector{Outcome::kUnknown});
  }
  SECTION("a segment above its limit stays here") {
    std::vector large{segments};
    large[0].bytes = 2 << 20;
    CHECK(OutcomesOf(sender.client->Send(peer, large, Sender::Soon())) ==
          std::vector{Outcome::kInvalid});
  }
}

// Certificates made by openssl in a temporary directory.
class Certificates {
 public:
  Certificates() {
    char name[] = "transfer-tls-XXXXXX";
    std::string path = (std::filesystem::temp_directory_path() / name).string();
    REQUIRE(mkdtemp(path.data()) != nullptr);
    directory = path;
    Authority("ca");
    Authority("other");
    Issue("ca", "node");
    Issue("other", "stranger");
  }
  ~Certificates() { std::filesystem::remove_all(directory); }
  std::string Path(const std::string& name) const { return directory + "/" + name; }
  config::TransferTls Tls(const std::string& who, const std::string& ca = "ca") const {
    config::TransferTls tls;
    tls.cert_file = Path(who + ".pem");
    tls.key_file = Path(who + ".key");
    tls.ca_file = Path(ca + ".pem");
    tls.server_name = "forebay.test";
    return tls;
  }

 private:
  void Run(const std::string& arguments) const {
    const std::string command = "cd " + directory + " && openssl " + arguments + " 2>/dev/null";
    REQUIRE(std::system(command.c_str()) == 0);
  }
  void Authority(const std::string& name) {
    Run("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=" + name +
        " -keyout " + name + ".key -out " + name + ".pem");
  }
  void Issue(const std::string& ca, const std::string& name) {
    std::ofstream(Path("san")) << "subjectAltName=DNS:forebay.test\n";
    Run("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=" + name + " -keyout " +
        name + ".key -out " + name + ".csr");
    Run("x509 -req -in " + name + ".csr -days 2 -CA " + ca + ".pem -CAkey " + ca +
        ".key -CAcreateserial -extfile san -out " + name + ".pem");
  }
  std::string directory;
};

TEST_CASE("transfer: with TLS peers must know each other's authority") {
  const Certificates certificates;
  io::MemoryFileSystem fs;
  Receiver receiver(fs);
  receiver.Serve(certificates.Tls("node"));
  const auto give = [&](Sender& sender, uint64_t id) {
    const std::vector segments{sender.Make("T", id, 10 * id)};
    return OutcomesOf(sender.client->Send(receiver.peer(), segments, Sender::Soon())).front();
  };
  Sender good(certificates.Tls("node"));
  CHECK(give(good, 1) == Outcome::kAccepted);
  Sender plain;
  CHECK(give(plain, 2) == Outcome::kRefused);
  Sender stranger(certificates.Tls("stranger"));
  CHECK(give(stranger, 3) == Outcome::kRefused);
  Sender mistrusting(certificates.Tls("node", "other"));
  CHECK(give(mistrusting, 4) == Outcome::kRefused);
  config::TransferTls other_host = certificates.Tls("node");
  other_host.server_name = "elsewhere.test";
  Sender misled(other_host);
  CHECK(give(misled, 5) == Outcome::kRefused);
  CHECK(receiver.Values() == Doubles(10, 10));
}

TEST_CASE("transfer: certificate files that cannot be used are named") {
  io::MemoryFileSystem fs;
  const Certificates certificates;
  config::TransferTls tls = certificates.Tls("node");
  tls.key_file = certificates.Path("none.key");
  const auto missing = MakePeerClient({"node-1", "test", tls}, fs);
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().code() == ErrorCode::kNotFound);
  CHECK_THAT(missing.error().message(), Catch::Contains("none.key"));
  tls.key_file = tls.cert_file;
  const auto wrong = MakePeerClient({"node-1", "test", tls}, fs);
  REQUIRE_FALSE(wrong.ok());
  CHECK(wrong.error().code() == ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace forebay::transfer
