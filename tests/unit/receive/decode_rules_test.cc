#include <catch2/catch.hpp>

#include "decode_harness.h"

using namespace forebay;           // NOLINT
using namespace forebay::receive;  // NOLINT
using namespace forebay::testing;  // NOLINT

namespace {

config::RelabelConfig Rule(std::string action, std::vector<std::string> sources,
                           std::string regex) {
  config::RelabelConfig rule;
  rule.action = std::move(action);
  rule.source_labels = std::move(sources);
  rule.regex = std::move(regex);
  return rule;
}

config::Config TwoDatabases() {
  config::Config config = DecodeHarness::DefaultConfig();
  config.databases.push_back(
      {.name = "TeamB", .relabel_configs = {}, .lift_labels = {}, .sinks = {}});
  return config;
}

TextLabels Named(const std::string& name, TextLabels more = {}) {
  more.insert(more.begin(), {"__name__", name});
  return more;
}

}  // namespace

TEST_CASE("rules: global rules drop, then those of the database, and drops are counted apart") {
  config::Config config = DecodeHarness::DefaultConfig();
  config.remote_write.relabel_configs = {Rule("drop", {"__name__"}, "go_.*"),
                                         Rule("labeldrop", {}, "pod")};
  config.databases[0].relabel_configs = {Rule("drop", {"env"}, "test")};
  DecodeHarness harness(config);
  for (int round = 0; round < 2; ++round) {
    REQUIRE(harness
                .Decode1(Series1(Named("go_gc")) +
                         Series1(Named("up", {{"env", "prod"}, {"pod", "p"}})) +
                         Series1(Named("up", {{"env", "test"}})))
                .ok());
    CHECK(harness.staged.refs.size() == 1);
    CHECK(harness.LabelsOf(0) == "env=prod");
    CHECK(harness.staged.samples.dropped == 2);
    CHECK(harness.staged.samples.accepted() == 3);
    CHECK(!harness.staged.anything_refused());
  }
  // The second round found all three, the dropped ones too.
  CHECK(harness.state->metrics().series_resolved->value() == 3);
}

TEST_CASE("rules: a metric name that relabelling removes or renames decides") {
  config::Config config = DecodeHarness::DefaultConfig();
  config.remote_write.relabel_configs = {Rule("labeldrop", {}, "__name__")};
  DecodeHarness nameless(config);
  REQUIRE(nameless.Decode1(Series1(Named("up"))).ok());
  CHECK(nameless.CountOf(RefusalReason::kNoMetricName) == 1);
  auto rename = Rule("replace", {"__name__"}, "up");
  rename.target_label = "__name__";
  rename.replacement = "down_total";
  config.remote_write.relabel_configs = {rename};
  DecodeHarness renamed(config);
  REQUIRE(renamed.Decode1(Series1(Named("up"))).ok());
  CHECK(renamed.TableOf(0).name == "DownTotal");
}

TEST_CASE("rules: the database label goes before the tenant, the tenant before the default") {
  DecodeHarness harness(TwoDatabases());
  const auto database = [&](const TextLabels& labels, std::string_view tenant) {
    DecodeInput input;
    input.tenant = tenant;
    REQUIRE(harness.Decode1(Series1(labels), input).ok());
    REQUIRE(harness.staged.refs.size() == 1);
    const std::string& name = harness.TableOf(0).database;
    const size_t index = name == "TeamB" ? 1 : 0;
    CHECK(harness.staged.database_samples[index] == 1);
    CHECK(harness.staged.database_samples[1 - index] == 0);
    return name;
  };
  CHECK(database(Named("up"), "") == "Metrics");
  CHECK(database(Named("up"), "TeamB") == "TeamB");
  CHECK(database(Named("up"), "team-b") == "Metrics");
  CHECK(database(Named("up"), "Team-B") == "TeamB");
  CHECK(database(Named("up"), "unknown") == "Metrics");
  CHECK(database(Named("up", {{"adxmon_database", "TeamB"}}), "Metrics") == "TeamB");
  CHECK(database(Named("up", {{"adxmon_database", "Metrics"}}), "TeamB") == "Metrics");
  CHECK(database(Named("up", {{"adxmon_database", ""}}), "TeamB") == "TeamB");
}

TEST_CASE("rules: the default database is the one configured") {
  config::Config config = TwoDatabases();
  config.remote_write.default_database = "TeamB";
  DecodeHarness harness(config);
  REQUIRE(harness.Decode1(Series1(Named("up"))).ok());
  CHECK(harness.TableOf(0).database == "TeamB");
  config.remote_write.default_database = "Other";
  CHECK(!Rules::Compile(config, 1).ok());
  config.databases.clear();
  CHECK(!Rules::Compile(config, 1).ok());
}

TEST_CASE(
    "rules: labels are lifted case-insensitively and prefixed ones leave the row, not the id") {
  config::Config config = DecodeHarness::DefaultConfig();
  config.databases[0].lift_labels = {{"Cluster", ""}, {"region", "Geo"}};
  DecodeHarness harness(config);
  REQUIRE(
      harness.Decode1(Series1(Named("up", {{"adxmon_x", "1"}, {"cluster", "c1"}, {"job", "j"}})))
          .ok());
  CHECK(harness.LabelsOf(0) == "job=j");
  const auto& columns = harness.TableOf(0).schema.columns();
  REQUIRE(columns.size() == 6);
  CHECK(columns[4].name == "Cluster");
  CHECK(columns[5].name == "Geo");
  const auto view = harness.series->Get(harness.staged.refs[0]);
  REQUIRE(view.values.size() == 3);
  CHECK(harness.series->symbols().Text(view.values[1]) == "c1");
  CHECK(harness.series->symbols().Text(view.values[2]).empty());
  const auto ref = harness.staged.refs[0];
  REQUIRE(
      harness.Decode1(Series1(Named("up", {{"adxmon_x", "2"}, {"cluster", "c1"}, {"job", "j"}})))
          .ok());
  CHECK(harness.staged.refs[0] != ref);
}

TEST_CASE("rules: two metrics of one table name are both kept and counted once") {
  DecodeHarness harness;
  for (int round = 0; round < 2; ++round) {
    REQUIRE(harness
                .Decode1(Series1(Named("http_requests")) + Series1(Named("http:requests")) +
                         Series1(Named("http:requests", {{"a", "1"}})))
                .ok());
    REQUIRE(harness.staged.refs.size() == 3);
    CHECK(harness.TableOf(0).key == harness.TableOf(1).key);
    CHECK(harness.staged.refs[0] != harness.staged.refs[1]);
  }
  CHECK(harness.state->metrics().table_name_collisions->value() == 1);
}

TEST_CASE("rules: new rules take effect at once, broken ones leave the old in force") {
  config::Config config = DecodeHarness::DefaultConfig();
  DecodeHarness harness(config);
  const std::string message = Series1(Named("up", {{"pod", "p"}}));
  REQUIRE(harness.Decode1(message).ok());
  CHECK(harness.LabelsOf(0) == "pod=p");
  config.remote_write.relabel_configs = {Rule("labeldrop", {}, "pod")};
  REQUIRE(harness.state->SetRules(config).ok());
  REQUIRE(harness.Decode1(message).ok());
  CHECK(harness.LabelsOf(0).empty());
  config.remote_write.relabel_configs = {Rule("labeldrop", {}, "(")};
  CHECK(!harness.state->SetRules(config).ok());
  REQUIRE(harness.Decode1(message).ok());
  CHECK(harness.LabelsOf(0).empty());
  config.remote_write.relabel_configs = {Rule("drop", {"__name__"}, "up")};
  REQUIRE(harness.state->SetRules(config).ok());
  REQUIRE(harness.Decode1(message).ok());
  CHECK(harness.staged.samples.dropped == 1);
}

TEST_CASE("rules: replay leaves the recorded series out and stages the same as the live request") {
  config::Config config = DecodeHarness::DefaultConfig();
  config.remote_write.max_past = std::chrono::hours(1);
  const TextLabels many = Named("wide", {{"a", "1"}, {"b", "2"}, {"c", "3"}});
  Request2 request;
  request.Add(Named("up"), Sample2(1) + Sample2(2, kTime - 4'000'000))
      .Add({{"job", "nameless"}}, Sample2(3))
      .Add(many, Sample2(4) + BytesField(3, HistogramMessage()))
      .Add(Named("second"), Sample2(5) + BytesField(3, HistogramMessage(99)))
      .Add(Named("third"), Sample2(6));
  // Live, the third table is one too many.
  config.limits.tables_max = 4;
  DecodeHarness live(config);
  REQUIRE(live.Decode2(request.Encode()).ok());
  const std::vector<uint32_t> refused = live.staged.refused;
  CHECK(refused == std::vector<uint32_t>{1, 4});

  config.limits.tables_max = 100;
  config.limits.labels_per_series = 1;  // lowered since
  DecodeHarness later(config);
  DecodeInput input;
  input.replay = true;
  input.refused = refused;
  REQUIRE(later.Decode2(request.Encode(), input).ok());
  CHECK(later.samples() == live.samples());
  CHECK(later.staged.refused == refused);
  CHECK(later.Text(SideTable::kHistograms) == live.Text(SideTable::kHistograms));
  CHECK(!later.Text(SideTable::kHistograms).empty());
}

TEST_CASE("rules: a series that was accepted and is refused in replay is an error of the record") {
  config::Config config = DecodeHarness::DefaultConfig();
  config.limits.tables_max = 1;
  DecodeHarness harness(config);
  DecodeInput input;
  input.replay = true;
  const Status replayed = harness.Decode1(Series1(Named("a")) + Series1(Named("b")), input);
  REQUIRE(!replayed.ok());
  CHECK(replayed.error().code() == ErrorCode::kFailedPrecondition);
}
