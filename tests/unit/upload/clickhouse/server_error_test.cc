#include "upload/clickhouse/server_error.h"

#include <catch2/catch.hpp>

namespace forebay::upload {
namespace {

http::ClientResponse Answer(int status, std::string body, http::HeaderList headers = {}) {
  http::ClientResponse response;
  response.status = status;
  response.body = std::move(body);
  response.headers = std::move(headers);
  return response;
}

TEST_CASE("clickhouse error: a success has none, whatever it selected") {
  CHECK_FALSE(FindServerError(Answer(200, "")));
  CHECK_FALSE(FindServerError(Answer(200, "18.16.1\n")));
  CHECK_FALSE(FindServerError(Answer(200, "Code: 7\n")));
}

TEST_CASE("clickhouse error: an exception that comes after 200 is one") {
  const auto late = FindServerError(
      Answer(200, std::string(100'000, 'x') + "Code: 241. DB::Exception: Memory limit exceeded"));
  REQUIRE(late);
  CHECK(late->code == 241);
  CHECK(late->kind == ServerErrorKind::kOverload);
  CHECK(FindServerError(Answer(200, "", {{"X-ClickHouse-Exception-Code", "60"}}))->kind ==
        ServerErrorKind::kNoTable);
}

TEST_CASE("clickhouse error: the header's code goes before the text's") {
  const auto error = FindServerError(
      Answer(500, "Code: 1. no", {{"X-ClickHouse-Exception-Code", "202"}, {"Retry-After", "7"}}));
  REQUIRE(error);
  CHECK(error->code == 202);
  CHECK(error->kind == ServerErrorKind::kOverload);
  REQUIRE(error->retry_after);
  CHECK(error->retry_after->count() == 7000);
}

TEST_CASE("clickhouse error: what follows from each code") {
  struct Case {
    int code;
    ServerErrorKind kind;
    bool retryable;
  };
  const Case cases[] = {
      {202, ServerErrorKind::kOverload, true},  {241, ServerErrorKind::kOverload, true},
      {252, ServerErrorKind::kOverload, true},  {243, ServerErrorKind::kOverload, true},
      {60, ServerErrorKind::kNoTable, true},    {16, ServerErrorKind::kColumns, true},
      {516, ServerErrorKind::kDenied, true},    {193, ServerErrorKind::kDenied, true},
      {81, ServerErrorKind::kDenied, true},     {216, ServerErrorKind::kRunning, true},
      {242, ServerErrorKind::kOutage, true},    {319, ServerErrorKind::kOutage, true},
      {307, ServerErrorKind::kTooLarge, false}, {469, ServerErrorKind::kBadData, false},
      {123456, ServerErrorKind::kUnknown, true}};
  for (const Case& one : cases) {
    INFO(one.code);
    const auto error =
        FindServerError(Answer(500, "Code: " + std::to_string(one.code) + ". DB::Exception: x"));
    REQUIRE(error);
    CHECK(error->kind == one.kind);
    CHECK(error->ToError("insert").retryable() == one.retryable);
  }
  const auto partitions = FindServerError(
      Answer(500, "Code: 252. DB::Exception: Too many partitions for single INSERT block"));
  CHECK(partitions->kind == ServerErrorKind::kTooLarge);
}

TEST_CASE("clickhouse error: a proxy's status without a code") {
  CHECK(Classify(0, 401) == ServerErrorKind::kDenied);
  CHECK(Classify(0, 403) == ServerErrorKind::kDenied);
  CHECK(Classify(0, 413) == ServerErrorKind::kTooLarge);
  CHECK(Classify(0, 429) == ServerErrorKind::kOverload);
  CHECK(Classify(0, 503) == ServerErrorKind::kOverload);
  CHECK(Classify(0, 500) == ServerErrorKind::kOutage);
  CHECK(Classify(0, 504) == ServerErrorKind::kOutage);
  CHECK(Classify(0, 404) == ServerErrorKind::kUnknown);
}

}  // namespace
}  // namespace forebay::upload
