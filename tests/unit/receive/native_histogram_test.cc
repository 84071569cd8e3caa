#include "receive/native_histogram.h"

#include <catch2/catch.hpp>
#include <limits>

#include "request_builder.h"

using namespace forebay::testing;  // NOLINT
using forebay::receive::BucketSpan;
using forebay::receive::kCustomBucketsSchema;
using forebay::receive::NativeHistogram;

namespace {

uint64_t Bits(double value) { return std::bit_cast<uint64_t>(value); }

NativeHistogram Valid() {
  NativeHistogram histogram;
  REQUIRE(histogram.Decode(HistogramMessage()));
  REQUIRE(!histogram.FindProblem());
  return histogram;
}

NativeHistogram ValidCustom() {
  NativeHistogram histogram;
  histogram.schema = kCustomBucketsSchema;
  histogram.custom_values = {Bits(1), Bits(5), Bits(10)};
  histogram.positive.spans = {{0, 2}, {1, 1}};
  histogram.positive.deltas = {3, -1, 2};
  histogram.count = 9;
  REQUIRE(!histogram.FindProblem());
  return histogram;
}

NativeHistogram ValidFloat() {
  NativeHistogram histogram;
  histogram.is_float = true;
  histogram.positive.spans = {{-3, 2}};
  histogram.positive.counts = {Bits(0.5), Bits(2.25)};
  histogram.count = Bits(2.75);
  REQUIRE(!histogram.FindProblem());
  return histogram;
}

std::string ProblemOf(const NativeHistogram& histogram) {
  return std::string(histogram.FindProblem().value_or(""));
}

}  // namespace

TEST_CASE("native histogram: all fields are read") {
  const NativeHistogram histogram = Valid();
  CHECK(histogram.count == 9);
  CHECK(histogram.zero_count == 2);
  CHECK(histogram.sum_bits == Bits(18.5));
  CHECK(histogram.schema == 1);
  CHECK(histogram.timestamp == kTime);
  CHECK(histogram.reset_hint == forebay::receive::ResetHint::kNo);
  std::vector<std::pair<int64_t, uint64_t>> buckets;
  ForEachBucket(histogram.positive, false,
                [&](int64_t index, uint64_t count) { buckets.emplace_back(index, count); });
  CHECK(buckets == std::vector<std::pair<int64_t, uint64_t>>{{0, 1}, {1, 3}, {5, 2}});
}

TEST_CASE("native histogram: deltas and counts are taken packed and one by one") {
  const std::string one_by_one = VarintField(1, 3) + BytesField(11, VarintField(2, 2)) +
                                 VarintField(12, ZigZag(1)) + VarintField(12, ZigZag(1));
  NativeHistogram histogram;
  REQUIRE(histogram.Decode(one_by_one));
  CHECK(histogram.positive.deltas == std::vector<int64_t>{1, 1});
  CHECK(!histogram.FindProblem());
  const std::string floats = DoubleField(2, 3) + BytesField(11, VarintField(2, 2)) +
                             DoubleField(13, 1) + DoubleField(13, 2) + DoubleField(7, 0);
  REQUIRE(histogram.Decode(floats));
  CHECK(histogram.is_float);
  CHECK(histogram.positive.counts == std::vector<uint64_t>{Bits(1), Bits(2)});
  CHECK(!histogram.FindProblem());
}

TEST_CASE("native histogram: truncated anywhere it is no message or another one, never a crash") {
  const std::string message = HistogramMessage();
  NativeHistogram histogram;
  for (size_t size = 0; size < message.size(); ++size) {
    if (histogram.Decode(std::string(message, 0, size))) (void)histogram.FindProblem();
  }
}

TEST_CASE("native histogram: schemas outside -4 to 8 and -53 are refused") {
  NativeHistogram histogram = Valid();
  for (const int32_t schema : {-4, 0, 8}) {
    histogram.schema = schema;
    CHECK(!histogram.FindProblem());
  }
  for (const int32_t schema : {-5, -9, -52, -54, 9, 52, 53, INT32_MAX, INT32_MIN}) {
    histogram.schema = schema;
    CAPTURE(schema);
    CHECK(ProblemOf(histogram) == "the schema is none of -4 to 8 and -53");
  }
}

TEST_CASE("native histogram: only the first span may have a negative offset") {
  NativeHistogram histogram = Valid();
  histogram.positive.spans[0].offset = -5;
  CHECK(!histogram.FindProblem());
  histogram.positive.spans[1].offset = -1;
  CHECK(ProblemOf(histogram) == "a span has a negative offset");
}

TEST_CASE("native histogram: spans must cover exactly the buckets sent") {
  NativeHistogram histogram = Valid();
  histogram.positive.spans[0].length = 3;
  CHECK(!ProblemOf(histogram).empty());
  histogram = Valid();
  histogram.negative.spans.clear();
  CHECK(!ProblemOf(histogram).empty());
  histogram = Valid();
  histogram.positive.spans = {{0, 0xffff'ffff}, {0, 0xffff'ffff}};
  CHECK(!ProblemOf(histogram).empty());
}

TEST_CASE("native histogram: a running sum below zero or above 64 bits is refused") {
  NativeHistogram histogram = Valid();
  histogram.positive.deltas = {1, -2, 3};
  CHECK(ProblemOf(histogram) == "a bucket's count is negative or too large");
  histogram.positive.deltas = {INT64_MAX, 1, 0};
  CHECK(ProblemOf(histogram) == "a bucket's count is negative or too large");
  histogram.positive.deltas = {INT64_MAX, 0, 0};
  CHECK(ProblemOf(histogram) == "a bucket's count is negative or too large");
}

TEST_CASE("native histogram: the count is the sum of all buckets, or more when the sum is NaN") {
  NativeHistogram histogram;
  REQUIRE(histogram.Decode(HistogramMessage(99)));
  CHECK(ProblemOf(histogram) == "the count differs from the sum of the buckets");
  histogram.sum_bits = Bits(std::numeric_limits<double>::quiet_NaN());
  CHECK(!histogram.FindProblem());
  histogram.count = 8;
  CHECK(ProblemOf(histogram) == "the count is less than the sum of the buckets");
}

TEST_CASE("native histogram: an empty one is valid, in both flavours and schemas") {
  NativeHistogram histogram;
  CHECK(histogram.Decode(""));
  CHECK(!histogram.FindProblem());
  CHECK(histogram.Decode(DoubleField(2, 0)));
  CHECK(!histogram.FindProblem());
}

TEST_CASE("native histogram: custom buckets have no zero bucket and no negative ones") {
  NativeHistogram histogram = ValidCustom();
  histogram.zero_count = 1;
  CHECK(ProblemOf(histogram) == "custom buckets have a zero count");
  histogram = ValidCustom();
  histogram.zero_threshold_bits = Bits(0.1);
  CHECK(ProblemOf(histogram) == "custom buckets have a zero threshold");
  histogram = ValidCustom();
  histogram.negative.spans = {{0, 1}};
  histogram.negative.deltas = {0};
  CHECK(ProblemOf(histogram) == "custom buckets have negative buckets");
  histogram = ValidCustom();
  histogram.positive.spans[0].offset = -1;
  CHECK(ProblemOf(histogram) == "a span has a negative offset");
}

TEST_CASE("native histogram: custom bounds increase strictly, are finite and enough") {
  NativeHistogram histogram = ValidCustom();
  histogram.custom_values[1] = Bits(1);
  CHECK(ProblemOf(histogram) == "the custom bounds do not increase");
  histogram = ValidCustom();
  histogram.custom_values[2] = Bits(std::numeric_limits<double>::infinity());
  CHECK(ProblemOf(histogram) == "a custom bound is not finite");
  histogram = ValidCustom();
  histogram.custom_values[0] = Bits(std::numeric_limits<double>::quiet_NaN());
  CHECK(ProblemOf(histogram) == "a custom bound is not finite");
  histogram = ValidCustom();
  histogram.custom_values.pop_back();
  CHECK(ProblemOf(histogram) == "there are more buckets than custom bounds");
  histogram = Valid();
  histogram.custom_values = {Bits(1)};
  CHECK(ProblemOf(histogram) == "an exponential schema has custom bounds");
}

TEST_CASE("native histogram: negative float counts are refused, rounded sums are not") {
  NativeHistogram histogram = ValidFloat();
  histogram.count = Bits(2.7500001);
  CHECK(!histogram.FindProblem());
  histogram.positive.counts[0] = Bits(-0.5);
  CHECK(ProblemOf(histogram) == "a bucket's count is negative");
  histogram = ValidFloat();
  histogram.zero_count = Bits(-1);
  CHECK(ProblemOf(histogram) == "the zero count is negative");
  histogram = ValidFloat();
  histogram.count = Bits(-1);
  CHECK(ProblemOf(histogram) == "the count is negative");
}

TEST_CASE("native histogram: buckets of the other flavour are refused") {
  NativeHistogram histogram = ValidFloat();
  histogram.positive.deltas = {1};
  CHECK(ProblemOf(histogram) == "integer and float buckets are mixed");
}
