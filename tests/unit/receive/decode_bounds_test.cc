// Small messages that ask for much memory, and what a large request leaves behind.
#include <snappy.h>

#include <catch2/catch.hpp>

#include "decode_harness.h"

using namespace forebay;           // NOLINT
using namespace forebay::receive;  // NOLINT
using namespace forebay::testing;  // NOLINT

namespace {

constexpr size_t kDecoded = 1U << 20;  // http.max_decoded_body

config::Config SmallConfig() {
  config::Config config = DecodeHarness::DefaultConfig();
  config.http.max_decoded_body = {kDecoded};
  return config;
}

std::string Repeat(const std::string& text, size_t times) {
  std::string out;
  out.reserve(text.size() * times);
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

const std::string kEmptySample("\x12\x00", 2);

}  // namespace

TEST_CASE("decode: samples that would take three times the decoded body are refused as a whole") {
  DecodeHarness h(SmallConfig());
  const size_t most = 3 * kDecoded / kStagedSampleBytes;
  const auto body = [&](size_t samples) {
    return BytesField(1, LabelFields(kUp) + Repeat(kEmptySample, samples));
  };
  CHECK(h.Decode1(body(most)).ok());
  CHECK(h.staged.refs.size() == most);
  const Status refused = h.Decode1(body(most + 1));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code() == ErrorCode::kOutOfRange);
  CHECK(h.staged.nothing_to_store());
  CHECK(h.staged.held_bytes() < (8U << 20));
  // What was accepted once is replayed whatever the limits are today.
  DecodeInput replay;
  replay.replay = true;
  CHECK(h.Decode1(body(most + 1), replay).ok());
}

TEST_CASE("decode: symbols, label refs, exemplars and histograms beyond what a body has room for") {
  DecodeHarness h(SmallConfig());
  const size_t most = std::max<size_t>(kDecoded / 8, 65'536);
  const auto check = [&](const Status& status) {
    REQUIRE_FALSE(status.ok());
    CHECK(status.error().code() == ErrorCode::kOutOfRange);
    CHECK(h.worker->held_bytes() < (8U << 20));
  };
  check(h.Decode2(Repeat(std::string("\x22\x00", 2), most + 1)));
  const std::string series = BytesField(5, BytesField(1, std::string(most + 1, '\0')));
  check(h.Decode2(series + Repeat(std::string("\x22\x00", 2), most + 1)));
  check(h.Decode2(BytesField(4, "") + series));
  check(h.Decode1(BytesField(1, LabelFields(kUp) + Repeat(std::string("\x1a\x00", 2), most + 1))));
  check(h.Decode1(BytesField(1, LabelFields(kUp) + Repeat(std::string("\x22\x00", 2), most + 1))));
  CHECK(h.Decode1(Series1(kUp)).ok());
}

TEST_CASE("decode: a histogram of a million buckets is refused, not written out") {
  DecodeHarness h(SmallConfig());
  for (const uint32_t field : {9U, 12U}) {
    const std::string histogram = BytesField(field - 1, VarintField(2, 1'000'000)) +
                                  BytesField(field, std::string(900'000, '\0'));
    REQUIRE(h.Decode1(BytesField(1, LabelFields(kUp) + BytesField(4, histogram))).ok());
    CHECK(h.staged.histograms.refused == 1);
    CHECK_THAT(h.staged.first_refusal, Catch::Contains("more than 65536 buckets"));
  }
}

TEST_CASE("decode: a series of half a million labels is refused for their number") {
  DecodeHarness h(SmallConfig());
  REQUIRE(h.Decode1(BytesField(1, Repeat(std::string("\x0a\x00", 2), 500'000) +
                                      BytesField(2, SampleMessage(1.0))))
              .ok());
  CHECK(h.CountOf(RefusalReason::kTooManyLabels) == 1);
}

TEST_CASE("decode: what large requests needed is given back") {
  config::Config config = DecodeHarness::DefaultConfig();
  config.limits.label_value_bytes = MiB(16);
  DecodeHarness h(config);
  // Labels that do not stand together are joined: another series of the group is large each time.
  for (size_t large = 0; large < kGroupSeries; ++large) {
    std::string message;
    for (size_t i = 0; i < kGroupSeries; ++i) {
      const std::string value = i == large ? std::string(2U << 20, 'x') : "x";
      message += BytesField(1, LabelField("__name__", "up") + BytesField(2, SampleMessage(1.0)) +
                                   LabelField("job", value));
    }
    REQUIRE(h.Decode1(message).ok());
  }
  CHECK(h.worker->held_bytes() < (8U << 20));
  // Long labels rendered for exemplars are not kept.
  for (int i = 0; i < 50; ++i) {
    const std::string exemplar = BytesField(3, DoubleField(2, 1) + VarintField(3, 5));
    REQUIRE(h.Decode1(Series1({{"__name__", "up"},
                               {"n", std::to_string(i) + std::string(1U << 20, 'y')}},
                              1, exemplar))
                .ok());
    REQUIRE(h.staged.exemplars.stored == 1);
  }
  CHECK(h.worker->held_bytes() < (8U << 20));
}

TEST_CASE("decode: a body that says 4 GiB of itself costs nothing") {
  DecodeHarness h(SmallConfig());
  const std::string body = std::string("\xff\xff\xff\xff\x0f") + std::string(20, 'a');
  DecodeInput input;
  input.body = body;
  const Status refused = h.worker->Decode(input, h.staged);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code() == ErrorCode::kOutOfRange);
  CHECK(h.worker->held_bytes() < (1U << 20));
}
