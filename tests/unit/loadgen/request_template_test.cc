#include "loadgen/request_template.h"

#include <bit>
#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "unit/loadgen/proto_walk.h"

using namespace forebay;
using namespace forebay::loadgen;
using std::chrono::milliseconds;
using test::Pick;
using test::ProtoField;
using test::Walk;

namespace {

struct Decoded {
  std::vector<std::pair<std::string, std::string>> labels;
  std::vector<std::pair<int64_t, uint64_t>> samples;
  size_t histograms = 0;
  size_t exemplars = 0;
};

int64_t Time(const ProtoField& field) { return static_cast<int64_t>(field.integer); }

std::vector<std::pair<int64_t, uint64_t>> Samples(std::string_view series, uint32_t field) {
  std::vector<std::pair<int64_t, uint64_t>> samples;
  for (const ProtoField& sample : Pick(series, field)) {
    samples.emplace_back(Time(Pick(sample.bytes, 2).at(0)), Pick(sample.bytes, 1).at(0).integer);
  }
  return samples;
}

std::vector<Decoded> Decode1(std::string_view body) {
  std::vector<Decoded> out;
  for (const ProtoField& series : Pick(body, 1)) {
    Decoded one;
    for (const ProtoField& label : Pick(series.bytes, 1)) {
      one.labels.emplace_back(Pick(label.bytes, 1).at(0).bytes, Pick(label.bytes, 2).at(0).bytes);
    }
    one.samples = Samples(series.bytes, 2);
    one.exemplars = Pick(series.bytes, 3).size();
    one.histograms = Pick(series.bytes, 4).size();
    out.push_back(std::move(one));
  }
  return out;
}

std::vector<Decoded> Decode2(std::string_view body) {
  std::vector<std::string> symbols;
  for (const ProtoField& symbol : Pick(body, 4)) symbols.emplace_back(symbol.bytes);
  REQUIRE(symbols.at(0).empty());
  CHECK(std::set<std::string>(symbols.begin(), symbols.end()).size() == symbols.size());
  std::vector<Decoded> out;
  for (const ProtoField& series : Pick(body, 5)) {
    Decoded one;
    std::string_view refs = Pick(series.bytes, 1).at(0).bytes;
    while (!refs.empty()) {
      const std::string& name = symbols.at(test::TakeVarint(refs));
      one.labels.emplace_back(name, symbols.at(test::TakeVarint(refs)));
    }
    one.samples = Samples(series.bytes, 2);
    one.histograms = Pick(series.bytes, 3).size();
    one.exemplars = Pick(series.bytes, 4).size();
    const ProtoField metadata = Pick(series.bytes, 5).at(0);
    CHECK(symbols.at(Pick(metadata.bytes, 3).at(0).integer).find("Made-up metric") == 0);
    out.push_back(std::move(one));
  }
  return out;
}

SeriesModel Model(uint64_t series, uint32_t tables, uint32_t labels = 10, double churn = 0) {
  return SeriesModel({series, tables, labels, churn});
}

RequestTemplate::Shape Shape(Protocol protocol, uint64_t first, uint32_t series,
                             uint32_t samples = 1) {
  RequestTemplate::Shape shape;
  shape.protocol = protocol;
  shape.first_series = first;
  shape.series = series;
  shape.samples_per_series = samples;
  return shape;
}

}  // namespace

TEST_CASE(
    "request template: both versions hold the model's labels, the timestamps and the values") {
  const SeriesModel model = Model(1000, 20);
  const std::vector<int64_t> times{1'790'000'000'000, 1'790'000'015'000, 1'790'000'030'000};
  for (const Protocol protocol : {Protocol::kRemoteWrite1, Protocol::kRemoteWrite2}) {
    RequestTemplate request(model, Shape(protocol, 300, 250, 3));
    for (const uint64_t round : {0U, 7U}) {
      const std::string_view body = request.Fill(round, times, milliseconds(0));
      const auto decoded = protocol == Protocol::kRemoteWrite1 ? Decode1(body) : Decode2(body);
      REQUIRE(decoded.size() == 250);
      std::vector<Label> labels;
      for (size_t i = 0; i < decoded.size(); ++i) {
        model.Labels(300 + i, 0, labels);
        REQUIRE(decoded[i].labels.size() == labels.size());
        for (size_t l = 0; l < labels.size(); ++l) {
          CHECK(decoded[i].labels[l].first == labels[l].name);
          CHECK(decoded[i].labels[l].second == labels[l].value);
        }
        REQUIRE(decoded[i].samples.size() == 3);
        for (size_t j = 0; j < 3; ++j) {
          CHECK(decoded[i].samples[j].first == times[j]);
          CHECK(decoded[i].samples[j].second ==
                SampleValueBits(ValueMode::kCounter, model, 300 + i, round * 3 + j));
        }
      }
    }
    CHECK(request.contents().samples == 750);
    CHECK(request.encodings() == 1);
  }
}

TEST_CASE("request template: 10 labels make bodies of the sizes that the budget was written for") {
  const SeriesModel model = Model(100'000, 200);
  const int64_t time = 1'790'000'000'000;
  ByteBuffer compressed;
  RequestTemplate one(model, Shape(Protocol::kRemoteWrite1, 40'000, 2000));
  const std::string_view raw = one.Fill(3, std::span(&time, 1), milliseconds(0));
  CompressSnappy(raw, compressed);
  CHECK(static_cast<double>(raw.size()) / 2000 == Approx(317).margin(6));
  CHECK(static_cast<double>(compressed.size()) / 2000 == Approx(42).margin(5));
  // Interning makes 2.0 a fraction of it.
  RequestTemplate two(model, Shape(Protocol::kRemoteWrite2, 40'000, 2000));
  CHECK(two.Fill(3, std::span(&time, 1), milliseconds(0)).size() < raw.size() / 3);
}

TEST_CASE("request template: churn encodes the replaced targets anew and leaves the others alone") {
  const SeriesModel model =
      Model(4000, 20, 10, 10);  // 20 targets of 200 series, 2 replaced a minute
  const int64_t time = 1'790'000'000'000;
  RequestTemplate request(model, Shape(Protocol::kRemoteWrite1, 0, 4000));
  const auto pods = [&](milliseconds elapsed) {
    std::map<std::string, int> count;
    for (const Decoded& series : Decode1(request.Fill(0, std::span(&time, 1), elapsed))) {
      for (const auto& [name, value] : series.labels) {
        if (name == "pod") ++count[value];
      }
    }
    return count;
  };
  const auto before = pods(milliseconds(0));
  REQUIRE(before.size() == 20);
  const auto after = pods(milliseconds(60'000));
  REQUIRE(after.size() == 20);
  size_t kept = 0;
  for (const auto& [pod, series] : after) {
    CHECK(series == 200);
    kept += before.count(pod);
  }
  CHECK(kept == 18);
  CHECK(request.encodings() == 2);
  pods(milliseconds(60'000));
  CHECK(request.encodings() == 2);
}

TEST_CASE("request template: histograms and exemplars carry the sample's time and value") {
  const SeriesModel model = Model(200, 10);
  const int64_t time = 1'790'000'000'000;
  for (const Protocol protocol : {Protocol::kRemoteWrite1, Protocol::kRemoteWrite2}) {
    auto shape = Shape(protocol, 0, 200);
    shape.histogram_share = 0.5;
    shape.exemplar_share = 1;
    shape.values = ValueMode::kUnique;
    RequestTemplate request(model, shape);
    const std::string_view body = request.Fill(2, std::span(&time, 1), milliseconds(0));
    const auto decoded = protocol == Protocol::kRemoteWrite1 ? Decode1(body) : Decode2(body);
    uint64_t histograms = 0;
    uint64_t samples = 0;
    for (const Decoded& series : decoded) {
      CHECK(series.exemplars == 1);
      CHECK(series.histograms + series.samples.size() == 1);
      histograms += series.histograms;
      samples += series.samples.size();
    }
    CHECK(histograms > 60);
    CHECK(histograms < 140);
    CHECK(request.contents().histograms == histograms);
    CHECK(request.contents().samples == samples);
    CHECK(request.contents().exemplars == 200);

    const bool v2 = protocol == Protocol::kRemoteWrite2;
    uint64_t index = 0;
    for (const ProtoField& series : Pick(body, v2 ? 5 : 1)) {
      const double value = static_cast<double>(2 * 200 + index++);
      const ProtoField exemplar = Pick(series.bytes, v2 ? 4 : 3).at(0);
      CHECK(Pick(exemplar.bytes, 2).at(0).real() == value);
      CHECK(Time(Pick(exemplar.bytes, 3).at(0)) == time);
      for (const ProtoField& histogram : Pick(series.bytes, v2 ? 3 : 4)) {
        CHECK(Pick(histogram.bytes, 3).at(0).real() == value);
        CHECK(Time(Pick(histogram.bytes, 15).at(0)) == time);
        // The receiver checks it: count = zero count + sum over the running sums of the deltas.
        std::string_view deltas = Pick(histogram.bytes, 12).at(0).bytes;
        int64_t bucket = 0;
        int64_t total = static_cast<int64_t>(Pick(histogram.bytes, 6).at(0).integer);
        while (!deltas.empty()) {
          const uint64_t zigzag = test::TakeVarint(deltas);
          bucket += static_cast<int64_t>(zigzag >> 1) ^ -static_cast<int64_t>(zigzag & 1);
          total += bucket;
        }
        CHECK(total == static_cast<int64_t>(Pick(histogram.bytes, 1).at(0).integer));
      }
    }
  }
}

TEST_CASE("sample values: counters rise strictly, unique values never come twice") {
  const SeriesModel model = Model(50, 5);
  std::set<uint64_t> unique;
  for (uint64_t series = 0; series < 50; ++series) {
    double last = -1;
    for (uint64_t sample = 0; sample < 200; ++sample) {
      const double value =
          std::bit_cast<double>(SampleValueBits(ValueMode::kCounter, model, series, sample));
      REQUIRE(value > last);
      last = value;
      unique.insert(SampleValueBits(ValueMode::kUnique, model, series, sample));
    }
  }
  CHECK(unique.size() == 50 * 200);
}

TEST_CASE(
    "fixed varint: six bytes read back as the same number for every time that a template holds") {
  for (const int64_t value :
       {int64_t{0}, int64_t{1}, kMinTimestamp, int64_t{1'790'000'000'123}, kMaxTimestamp}) {
    char bytes[6];
    WriteFixedVarint6(static_cast<uint64_t>(value), bytes);
    std::string_view in(bytes, sizeof bytes);
    CHECK(test::TakeVarint(in) == static_cast<uint64_t>(value));
    CHECK(in.empty());
  }
}
