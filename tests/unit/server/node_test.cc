// A whole node in the process, over real sockets and a temporary folder: the composition, not the
// parts.
#include "server/node.h"

#include <catch2/catch.hpp>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "http/client.h"
#include "server/job_thread.h"

namespace forebay::server {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "forebay-node-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return (fs::path(path_) / name).string(); }

 private:
  std::string path_;
};

config::Config ConfigIn(const TemporaryFolder& folder) {
  config::Config config;
  config.storage.dir = folder / "data";
  config.storage.reserve = {0};
  config.listen.ingest = "127.0.0.1:0";
  config.listen.admin = "127.0.0.1:0";
  config.http.io_threads = 1;
  config.log.level = "error";
  config::Database database;
  database.name = "Metrics";
  config::Sink sink;
  sink.file = config::FileSink{folder / "out", 1};
  database.sinks.push_back(sink);
  config.databases.push_back(database);
  return config;
}

NodeOptions OptionsFor(const config::Config& config) {
  NodeOptions options;
  options.config = config;
  options.version = "test";
  options.reload = [config] { return Result<config::Config>(config); };
  return options;
}

std::unique_ptr<Node> StartNode(NodeOptions options) {
  auto node = Node::Create(std::move(options));
  INFO((node.ok() ? "" : node.error().ToString()));
  REQUIRE(node.ok());
  REQUIRE((*node)->Start().ok());
  return std::move(*node);
}

// A field of bytes, shorter than 128.
std::string Field(char number, const std::string& bytes) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())} + bytes;
}

// One sample of `up` at 1000 ms, as a snappy block of one literal.
std::string WriteBody(double value) {
  std::string sample(9, '\x09');
  std::memcpy(sample.data() + 1, &value, sizeof value);
  sample += std::string("\x10\xe8\x07", 3);
  const std::string message =
      Field(1, Field(1, Field(1, "__name__") + Field(2, "up")) + Field(2, sample));
  return std::string{static_cast<char>(message.size()),
                     static_cast<char>((message.size() - 1) << 2)} +
         message;
}

http::ClientResponse Do(const std::string& method, uint16_t port, const std::string& path,
                        const std::string& body = "") {
  auto client = http::Client::Create({});
  REQUIRE(client.ok());
  http::ClientRequest request;
  request.method = method;
  request.url = "http://127.0.0.1:" + std::to_string(port) + path;
  request.body = body;
  auto response = (*client)->Do(request);
  REQUIRE(response.ok());
  return std::move(*response);
}

size_t CountFiles(const std::string& folder, const std::string& ending) {
  if (!fs::exists(folder)) return 0;
  size_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().string().ends_with(ending)) ++count;
  }
  return count;
}

TEST_CASE("node: a sample goes from the ingest port into a file when the node is flushed") {
  const TemporaryFolder folder;
  const auto node = StartNode(OptionsFor(ConfigIn(folder)));
  CHECK(Do("POST", node->ingest_port(), "/api/v1/write", WriteBody(1)).status == 204);
  const auto flushed = Do("POST", node->admin_port(), "/-/flush");
  CHECK(flushed.status == 200);
  CHECK(json::parse(flushed.body)["batches"]["delivered"] == 1);
  CHECK(CountFiles(folder / "out", ".csv.gz") == 1);
  CHECK(node->Stop(SystemClock().Monotonic() + std::chrono::seconds(10)).ok());
}

TEST_CASE("node: a flush without upload seals and leaves the segments") {
  const TemporaryFolder folder;
  const auto node = StartNode(OptionsFor(ConfigIn(folder)));
  CHECK(Do("POST", node->ingest_port(), "/api/v1/write", WriteBody(1)).status == 204);
  CHECK(Do("POST", node->admin_port(), "/-/flush?upload=false").status == 200);
  CHECK(CountFiles(folder / "out", ".csv.gz") == 0);
  CHECK(CountFiles(folder / "data/segments", ".wal") == 1);
  CHECK(Do("POST", node->admin_port(), "/-/flush?timeout=soon").status == 400);
}

TEST_CASE("node: readiness ends when the node stops, and the next start delivers what was left") {
  const TemporaryFolder folder;
  {
    const auto node = StartNode(OptionsFor(ConfigIn(folder)));
    CHECK(node->NotReady().empty());
    CHECK(Do("GET", node->admin_port(), "/readyz").status == 200);
    CHECK(Do("POST", node->ingest_port(), "/api/v1/write", WriteBody(2)).status == 204);
    CHECK(node->Stop(SystemClock().Monotonic() + std::chrono::seconds(10)).ok());
    CHECK(node->NotReady() == "stopping");
  }
  CHECK(CountFiles(folder / "data/segments", ".wal") == 1);
  const auto node = StartNode(OptionsFor(ConfigIn(folder)));
  CHECK(node->Flush({SystemClock().Monotonic() + std::chrono::seconds(10)}).ok());
  CHECK(CountFiles(folder / "out", ".csv.gz") == 1);
}

TEST_CASE("node: a second one on the same directory is refused") {
  const TemporaryFolder folder;
  const auto node = StartNode(OptionsFor(ConfigIn(folder)));
  const auto second = Node::Create(OptionsFor(ConfigIn(folder)));
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().code() == ErrorCode::kFailedPrecondition);
}

TEST_CASE("node: the status tells tables, sinks, limits and the configuration") {
  const TemporaryFolder folder;
  const auto node = StartNode(OptionsFor(ConfigIn(folder)));
  CHECK(Do("POST", node->ingest_port(), "/api/v1/write", WriteBody(3)).status == 204);
  CHECK(Do("POST", node->admin_port(), "/-/flush?upload=false").status == 200);
  const auto answer = Do("GET", node->admin_port(), "/api/v1/status");
  CHECK(answer.status == 200);
  const json status = json::parse(answer.body);
  CHECK(status["ready"] == true);
  CHECK(status["series"]["known"] == 1);
  REQUIRE(status["tables"]["pending"].size() == 1);
  CHECK(status["tables"]["pending"][0]["table"] == "Up");
  CHECK(status["tables"]["pending"][0]["rows"] == 1);
  REQUIRE(status["sinks"].size() == 1);
  CHECK(status["sinks"][0]["database"] == "Metrics");
  CHECK(status["config"]["durability"] == "sync");
  CHECK(status["limits"]["disk"]["max_bytes"] == ConfigIn(folder).storage.max_disk.value);
}

TEST_CASE("node: the status page and its answers are on the admin port, and nowhere else") {
  const TemporaryFolder folder;
  config::Config config = ConfigIn(folder);
  config.cluster.member = "node-0";
  config.databases[0].sinks[0].name = "lake";
  const auto node = StartNode(OptionsFor(config));
  CHECK(Do("POST", node->ingest_port(), "/api/v1/write", WriteBody(3)).status == 204);
  CHECK(Do("POST", node->admin_port(), "/-/flush?upload=false").status == 200);
  const auto page = Do("GET", node->admin_port(), "/status");
  CHECK(page.status == 200);
  CHECK(page.Header("Content-Type") == "text/html; charset=utf-8");
  const auto root = Do("GET", node->admin_port(), "/");
  CHECK(root.status == 302);
  CHECK(root.Header("Location") == "status");
  CHECK(Do("GET", node->ingest_port(), "/status").status == 404);

  const json status = json::parse(
      Do("GET", node->admin_port(), "/api/v1/status?tables=0&batches=0&config=false").body);
  CHECK(status["node"]["name"] == "node-0");
  CHECK(status["node"]["state"] == "ready");
  CHECK(status["node"]["durability"] == "sync");
  CHECK(status["tables"]["pending"].empty());
  CHECK_FALSE(status.contains("config"));
  CHECK(status["dead_letters"]["batches"] == 0);
  CHECK(status["limits"]["in_flight_bodies"]["max_bytes"] == config.limits.in_flight_bodies.value);
  const json tables =
      json::parse(Do("GET", node->admin_port(), "/api/v1/tables?search=UP&limit=5").body);
  REQUIRE(tables["tables"].size() == 1);
  CHECK(tables["tables"][0]["table"] == "Up");
  CHECK(tables["tables"][0]["owner"] == "node-0");
  CHECK(tables["tables"][0]["rows"] == 1);
  CHECK(tables["tables"][0]["rows_per_second"] > 0);
  CHECK(json::parse(Do("GET", node->admin_port(), "/api/v1/history").body)["interval_seconds"] ==
        5);
  const auto yaml = Do("GET", node->admin_port(), "/api/v1/config");
  CHECK(yaml.Header("Content-Type") == "text/plain; charset=utf-8");
  CHECK(yaml.body.find("name: lake") != std::string::npos);

  for (const char* path : {"/api/v1/tables?sort=size", "/api/v1/tables?limit=-1",
                           "/api/v1/tables?limit=", "/api/v1/history?from=x",
                           "/api/v1/status?tables=all", "/api/v1/status?batches=1.5"}) {
    INFO(path);
    CHECK(Do("GET", node->admin_port(), path).status == 400);
  }
  CHECK(Do("GET", node->admin_port(), "/api/v1/tables?search=" + std::string(201, 'x')).status ==
        400);
}

TEST_CASE("node: a reload that fails changes nothing and says why") {
  const TemporaryFolder folder;
  NodeOptions options = OptionsFor(ConfigIn(folder));
  auto next = std::make_shared<Result<config::Config>>(
      Error(ErrorCode::kInvalidArgument, "forebay.yaml:1:1: wrong"));
  options.reload = [next] { return *next; };
  const auto node = StartNode(std::move(options));
  const auto failed = Do("POST", node->admin_port(), "/-/reload");
  CHECK(failed.status == 400);
  CHECK(failed.body.find("forebay.yaml:1:1") != std::string::npos);
  CHECK(node->MetricsText().find("forebay_config_last_reload_successful 0") != std::string::npos);

  config::Config changed = ConfigIn(folder);
  changed.batch.max_age = std::chrono::minutes(1);
  changed.limits.tables_max = 7;
  *next = changed;
  const auto reloaded = Do("POST", node->admin_port(), "/-/reload");
  CHECK(reloaded.status == 200);
  INFO(reloaded.body);
  CHECK(reloaded.body.find("batch: applied") != std::string::npos);
  CHECK(reloaded.body.find("limits.tables_max: needs a restart") != std::string::npos);
  CHECK(node->config().batch.max_age == std::chrono::minutes(1));
  CHECK(node->config().limits.tables_max != 7);
}

TEST_CASE("node: a drain empties the volume and refuses, until it is called off") {
  const TemporaryFolder folder;
  const auto node = StartNode(OptionsFor(ConfigIn(folder)));
  CHECK(json::parse(Do("GET", node->admin_port(), "/-/drain").body)["state"] == "serving");
  CHECK(Do("DELETE", node->admin_port(), "/-/drain").body == "in service\n");
  CHECK(Do("POST", node->ingest_port(), "/api/v1/write", WriteBody(3)).status == 204);
  CHECK(Do("POST", node->admin_port(), "/-/drain?timeout=soon").status == 400);
  REQUIRE(node->drainer().state() == DrainState::kServing);
  const auto drained = Do("POST", node->admin_port(), "/-/drain?timeout=30s");
  INFO(drained.body);
  CHECK(drained.status == 200);
  const json report = json::parse(drained.body);
  CHECK(report["state"] == "drained");
  CHECK(report["uploaded_rows"] == 1);
  CHECK(report["left"]["rows"] == 0);
  CHECK(CountFiles(folder / "out", ".csv.gz") == 1);
  CHECK(CountFiles(folder / "data", ".wal") == 0);
  const auto refused = Do("POST", node->ingest_port(), "/api/v1/write", WriteBody(4));
  CHECK(refused.status == 503);
  CHECK(refused.Header("Retry-After").has_value());
  CHECK(Do("GET", node->admin_port(), "/readyz").body.find("draining") != std::string::npos);
  CHECK(node->MetricsText().find("forebay_drain_state 2") != std::string::npos);
  CHECK(Do("DELETE", node->admin_port(), "/-/drain").body == "in service again\n");
  CHECK(Do("POST", node->ingest_port(), "/api/v1/write", WriteBody(5)).status == 204);
  CHECK(Do("GET", node->admin_port(), "/readyz").status == 200);
}

TEST_CASE("node: a drain that cannot end is overdue, says why, and ends when it can") {
  const TemporaryFolder folder;
  config::Config config = ConfigIn(folder);
  config.drain.timeout = std::chrono::milliseconds(200);
  const auto node = StartNode(OptionsFor(config));
  CHECK(Do("POST", node->ingest_port(), "/api/v1/write", WriteBody(3)).status == 204);
  { std::ofstream(folder / "out") << "in the way"; }
  const auto overdue = Do("POST", node->admin_port(), "/-/drain?timeout=30s");
  INFO(overdue.body);
  CHECK(overdue.status == 202);
  const json report = json::parse(overdue.body);
  CHECK(report["state"] == "overdue");
  CHECK(report["left"]["rows"] == 1);
  REQUIRE(report["left"]["why"].size() == 1);
  CHECK(report["left"]["why"][0].get<std::string>().find("cannot be uploaded") !=
        std::string::npos);
  CHECK(node->MetricsText().find("forebay_drain_left_rows 1") != std::string::npos);
  fs::remove(folder / "out");
  // A second request makes it try again, and waits as long as it may.
  for (int i = 0; i < 100 && node->drainer().state() != DrainState::kDrained; ++i) {
    CHECK(Do("POST", node->admin_port(), "/-/drain?timeout=1s").status / 100 == 2);
  }
  CHECK(node->drainer().state() == DrainState::kDrained);
  CHECK(CountFiles(folder / "out", ".csv.gz") == 1);
}

TEST_CASE("job thread: jobs run in order, and none is taken after the end") {
  JobThread jobs;
  std::string order;
  for (char c = 'a'; c < 'f'; ++c) CHECK(jobs.Run([&order, c] { order += c; }));
  jobs.Stop();
  CHECK(order == "abcde");
  CHECK_FALSE(jobs.Run([] {}));
}

}  // namespace
}  // namespace forebay::server
