#include <catch2/catch.hpp>

#include "http/client.h"
#include "http/message.h"
#include "http/retry.h"
#include "unit/http/test_server.h"

namespace forebay::http::test {
namespace {

Result<ClientResponse> Get(const std::string& url, ClientOptions options = {}) {
  const auto client = Client::Create(std::move(options));
  REQUIRE(client.ok());
  ClientRequest request;
  request.url = url;
  return (*client)->Do(request);
}

std::string Url(const TestServer& t, const std::string& path) {
  return "http://127.0.0.1:" + std::to_string(t.port()) + path;
}

}  // namespace

TEST_CASE("client: one connection carries many requests of all methods") {
  TestServer t(DefaultOptions());
  std::string seen;
  t.echo.admit = [&](const RequestHead& head) -> std::optional<Response> {
    seen = std::string(head.Header("X-Mine").value_or("none")) + "|" +
           std::string(head.Header("Content-Type").value_or("none")) + "|" +
           std::string(head.Header("Expect").value_or("none"));
    return std::nullopt;
  };
  t.Start();
  const auto client = Client::Create({});
  REQUIRE(client.ok());
  ClientRequest request;
  request.method = "POST";
  request.url = Url(t, "/echo");
  request.headers = {{"X-Mine", "a b"}, {"Content-Type", "application/x-protobuf"}};
  const std::string body = std::string("bytes\0with zero", 15) + std::string(900'000, 'x');
  request.body = body;
  auto response = (*client)->Do(request);
  REQUIRE(response.ok());
  CHECK(response->body == "POST /echo " + body);
  CHECK(seen == "a b|application/x-protobuf|none");
  request = ClientRequest();
  request.url = Url(t, "/echo");
  response = (*client)->Do(request);
  REQUIRE(response.ok());
  CHECK(response->body == "GET /echo ");
  CHECK(seen == "none|none|none");
  request.method = "HEAD";
  response = (*client)->Do(request);
  REQUIRE(response.ok());
  CHECK(response->body.empty());
  request.method = "POST";
  response = (*client)->Do(request);
  REQUIRE(response.ok());
  CHECK(response->body == "POST /echo ");
  request.url = Url(t, "/none");
  response = (*client)->Do(request);
  REQUIRE(response.ok());
  CHECK(response->status == 404);
  CHECK(t.server->stats().connections_accepted == 1);
}

TEST_CASE("client: failures have codes") {
  TestServer t(DefaultOptions());
  t.Start();
  ClientOptions hasty;
  hasty.total_timeout = milliseconds(50);
  {
    const auto client = Client::Create(hasty);
    REQUIRE(client.ok());
    ClientRequest held;
    held.method = "POST";
    held.url = Url(t, "/hold");
    const auto late = (*client)->Do(held);
    REQUIRE(!late.ok());
    CHECK(late.error().code() == ErrorCode::kDeadlineExceeded);
    CHECK(late.error().retryable());
  }
  ClientOptions small;
  small.max_response = ByteCount{3};
  CHECK(Get(Url(t, "/echo"), small).error().code() == ErrorCode::kOutOfRange);
  CHECK(Get("ftp://127.0.0.1/").error().code() == ErrorCode::kInvalidArgument);
  CHECK(Get("http://").error().code() == ErrorCode::kInvalidArgument);
  ClientRequest split;
  split.url = Url(t, "/echo");
  split.headers = {{"X", "a\r\nInjected: b"}};
  const auto client = Client::Create({});
  REQUIRE(client.ok());
  CHECK((*client)->Do(split).error().code() == ErrorCode::kInvalidArgument);
  const std::string closed = Url(t, "/echo");
  REQUIRE(t.hold.WaitFor(1));
  t.hold.ReleaseAll();
  CHECK(t.server->Stop(In(milliseconds(10'000))).ok());
  const auto refused = Get(closed);
  REQUIRE(!refused.ok());
  CHECK(refused.error().code() == ErrorCode::kUnavailable);
  CHECK(refused.error().retryable());
}

TEST_CASE("retry: bounds double up to the cap, the jitter is the whole range") {
  const RetryPolicy policy{milliseconds(500), milliseconds(10'000)};
  CHECK(policy.Bound(0) == milliseconds(500));
  CHECK(policy.Bound(1) == milliseconds(1000));
  CHECK(policy.Bound(4) == milliseconds(8000));
  CHECK(policy.Bound(5) == milliseconds(10'000));
  CHECK(policy.Bound(4'000'000'000) == milliseconds(10'000));
  CHECK(RetryPolicy{milliseconds(0), milliseconds(10)}.Bound(9) == milliseconds(0));
  CHECK(policy.Delay(1, 0.0) == milliseconds(0));
  CHECK(policy.Delay(1, 0.5) == milliseconds(500));
  CHECK(policy.Delay(1, 0.999) < milliseconds(1000));
  CHECK(policy.Delay(1, 0.5, milliseconds(3000)) == milliseconds(3500));
  CHECK(policy.Delay(1, 0.5, std::nullopt) == milliseconds(500));
}

TEST_CASE("retry: Retry-After is seconds or a date") {
  const UnixMillis now{1'445'412'470'000};  // Wed, 21 Oct 2015 07:27:50 GMT
  CHECK(ParseRetryAfter("0", now) == milliseconds(0));
  CHECK(ParseRetryAfter(" 120 ", now) == milliseconds(120'000));
  CHECK(ParseRetryAfter("99999999999999999999", now) == kMaxRetryAfter);
  CHECK(ParseRetryAfter("Wed, 21 Oct 2015 07:28:00 GMT", now) == milliseconds(10'000));
  CHECK(ParseRetryAfter("Wed, 21 Oct 2015 07:00:00 GMT", now) == milliseconds(0));
  CHECK(!ParseRetryAfter("", now));
  CHECK(!ParseRetryAfter("soon", now));
  CHECK(!ParseRetryAfter("-5", now));
  CHECK(!ParseRetryAfter("1.5", now));
}

TEST_CASE("message: heads answer by name in any case, queries are decoded") {
  const RequestHead head = RequestHead::Make("POST", "/a%20b?x=1&y=a+b%2Fc&flag&x=2&bad=%zz",
                                             {{"Content-Type", "t"}, {"content-length", "12"}});
  CHECK(head.path() == "/a%20b");
  CHECK(head.Header("CONTENT-TYPE") == "t");
  CHECK(!head.Header("Content"));
  CHECK(head.content_length() == 12u);
  CHECK(head.QueryParameter("x") == "1");
  CHECK(head.QueryParameter("y") == "a b/c");
  CHECK(head.QueryParameter("flag") == "");
  CHECK(!head.QueryParameter("bad"));
  CHECK(!head.QueryParameter("z"));
  CHECK(RequestHead::Make("GET", "http://h/p?q").path() == "/p");
  CHECK(RequestHead::Make("GET", "http://h/p?q").query() == "q");
}

TEST_CASE("message: answers say what they are") {
  CHECK(Response::Text(200, "x").body == "x\n");
  CHECK(Response::Json(200, "{}").headers[0].second == "application/json");
  CHECK(Response::RetryAfter(503, milliseconds(1001), "x").headers[1].second == "2");
  CHECK(Response::RetryAfter(503, milliseconds(0), "x").headers[1].second == "1");
  CHECK(ReasonPhrase(413) == "Content Too Large");
}

}  // namespace forebay::http::test
