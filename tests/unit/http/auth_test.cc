#include <catch2/catch.hpp>

#include "http/client.h"
#include "http/internal/credentials.h"
#include "unit/http/certificates.h"
#include "unit/http/test_server.h"

namespace forebay::http::test {
namespace {

// SHA-256 of "secret".
constexpr const char* kSecretHash =
    "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

RawResponse Ask(RawClient& client, const std::string& path, const std::string& authorization) {
  const std::string header =
      authorization.empty() ? "" : "Authorization: " + authorization + "\r\n";
  client.Send("POST " + path + " HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n" + header + "\r\nx");
  return client.Receive();
}

}  // namespace

TEST_CASE("auth: basic and bearer credentials are let in, others are 401 with both challenges") {
  const Certificates files;
  ServerOptions options = DefaultOptions();
  options.auth.basic_file = files.Write(
      "basic", std::string("# comment\n\nann:pa:ss\r\nbob:{SHA256}") + kSecretHash + "\n");
  options.auth.bearer_file = files.Write("bearer", "token-1\nscraper:token-2\n");
  options.open_paths = {"/open"};
  TestServer t(options);
  t.Start();
  RawClient client(t.port());
  CHECK(Ask(client, "/echo", "Basic YW5uOnBhOnNz").Header("X-User") == "ann");      // ann:pa:ss
  CHECK(Ask(client, "/echo", "basic Ym9iOnNlY3JldA==").Header("X-User") == "bob");  // bob:secret
  CHECK(Ask(client, "/echo", "Bearer token-1").status == 200);
  CHECK(Ask(client, "/echo", "Bearer token-2").Header("X-User") == "scraper");
  const int handled = t.echo.handled;
  CHECK(handled == 4);
  for (const std::string wrong :
       {"", "Basic YW5uOnNlY3JldA==" /* ann:secret */, "Basic Ym9iOnBhOnNz" /* bob:pa:ss */,
        "Basic !!!!", "Basic YW5u", "Bearer token", "Bearer token-11", "Bearer ", "Bearer",
        "Bearer scraper:token-2", "Digest token-1"}) {
    INFO(wrong);
    const RawResponse refused = Ask(client, "/echo", wrong);
    CHECK(refused.status == 401);
    CHECK(refused.head.find("WWW-Authenticate: Basic realm=") != std::string::npos);
    CHECK(refused.head.find("WWW-Authenticate: Bearer realm=") != std::string::npos);
  }
  // Not even whether a path exists is told.
  CHECK(Ask(client, "/none", "").status == 401);
  client.Send("GET /open HTTP/1.1\r\nHost: t\r\n\r\n");
  CHECK(client.Receive().status == 200);
  CHECK(t.echo.admitted == 5);
  CHECK(t.server->stats().requests_unauthenticated == 12);
}

TEST_CASE("auth: a reload counts for open connections too, a bad file changes nothing") {
  const Certificates files;
  ServerOptions options = DefaultOptions();
  options.auth.bearer_file = files.Write("bearer", "old\n");
  TestServer t(options);
  t.Start();
  RawClient client(t.port());
  CHECK(Ask(client, "/echo", "Bearer old").status == 200);
  files.Write("bearer", "# nothing left\n");
  REQUIRE(!Reload(*t.server, options).ok());
  CHECK(Ask(client, "/echo", "Bearer old").status == 200);
  files.Write("bearer", "new\n");
  REQUIRE(Reload(*t.server, options).ok());
  CHECK(Ask(client, "/echo", "Bearer old").status == 401);
  CHECK(Ask(client, "/echo", "Bearer new").status == 200);
}

TEST_CASE("auth: a reload can demand credentials where none were, and take them away again") {
  const Certificates files;
  ServerOptions options = DefaultOptions();
  TestServer t(options);
  t.Start();
  RawClient client(t.port());
  CHECK(Ask(client, "/echo", "").status == 200);
  options.auth.bearer_file = files.Write("bearer", "token\n");
  REQUIRE(Reload(*t.server, options).ok());
  CHECK(Ask(client, "/echo", "").status == 401);
  CHECK(Ask(client, "/echo", "Bearer token").status == 200);
  options.auth.bearer_file.clear();
  REQUIRE(Reload(*t.server, options).ok());
  CHECK(Ask(client, "/echo", "").status == 200);
}

TEST_CASE("auth: broken credential files are errors with file and line") {
  const Certificates files;
  config::Auth auth;
  auth.basic_file = files.Path("none");
  auto loaded = internal::Credentials::Load(auth);
  REQUIRE(!loaded.ok());
  CHECK(loaded.error().code() == ErrorCode::kNotFound);
  for (const std::string text : {"ann:x\nnocolon\n", "ann:x\n:y\n", "ann:x\nbob:{SHA256}12\n"}) {
    auth.basic_file = files.Write("basic", text);
    loaded = internal::Credentials::Load(auth);
    REQUIRE(!loaded.ok());
    CHECK(loaded.error().code() == ErrorCode::kInvalidArgument);
    CHECK(loaded.error().message().find(auth.basic_file + ":2: ") == 0);
  }
}

TEST_CASE("auth: base64 with and without padding, nothing else") {
  CHECK(internal::DecodeBase64("YQ==") == "a");
  CHECK(internal::DecodeBase64("YWI") == "ab");
  CHECK(internal::DecodeBase64("YWJj") == "abc");
  CHECK(internal::DecodeBase64("") == "");
  CHECK(!internal::DecodeBase64("Y"));
  CHECK(!internal::DecodeBase64("YW Jj"));
}

TEST_CASE("auth: the client sends basic and bearer credentials") {
  const Certificates files;
  ServerOptions options = DefaultOptions();
  options.auth.basic_file = files.Write("basic", "ann:secret\n");
  options.auth.bearer_file = files.Write("bearer", "job:token\n");
  TestServer t(options);
  t.Start();
  const auto user = [&](const ClientOptions& client_options) -> std::string {
    const auto client = Client::Create(client_options);
    REQUIRE(client.ok());
    ClientRequest request;
    request.url = "http://127.0.0.1:" + std::to_string(t.port()) + "/echo";
    const auto response = (*client)->Do(request);
    REQUIRE(response.ok());
    return response->status == 200 ? std::string(response->Header("x-user").value_or("")) : "401";
  };
  ClientOptions basic;
  basic.basic_user = "ann";
  basic.basic_password = "secret";
  CHECK(user(basic) == "ann");
  ClientOptions bearer;
  bearer.bearer_token = "token";
  CHECK(user(bearer) == "job");
  CHECK(user({}) == "401");
}

}  // namespace forebay::http::test
