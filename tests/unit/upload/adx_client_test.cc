// The clients against scripted answers: tokens, retries, the configuration's life, blobs, status.
#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "adx_script.h"
#include "support/segments.h"
#include "upload/adx/blob.h"
#include "upload/adx/ingest_configuration.h"
#include "upload/adx/management.h"
#include "upload/adx/queued_client.h"
#include "upload/adx/rest.h"
#include "upload/adx/token.h"

namespace forebay::upload::adx {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::Ok;
using testing::Script;
using testing::SentRequest;

const Environment kNoEnvironment = [](const char*) -> const char* { return nullptr; };

TokenSource::Options ManagedIdentity() {
  TokenSource::Options options;
  options.credential = Credential::kManagedIdentity;
  options.cluster = "https://c.kusto.windows.net";
  options.getenv = kNoEnvironment;
  return options;
}

bool IsMetadataPage(const SentRequest& request) {
  return request.url.find("/v1/rest/auth/metadata") != std::string::npos;
}

// The n-th token asked for is "t<n>".
Script::Answer Tokens(int& count, const std::string& expires_in) {
  return [&count, expires_in](const SentRequest& request) -> Result<http::ClientResponse> {
    if (IsMetadataPage(request)) return http::ClientResponse{404, {}, ""};
    return Ok(fmt::format(R"({{"access_token":"t{}","expires_in":"{}"}})", ++count, expires_in));
  };
}

TEST_CASE("adx token: one is kept, renewed ahead of its end, and used until then when that fails") {
  int count = 0;
  Script script(Tokens(count, "3600"));
  const Network network = script.network();
  TokenSource source(ManagedIdentity(), network);
  CHECK(*source.ForCluster("", {}) == "t1");
  CHECK(*source.ForCluster("", {}) == "t1");
  CHECK(script.sent.back().url ==
        "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource="
        "https%3A%2F%2Fc.kusto.windows.net");
  CHECK(script.sent.back().Header("Metadata") == "true");
  script.clock.Advance(seconds(3299));
  CHECK(*source.ForCluster("", {}) == "t1");
  script.clock.Advance(seconds(2));
  CHECK(*source.ForCluster("", {}) == "t2");
  // The service is away from now on.
  script.set_answer([](const SentRequest&) { return http::ClientResponse{400, {}, "{}"}; });
  script.clock.Advance(seconds(3400));
  CHECK(*source.ForCluster("", {}) == "t2");
  const size_t asked = script.sent.size();
  CHECK(*source.ForCluster("", {}) == "t2");
  CHECK(script.sent.size() == asked);  // Not at once again.
  script.clock.Advance(seconds(300));
  const auto failed = source.ForCluster("", {});
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.error().code() == ErrorCode::kUnauthenticated);
  CHECK(failed.error().retryable());
}

TEST_CASE("adx token: a refused one is not given again") {
  int count = 0;
  Script script(Tokens(count, "3600"));
  const Network network = script.network();
  TokenSource source(ManagedIdentity(), network);
  CHECK(*source.ForCluster("", {}) == "t1");
  CHECK(*source.ForCluster("t1", {}) == "t2");
  CHECK(*source.ForCluster("t1", {}) == "t2");  // Somebody else's old one.
}

TEST_CASE("adx token: the cloud names authority and resource; the secret is in no error") {
  Script script;
  const Network network = script.network();
  TokenSource::Options options = ManagedIdentity();
  options.credential = Credential::kClientSecret;
  const std::map<std::string, std::string> variables = {{"AZURE_CLIENT_ID", "app"},
                                                        {"AZURE_TENANT_ID", "ten/ant"},
                                                        {"AZURE_CLIENT_SECRET", "s&cret"}};
  options.getenv = [&variables](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
  TokenSource source(options, network);
  script.Push(200, R"({"AzureAD":{"LoginEndpoint":"https://login.gov","LoginMfaRequired":true,
      "KustoServiceResourceId":"https://kusto.kusto.gov.net"}})");
  script.Push(401, R"({"error":"invalid_client","error_description":"AADSTS: no"})");
  const auto failed = source.ForCluster("", {});
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.error().message().find("AADSTS") != std::string::npos);
  CHECK(failed.error().message().find("cret") == std::string::npos);
  CHECK(script.sent.back().url == "https://login.gov/ten%2Fant/oauth2/v2.0/token");
  CHECK(script.sent.back().body ==
        "grant_type=client_credentials&client_id=app&scope=https%3A%2F%2Fkusto.kustomfa.gov.net%2F."
        "default&client_secret=s%26cret");
}

TEST_CASE("adx token: what the environment has decides") {
  config::AzureAuth automatic;
  CHECK(ChooseCredential(automatic, false, kNoEnvironment) == Credential::kNone);
  CHECK(ChooseCredential(automatic, true, kNoEnvironment) == Credential::kManagedIdentity);
  const Environment federated = [](const char* name) -> const char* {
    return std::strcmp(name, "AZURE_FEDERATED_TOKEN_FILE") == 0 ? "file" : nullptr;
  };
  CHECK(ChooseCredential(automatic, true, federated) == Credential::kWorkloadIdentity);
  const Environment secret = [](const char* name) -> const char* {
    return std::strcmp(name, "AZURE_CLIENT_SECRET") == 0 ? "s" : nullptr;
  };
  CHECK(ChooseCredential(automatic, true, secret) == Credential::kClientSecret);
  automatic.kind = "none";
  CHECK(ChooseCredential(automatic, true, secret) == Credential::kNone);
}

TEST_CASE("adx rest: a 401 is replayed once with a new token, a second one is final") {
  Script script;
  const Network network = script.network();
  std::vector<std::string> refused;
  const RestClient client(
      "https://c",
      [&refused](const std::string& old, const std::stop_token&) -> Result<std::string> {
        refused.push_back(old);
        return old.empty() ? "first" : "second";
      },
      network);
  script.Push(401);
  script.Push(200, "done");
  RestRequest request;
  request.method = "POST";
  request.path = "/p";
  request.body = "body";
  CHECK(client.Call(request).body == "done");
  CHECK(refused == std::vector<std::string>{"", "first"});
  REQUIRE(script.sent.size() == 2);
  CHECK(script.sent[1].body == "body");
  CHECK(script.sent[1].Header("Authorization") == "Bearer second");
  CHECK(script.sent[0].Header("x-ms-client-request-id") !=
        script.sent[1].Header("x-ms-client-request-id"));
  script.Push(401);
  script.Push(401);
  const Reply reply = client.CallWithRetry(request, {});
  REQUIRE_FALSE(reply.ok());
  CHECK(reply.fault->status == 401);
  CHECK_FALSE(reply.fault->Transient());
  CHECK(script.sent.size() == 4);
  CHECK(reply.fault->ToError("x").retryable());  // An operator mends it.
}

TEST_CASE("adx rest: transient faults are repeated with growing waits, the server's wish first") {
  Script script;
  const Network network = script.network();
  const RestClient client("https://c", {}, network);
  script.Push(503, "<html>");
  script.Push(429, "", {{"Retry-After", "7"}});
  script.PushError(ErrorCode::kUnavailable);
  script.Push(200);
  CHECK(client.CallWithRetry({}, {}).ok());
  CHECK(script.waits == std::vector<milliseconds>{seconds(1), seconds(7), seconds(4)});
  script.waits.clear();
  for (int i = 0; i < 5; ++i) script.Push(500);
  CHECK(client.CallWithRetry({}, {}).fault->status == 500);
  CHECK(script.waits.size() == 4);
  script.waits.clear();
  script.Push(400, R"({"error":{"code":"BadRequest_X","@message":"bad","@permanent":true}})");
  const Reply permanent = client.CallWithRetry({}, {});
  CHECK(permanent.fault->code == "BadRequest_X");
  CHECK_FALSE(permanent.fault->ToError("x").retryable());
  CHECK(script.waits.empty());
  script.Push(429, "", {{"Retry-After", "3600"}});
  script.Push(200);
  CHECK(client.CallWithRetry({}, {}).ok());
  CHECK(script.waits == std::vector<milliseconds>{seconds(60)});
}

TEST_CASE("adx rest: signatures in bodies stay out of errors") {
  const Fault fault = FaultOf(
      http::ClientResponse{400, {}, "no https://a/b?sv=1&sig=ab%2Bcd&x=1 and sig=zz\n"}, {});
  const std::string text = fault.ToError("c").ToString();
  CHECK(text.find("ab%2Bcd") == std::string::npos);
  CHECK(text.find("zz") == std::string::npos);
  CHECK(text.find('\n') == std::string::npos);
}

TEST_CASE("adx commands: answers of version 1, and exceptions in them") {
  const auto result = ReadCommandResult(
      R"({"Tables":[{"TableName":"Table_0","Columns":[{"ColumnName":"A"},{"ColumnName":"B"}],
          "Rows":[["x",1],[null,{"y":2}]]},{"TableName":"Table_1"}]})");
  REQUIRE(result.ok());
  CHECK(result->Cell(0, "A") == "x");
  CHECK(result->Cell(0, "B") == "1");
  CHECK(result->Cell(1, "A").empty());
  CHECK(result->Cell(1, "B") == R"({"y":2})");
  CHECK(result->Cell(0, "C").empty());
  for (const char* bad : {"", "[]", "{}", R"({"Tables":[]})", R"({"Tables":[{"Columns":[]}]})",
                          R"({"Tables":[{"Columns":[],"Rows":[{"Exceptions":["e"]}]}]})",
                          R"({"Exceptions":["e"]})", R"({"Tables":[{"Columns":[1],"Rows":[]}]})"}) {
    INFO(bad);
    CHECK_FALSE(ReadCommandResult(bad).ok());
  }
}

std::string ConfigurationBody(const std::vector<std::string>& containers,
                              const std::string& more = "") {
  std::string paths;
  for (const std::string& url : containers) {
    paths += fmt::format("{}{{\"path\":\"{}\"}}", paths.empty() ? "" : ",", url);
  }
  return fmt::format("{{\"containerSettings\":{{\"containers\":[{}]{}}}}}", paths, more);
}

TEST_CASE("adx configuration: what is missing has a default, what is odd is passed over") {
  const auto sample = ReadIngestConfiguration(
      R"({"containerSettings":{"containers":[{"path":"https://a/c?sig=1"},{"path":null},{}],
          "lakeFolders":[{"path":"https://l/f"}],"refreshInterval":"00:30:00",
          "preferredUploadMethod":"LAKE"},"ingestionSettings":{"maxBlobsPerBatch":20}})");
  REQUIRE(sample.ok());
  CHECK(sample->containers.size() == 1);
  CHECK(sample->lakes.size() == 1);
  CHECK(sample->prefer_lake);
  CHECK(sample->refresh == minutes(30));
  for (const char* odd :
       {"{}", R"({"containerSettings":1})", R"({"ingestionSettings":{"maxBlobsPerBatch":0}})",
        R"({"containerSettings":{"refreshInterval":"often"}})"}) {
    const auto read = ReadIngestConfiguration(odd);
    REQUIRE(read.ok());
    CHECK(read->max_blobs == kDefaultBlobsPerBatch);
    CHECK(read->refresh == kConfigurationAge);
  }
  CHECK_FALSE(ReadIngestConfiguration("<html>").ok());
}

TEST_CASE("adx configuration: fetched ahead of its end, kept when that fails, tried again soon") {
  Script script;
  const Network network = script.network();
  const RestClient client("https://ingest-c", {}, network);
  ConfigurationCache cache(client, IngestionPath::kRest, network);
  script.Push(200, ConfigurationBody({"https://a/1"}, ",\"refreshInterval\":\"00:10:00\""));
  CHECK((*cache.Get({}))->containers.front() == "https://a/1");
  script.clock.Advance(minutes(7));
  CHECK((*cache.Get({}))->containers.front() == "https://a/1");
  CHECK(script.sent.size() == 1);
  script.clock.Advance(minutes(2));
  script.Push(403);
  CHECK((*cache.Get({}))->containers.front() == "https://a/1");
  CHECK(script.sent.size() == 2);
  CHECK(cache.Get({}).ok());
  CHECK(script.sent.size() == 2);
  script.clock.Advance(seconds(31));
  script.Push(200, ConfigurationBody({"https://a/2"}));
  CHECK((*cache.Get({}))->containers.front() == "https://a/2");
}

TEST_CASE(
    "adx configuration: containers in turn; none with an ended signature or over plain http") {
  Script script;
  const Network network = script.network();
  const RestClient client("https://ingest-c", {}, network);
  ConfigurationCache cache(client, IngestionPath::kRest, network);
  script.Push(200, ConfigurationBody({"https://a/1", "https://a/2?se=2026-11-01T19:59:00Z",
                                      "http://a/3", "https://a/4?se=2027-01-01"}));
  std::map<std::string, int> first;
  for (int i = 0; i < 40; ++i) {
    const auto containers = cache.Containers({});
    REQUIRE(containers.ok());
    REQUIRE(containers->size() == 2);
    ++first[containers->front().url];
  }
  CHECK(first.size() == 2);
  CHECK(first["https://a/1"] + first["https://a/4?se=2027-01-01"] == 40);
  Script empty;
  const Network other = empty.network();
  const RestClient second("https://ingest-c", {}, other);
  ConfigurationCache none(second, IngestionPath::kRest, other);
  empty.Push(200, ConfigurationBody({"https://a/2?se=2026-11-01T19:59:00Z"}));
  const auto failed = none.Containers({});
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.error().retryable());
}

// Keeps what is put into containers as the storage would.
struct Storage {
  Result<http::ClientResponse> operator()(const SentRequest& request) {
    const size_t query = std::min(request.url.find('?'), request.url.size());
    const std::string name = request.url.substr(0, query);
    const std::string parameters = request.url.substr(query);
    const size_t id = parameters.find("blockid=");
    if (parameters.find("comp=blocklist") != std::string::npos) {
      std::string whole;
      for (size_t at = 0; (at = request.body.find("<Latest>", at)) != std::string::npos;) {
        at += 8;
        whole += blocks[request.body.substr(at, request.body.find('<', at) - at)];
      }
      blobs[name] = whole;
    } else if (id != std::string::npos) {
      blocks[parameters.substr(id + 8, parameters.find('&', id) - id - 8)] = request.body;
    } else {
      blobs[name] = request.body;
    }
    return http::ClientResponse{201, {}, ""};
  }
  std::map<std::string, std::string> blocks;
  std::map<std::string, std::string> blobs;
};

struct BlobFixture {
  BlobFixture() {
    script.set_answer([this](const SentRequest& request) -> Result<http::ClientResponse> {
      if (request.method == "GET") {
        return Ok(ConfigurationBody({"https://s/a?sig=secret", "https://s/b?sig=secret"}));
      }
      return fault ? fault(request) : storage(request);
    });
  }
  Result<Blob> Upload(const std::string& bytes, size_t pieces = 1) {
    Source source;
    source.produce = [&, pieces](const Consumer& consumer) -> Status {
      ++produced;
      const size_t step = std::max<size_t>(bytes.size() / pieces, 1);
      for (size_t at = 0; at < bytes.size(); at += step) {
        FOREBAY_RETURN_IF_ERROR(consumer(std::string_view(bytes).substr(at, step)));
      }
      return OkStatus();
    };
    source.raw_size = [] { return uint64_t{77}; };
    return uploader.Upload(source, {});
  }

  Script script;
  Network network = script.network();
  RestClient client{"https://ingest-c", {}, network};
  ConfigurationCache cache{client, IngestionPath::kRest, network};
  BlobUploader uploader{cache, {}, network, {.parallel_blocks = 3, .block_bytes = 100}};
  Storage storage;
  Script::Answer fault;
  int produced = 0;
};

TEST_CASE_METHOD(BlobFixture, "adx blob: what fits a block is one request") {
  const auto blob = Upload(std::string(100, 'x'));
  REQUIRE(blob.ok());
  CHECK(script.sent.size() == 2);
  CHECK(script.sent.back().Header("x-ms-blob-type") == "BlockBlob");
  CHECK(blob->raw_size == 77);
  CHECK(blob->stored_bytes == 100);
  CHECK(blob->url == "https://s/a/" + blob->source_id + "_csv.gz?sig=secret");
}

TEST_CASE_METHOD(BlobFixture, "adx blob: more is cut into blocks that are put together in order") {
  std::string bytes;
  for (int i = 0; i < 2345; ++i) bytes += static_cast<char>('a' + i * 7 % 26);
  for (const size_t pieces : {1U, 7U, 2345U}) {
    storage = Storage();
    const auto blob = Upload(bytes, pieces);
    REQUIRE(blob.ok());
    CHECK(storage.blobs.begin()->second == bytes);
    CHECK(storage.blocks.size() == 24);
  }
}

TEST_CASE_METHOD(BlobFixture, "adx blob: a block is repeated by itself") {
  int failed = 0;
  fault = [&](const SentRequest& request) -> Result<http::ClientResponse> {
    if (request.url.find("comp=block&") != std::string::npos && failed < 3) {
      ++failed;
      return http::ClientResponse{503, {}, ""};
    }
    return storage(request);
  };
  const std::string bytes(950, 'q');
  REQUIRE(Upload(bytes).ok());
  CHECK(produced == 1);
  CHECK(storage.blobs.begin()->second == bytes);
  CHECK(script.sent.size() == 1 + 10 + 3 + 1);
}

TEST_CASE_METHOD(BlobFixture, "adx blob: a container that refuses is left, the source read again") {
  std::string refused;
  fault = [&](const SentRequest& request) -> Result<http::ClientResponse> {
    if (request.url.starts_with("https://s/a/")) {
      refused = request.url;
      return http::ClientResponse{403, {{"x-ms-error-code", "AuthenticationFailed"}}, ""};
    }
    return storage(request);
  };
  const std::string bytes(950, 'q');
  const auto blob = Upload(bytes, 50);
  REQUIRE(blob.ok());
  CHECK(produced == 2);
  CHECK(blob->url.starts_with("https://s/b/"));
  CHECK(storage.blobs.begin()->second == bytes);
  CHECK(refused.find(blob->source_id) == std::string::npos);
}

TEST_CASE_METHOD(BlobFixture,
                 "adx blob: when all refuse, the error says so without the signature") {
  fault = [&](const SentRequest&) { return http::ClientResponse{404, {}, "sig=secret"}; };
  const auto failed = Upload(std::string(950, 'q'));
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.error().retryable());
  CHECK(failed.error().message().find("secret") == std::string::npos);
  CHECK(produced == kMaxContainersTried);
}

TEST_CASE_METHOD(BlobFixture, "adx blob: nothing to send is an error, and nothing is sent") {
  const auto failed = Upload("");
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.error().code() == ErrorCode::kInvalidArgument);
  CHECK(storage.blobs.empty());
}

TEST_CASE("adx blob: a lake folder takes a file, appends at their places, and a flush") {
  Script script;
  Network network = script.network();
  const RestClient client("https://ingest-c", {}, network);
  ConfigurationCache cache(client, IngestionPath::kRest, network);
  const TokenFunction tokens = [](const std::string&, const std::stop_token&) {
    return Result<std::string>("lake-token");
  };
  BlobUploader uploader(cache, tokens, network, {.parallel_blocks = 2, .block_bytes = 100});
  std::string file(250, '?');
  std::vector<std::string> order;
  script.set_answer([&](const SentRequest& request) -> Result<http::ClientResponse> {
    if (request.method == "GET") {
      return Ok(R"({"containerSettings":{"lakeFolders":[{"path":"https://l/ws/lh/Files/in/"}]}})");
    }
    CHECK(request.Header("Authorization") == "Bearer lake-token");
    CHECK(request.url.starts_with("https://l/ws/lh/Files/in/"));
    const std::string parameters = request.url.substr(request.url.find('?') + 1);
    const size_t position = parameters.find("position=");
    if (parameters.starts_with("action=append")) {
      file.replace(std::stoul(parameters.substr(position + 9)), request.body.size(), request.body);
      return http::ClientResponse{202, {}, ""};
    }
    order.push_back(request.method + " " + parameters);
    return http::ClientResponse{201, {}, ""};
  });
  std::string bytes;
  for (int i = 0; i < 250; ++i) bytes += static_cast<char>('a' + i % 26);
  const auto blob = uploader.Upload(TextSource(bytes, "csv"), {});
  REQUIRE(blob.ok());
  CHECK(file == bytes);
  CHECK(blob->raw_size == 250);
  CHECK(order == std::vector<std::string>{"PUT resource=file", "PATCH action=flush&position=250"});
  CHECK(blob->url == "https://l/ws/lh/Files/in/" + blob->source_id + "_csv");
}

// What gzip cannot make smaller, more of it than any buffer on the way.
std::string Incompressible(size_t size) {
  std::string bytes;
  for (uint64_t state = 1; bytes.size() < size; state = state * 6364136223846793005U + 1442695U) {
    bytes += static_cast<char>(state >> 56U);
  }
  return bytes;
}

TEST_CASE_METHOD(BlobFixture, "adx source: compressed on its way, again for another container") {
  const std::string bytes = Incompressible(3U << 20);
  BlobUploader large(cache, {}, network, {.parallel_blocks = 2, .block_bytes = 256U << 10});
  bool refused = false;
  fault = [&](const SentRequest& request) -> Result<http::ClientResponse> {
    if (!refused && request.url.find("comp=blocklist") != std::string::npos) {
      refused = true;
      return http::ClientResponse{403, {}, ""};
    }
    return storage(request);
  };
  const auto blob = large.Upload(Compressed(TextSource(bytes, "csv"), 1), {});
  REQUIRE(blob.ok());
  CHECK(refused);
  CHECK(blob->raw_size == bytes.size());
  CHECK(blob->url.find("_csv.gz?") != std::string::npos);
  REQUIRE(storage.blobs.size() == 1);
  CHECK(forebay::testing::Gunzip(storage.blobs.begin()->second) == bytes);
  CHECK(storage.blobs.begin()->second.size() == blob->stored_bytes);
}

TEST_CASE_METHOD(BlobFixture, "adx source: what is packed by itself, or empty, is not packed") {
  const auto blob = uploader.Upload(Compressed(TextSource("PAR1", "parquet")), {});
  REQUIRE(blob.ok());
  CHECK(storage.blobs.begin()->second == "PAR1");
  CHECK(blob->url.find("_parquet?") != std::string::npos);
  const Source packed = Compressed(Compressed(TextSource("a", "csv")));
  const auto once = uploader.Upload(packed, {});
  REQUIRE(once.ok());
  CHECK(once->raw_size == 1);
  const auto nothing = uploader.Upload(Compressed(TextSource("", "csv")), {});
  REQUIRE_FALSE(nothing.ok());
  CHECK(nothing.error().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE_METHOD(BlobFixture, "adx source: the name of a file says how it is compressed") {
  std::string folder = (std::filesystem::temp_directory_path() / "forebay-adx-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const auto file = [&folder](const std::string& name, const std::string& bytes) {
    std::string path = folder + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  };
  const auto plain = FileSource(file("a.csv", "1,2\n"), "csv");
  REQUIRE(plain.ok());
  CHECK(uploader.Upload(*plain, {})->raw_size == 4);
  CHECK(storage.blobs.begin()->second == "1,2\n");

  const std::string gzip("\x1f\x8b\x08", 3);
  CHECK(FileSource(file("b.csv.gz", gzip), "csv").error().code() == ErrorCode::kInvalidArgument);
  const auto packed = FileSource(file("b.csv.gz", gzip), "csv", 9);
  REQUIRE(packed.ok());
  const auto blob = uploader.Upload(*packed, {});
  CHECK(blob->raw_size == 9);
  CHECK(blob->url.find("_csv.gz?") != std::string::npos);

  // Either would be ingested as nothing, and nobody would hear of it.
  CHECK(FileSource(file("c.csv", gzip), "csv").error().code() == ErrorCode::kInvalidArgument);
  CHECK(FileSource(file("d.csv.gz", "1,2\n"), "csv", 9).error().code() ==
        ErrorCode::kInvalidArgument);
  CHECK(FileSource(folder + "/none.csv", "csv").error().code() == ErrorCode::kNotFound);
  std::filesystem::remove_all(folder);
}

TEST_CASE("adx queued: the classic way is one message, in the next queue when one refuses") {
  Script script;
  Network network = script.network();
  const RestClient client("https://ingest-c", {}, network);
  ConfigurationCache cache(client, IngestionPath::kAuto, network);
  QueuedClient queued(client, cache, network);
  script.Push(404);
  script.Push(200, R"({"Tables":[{"Columns":[{"ColumnName":"ResourceTypeName"},
      {"ColumnName":"StorageRoot"}],"Rows":[["TempStorage","https://s/c?sig=1"],["Odd","x"],
      ["SecuredReadyForAggregationQueue","https://q/a?sig=secret"],
      ["SecuredReadyForAggregationQueue","https://q/b?sig=secret"]]}]})");
  script.Push(200, R"({"Tables":[{"Columns":[{"ColumnName":"AuthorizationContext"}],
      "Rows":[["who"]]}]})");
  REQUIRE(cache.Get({}).ok());
  CHECK(cache.path() == IngestionPath::kClassic);
  const Blob blob{"https://s/c/x_csv.gz?sig=1", "id", 1, 1};
  script.Push(403);
  script.Push(201);
  CHECK(queued.SubmitClassic("d", "t", blob, {}, {}).ok());
  const auto& sent = script.sent;
  REQUIRE(sent.size() == 5);
  CHECK(sent[3].url == "https://q/a/messages?sig=secret");
  CHECK(sent[4].url == "https://q/b/messages?sig=secret");
  CHECK(sent[3].body == sent[4].body);
  CHECK(sent[4].body.starts_with("<QueueMessage><MessageText>"));
  for (int i = 0; i < 4; ++i) script.Push(503);
  const Status failed = queued.SubmitClassic("d", "t", blob, {}, {});
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.error().retryable());
  CHECK(failed.error().message().find("secret") == std::string::npos);
  IngestProperties large;
  large.validation_policy = std::string(60'000, 'x');
  const Status refused = queued.SubmitClassic("d", "t", blob, large, {});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code() == ErrorCode::kOutOfRange);
}

constexpr const char* kNoRows = R"({"Tables":[{"Columns":[{"ColumnName":"Name"}],"Rows":[]}]})";

TEST_CASE("adx tables: made once, known by their mapping, made again when forgotten") {
  Script script;
  Network network = script.network();
  const RestClient engine("https://c", {}, network);
  TableKeeper keeper(engine, "d");
  const table::Schema& schema = table::DefaultMetricsSchema();
  script.Push(200, fmt::format(R"({{"Tables":[{{"Columns":[{{"ColumnName":"Name"}},
      {{"ColumnName":"Kind"}},{{"ColumnName":"Table"}}],"Rows":[["Known_{0:x}","Csv","Known"],
      ["Other_{0:x}","Json","Other"],["x","Csv","X"]]}}]}})",
                               schema.hash()));
  CHECK(keeper.Ensure("Known", schema, true, {}).ok());
  CHECK(script.sent.size() == 1);
  CHECK(script.sent[0].body == R"({"csl":".show database ['d'] ingestion mappings","db":"d"})");
  script.set_answer([](const SentRequest&) { return Ok(kNoRows); });
  CHECK(keeper.Ensure("Other", schema, true, {}).ok());
  CHECK(script.sent.size() == 3);
  CHECK(script.sent[1].body.find(".create-merge table ['Other']") != std::string::npos);
  CHECK(keeper.Ensure("Other", schema, true, {}).ok());
  CHECK(script.sent.size() == 3);
  keeper.Forget("Other", schema);
  CHECK(keeper.Ensure("Other", schema, true, {}).ok());
  CHECK(script.sent.size() == 5);
}

TEST_CASE(
    "adx tables: columns of other types are for the dead letters, a missing database is not") {
  Script script;
  Network network = script.network();
  const RestClient engine("https://c", {}, network);
  TableKeeper keeper(engine, "d");
  const table::Schema& schema = table::DefaultMetricsSchema();
  script.Push(200, kNoRows);
  script.Push(400, R"({"error":{"code":"BadRequest_EntityAlreadyExists","@permanent":true}})");
  const Status drift = keeper.Ensure("T", schema, true, {});
  REQUIRE_FALSE(drift.ok());
  CHECK(drift.error().code() == ErrorCode::kFailedPrecondition);
  CHECK_FALSE(drift.error().retryable());
  script.Push(400, R"({"error":{"code":"BadRequest_DatabaseNotExist","@permanent":true}})");
  CHECK(keeper.Ensure("T", schema, true, {}).error().retryable());
  script.Push(403);
  CHECK(keeper.Ensure("T", schema, true, {}).error().retryable());
  script.Push(302);
  CHECK(keeper.Ensure("T", schema, true, {}).error().retryable());
}

TEST_CASE("adx queued: the body says what the service needs, and nothing that is not set") {
  IngestProperties properties;
  properties.mapping = "m";
  properties.tags = {"plain"};
  properties.ingest_by_tags = {"b"};
  properties.drop_by_tags = {"d"};
  properties.ingest_if_not_exists = {"b"};
  const Blob blob{"https://s/a/x_csv.gz?sig=1", "id-1", 12, 3};
  CHECK(QueuedBody(std::span(&blob, 1), properties, UnixMillis{0}) ==
        R"({"blobs":[{"rawSize":12,"sourceId":"id-1","url":"https://s/a/x_csv.gz?sig=1"}],)"
        R"("properties":{"enableTracking":true,"format":"csv","ingestIfNotExists":["b"],)"
        R"("ingestionMappingReference":"m","tags":["plain","ingest-by:b","drop-by:d"]},)"
        R"("timestamp":"1970-01-01T00:00:00Z"})");
  const std::string message = ClassicMessage(blob, "db", "t", properties, "who", UnixMillis{0});
  CHECK(message.find(R"("tags":"[\"plain\",\"ingest-by:b\",\"drop-by:d\"]")") != std::string::npos);
  CHECK(message.find(R"("ingestIfNotExists":"[\"b\"]")") != std::string::npos);
  properties.inline_mapping = "[]";
  CHECK_FALSE(CheckProperties(properties).ok());
}

TEST_CASE("adx queued: blobs go in requests of what the service takes; one twice is refused") {
  Script script;
  const Network network = script.network();
  const RestClient client("https://ingest-c", {}, network);
  ConfigurationCache cache(client, IngestionPath::kRest, network);
  QueuedClient queued(client, cache, network);
  script.Push(200, R"({"ingestionSettings":{"maxBlobsPerBatch":2}})");
  for (int i = 0; i < 3; ++i)
    script.Push(200, fmt::format(R"({{"ingestionOperationId":"o{}"}})", i));
  std::vector<Blob> blobs;
  for (int i = 0; i < 5; ++i) blobs.push_back({fmt::format("https://s/a/{}?sig=1", i), "id", 1, 1});
  const auto operations = queued.Submit("d b", "t", blobs, {}, {});
  REQUIRE(operations.ok());
  CHECK(*operations == std::vector<std::string>{"o0", "o1", "o2"});
  CHECK(script.sent[1].url == "https://ingest-c/v1/rest/ingestion/queued/d%20b/t");
  blobs[4].url = "https://s/a/1?sig=other";
  const auto twice = queued.Submit("db", "t", blobs, {}, {});
  REQUIRE_FALSE(twice.ok());
  CHECK(twice.error().message().find("sig=") == std::string::npos);
  CHECK_FALSE(queued.Submit("db", "t", {}, {}, {}).ok());
}

OperationResult Judged(const std::string& details) {
  const auto status = ReadOperationStatus("{\"details\":[" + details + "]}");
  REQUIRE(status.ok());
  CHECK(status->Finished());
  return Judge(*status);
}

TEST_CASE("adx status: how an operation ended") {
  CHECK_FALSE(Judged(R"({"status":"Succeeded"})").error.has_value());
  const auto skipped = Judged(
      R"({"status":"Failed","failureStatus":"Permanent","errorCode":"Skipped_IngestByTagAlreadyExists"})");
  CHECK(skipped.already_there);
  CHECK_FALSE(skipped.error.has_value());
  const auto bad = Judged(
      R"({"Status":"Succeeded"},{"Status":"Failed","FailureStatus":"Permanent",
          "ErrorCode":"Stream_WrongNumberOfFields","Details":"row 3 of https://s/x?sig=abc"})");
  REQUIRE(bad.error.has_value());
  CHECK_FALSE(bad.error->retryable());
  CHECK(bad.failed == 1);
  CHECK(bad.error->message().find("abc") == std::string::npos);
  for (const char* passing : {"Transient", "Exhausted", "Unknown", "Odd"}) {
    CHECK(Judged(fmt::format(R"({{"status":"failed","failureStatus":"{}"}})", passing))
              .error->retryable());
  }
  const auto missing = Judged(
      R"({"status":"Failed","failureStatus":"Permanent","errorCode":"BadRequest_TableNotExist"})");
  CHECK(missing.target_missing);
  CHECK(missing.error->retryable());
  CHECK(Judged(R"({"status":"Canceled"})").error->retryable());
}

TEST_CASE("adx status: counters alone are enough; what goes on is not finished") {
  const auto finished =
      ReadOperationStatus(R"({"status":{"Succeeded":1,"Failed":0,"InProgress":0}})");
  CHECK(finished->Finished());
  CHECK_FALSE(Judge(*finished).error.has_value());
  CHECK(Judge(*ReadOperationStatus(R"({"status":{"failed":1}})")).error->retryable());
  CHECK_FALSE(ReadOperationStatus(R"({"status":{"succeeded":1,"inProgress":1}})")->Finished());
  CHECK_FALSE(ReadOperationStatus(R"({"status":{}})")->Finished());
  CHECK_FALSE(ReadOperationStatus(R"({"status":{"succeeded":1},"details":[{"status":"Paused"}]})")
                  ->Finished());
  CHECK_FALSE(ReadOperationStatus("[]").ok());
}

TEST_CASE(
    "adx status: looks become rarer, end in time, and an unknown operation is awaited a while") {
  Script script;
  const Network network = script.network();
  const RestClient client("https://ingest-c", {}, network);
  ConfigurationCache cache(client, IngestionPath::kRest, network);
  QueuedClient queued(client, cache, network);
  script.set_answer([](const SentRequest&) { return Ok(R"({"status":{"inProgress":1}})"); });
  const auto late = queued.WaitUntilFinished("d", "t", "o/1", {seconds(2), minutes(1)}, {});
  REQUIRE_FALSE(late.ok());
  CHECK(late.error().code() == ErrorCode::kDeadlineExceeded);
  CHECK(late.error().retryable());
  CHECK(script.sent.front().url ==
        "https://ingest-c/v1/rest/ingestion/queued/d/t/o%2F1?details=true");
  CHECK(script.waits[0] == milliseconds(250));
  CHECK(script.waits[1] == milliseconds(500));
  CHECK(script.waits.back() == seconds(2));
  script.set_answer([](const SentRequest&) { return http::ClientResponse{404, {}, ""}; });
  const MonotonicTime begin = script.clock.Monotonic();
  const auto unknown = queued.WaitUntilFinished("d", "t", "o", {seconds(2), minutes(60)}, {});
  REQUIRE_FALSE(unknown.ok());
  CHECK(unknown.error().code() == ErrorCode::kNotFound);
  CHECK(unknown.error().retryable());
  CHECK(script.clock.Monotonic() - begin >= kOperationVisible);
  CHECK(script.clock.Monotonic() - begin < kOperationVisible + seconds(5));
}

}  // namespace
}  // namespace forebay::upload::adx
