// POST /transfer over a real HTTP server.
#include "transfer/adxmon_handler.h"

#include <zlib.h>

#include "http/client.h"
#include "transfer_harness.h"

namespace forebay::transfer {
namespace {

using testing::Doubles;
using testing::Receiver;
using testing::Sender;

std::string Gzip(const std::string& text) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, static_cast<uLong>(text.size())) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

// A receiving node with the port of adx-mon.
class Node {
 public:
  explicit Node(std::chrono::milliseconds room_wait = std::chrono::milliseconds(5000))
      : receiver(fs) {
    quarantine = std::make_unique<wal::Quarantine>(fs, "kept");
    REQUIRE(quarantine->Open().ok());
    REQUIRE(fs.CreateDirectories("spool").ok());
    REQUIRE(io::WriteFileDurably(fs, "spool/7.spool", "of a crash").ok());
    AdxMonHandler::Options options;
    options.spool = "spool";
    options.databases = {"Metrics"};
    options.drop_prefixes = {"Metrics_Noise_", "Elsewhere_"};
    options.member = "node-0";
    options.room_wait = room_wait;
    handler = std::make_unique<AdxMonHandler>(
        std::move(options), AdxMonHandler::Parts{fs, receiver.clock, *receiver.intake, *quarantine,
                                                 [this] { return refusal; }, receiver.registry});
    REQUIRE(handler->Start().ok());
    http::ServerOptions server_options;
    server_options.limits.io_threads = 1;
    server = *http::Server::Create(std::move(server_options));
    server->Route("POST", "/transfer", handler.get());
    REQUIRE(server->Start().ok());
  }
  ~Node() {
    (void)server->Stop(std::chrono::steady_clock::now() + std::chrono::seconds(10));
    handler->Stop();
  }
  int Post(const std::string& file_name, const std::string& body, bool gzip = false) {
    http::HeaderList headers;
    if (gzip) headers.emplace_back("Content-Encoding", "gzip");
    return PostTo("/transfer?filename=" + file_name, body, headers);
  }
  int PostTo(const std::string& target, const std::string& body,
             const http::HeaderList& headers = {}) {
    http::ClientRequest request;
    request.method = "POST";
    request.url = "http://127.0.0.1:" + std::to_string(server->port()) + target;
    request.headers = headers;
    request.body = body;
    const auto response = client->Do(request);
    REQUIRE(response.ok());
    return response->status;
  }
  size_t Spooled() { return (*fs.List("spool")).size(); }

  io::MemoryFileSystem fs;
  Receiver receiver;
  std::string refusal;
  std::unique_ptr<wal::Quarantine> quarantine;
  std::unique_ptr<AdxMonHandler> handler;
  std::unique_ptr<http::Server> server;
  std::unique_ptr<http::Client> client = *http::Client::Create({});
};

std::string BytesOf(Sender& sender, const OutgoingSegment& segment) {
  return *io::ReadFile(sender.fs, segment.path, 1ULL << 30);
}

TEST_CASE("adx-mon: a segment is stored once, as it is and gzipped, also of many parts") {
  Node node;
  Sender sender;
  CHECK(node.Spooled() == 0);  // what a crash left is gone
  const auto small = sender.Make("T", 1, 0);
  const std::string name = "Metrics_T_2cawzsrvl4mw4_1.wal";
  CHECK(node.Post(name, BytesOf(sender, small)) == 202);
  CHECK(node.Post(name, BytesOf(sender, small)) == 409);
  // Two segments behind one magic, under the name of the first: what adx-mon sends.
  const auto second = sender.Make("T", 2, 10);
  CHECK(node.Post(name,
                  Gzip(BytesOf(sender, small).substr(0, 8) + BytesOf(sender, second).substr(8)),
                  true) == 202);
  const auto large = sender.Make("Large", 3, 20, 90'000, 30);
  const std::string bytes = BytesOf(sender, large);
  REQUIRE(bytes.size() > kPartBytes);
  CHECK(node.Post("Metrics_Large_2cawzsrvl4mw4_3.wal", Gzip(bytes), true) == 202);
  CHECK(node.Post("Metrics_Large_2cawzsrvl4mw4_3.wal", bytes) == 409);
  CHECK(node.receiver.Values() == Doubles(0, 20 + 180'000));
  CHECK(node.Spooled() == 0);
  // The segment's head alone.
  CHECK(node.Post(name, bytes.substr(0, 8)) == 202);
  for (const auto& table : node.receiver.harness.store().Backlog()) {
    for (const auto& segment : table.segments) CHECK(segment->stays);
  }
}

TEST_CASE("adx-mon: what is wrong is refused and leaves nothing") {
  Node node;
  Sender sender;
  const std::string body = BytesOf(sender, sender.Make("T", 1, 0));
  const std::string name = "Metrics_T_2cawzsrvl4mw4_1.wal";
  CHECK(node.PostTo("/transfer", body) == 400);
  CHECK(node.PostTo("/transfer?filename=", body) == 400);
  CHECK(node.Post("..%2Fx.wal", body) == 400);
  CHECK(node.Post("Metrics_T_1.csv", body) == 400);
  CHECK(node.Post("Other_T_1.wal", body) == 400);
  CHECK(node.PostTo("/transfer?filename=" + name, body, {{"Content-Encoding", "br"}}) == 400);
  CHECK(node.Post(name, "not a segment") == 400);
  CHECK(node.Post(name, "") == 400);
  CHECK(node.Post(name, body, true) == 400);
  const std::string zipped = Gzip(body);
  CHECK(node.Post(name, zipped.substr(0, zipped.size() - 9), true) == 400);
  node.refusal = "the disk is full";
  CHECK(node.Post(name, body) == 429);
  node.refusal.clear();
  CHECK(node.Spooled() == 0);
  CHECK(node.receiver.Values().empty());
  CHECK(node.Post(name, body) == 202);
}

TEST_CASE("adx-mon: what has a prefix that is dropped is taken and not stored") {
  Node node;
  Sender sender;
  const auto dropped = sender.Make("Noise", 1, 0);
  const auto kept = sender.Make("Noiseless", 2, 100);
  CHECK(node.Post(dropped.file_name, BytesOf(sender, dropped)) == 202);
  CHECK(node.Post(dropped.file_name, "no segment at all", true) == 202);
  CHECK(node.Post("Elsewhere_T_1.wal", "x") == 202);
  CHECK(node.Spooled() == 0);
  CHECK(node.Post(kept.file_name, BytesOf(sender, kept)) == 202);
  CHECK(node.receiver.Values() == Doubles(100, 10));
  CHECK(node.receiver.registry.Expose().find("forebay_transfer_http_dropped_total 3") !=
        std::string::npos);
}

TEST_CASE("adx-mon: good blocks of a damaged segment are stored, bad ones kept aside") {
  Node node;
  Sender sender;
  std::string body = BytesOf(sender, sender.Make("T", 1, 0));
  body[body.size() / 2] ^= 1;  // in the second of three blocks
  CHECK(node.Post("Metrics_T_2cawzsrvl4mw4_1.wal", body) == 202);
  auto values = Doubles(0, 4);
  values.merge(Doubles(8, 2));
  CHECK(node.receiver.Values() == values);
  CHECK(node.quarantine->files() == 1);
}

TEST_CASE("adx-mon: without room in time the sender keeps its segment") {
  Node node(std::chrono::milliseconds(100));
  Sender sender;
  const std::string body = BytesOf(sender, sender.Make("T", 1, 0));
  const std::string name = "Metrics_T_2cawzsrvl4mw4_1.wal";
  node.receiver.wal->full = true;
  CHECK(node.Post(name, body) == 429);
  node.receiver.wal->full = false;
  node.receiver.wal->fail = true;
  CHECK(node.Post(name, body) == 429);
  node.receiver.wal->fail = false;
  CHECK(node.Post(name, body) == 202);
  CHECK(node.receiver.Values() == Doubles(0, 10));
}

}  // namespace
}  // namespace forebay::transfer
