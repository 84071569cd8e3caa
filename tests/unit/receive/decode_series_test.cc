#include <snappy.h>

#include <catch2/catch.hpp>

#include "decode_harness.h"
#include "table/series_id.h"

using namespace forebay;           // NOLINT
using namespace forebay::receive;  // NOLINT
using namespace forebay::testing;  // NOLINT

namespace {

const TextLabels kUpOfInstance = {{"__name__", "up"}, {"instance", "a:1"}, {"job", "x"}};

std::vector<uint64_t> SpecialBits() {
  return {
      0x7ff0'0000'0000'0002, 0x7ff8'0000'0000'0001, 0x7ff0'0000'0000'0000, 0xfff0'0000'0000'0000,
      0x7ff0'0000'dead'beef, 0xffff'ffff'ffff'ffff, 0x8000'0000'0000'0000, 1};
}

}  // namespace

TEST_CASE("remote write: a 1.0 and a 2.0 request of the same series stage the same ref and row") {
  DecodeHarness harness;
  REQUIRE(harness.Decode1(Series1(kUpOfInstance, 2.5)).ok());
  const auto first = harness.samples();
  REQUIRE(first.size() == 1);
  CHECK(std::get<1>(first[0]) == kTime);
  CHECK(std::get<2>(first[0]) == std::bit_cast<uint64_t>(2.5));
  CHECK(harness.LabelsOf(0) == "instance=a:1,job=x");
  CHECK(harness.TableOf(0).name == "Up");
  CHECK(harness.TableOf(0).database == "Metrics");
  const std::vector<table::Label> labels = {{"__name__", "up"}, {"instance", "a:1"}, {"job", "x"}};
  CHECK(harness.series->Get(harness.staged.refs[0]).series_id == table::SeriesId(labels));

  REQUIRE(harness.Decode2(Request2().Add(kUpOfInstance, Sample2(2.5)).Encode()).ok());
  CHECK(harness.samples() == first);
  CHECK(harness.series->size() == 1);
}

TEST_CASE("remote write: labels in any order are the same series") {
  DecodeHarness harness;
  REQUIRE(harness.Decode1(Series1(kUpOfInstance)).ok());
  const auto ref = harness.staged.refs[0];
  const TextLabels shuffled = {{"job", "x"}, {"__name__", "up"}, {"instance", "a:1"}};
  REQUIRE(harness.Decode1(Series1(shuffled)).ok());
  CHECK(harness.staged.refs[0] == ref);
  REQUIRE(harness.Decode2(Request2().Add(shuffled, Sample2(1)).Encode()).ok());
  CHECK(harness.staged.refs[0] == ref);
  CHECK(harness.LabelsOf(0) == "instance=a:1,job=x");
}

TEST_CASE("remote write: labels with other fields between them are one series all the same") {
  DecodeHarness harness;
  REQUIRE(harness.Decode1(Series1(kUpOfInstance)).ok());
  const auto ref = harness.staged.refs[0];
  const std::string apart = LabelField("__name__", "up") + BytesField(2, SampleMessage(1.0, 10)) +
                            LabelField("instance", "a:1") + VarintField(99, 5) +
                            LabelField("job", "x") + BytesField(2, SampleMessage(2.0, 20));
  REQUIRE(harness.Decode1(BytesField(1, apart)).ok());
  const DecodeHarness::Samples expected = {{ref, 10, std::bit_cast<uint64_t>(1.0)},
                                           {ref, 20, std::bit_cast<uint64_t>(2.0)}};
  CHECK(harness.samples() == expected);
  CHECK(harness.series->size() == 1);
}

TEST_CASE("remote write: many series, more than a group, keep their samples in order") {
  DecodeHarness harness;
  std::string message;
  for (int i = 0; i < 1000; ++i) {
    message += Series1({{"__name__", "m" + std::to_string(i % 7)}, {"i", std::to_string(i)}}, i);
  }
  for (int round = 0; round < 2; ++round) {
    REQUIRE(harness.Decode1(message).ok());
    REQUIRE(harness.staged.refs.size() == 1000);
    for (size_t i = 0; i < 1000; ++i) {
      CHECK(harness.LabelsOf(i) == "i=" + std::to_string(i));
      CHECK(harness.staged.values[i] == std::bit_cast<uint64_t>(static_cast<double>(i)));
    }
  }
  CHECK(harness.series->size() == 1000);
  CHECK(harness.state->metrics().series_resolved->value() == 1000);
  CHECK(harness.staged.database_samples == std::vector<uint64_t>{1000});
}

TEST_CASE("remote write: special values are staged bit for bit and counted") {
  DecodeHarness harness;
  std::string samples;
  for (const uint64_t bits : SpecialBits()) samples += BytesField(2, SampleMessage(bits, kTime));
  const bool version_2 = GENERATE(false, true);
  if (version_2) {
    REQUIRE(harness.Decode2(Request2().Add(kUpOfInstance, samples).Encode()).ok());
  } else {
    REQUIRE(harness.Decode1(BytesField(1, LabelFields(kUpOfInstance) + samples)).ok());
  }
  const auto values = harness.staged.values.span();
  CHECK(std::vector<uint64_t>(values.begin(), values.end()) == SpecialBits());
  CHECK(harness.staged.stale_markers == 1);
  CHECK(harness.staged.nans == 3);
  CHECK(harness.staged.positive_infinities == 1);
  CHECK(harness.staged.negative_infinities == 1);
}

TEST_CASE("remote write: drop_nan leaves NaN and stale markers out, as dropped by rule") {
  config::Config config = DecodeHarness::DefaultConfig();
  config.remote_write.drop_nan = true;
  DecodeHarness harness(config);
  std::string samples;
  for (const uint64_t bits : SpecialBits()) samples += BytesField(2, SampleMessage(bits, kTime));
  REQUIRE(harness.Decode2(Request2().Add(kUpOfInstance, samples).Encode()).ok());
  CHECK(harness.staged.refs.size() == 4);
  CHECK(harness.staged.samples.received == 8);
  CHECK(harness.staged.samples.dropped == 4);
  CHECK(harness.staged.samples_dropped_nan == 4);
  CHECK(harness.staged.samples.accepted() == 8);
  CHECK(!harness.staged.anything_refused());
  // A series with nothing but NaN is a series with samples.
  const std::string nan = BytesField(2, SampleMessage(table::kStaleMarkerBits, kTime));
  REQUIRE(harness.Decode2(Request2().Add(kUpOfInstance, nan).Encode()).ok());
  CHECK(!harness.staged.anything_refused());
}

TEST_CASE("remote write: times far ahead and times out of order are taken unless bounded") {
  DecodeHarness harness;
  const std::string samples = Sample2(1, kTime + 86'400'000) + Sample2(2, 5) + Sample2(3, 5) +
                              Sample2(4, -7) + Sample2(5, INT64_MAX) + Sample2(6, INT64_MIN);
  REQUIRE(harness.Decode2(Request2().Add(kUpOfInstance, samples).Encode()).ok());
  CHECK(harness.staged.refs.size() == 6);
  CHECK(!harness.staged.anything_refused());
  CHECK(harness.staged.timestamps[5] == INT64_MIN);
}

TEST_CASE("remote write: samples out of the configured bounds are refused one by one") {
  config::Config config = DecodeHarness::DefaultConfig();
  config.remote_write.max_future = std::chrono::minutes(10);
  config.remote_write.max_past = std::chrono::hours(1);
  DecodeHarness harness(config);
  const std::string samples = Sample2(1, kTime + 600'000) + Sample2(2, kTime + 600'001) +
                              Sample2(3, kTime - 3'600'000) + Sample2(4, kTime - 3'600'001) +
                              Sample2(5, INT64_MIN);
  REQUIRE(
      harness
          .Decode2(Request2().Add(kUpOfInstance, samples).Add(kUpOfInstance, Sample2(9)).Encode())
          .ok());
  CHECK(harness.staged.refs.size() == 3);
  CHECK(harness.staged.values[1] == std::bit_cast<uint64_t>(3.0));
  CHECK(harness.staged.values[2] == std::bit_cast<uint64_t>(9.0));
  CHECK(harness.staged.samples.refused == 3);
  CHECK(harness.staged.refused.empty());
  CHECK(harness.staged.refused_samples[static_cast<size_t>(RefusalReason::kTooFarAhead)] == 1);
  CHECK(harness.staged.refused_samples[static_cast<size_t>(RefusalReason::kTooOld)] == 2);
  CHECK(harness.staged.anything_refused());
  CHECK_THAT(harness.staged.RefusalText(), Catch::Contains("1 too_far_ahead, 2 too_old"));
  CHECK_THAT(harness.staged.RefusalText(), Catch::Contains("up{instance=\"a:1\""));
}

TEST_CASE(
    "remote write: packed and single label refs, and symbols behind the series, are the same") {
  DecodeHarness harness;
  Request2 packed;
  packed.Add(kUpOfInstance, Sample2(1));
  REQUIRE(harness.Decode2(packed.Encode()).ok());
  const auto expected = harness.samples();
  Request2 single;
  std::string refs;
  for (const uint64_t ref : single.Refs(kUpOfInstance)) refs += VarintField(1, ref);
  single.AddRaw(refs + Sample2(1));
  REQUIRE(harness.Decode2(single.Encode()).ok());
  CHECK(harness.samples() == expected);
  REQUIRE(harness.Decode2(packed.EncodeSymbolsLast()).ok());
  CHECK(harness.samples() == expected);
  CHECK(harness.staged.series == 1);
}

TEST_CASE("remote write: names and values of any UTF-8 are kept") {
  DecodeHarness harness;
  const TextLabels labels = {
      {"__name__", "http.server duration é"}, {"k.dot", "line\nbreak"}, {"ü", "\xf0\x9f\x98\x80"}};
  REQUIRE(harness.Decode2(Request2().Add(labels, Sample2(1)).Encode()).ok());
  CHECK(!harness.staged.anything_refused());
  CHECK(harness.LabelsOf(0) == "k.dot=line\nbreak,ü=\xf0\x9f\x98\x80");
  CHECK(harness.TableOf(0).name == "HttpServerDuration");
}

TEST_CASE("remote write: labels without a value are the same as no labels") {
  DecodeHarness harness;
  REQUIRE(harness.Decode1(Series1(kUpOfInstance)).ok());
  const auto ref = harness.staged.refs[0];
  TextLabels more = kUpOfInstance;
  more.emplace_back("zone", "");
  REQUIRE(harness.Decode1(Series1(more)).ok());
  CHECK(harness.staged.refs[0] == ref);
}

TEST_CASE("remote write: each bad series is refused with its reason, the good ones are kept") {
  const std::string long_name(1025, 'n');
  const std::string long_value(65 * 1024, 'v');
  TextLabels many = kUpOfInstance;
  for (int i = 0; i < 256; ++i) many.emplace_back("l" + std::to_string(i), "v");
  const std::vector<std::pair<TextLabels, RefusalReason>> cases = {
      {{}, RefusalReason::kNoMetricName},
      {{{"job", "x"}}, RefusalReason::kNoMetricName},
      {{{"__name__", ""}, {"job", "x"}}, RefusalReason::kNoMetricName},
      {{{"__name__", "up"}, {"", "x"}}, RefusalReason::kEmptyLabelName},
      {{{"__name__", "up"}, {"a", "1"}, {"a", "2"}}, RefusalReason::kDuplicateLabel},
      {{{"a", "1"}, {"__name__", "up"}, {"a", "1"}}, RefusalReason::kDuplicateLabel},
      {{{"__name__", "up\xff"}}, RefusalReason::kNotUtf8},
      {{{"__name__", "up"}, {"a\xc0\x80", "1"}}, RefusalReason::kNotUtf8},
      {{{"__name__", "up"}, {"a", "\xed\xa0\x80"}}, RefusalReason::kNotUtf8},
      {{{"__name__", "::"}}, RefusalReason::kNoTableName},
      {{{"__name__", "up"}, {long_name, "1"}}, RefusalReason::kLabelNameTooLong},
      {{{"__name__", "up"}, {"a", long_value}}, RefusalReason::kLabelValueTooLong},
      {many, RefusalReason::kTooManyLabels},
      {{{"__name__", "up"}, {"adxmon_database", "Nowhere"}}, RefusalReason::kUnknownDatabase},
  };
  for (const auto& [labels, reason] : cases) {
    CAPTURE(Name(reason));
    for (const bool version_2 : {false, true}) {
      CAPTURE(version_2);
      DecodeHarness harness;
      const Status decoded =
          version_2 ? harness.Decode2(Request2()
                                          .Add(kUpOfInstance, Sample2(1))
                                          .Add(labels, Sample2(2) + Sample2(3))
                                          .Add(kUpOfInstance, Sample2(4))
                                          .Encode())
                    : harness.Decode1(Series1(kUpOfInstance, 1) +
                                      Series1(labels, 2, BytesField(2, SampleMessage(3.0))) +
                                      Series1(kUpOfInstance, 4));
      REQUIRE(decoded.ok());
      const StagedWrite& staged = harness.staged;
      CHECK(staged.refused == std::vector<uint32_t>{1});
      CHECK(harness.CountOf(reason) == 1);
      CHECK(staged.samples.received == 4);
      CHECK(staged.samples.refused == 2);
      REQUIRE(staged.refs.size() == 2);
      CHECK(staged.values[1] == std::bit_cast<uint64_t>(4.0));
      const std::string text = staged.RefusalText();
      CHECK_THAT(text, Catch::StartsWith("1 of 3 series refused: 1 " + std::string(Name(reason))));
      CHECK_THAT(text, Catch::Contains("first: "));
      CHECK_THAT(text, Catch::Contains(std::string(HowToFix(reason))));
      CHECK(text.size() <= 4096);
    }
  }
}

TEST_CASE("remote write 2.0: bad refs and series without samples are refused") {
  DecodeHarness harness;
  Request2 request;
  const auto refs = request.Refs(kUpOfInstance);
  auto odd = refs;
  odd.pop_back();
  auto beyond = refs;
  beyond.back() = 999;
  auto huge = refs;
  huge.back() = 1ULL << 40;
  const auto metadata = [](uint64_t help, uint64_t unit) {
    return BytesField(5, VarintField(1, 1) + VarintField(3, help) + VarintField(4, unit));
  };
  const std::string good = PackedField(1, refs);
  request.AddRaw(PackedField(1, odd) + Sample2(1))
      .AddRaw(PackedField(1, beyond) + Sample2(1))
      .AddRaw(PackedField(1, huge) + Sample2(1))
      .AddRaw(good + Sample2(1) + metadata(999, 0))
      .AddRaw(good + Sample2(1) + metadata(0, 999))
      .AddRaw(good)
      .AddRaw(good + BytesField(4, DoubleField(2, 1) + VarintField(3, 1)))
      .AddRaw(good + metadata(0, 0))
      .AddRaw(good + Sample2(7) + metadata(0, 0));
  REQUIRE(harness.Decode2(request.Encode()).ok());
  CHECK(harness.staged.refused == std::vector<uint32_t>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(harness.CountOf(RefusalReason::kBadLabelRefs) == 3);
  CHECK(harness.CountOf(RefusalReason::kBadMetadataRefs) == 2);
  CHECK(harness.CountOf(RefusalReason::kNoSamples) == 3);
  CHECK(harness.staged.exemplars.refused == 1);
  CHECK(harness.staged.refs.size() == 1);
}

TEST_CASE("remote write 1.0: a series with nothing but an exemplar is accepted") {
  DecodeHarness harness;
  const std::string exemplar = DoubleField(2, 1) + VarintField(3, 1000);
  REQUIRE(
      harness.Decode1(BytesField(1, LabelFields(kUpOfInstance) + BytesField(3, exemplar))).ok());
  CHECK(!harness.staged.anything_refused());
  CHECK(harness.staged.exemplars.stored == 1);
}

TEST_CASE("remote write: beyond the limits new series and tables are refused, known ones go on") {
  config::Config config = DecodeHarness::DefaultConfig();
  config.limits.tables_max = 2;
  DecodeHarness harness(config, {.max_series = 3, .hash_seed = 7});
  REQUIRE(harness
              .Decode1(Series1({{"__name__", "a"}}) + Series1({{"__name__", "b"}}) +
                       Series1({{"__name__", "c"}}) + Series1({{"__name__", "a"}, {"x", "1"}}) +
                       Series1({{"__name__", "a"}, {"x", "2"}}) + Series1({{"__name__", "b"}}))
              .ok());
  CHECK(harness.staged.refused == std::vector<uint32_t>{2, 4});
  CHECK(harness.CountOf(RefusalReason::kTableLimit) == 1);
  CHECK(harness.CountOf(RefusalReason::kSeriesLimit) == 1);
  CHECK(harness.staged.refs.size() == 4);
}

TEST_CASE("remote write: a request cut or changed at any byte is an error or a message, no crash") {
  const std::string exemplar =
      LabelField("trace_id", "abc") + DoubleField(2, 1) + VarintField(3, 1000);
  const std::string request_1 =
      Series1(kUpOfInstance, 1, BytesField(3, exemplar) + BytesField(4, HistogramMessage())) +
      BytesField(3, VarintField(1, 1) + BytesField(2, "up") + BytesField(4, "help"));
  Request2 builder;
  const auto trace = builder.Refs({{"trace_id", "abc"}});
  builder.Add(kUpOfInstance, Sample2(1) + BytesField(3, HistogramMessage()) +
                                 BytesField(4, PackedField(1, trace) + DoubleField(2, 1)) +
                                 BytesField(5, VarintField(1, 2) + VarintField(3, 1)));
  const std::string request_2 = builder.Encode();
  DecodeHarness harness;
  for (size_t size = 0; size < request_1.size(); ++size) {
    const Status decoded = harness.Decode1(std::string(request_1, 0, size));
    if (!decoded.ok()) CHECK(decoded.error().code() == ErrorCode::kInvalidArgument);
  }
  for (size_t size = 0; size < request_2.size(); ++size) {
    const Status decoded = harness.Decode2(std::string(request_2, 0, size));
    if (!decoded.ok()) CHECK(decoded.error().code() == ErrorCode::kInvalidArgument);
  }
  for (const std::string& whole : {request_1, request_2}) {
    for (size_t i = 0; i < whole.size(); ++i) {
      for (const char byte : {'\0', '\xff', '\x0a', '\x7f'}) {
        std::string changed = whole;
        changed[i] = byte;
        (void)harness.Decode1(changed);
        (void)harness.Decode2(changed);
      }
    }
  }
  // What is cut inside its only series is no message, and nothing of it is staged.
  const Status cut = harness.Decode1(std::string(Series1(kUpOfInstance), 0, 20));
  REQUIRE(!cut.ok());
  CHECK(harness.staged.nothing_to_store());
}

TEST_CASE("remote write: corrupt or oversized snappy is refused before it costs memory") {
  DecodeHarness harness;
  const std::string message = Series1(kUpOfInstance);
  std::string body;
  snappy::Compress(message.data(), message.size(), &body);
  DecodeInput input;
  input.received = {kTime};
  input.body = body;
  REQUIRE(harness.worker->Decode(input, harness.staged).ok());
  CHECK(harness.staged.refs.size() == 1);
  CHECK(harness.staged.decoded_bytes == message.size());
  for (size_t size = 0; size < body.size(); ++size) {
    const std::string cut(body, 0, size);
    input.body = cut;
    const Status decoded = harness.worker->Decode(input, harness.staged);
    REQUIRE(!decoded.ok());
    CHECK(decoded.error().code() == ErrorCode::kInvalidArgument);
  }
  std::string overwritten = body;
  overwritten[0] = '\xff';
  input.body = overwritten;
  CHECK(!harness.worker->Decode(input, harness.staged).ok());
  const std::string bomb("\xff\xff\xff\xff\x0f\x00", 6);  // says it has 4 GiB
  input.body = bomb;
  const Status decoded = harness.worker->Decode(input, harness.staged);
  REQUIRE(!decoded.ok());
  CHECK(decoded.error().code() == ErrorCode::kOutOfRange);
  const std::string empty(1, '\0');
  input.body = empty;
  CHECK(harness.worker->Decode(input, harness.staged).ok());
  CHECK(harness.staged.nothing_to_store());
}
