#include <catch2/catch.hpp>

#include "decode_harness.h"
#include "receive/side_rows.h"
#include "table/series_id.h"

using namespace forebay;           // NOLINT
using namespace forebay::receive;  // NOLINT
using namespace forebay::testing;  // NOLINT

namespace {

std::string UpId() {
  const std::vector<table::Label> labels = {{"__name__", "up"}, {"job", "x"}};
  return std::to_string(table::SeriesId(labels));
}

std::string Exemplar1(const TextLabels& labels, double value = 0.5, int64_t timestamp = kTime) {
  return BytesField(3, LabelFields(labels) + DoubleField(2, value) +
                           VarintField(3, static_cast<uint64_t>(timestamp)));
}

std::string Metadata1(uint64_t type, std::string_view name, std::string_view help,
                      std::string_view unit) {
  return BytesField(
      3, VarintField(1, type) + BytesField(2, name) + BytesField(4, help) + BytesField(5, unit));
}

}  // namespace

TEST_CASE("side rows: exemplars of both versions become the same row") {
  DecodeHarness harness;
  const TextLabels trace = {{"trace_id", "abc\"1"}, {"span_id", "d,2"}};
  const std::string row =
      "2025-11-01T12:26:40.123Z," + UpId() +
      ",up,\"{\"\"job\"\":\"\"x\"\"}\","
      "\"{\"\"span_id\"\":\"\"d,2\"\",\"\"trace_id\"\":\"\"abc\\\"\"1\"\"}\",0.5\n";
  REQUIRE(harness.Decode1(Series1(kUp, 1, Exemplar1(trace))).ok());
  CHECK(harness.Text(SideTable::kExemplars) == row);
  CHECK(harness.staged.exemplars.stored == 1);
  Request2 request;
  const auto refs = request.Refs(trace);
  request.Add(kUp, Sample2(1) + BytesField(4, PackedField(1, refs) + DoubleField(2, 0.5) +
                                                  VarintField(3, kTime)));
  REQUIRE(harness.Decode2(request.Encode()).ok());
  CHECK(harness.Text(SideTable::kExemplars) == row);
  const StagedRows& rows = harness.staged.rows(0, SideTable::kExemplars);
  CHECK(harness.tables->Get(rows.table).name == "Exemplars");
  CHECK(harness.tables->Get(rows.table).schema == SideSchema(SideTable::kExemplars));
  CHECK(rows.row_ends[0] == row.size());
}

TEST_CASE("side rows: exemplars may have any value, any time and no labels") {
  DecodeHarness harness;
  std::string exemplars;
  for (const double value : {0.0, -1.5, 1e10, 1e-10}) exemplars += Exemplar1({}, value, 0);
  exemplars += Exemplar1({{"e", "ünï"}, {"empty", ""}}, 1, -5);
  REQUIRE(harness.Decode1(Series1(kUp, 1, exemplars)).ok());
  CHECK(harness.staged.exemplars.stored == 5);
  CHECK(!harness.staged.anything_refused());
  CHECK_THAT(harness.Text(SideTable::kExemplars),
             Catch::Contains("\"{\"\"e\"\":\"\"ünï\"\"}\",1\n"));
}

TEST_CASE("side rows: a bad exemplar is refused alone, its series' sample is kept") {
  const std::vector<TextLabels> bad = {
      {{"", "x"}}, {{"a", "1"}, {"a", "2"}}, {{"a\xff", "1"}}, {{"a", "\xff"}}};
  for (const TextLabels& labels : bad) {
    DecodeHarness harness;
    REQUIRE(harness.Decode1(Series1(kUp, 1, Exemplar1(labels) + Exemplar1({}))).ok());
    CHECK(harness.staged.exemplars.refused == 1);
    CHECK(harness.staged.exemplars.stored == 1);
    CHECK(harness.staged.refs.size() == 1);
    CHECK(harness.staged.anything_refused());
    CHECK_THAT(harness.staged.RefusalText(), Catch::Contains("bad_exemplar"));
  }
  for (const std::vector<uint64_t>& refs : {std::vector<uint64_t>{1}, {1, 999}}) {
    DecodeHarness harness;
    Request2 request;
    request.Add(kUp, Sample2(1) + BytesField(4, PackedField(1, refs) + DoubleField(2, 1)));
    REQUIRE(harness.Decode2(request.Encode()).ok());
    CHECK(harness.staged.exemplars.refused == 1);
    CHECK(harness.staged.refs.size() == 1);
  }
}

TEST_CASE("side rows: a native histogram's row has absolute buckets and exact counts") {
  DecodeHarness harness;
  REQUIRE(harness.Decode1(Series1(kUp, 1, BytesField(4, HistogramMessage()))).ok());
  CHECK(harness.Text(SideTable::kHistograms) ==
        "2025-11-01T12:26:40.123Z,," + UpId() +
            ",up,\"{\"\"job\"\":\"\"x\"\"}\",1,9,18.5,0.001,2,"
            "\"[[0,1],[1,3],[5,2]]\",\"[[-1,1]]\",\"[]\",false,no\n");
  CHECK(harness.staged.histograms.stored == 1);
  const uint64_t most = 1ULL << 63;
  const std::string large = VarintField(1, most) + VarintField(6, most);
  REQUIRE(harness.Decode1(Series1(kUp, 1, BytesField(4, large))).ok());
  CHECK_THAT(harness.Text(SideTable::kHistograms),
             Catch::Contains(",0,9223372036854775808,0,0,9223372036854775808,\"[]\""));
}

TEST_CASE("side rows: float histograms keep fractions, and strings stand for what JSON lacks") {
  DecodeHarness harness;
  const std::string floats = DoubleField(2, 2.5) + DoubleField(7, 0.25) +
                             BytesField(11, VarintField(2, 2)) + DoubleField(13, 1.25) +
                             DoubleField(13, std::numeric_limits<double>::infinity());
  REQUIRE(harness.Decode1(Series1(kUp, 1, BytesField(4, floats))).ok());
  CHECK_THAT(harness.Text(SideTable::kHistograms),
             Catch::Contains(",0,2.5,0,0,0.25,\"[[0,1.25],[1,\"\"Infinity\"\"]]\",\"[]\",\"[]\","
                             "true,unknown\n"));
}

TEST_CASE("side rows: field 6 of a 2.0 series is the start time of histograms without their own") {
  DecodeHarness harness;
  const std::string created = VarintField(6, 1000);
  REQUIRE(harness.Decode2(Request2().Add(kUp, BytesField(3, HistogramMessage()) + created).Encode())
              .ok());
  CHECK_THAT(harness.Text(SideTable::kHistograms),
             Catch::StartsWith("2025-11-01T12:26:40.123Z,1970-01-01T00:00:01Z,"));
  const std::string own = BytesField(3, HistogramMessage() + VarintField(17, 2000));
  REQUIRE(harness.Decode2(Request2().Add(kUp, own + created).Encode()).ok());
  CHECK_THAT(harness.Text(SideTable::kHistograms),
             Catch::StartsWith("2025-11-01T12:26:40.123Z,1970-01-01T00:00:02Z,"));
  REQUIRE(harness.Decode2(Request2().Add(kUp, Sample2(1) + created).Encode()).ok());
  CHECK(harness.staged.refs.size() == 1);
}

TEST_CASE("side rows: a histogram with a problem is refused alone") {
  DecodeHarness harness;
  REQUIRE(harness
              .Decode2(Request2()
                           .Add(kUp, BytesField(3, HistogramMessage(99)) +
                                         BytesField(3, HistogramMessage()))
                           .Encode())
              .ok());
  CHECK(harness.staged.histograms.refused == 1);
  CHECK(harness.staged.histograms.stored == 1);
  CHECK_THAT(harness.staged.RefusalText(),
             Catch::Contains("the count differs from the sum of the buckets"));
}

TEST_CASE("side rows: metadata is stored when it is new or changed, and again after an hour") {
  DecodeHarness harness;
  const std::string message = Metadata1(1, "up", "Is it \"up\", or\nnot", "");
  REQUIRE(harness.Decode1(message).ok());
  CHECK(harness.Text(SideTable::kMetadata) ==
        "2025-11-01T12:26:40.123Z,up,counter,\"Is it \"\"up\"\", or\nnot\",\n");
  CHECK(harness.staged.metadata.stored == 1);
  REQUIRE(harness.Decode1(message).ok());
  CHECK(harness.staged.nothing_to_store());
  CHECK(harness.staged.metadata_unchanged == 1);
  REQUIRE(harness.Decode1(Metadata1(2, "up", "Is it \"up\", or\nnot", "")).ok());
  CHECK(harness.staged.rows(0, SideTable::kMetadata).rows() == 1);
  DecodeInput later;
  later.received = {kTime + 3'600'000};
  REQUIRE(harness.Decode1(message, later).ok());
  CHECK(harness.staged.rows(0, SideTable::kMetadata).rows() == 1);
}

TEST_CASE(
    "side rows: inline metadata is known by its symbols, and forgotten when it was not kept") {
  DecodeHarness harness;
  const auto request = [](const char* help) {
    Request2 builder;
    const uint64_t ref = builder.Ref(help);
    const std::string metadata = BytesField(5, VarintField(1, 2) + VarintField(3, ref));
    for (int i = 0; i < 50; ++i) {
      builder.Add({{"__name__", "up"}, {"i", std::to_string(i)}}, Sample2(1) + metadata);
    }
    return builder.Encode();
  };
  REQUIRE(harness.Decode2(request("helps")).ok());
  CHECK(harness.Text(SideTable::kMetadata) == "2025-11-01T12:26:40.123Z,up,gauge,helps,\n");
  CHECK(harness.staged.metadata.stored == 50);
  CHECK(harness.staged.metadata_unchanged == 49);
  REQUIRE(harness.Decode2(request("helps")).ok());
  CHECK(harness.Text(SideTable::kMetadata).empty());
  REQUIRE(harness.Decode2(request("other")).ok());
  CHECK(harness.Text(SideTable::kMetadata) == "2025-11-01T12:26:40.123Z,up,gauge,other,\n");
  // As the handler does when the commit failed.
  harness.state->metadata().Forget(harness.staged.metadata_keys);
  REQUIRE(harness.Decode2(request("other")).ok());
  CHECK(harness.Text(SideTable::kMetadata) == "2025-11-01T12:26:40.123Z,up,gauge,other,\n");
}

TEST_CASE("side rows: metadata that is not UTF-8 is refused, nameless metadata left out") {
  DecodeHarness harness;
  REQUIRE(harness.Decode1(Metadata1(1, "up", "\xff", "")).ok());
  CHECK(harness.staged.metadata.refused == 1);
  CHECK(harness.staged.anything_refused());
  REQUIRE(harness.Decode1(Metadata1(1, "", "x", "")).ok());
  CHECK(!harness.staged.anything_refused());
  CHECK(harness.staged.nothing_to_store());
}

TEST_CASE("side rows: all eight metadata types have their names, other numbers are unknown") {
  const std::vector<std::string> names = {"unknown",        "counter", "gauge", "histogram",
                                          "gaugehistogram", "summary", "info",  "stateset"};
  for (size_t i = 0; i < names.size(); ++i) CHECK(MetricTypeName(i) == names[i]);
  CHECK(MetricTypeName(8) == "unknown");
}

TEST_CASE("side rows: a request that asks for too much text is cut off there") {
  DecodeHarness harness;
  // 60 KB of label for each of 2000 exemplars of a few bytes would be 120 MB of rows.
  std::string exemplars;
  for (int i = 0; i < 2000; ++i) exemplars += BytesField(3, DoubleField(2, i));
  const std::string large(60'000, 'v');
  REQUIRE(harness.Decode1(Series1({{"__name__", "up"}, {"l", large}}, 1, exemplars)).ok());
  CHECK(harness.staged.exemplars.stored > 1000);
  CHECK(harness.staged.exemplars.refused > 0);
  CHECK(harness.staged.exemplars.stored + harness.staged.exemplars.refused == 2000);
  CHECK(harness.staged.side_text_bytes() <= kMaxSideTextBytes);
  CHECK_THAT(harness.staged.RefusalText(), Catch::Contains("side_rows_too_large"));
}
