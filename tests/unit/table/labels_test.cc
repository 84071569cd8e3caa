#include "table/labels.h"

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace forebay::table {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs ToPairs(LabelSpan labels) {
  Pairs pairs;
  for (const Label& label : labels) pairs.emplace_back(label.name, label.value);
  return pairs;
}

TEST_CASE("labels: sorted by unsigned bytes of the name") {
  std::vector<Label> labels = {
      {"b", "1"}, {"\xc3\xa9", "2"}, {"B", "3"}, {"__name__", "4"}, {"a", "5"}};
  SortByName(labels);
  CHECK(ToPairs(labels) ==
        Pairs{{"B", "3"}, {"__name__", "4"}, {"a", "5"}, {"b", "1"}, {"\xc3\xa9", "2"}});
  CHECK(IsSortedUnique(labels));
}

TEST_CASE("labels: equal names are not unique, and keep their order when sorted") {
  std::vector<Label> labels = {{"b", "1"}, {"a", "2"}, {"b", "0"}};
  SortByName(labels);
  CHECK(ToPairs(labels) == Pairs{{"a", "2"}, {"b", "1"}, {"b", "0"}});
  CHECK_FALSE(IsSortedUnique(labels));
}

TEST_CASE("labels: find gives the value, and nothing for a name that is not there") {
  const std::vector<Label> labels = {{"a", "1"}, {"c", "3"}, {"e", "5"}};
  CHECK(FindValue(labels, "a") == "1");
  CHECK(FindValue(labels, "e") == "5");
  CHECK(FindValue(labels, "").empty());
  CHECK(FindValue(labels, "b").empty());
  CHECK(FindValue(labels, "f").empty());
  CHECK(FindValue({}, "a").empty());
}

TEST_CASE("labels: find works in sets of any size") {
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) names.push_back("name " + std::to_string(1000 + i));
  std::vector<Label> labels;
  for (const std::string& name : names) {
    labels.push_back({name, name});
    for (const std::string& wanted : names) {
      REQUIRE(FindValue(labels, wanted) == (wanted <= name ? wanted : ""));
    }
  }
}

TEST_CASE("labels: labels without a value are dropped") {
  std::vector<Label> labels = {{"a", ""}, {"b", "1"}, {"c", ""}};
  DropEmptyValues(labels);
  CHECK(ToPairs(labels) == Pairs{{"b", "1"}});
}

TEST_CASE("labels: what makes a series unacceptable is found and named") {
  const auto problem = [](std::vector<Label> labels) -> std::optional<LabelProblem> {
    SortByName(labels);
    const auto found = FindProblem(labels);
    return found ? std::optional(found->problem) : std::nullopt;
  };
  CHECK(problem({{"__name__", "up"}}) == std::nullopt);
  CHECK(problem({{"__name__", "up"}, {"a", ""}}) == std::nullopt);
  CHECK(problem({{"__name__", "with blank.and\ndot"}, {"caf\xc3\xa9", "\xf0\x9f\x98\x80"}}) ==
        std::nullopt);
  CHECK(problem({}) == LabelProblem::kNoMetricName);
  CHECK(problem({{"a", "b"}}) == LabelProblem::kNoMetricName);
  CHECK(problem({{"__name__", ""}}) == LabelProblem::kNoMetricName);
  CHECK(problem({{"__name__", "up"}, {"", "b"}}) == LabelProblem::kEmptyName);
  CHECK(problem({{"__name__", "up"}, {"a", "1"}, {"b", "2"}, {"a", "1"}}) ==
        LabelProblem::kDuplicateName);
  CHECK(problem({{"__name__", "up"}, {"__name__", "up"}}) == LabelProblem::kDuplicateName);
  CHECK(problem({{"__name__", "up"}, {"a", "\xff"}}) == LabelProblem::kNotUtf8);
  CHECK(problem({{"__name__", "up"}, {"\xc3", "a"}}) == LabelProblem::kNotUtf8);

  const std::vector<Label> bad = {{"__name__", "up"}, {"a", "\xff"}};
  CHECK(FindProblem(bad)->label.name == "a");
  CHECK(Describe(LabelProblem::kNotUtf8) == "label is not valid UTF-8");
}

TEST_CASE("labels: legacy names") {
  CHECK(IsLegacyMetricName("job:http_requests:rate5m"));
  CHECK(IsLegacyMetricName(":a"));
  CHECK_FALSE(IsLegacyMetricName("1a"));
  CHECK_FALSE(IsLegacyMetricName(""));
  CHECK_FALSE(IsLegacyMetricName("a.b"));
  CHECK(IsLegacyLabelName("__address__"));
  CHECK_FALSE(IsLegacyLabelName("a:b"));
  CHECK_FALSE(IsLegacyLabelName("0"));
  CHECK_FALSE(IsLegacyLabelName("caf\xc3\xa9"));
}

TEST_CASE("label builder: reset sorts, the last of equal names wins, empty ones are left out") {
  const std::vector<Label> labels = {{"b", "1"}, {"a", "2"}, {"b", "3"}, {"", "x"},
                                     {"c", ""},  {"d", "4"}, {"d", ""}};
  const LabelBuilder builder(labels);
  CHECK(ToPairs(builder.labels()) == Pairs{{"a", "2"}, {"b", "3"}});
}

TEST_CASE("label builder: set adds, replaces, and an empty value deletes") {
  LabelBuilder builder;
  builder.Set("b", "1");
  builder.Set("a", "2");
  builder.Set("c", "3");
  builder.Set("b", "4");
  builder.Set("", "5");
  CHECK(ToPairs(builder.labels()) == Pairs{{"a", "2"}, {"b", "4"}, {"c", "3"}});
  builder.Set("a", "");
  builder.Set("nobody", "");
  builder.Delete("c");
  builder.Delete("c");
  CHECK(ToPairs(builder.labels()) == Pairs{{"b", "4"}});
  CHECK(builder.Get("b") == "4");
  CHECK(builder.Get("a").empty());
}

TEST_CASE("label builder: it owns its texts, and views handed out stay good while it changes") {
  LabelBuilder builder;
  {
    std::string name = "name-of-some-length-beyond-small";
    std::string value = "value-of-some-length-beyond-small";
    const std::vector<Label> labels = {{name, value}};
    builder.Reset(labels);
    name.assign(name.size(), '#');
    value.assign(value.size(), '#');
  }
  const std::string_view seen = builder.Get("name-of-some-length-beyond-small");
  for (int i = 0; i < 1000; ++i) builder.Set("l" + std::to_string(i), std::string(100, 'v'));
  builder.Set("big", std::string(100'000, 'b'));
  builder.Set("copy", builder.Get("big"));
  builder.Set("name-of-some-length-beyond-small", "replaced");
  CHECK(seen == "value-of-some-length-beyond-small");
  CHECK(builder.Get("copy") == std::string(100'000, 'b'));
  CHECK(builder.size() == 1003);
}

TEST_CASE("label builder: behaves as a sorted map under random changes, over resets") {
  std::mt19937 random(7);
  LabelBuilder builder;
  for (int round = 0; round < 20; ++round) {
    std::map<std::string, std::string> model;
    builder.Reset({});
    for (int step = 0; step < 500; ++step) {
      const std::string name = "n" + std::to_string(random() % 50);
      const std::string value(random() % 300, static_cast<char>('a' + random() % 26));
      if (random() % 3 == 0) {
        builder.Delete(name);
        model.erase(name);
      } else {
        builder.Set(name, value);
        if (value.empty()) {
          model.erase(name);
        } else {
          model[name] = value;
        }
      }
    }
    CHECK(ToPairs(builder.labels()) == Pairs(model.begin(), model.end()));
    CHECK(IsSortedUnique(builder.labels()));
  }
}

}  // namespace
}  // namespace forebay::table
