// The fast ways of a series' first time, beside plain ones.
#include <catch2/catch.hpp>
#include <random>

#include "decode_harness.h"
#include "receive/remote_write_1.h"

using namespace forebay;           // NOLINT
using namespace forebay::receive;  // NOLINT
using namespace forebay::testing;  // NOLINT

namespace {

// Label fields by protobuf's rules: any order, the last of a field counts, others are passed over.
bool ReadPlainly(std::string_view fields, std::vector<table::Label>& labels) {
  labels.clear();
  WireReader reader(fields);
  while (reader.Next()) {
    table::Label& label = labels.emplace_back();
    WireReader parts(reader.BytesField());
    while (parts.Next()) {
      if (parts.field() == 1) {
        label.name = parts.BytesField();
      } else if (parts.field() == 2) {
        label.value = parts.BytesField();
      } else {
        parts.Skip();
      }
    }
    if (parts.failed()) return false;
  }
  return !reader.failed();
}

}  // namespace

TEST_CASE("remote write 1.0: labels in the usual form are read as those in any other") {
  std::mt19937 random(5);
  const auto text = [&] { return std::string(random() % (random() % 8 == 0 ? 140 : 20), 'x'); };
  std::vector<table::Label> expected;
  std::vector<table::Label> labels;
  for (int round = 0; round < 40'000; ++round) {
    std::string fields;
    for (size_t i = random() % 6; i > 0; --i) {
      switch (random() % 12) {
        case 0:
          fields += BytesField(1, BytesField(2, text()) + BytesField(1, text()));
          break;
        case 1:
          fields += BytesField(1, BytesField(1 + random() % 2, text()));
          break;
        case 2:
          fields += BytesField(1, LabelField(text(), text()).substr(2) + VarintField(3, 1));
          break;
        case 3:
          fields += BytesField(1, BytesField(1, text()) + BytesField(2, text()) +
                                      BytesField(1 + random() % 2, text()));
          break;
        default:
          fields += LabelField(text(), text());
      }
    }
    if (!fields.empty() && random() % 4 == 0) {
      fields[random() % fields.size()] = static_cast<char>(random());
    }
    if (random() % 8 == 0) fields.resize(random() % (fields.size() + 1));
    const bool ok = ReadPlainly(fields, expected);
    REQUIRE(remote_write_1::ReadLabels(fields, labels) == ok);
    if (!ok) continue;
    REQUIRE(labels.size() == expected.size());
    for (size_t i = 0; i < labels.size(); ++i) {
      REQUIRE(labels[i].name == expected[i].name);
      REQUIRE(labels[i].value == expected[i].value);
    }
  }
}

TEST_CASE("new series: each goes to the table of its metric and database, however many there are") {
  config::Config config = DecodeHarness::DefaultConfig();
  config.databases.push_back(
      {.name = "Other", .relabel_configs = {}, .lift_labels = {}, .sinks = {}});
  config.limits.tables_max = 20'000;
  DecodeHarness h(config);
  constexpr size_t kMetrics = 6000;
  for (const char* round : {"first", "second"}) {
    for (const char* database : {"Metrics", "Other"}) {
      std::string message;
      for (size_t i = 0; i < kMetrics; ++i) {
        message += Series1({{"__name__", "m" + std::to_string(i)},
                            {"adxmon_database", database},
                            {"round", round}});
      }
      REQUIRE(h.Decode1(message).ok());
      REQUIRE(h.staged.refs.size() == kMetrics);
      for (size_t i = 0; i < kMetrics; ++i) {
        REQUIRE(h.TableOf(i).name == "M" + std::to_string(i));
        REQUIRE(h.TableOf(i).database == database);
      }
    }
  }
  // Other columns are another table, for a metric that is known too.
  config.databases[0].lift_labels = {{"round", ""}};
  REQUIRE(h.state->SetRules(config).ok());
  REQUIRE(h.Decode1(Series1({{"__name__", "m1"}, {"round", "third"}})).ok());
  CHECK(h.TableOf(0).schema.columns().size() == 5);
}

TEST_CASE("remote write 2.0: metadata that differ in one thing from those before are stored") {
  DecodeHarness h;
  Request2 request;
  struct Metadata {
    std::string metric = "one";
    uint64_t type = 1;
    std::string help = "help";
    std::string unit = "unit";
  };
  size_t series = 0;
  const auto add = [&](const Metadata& of, bool name_first = true) {
    const std::string metadata =
        BytesField(5, VarintField(1, of.type) + VarintField(3, request.Ref(of.help)) +
                          VarintField(4, request.Ref(of.unit)));
    TextLabels labels = {{"__name__", of.metric}, {"instance", std::to_string(++series)}};
    if (!name_first) std::swap(labels[0], labels[1]);
    request.Add(labels, Sample2(1) + metadata);
  };
  const std::vector<Metadata> others = {
      {.metric = "two"}, {.type = 2}, {.help = "other"}, {.unit = "other"}};
  for (const Metadata& other : others) {
    for (int i = 0; i < 3; ++i) add({});  // known, and known from the series before
    add(other);
    add({}, false);
  }
  REQUIRE(h.Decode2(request.Encode()).ok());
  CHECK(h.staged.metadata.received == 20);
  CHECK(h.staged.metadata.stored == 20);
  CHECK(h.staged.metadata_unchanged == 15);
  CHECK(h.staged.rows(0, SideTable::kMetadata).rows() == 5);
}
