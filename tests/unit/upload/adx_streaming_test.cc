#include "upload/adx/streaming.h"

#include <catch2/catch.hpp>

#include "adx_script.h"

namespace forebay::upload::adx {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::Script;

Fault FaultWith(int status, std::string code = "", std::optional<bool> permanent = {}) {
  Fault fault;
  fault.status = status;
  fault.code = std::move(code);
  fault.permanent = permanent;
  return fault;
}

TEST_CASE("adx streaming: every row of the table of faults") {
  using F = StreamingFault;
  const std::pair<Fault, F> rows[] = {
      {FaultWith(413), F::kTooLarge},
      {FaultWith(400, "BadRequest_FileTooLarge", true), F::kTooLarge},
      {FaultWith(429), F::kThrottled},
      {FaultWith(503, "General_ThrottledIngestion", false), F::kThrottled},
      {FaultWith(400, "BadRequest_StreamingIngestionPolicyNotEnabled", true), F::kOff},
      {FaultWith(503, "ServiceUnavailable_StreamingIngestionDisabled"), F::kOff},
      {FaultWith(400, "UpdatePolicy_QuerySchemaDoesNotMatchTableSchema", true), F::kTableRefuses},
      {FaultWith(404), F::kNotThere},
      {FaultWith(400, "BadRequest_TableNotExist", true), F::kNotThere},
      {FaultWith(400, "BadRequest_MappingReferenceWasNotFound", true), F::kNotThere},
      {FaultWith(401), F::kRefused},
      {FaultWith(403, "Forbidden"), F::kRefused},
      {FaultWith(400), F::kBad},
      {FaultWith(400, "Stream_WrongNumberOfFields", true), F::kBad},
      {FaultWith(500, "Internal", true), F::kBad},
      {FaultWith(400, "General_Other", false), F::kBroken},
      {FaultWith(408), F::kBroken},
      {FaultWith(500), F::kBroken},
      {FaultWith(520), F::kBroken},
      {FaultWith(0), F::kNoAnswer}};
  for (const auto& [fault, kind] : rows) {
    INFO(fault.status << " " << fault.code);
    CHECK(Classify(fault) == kind);
  }
}

TEST_CASE("adx streaming: names in the text of an error do not matter") {
  Fault fault = FaultWith(400, "Stream_WrongNumberOfFields", true);
  fault.message = "streaming to Db.offers is off, disabled, schema, too large, throttled";
  CHECK(Classify(fault) == StreamingFault::kBad);
}

struct StreamingFixture {
  StreamingEnd Send(const std::string& table = "t") {
    StreamingBody body;
    body.database = "d";
    body.table = table;
    body.mapping = "m 1";
    body.bytes = "rows";
    return managed.Send(body, {});
  }
  Script script;
  Network network = script.network();
  RestClient engine{"https://c", {}, network};
  ManagedStreaming managed{engine, network, true};
};

TEST_CASE_METHOD(StreamingFixture, "adx streaming: two faults that pass, then success") {
  script.Push(503);
  script.PushError(ErrorCode::kUnavailable);
  script.Push(200);
  CHECK(Send().delivered);
  CHECK(script.waits == std::vector<milliseconds>{seconds(1), seconds(2)});
  for (const auto& request : script.sent) CHECK(request.body == "rows");  // Whole at every try.
  CHECK(script.sent[0].url == "https://c/v1/rest/ingest/d/t?streamFormat=Csv&mappingName=m%201");
  CHECK(script.sent[0].Header("Content-Type") == "application/octet-stream");
  CHECK_FALSE(managed.PrefersQueue("d", "t"));
}

TEST_CASE_METHOD(StreamingFixture, "adx streaming: three faults that do not pass go to the queue") {
  for (int i = 0; i < 3; ++i) script.Push(500);
  const StreamingEnd end = Send();
  CHECK_FALSE(end.delivered);
  CHECK(end.queue);
  CHECK(script.sent.size() == 3);
  CHECK_FALSE(managed.PrefersQueue("d", "t"));
}

TEST_CASE_METHOD(StreamingFixture, "adx streaming: bad data fails at once and is not queued") {
  script.Push(400, R"({"error":{"code":"Stream_WrongNumberOfFields","@permanent":true}})");
  const StreamingEnd end = Send();
  CHECK_FALSE(end.queue);
  REQUIRE(end.error.has_value());
  CHECK_FALSE(end.error->retryable());
  CHECK(script.sent.size() == 1);
}

TEST_CASE_METHOD(StreamingFixture,
                 "adx streaming: throttling leaves one table to the queue a while") {
  script.Push(429, "", {{"Retry-After", "20"}});
  CHECK(Send().queue);
  CHECK(script.sent.size() == 1);
  CHECK(managed.PrefersQueue("d", "t"));
  CHECK_FALSE(managed.PrefersQueue("d", "u"));
  script.clock.Advance(seconds(19));
  CHECK(managed.PrefersQueue("d", "t"));
  script.clock.Advance(seconds(2));
  CHECK_FALSE(managed.PrefersQueue("d", "t"));
  script.Push(429);
  CHECK(Send().queue);
  script.clock.Advance(seconds(9));
  CHECK(managed.PrefersQueue("d", "t"));
  script.clock.Advance(seconds(2));
  CHECK_FALSE(managed.PrefersQueue("d", "t"));
}

TEST_CASE_METHOD(StreamingFixture, "adx streaming: switched off, it is not asked for a quarter") {
  const std::string body =
      R"({"error":{"code":"BadRequest_StreamingIngestionPolicyNotEnabled","@permanent":true}})";
  script.Push(400, body);
  CHECK(Send().queue);
  script.clock.Advance(minutes(14));
  CHECK(managed.PrefersQueue("d", "t"));
  script.clock.Advance(minutes(2));
  CHECK_FALSE(managed.PrefersQueue("d", "t"));
  ManagedStreaming strict(engine, network, false);
  script.Push(400, body);
  StreamingBody rows;
  rows.database = "d";
  rows.table = "t";
  const StreamingEnd end = strict.Send(rows, {});
  CHECK_FALSE(end.queue);
  CHECK_FALSE(strict.PrefersQueue("d", "t"));
}

TEST_CASE_METHOD(StreamingFixture, "adx streaming: an error in the body of a success is one") {
  script.Push(200, R"({"error":{"code":"General_BadRequest","@permanent":true}})");
  const StreamingEnd end = Send();
  CHECK_FALSE(end.delivered);
  CHECK_FALSE(end.queue);
  CHECK(end.fault == StreamingFault::kBad);
  script.Push(200, R"({"Tables":[{"Rows":[["no error at all"]]}]})");
  CHECK(Send().delivered);
}

TEST_CASE_METHOD(StreamingFixture, "adx streaming: a blob is named, its bytes are not sent") {
  script.Push(200);
  StreamingBody body;
  body.database = "d";
  body.table = "t";
  body.gzip = true;
  CHECK(StreamBlob(engine, body, "https://s/a?sig=1", {}).ok());
  CHECK(script.sent[0].url == "https://c/v1/rest/ingest/d/t?streamFormat=Csv&sourceKind=uri");
  CHECK(script.sent[0].body == R"({"SourceUri":"https://s/a?sig=1"})");
  CHECK(script.sent[0].Header("Content-Type") == "application/json");
  CHECK(script.sent[0].Header("Content-Encoding").empty());
}

TEST_CASE_METHOD(StreamingFixture, "adx streaming: names that run together are two tables") {
  script.Push(404);
  StreamingBody body;
  body.database = "a-b";
  body.table = "c";
  CHECK(managed.Send(body, {}).queue);
  CHECK(managed.PrefersQueue("a-b", "c"));
  CHECK_FALSE(managed.PrefersQueue("a", "b-c"));
}

}  // namespace
}  // namespace forebay::upload::adx
