// OTLP requests of the load generator, read by a walker of their own, and what answers do.
#include "loadgen/otlp_template.h"

#include <catch2/catch.hpp>
#include <limits>
#include <set>
#include <string>

#include "loadgen/otlp_answer.h"
#include "loadgen/run.h"
#include "unit/loadgen/proto_walk.h"

using namespace forebay;
using namespace forebay::loadgen;
using std::chrono::milliseconds;
using test::Pick;

namespace {

constexpr int64_t kTime = 1'760'000'000'123;

SeriesModel OtlpModel(uint64_t series, double churn = 0) {
  SeriesModel::Options options;
  options.series = series;
  options.tables = 3;
  options.churn_percent_per_minute = churn;
  return SeriesModel(options);
}

// All messages at a path of fields.
std::vector<std::string> At(std::string_view body, std::initializer_list<uint32_t> path) {
  std::vector<std::string> found{std::string(body)};
  for (const uint32_t field : path) {
    std::vector<std::string> next;
    for (const std::string& message : found) {
      for (const auto& part : Pick(message, field)) next.emplace_back(part.bytes);
    }
    found = next;
  }
  return found;
}

uint64_t IntegerAt(std::string_view message, uint32_t field) {
  const auto fields = Pick(message, field);
  REQUIRE(fields.size() == 1);
  return fields[0].integer;
}

OtlpTemplate::Shape OtlpTestShape(Signal signal, uint32_t series) {
  OtlpTemplate::Shape shape;
  shape.signal = signal;
  shape.series = series;
  shape.samples_per_series = 2;
  shape.values = ValueMode::kUnique;
  return shape;
}

Reply Answer(int status, bool retry = false) {
  Reply reply;
  reply.status = status;
  if (retry) reply.retry_after = milliseconds(1);
  return reply;
}

}  // namespace

TEST_CASE("OTLP load: logs have their numbers, times and size, in every round") {
  const SeriesModel model = OtlpModel(500);
  auto shape = OtlpTestShape(Signal::kLogs, 300);
  shape.first_series = 150;
  OtlpTemplate body(model, shape);
  CHECK(body.contents().samples == 600);
  std::set<std::string> numbers;
  for (uint64_t round = 0; round < 2; ++round) {
    const int64_t times[] = {kTime, kTime + 1};
    const std::string request(body.Fill(round, times, milliseconds{0}));
    CHECK(At(request, {1, 1}).size() == 3);  // targets 0, 1 and 2
    size_t n = 0;
    for (const std::string& record : At(request, {1, 2, 2})) {
      const uint64_t sample = round * 2 + n % 2;
      const uint64_t number = sample * 500 + 150 + n / 2;
      const std::string text = At(record, {5, 1}).at(0);
      REQUIRE(std::stoull(text.substr(0, kNumberDigits)) == number);
      REQUIRE(text[kNumberDigits] == ' ');
      REQUIRE(IntegerAt(record, 1) == static_cast<uint64_t>(times[n % 2]) * 1'000'000);
      REQUIRE(IntegerAt(record, 11) == IntegerAt(record, 1));
      REQUIRE(At(record, {9}).at(0).size() == 16);
      REQUIRE(At(record, {10}).at(0).size() == 8);
      REQUIRE(record.size() >= 300);
      REQUIRE(record.size() <= 302);
      REQUIRE(numbers.insert(text.substr(0, kNumberDigits)).second);
      ++n;
    }
    CHECK(n == 600);
  }
}

TEST_CASE("OTLP load: spans have ids of their own and end after they began") {
  const SeriesModel model = OtlpModel(500);
  OtlpTemplate body(model, OtlpTestShape(Signal::kTraces, 100));
  const int64_t times[] = {kTime, kTime + 1};
  const std::string request(body.Fill(3, times, milliseconds{0}));
  size_t n = 0;
  for (const std::string& span : At(request, {1, 2, 2})) {
    const uint64_t number = (6 + n % 2) * 500 + n / 2;
    uint64_t id = 0;
    const std::string bytes = At(span, {2}).at(0);
    for (const char c : bytes) id = id << 8 | static_cast<unsigned char>(c);
    REQUIRE(id == number + 1);
    REQUIRE(IntegerAt(span, 7) == static_cast<uint64_t>(times[n % 2]) * 1'000'000);
    REQUIRE(IntegerAt(span, 8) == IntegerAt(span, 7) + 25'000'000);
    REQUIRE(IntegerAt(At(span, {15}).at(0), 3) == 1);
    REQUIRE(At(span, {1}).at(0).size() == 16);
    REQUIRE(span.size() >= 300);
    REQUIRE(span.size() <= 303);
    ++n;
  }
  CHECK(n == 200);
}

TEST_CASE("OTLP load: points are grouped by metric and have times and values of their own") {
  const SeriesModel model = OtlpModel(500);
  OtlpTemplate body(model, OtlpTestShape(Signal::kMetrics, 400));
  const int64_t times[] = {kTime, kTime + 15'000};
  const std::string request(body.Fill(1, times, milliseconds{0}));
  CHECK(At(request, {1, 2, 2}).size() == 7);  // three metrics of two targets, one of the third
  CHECK(At(request, {1, 2, 2, 1}).at(1) == model.MetricName(1));
  for (const std::string& sum : At(request, {1, 2, 2, 7})) {
    CHECK(IntegerAt(sum, 2) == 2);  // cumulative
    CHECK(IntegerAt(sum, 3) == 1);  // monotonic
  }
  size_t n = 0;
  for (const std::string& point : At(request, {1, 2, 2, 7, 1})) {
    REQUIRE(IntegerAt(point, 3) == static_cast<uint64_t>(times[n % 2]) * 1'000'000);
    const auto value = Pick(point, 4);
    REQUIRE(value.at(0).real() == static_cast<double>((2 + n % 2) * 500 + n / 2));
    REQUIRE(At(point, {7, 1}) == std::vector<std::string>{"code", "handler"});
    ++n;
  }
  CHECK(n == 800);
}

TEST_CASE("OTLP load: targets that share a metric keep their points apart") {
  SeriesModel::Options options;
  options.series = 400;
  const SeriesModel model(options);
  OtlpTemplate body(model, OtlpTestShape(Signal::kMetrics, 400));
  const int64_t times[] = {kTime, kTime + 1};
  const std::string request(body.Fill(0, times, milliseconds{0}));
  const std::vector<std::string> metrics = At(request, {1, 2, 2});
  REQUIRE(metrics.size() == 2);
  for (const std::string& metric : metrics) CHECK(At(metric, {7, 1}).size() == 400);
}

TEST_CASE("OTLP load: churn replaces the resource's instance and nothing else") {
  const SeriesModel model = OtlpModel(100, 100);
  OtlpTemplate body(model, OtlpTestShape(Signal::kLogs, 10));
  const int64_t times[] = {kTime, kTime + 1};
  const auto instance = [&](milliseconds elapsed) {
    const std::string request(body.Fill(0, times, elapsed));
    CHECK(At(request, {1, 2, 2}).size() == 20);
    for (const std::string& attribute : At(request, {1, 1, 1})) {
      if (At(attribute, {1}).at(0) == "service.instance.id") return At(attribute, {2, 1}).at(0);
    }
    return std::string();
  };
  const std::string before = instance(milliseconds{0});
  CHECK_FALSE(before.empty());
  CHECK(instance(milliseconds{1000}) == before);
  CHECK(instance(milliseconds{120'000}) != before);
}

TEST_CASE("OTLP answers: what was rejected and when to come again is read, rubbish is not") {
  const auto none = ParseExportResponse("");
  REQUIRE(none);
  CHECK(none->rejected == 0);
  const auto partial =
      ParseExportResponse(std::string_view("\x0A\x07\x08\x05\x12\x03"
                                           "bad",
                                           9));
  REQUIRE(partial);
  CHECK(partial->rejected == 5);
  CHECK(partial->message == "bad");
  CHECK_FALSE(ParseExportResponse("<html>no</html>"));
  const std::string type = "type.googleapis.com/google.rpc.RetryInfo";
  const std::string info("\x0A\x08\x08\x02\x10\x80\xCA\xB5\xEE\x01", 10);
  const std::string any = std::string("\x0A\x28") + type + "\x12\x0A" + info;
  const std::string status = std::string("\x08\x0E\x1A") + static_cast<char>(any.size()) + any;
  CHECK(ParseRetryInfo(status) == milliseconds(2500));
  CHECK_FALSE(ParseRetryInfo("\x08\x0E"));
  CHECK_FALSE(ParseRetryInfo(std::string_view(status).substr(0, 20)));
}

TEST_CASE("OTLP answers: only the codes of the specification are tried again") {
  const auto http = [](int status) { return Judge(Protocol::kOtlpHttp, Answer(status)); };
  CHECK(http(200) == Verdict::kAccepted);
  for (const int status : {429, 502, 503, 504}) CHECK(http(status) == Verdict::kRetry);
  for (const int status : {400, 413, 415, 500, 501}) CHECK(http(status) == Verdict::kRefused);
  const auto grpc = [](int status) { return Judge(Protocol::kOtlpGrpc, Answer(status)); };
  CHECK(grpc(0) == Verdict::kAccepted);
  for (const int status : {1, 4, 10, 11, 14, 15}) CHECK(grpc(status) == Verdict::kRetry);
  for (const int status : {2, 3, 5, 7, 8, 12, 13, 16}) CHECK(grpc(status) == Verdict::kRefused);
  CHECK(Judge(Protocol::kOtlpGrpc, Answer(8, true)) == Verdict::kRetry);
  CHECK(Judge(Protocol::kRemoteWrite1, Answer(500)) == Verdict::kRetry);
}

TEST_CASE("OTLP options: endpoints get port and path, and what OTLP cannot do is refused") {
  LoadOptions options;
  const auto url = [&] { return ResolveOptions(options)->url; };
  CHECK(url() == "http://127.0.0.1:9090/api/v1/write");
  options.signal = Signal::kLogs;
  CHECK_FALSE(ResolveOptions(options).ok());  // by remote write
  options.protocol = Protocol::kOtlpHttp;
  CHECK(url() == "http://127.0.0.1:9090/v1/logs");
  options.url = "http://node:4318";
  CHECK(url() == "http://node:4318/v1/logs");
  options.url = "http://node:4318/";
  CHECK(url() == "http://node:4318/v1/logs");
  options.url = "http://node/insert/otlp";
  CHECK(url() == "http://node/insert/otlp");
  options.url = "";
  options.protocol = Protocol::kOtlpGrpc;
  CHECK(url() == "http://127.0.0.1:4317");
  options.record_bytes = kMinRecordBytes - 1;
  CHECK_FALSE(ResolveOptions(options).ok());
  options.record_bytes = kMinRecordBytes;
  CHECK(ResolveOptions(options).ok());
  options.histogram_share = 0.5;
  CHECK_FALSE(ResolveOptions(options).ok());
  for (const char* name : {"metrics", "logs", "traces"}) {
    CHECK(SignalName(*ParseSignal(name)) == name);
  }
  CHECK_FALSE(ParseSignal("spans").ok());
  CHECK(ProtocolName(*ParseProtocol("otlp-grpc")) == "otlp-grpc");
  CHECK(DefaultSeriesPerRequest(Signal::kTraces) == 512);
}
