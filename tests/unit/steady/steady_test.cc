// Once all series are known, in the second generation and later, a request takes nothing from
// malloc: not in decoding, staging and appending, not in the journal, not in the HTTP server. The
// ledger of requests is what grows: an entry each.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>

#include "allocations.h"
#include "steady_node.h"

using namespace forebay;           // NOLINT
using namespace forebay::testing;  // NOLINT

namespace {

using loadgen::Protocol;

constexpr uint64_t kSeries = 10'000;
constexpr uint32_t kSeriesPerRequest = 1000;
constexpr uint64_t kWarmRounds = 3;
constexpr uint64_t kRounds = 6;  // 60000 samples: new chunks of the generation are begun

bench::PayloadOptions Options(Protocol protocol, uint32_t samples_per_series = 1) {
  return {.protocol = protocol,
          .series = kSeries,
          .tables = 50,
          .series_per_request = kSeriesPerRequest,
          .samples_per_series = samples_per_series};
}

// As the handler does with one request, on the caller's thread.
class Writer {
 public:
  explicit Writer(SteadyNode& node) : node_(node), worker_(*node.state) {}

  // False: something was refused or failed.
  bool Write(wal::RecordKind kind, const std::string& body) {
    auto lease = node_.log->Enter();
    if (!lease.ok()) return false;
    receive::DecodeInput input;
    input.kind = kind;
    input.body = body;
    input.received = node_.clock.Now();
    input.generation = lease->sequence();
    if (!worker_.Decode(input, staged_).ok() || staged_.anything_refused()) return false;
    wal::PendingRecord record;
    record.kind = kind;
    record.received = input.received;
    record.body = body;
    record.context = &committed_;
    record.done = [](wal::PendingRecord* done) {
      auto& committed = *static_cast<std::atomic<bool>*>(done->context);
      committed.store(true);
      committed.notify_one();
    };
    committed_ = false;
    node_.log->Commit(*lease, &record);
    committed_.wait(false);
    if (!record.status.ok()) return false;
    staged_.AppendTo(*lease, 0);
    samples_ += staged_.refs.size();
    return true;
  }
  uint64_t samples() const { return samples_; }

 private:
  SteadyNode& node_;
  receive::DecodeWorker worker_;
  receive::StagedWrite staged_;
  std::atomic<bool> committed_{false};
  uint64_t samples_ = 0;
};

using Rounds = std::vector<std::vector<std::string>>;

Rounds BodiesOf(bench::Payload& payload, uint64_t rounds) {
  Rounds bodies;
  for (uint64_t round = 0; round < rounds; ++round) bodies.push_back(payload.Bodies(round));
  return bodies;
}

// Of requests of each of the payloads in turns.
uint64_t AllocationsOfWriting(const std::vector<bench::PayloadOptions>& payloads,
                              CountedThreads threads) {
  SteadyNode node;
  Writer writer(node);
  std::vector<wal::RecordKind> kinds;
  std::vector<Rounds> bodies;
  uint64_t samples = 0;  // of all payloads and counted rounds
  for (const bench::PayloadOptions& options : payloads) {
    bench::Payload payload(options);
    kinds.push_back(payload.kind());
    bodies.push_back(BodiesOf(payload, kWarmRounds + kRounds));
    samples += kRounds * payload.samples();
  }
  bool ok = true;
  const auto write = [&](uint64_t first, uint64_t end) {
    for (uint64_t round = first; round < end; ++round) {
      for (size_t request = 0; request < bodies[0][round].size(); ++request) {
        for (size_t i = 0; i < kinds.size(); ++i) {
          ok = writer.Write(kinds[i], bodies[i][round][request]) && ok;
        }
      }
    }
  };
  // The first generation is as large as the second will be.
  write(0, kWarmRounds + kRounds);
  node.SealAll();
  write(0, kWarmRounds);
  const uint64_t before = writer.samples();
  StartCounting(threads);
  write(kWarmRounds, kWarmRounds + kRounds);
  const uint64_t allocations = StopCounting();
  CHECK(ok);
  CHECK(writer.samples() - before == samples);
  return allocations;
}

// A client with one connection, which allocates nothing either once it has begun.
class Client {
 public:
  explicit Client(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  ~Client() { ::close(socket_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // False: it was not answered 204.
  bool Send(const std::string& request) {
    for (size_t sent = 0; sent < request.size();) {
      const ssize_t count = ::send(socket_, request.data() + sent, request.size() - sent, 0);
      if (count <= 0) return false;
      sent += static_cast<size_t>(count);
    }
    char answer[4096];
    size_t bytes = 0;
    while (bytes < sizeof answer) {
      const ssize_t count = ::recv(socket_, answer + bytes, sizeof answer - bytes, 0);
      if (count <= 0) return false;
      bytes += static_cast<size_t>(count);
      if (std::string_view(answer, bytes).ends_with("\r\n\r\n")) break;
    }
    return std::string_view(answer, bytes).starts_with("HTTP/1.1 204 ");
  }

 private:
  const int socket_;
};

constexpr uint64_t kServed = kRounds * kSeries / kSeriesPerRequest;

std::string HttpRequest(const std::string& body) {
  return "POST /api/v1/write HTTP/1.1\r\nHost: node\r\nContent-Type: application/x-protobuf\r\n"
         "Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n"
         "User-Agent: Prometheus/2.42\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

// Of the server's threads for kServed requests. `expected`: more are told of.
uint64_t AllocationsOfServing(SteadyNode& node, Client& client, uint64_t expected) {
  bench::Payload payload(Options(Protocol::kRemoteWrite1));
  Rounds requests = BodiesOf(payload, kWarmRounds + kRounds);
  for (auto& round : requests) {
    for (std::string& request : round) request = HttpRequest(request);
  }
  bool ok = true;
  const auto send = [&](uint64_t first, uint64_t end) {
    for (uint64_t round = first; round < end; ++round) {
      for (const std::string& request : requests[round]) ok = client.Send(request) && ok;
    }
  };
  // The first generation is as large as the second will be.
  send(0, kWarmRounds + kRounds);
  node.SealAll();
  send(0, kWarmRounds);
  StartCounting(CountedThreads::kOthers);
  send(kWarmRounds, kWarmRounds + kRounds);
  const uint64_t allocations = StopCounting(expected);
  CHECK(ok);
  return allocations;
}

}  // namespace

TEST_CASE("steady state: a remote-write 1.0 request allocates nothing") {
  CHECK(AllocationsOfWriting({Options(Protocol::kRemoteWrite1)}, CountedThreads::kThis) == 0);
  CHECK(AllocationsOfWriting({Options(Protocol::kRemoteWrite1, 4)}, CountedThreads::kThis) == 0);
}

TEST_CASE("steady state: a remote-write 2.0 request allocates nothing") {
  CHECK(AllocationsOfWriting({Options(Protocol::kRemoteWrite2)}, CountedThreads::kThis) == 0);
}

TEST_CASE("steady state: requests of both protocols in turns allocate nothing") {
  CHECK(AllocationsOfWriting({Options(Protocol::kRemoteWrite1), Options(Protocol::kRemoteWrite2)},
                             CountedThreads::kThis) == 0);
}

TEST_CASE("steady state: the journal's thread allocates nothing") {
  CHECK(AllocationsOfWriting({Options(Protocol::kRemoteWrite1)}, CountedThreads::kOthers) == 0);
}

TEST_CASE("steady state: a request through the server allocates nothing") {
  SteadyNode node;
  Client client(node.Serve(nullptr));
  CHECK(AllocationsOfServing(node, client, 0) == 0);
}

TEST_CASE("steady state: the ledger takes one entry a request") {
  SteadyNode node;
  Client client(node.Serve(node.ledger.get()));
  // Beside the entries their tables grow now and then.
  CHECK(AllocationsOfServing(node, client, 2 * kServed) < 2 * kServed);
}

TEST_CASE("steady state: an allocation is counted, on the threads that are asked for") {
  StartCounting(CountedThreads::kThis);
  const auto number = std::make_unique<int>(1);
  ByteBuffer buffer(100);  // by realloc
  CHECK(StopCounting(2) == 2);
  CHECK(*number == 1);
  StartCounting(CountedThreads::kOthers);
  const auto another = std::make_unique<int>(2);
  CHECK(StopCounting() == 0);
  CHECK(*another == 2);
}
