#include "table/relabel.h"

#include <catch2/catch.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "table/internal/md5.h"

namespace forebay::table {
namespace {

using config::RelabelConfig;
using LabelMap = std::map<std::string, std::string>;

// A rule with the fields named by their YAML keys; other fields keep the defaults.
RelabelConfig Rule(const std::string& action, const std::map<std::string, std::string>& fields,
                   std::vector<std::string> source_labels = {}) {
  RelabelConfig rule;
  rule.action = action;
  rule.source_labels = std::move(source_labels);
  for (const auto& [key, value] : fields) {
    if (key == "regex") rule.regex = value;
    if (key == "replacement") rule.replacement = value;
    if (key == "separator") rule.separator = value;
    if (key == "target") rule.target_label = value;
    if (key == "modulus") rule.modulus = std::stoull(value);
  }
  return rule;
}

// The labels after the rules; nullopt when dropped.
std::optional<LabelMap> Run(const LabelMap& labels, const std::vector<RelabelConfig>& rules) {
  const auto relabeler = Relabeler::Compile(rules);
  if (!relabeler.ok()) FAIL(relabeler.error().ToString());
  std::vector<Label> views;
  for (const auto& [name, value] : labels) views.push_back({name, value});
  LabelBuilder builder(views);
  if (relabeler->Apply(builder) == RelabelDecision::kDrop) return std::nullopt;
  CHECK(IsSortedUnique(builder.labels()));
  LabelMap after;
  for (const Label& label : builder.labels()) after.emplace(label.name, label.value);
  return after;
}

const LabelMap kLabels = {{"a", "foo"}, {"b", "bar"}, {"c", "baz"}};

LabelMap With(LabelMap labels, const std::string& name, const std::string& value) {
  labels[name] = value;
  return labels;
}

TEST_CASE("replace: groups of the match are put into the target, the rest stays") {
  CHECK(Run(kLabels, {Rule("replace",
                           {{"regex", "f(.*)"}, {"target", "d"}, {"replacement", "ch${1}-ch${1}"}},
                           {"a"})}) == With(kLabels, "d", "choo-choo"));
}

TEST_CASE(
    "replace: source labels are joined by the separator, rules see the results of rules before") {
  CHECK(Run(kLabels,
            {Rule("replace",
                  {{"regex", "f(.*);(.*)r"}, {"target", "a"}, {"replacement", "b${1}${2}m"}},
                  {"a", "b"}),
             Rule("replace",
                  {{"regex", "(b).*b(.*)ba(.*)"}, {"target", "d"}, {"replacement", "$1$2$2$3"}},
                  {"c", "a"})}) == With(With(kLabels, "a", "boobam"), "d", "boooom"));
  CHECK(Run(kLabels, {Rule("replace", {{"separator", "-"}, {"target", "d"}},
                           {"a", "b", "none"})}) == With(kLabels, "d", "foo-bar-"));
}

TEST_CASE("replace: the expression must match the whole text") {
  CHECK(Run(kLabels, {Rule("replace", {{"regex", "o"}, {"target", "d"}, {"replacement", "x"}},
                           {"a"})}) == kLabels);
  CHECK(Run(kLabels, {Rule("replace", {{"regex", "f|fo"}, {"target", "d"}, {"replacement", "x"}},
                           {"a"})}) == kLabels);
  CHECK(Run(kLabels, {Rule("replace", {{"regex", "f|foo"}, {"target", "d"}, {"replacement", "x"}},
                           {"a"})}) == With(kLabels, "d", "x"));
}

TEST_CASE("replace: dot matches newlines, the end is the end of the text") {
  const LabelMap lines = {{"a", "one\ntwo"}};
  CHECK(Run(lines, {Rule("replace", {{"regex", "one(.*)"}, {"target", "b"}}, {"a"})}) ==
        With(lines, "b", "\ntwo"));
  const LabelMap tail = {{"a", "one\n"}};
  CHECK(Run(tail, {Rule("replace", {{"regex", "one"}, {"target", "b"}, {"replacement", "x"}},
                        {"a"})}) == tail);
}

TEST_CASE("replace: the default rule copies a label") {
  CHECK(Run(kLabels, {Rule("replace", {{"target", "d"}}, {"b"})}) == With(kLabels, "d", "bar"));
}

TEST_CASE("replace: an empty result deletes the target, also when the source is missing") {
  CHECK(Run(kLabels, {Rule("replace", {{"target", "a"}, {"replacement", ""}}, {"b"})}) ==
        LabelMap{{"b", "bar"}, {"c", "baz"}});
  CHECK(Run(kLabels, {Rule("replace", {{"target", "a"}}, {"none"})}) ==
        LabelMap{{"b", "bar"}, {"c", "baz"}});
  CHECK(Run(kLabels, {Rule("replace", {{"regex", "(.+)"}, {"target", "a"}}, {"none"})}) == kLabels);
}

TEST_CASE("replace: a fixed text without sources adds a label") {
  CHECK(Run(kLabels, {Rule("replace", {{"target", "env"}, {"replacement", "prod"}})}) ==
        With(kLabels, "env", "prod"));
}

TEST_CASE("replace: the target may be made from the match, a target that is no name is skipped") {
  const LabelMap series = {{"a", "some-name-value"}};
  const auto rule = [](const std::string& target) {
    return Rule("replace",
                {{"regex", "some-([^-]+)-([^,]+)"}, {"target", target}, {"replacement", "${2}"}},
                {"a"});
  };
  CHECK(Run(series, {rule("${1}")}) == With(series, "name", "value"));
  CHECK(Run(series, {rule("${3}")}) == series);
  CHECK(Run(series, {rule("x${3}")}) == With(series, "x", "value"));
  const LabelMap bytes = {{"a", "\xff"}};
  CHECK(Run(bytes, {Rule("replace", {{"target", "$1"}, {"replacement", "x"}}, {"a"})}) == bytes);
}

TEST_CASE("replace: templates expand as Go's regexp does") {
  struct Case {
    std::string regex, replacement, input, want;
  };
  // Results of regexp.ExpandString of Go 1.26.
  const Case test = GENERATE(values<Case>({
      {"(.)(.*)", "$1x", "abc", ""},
      {"(.)(.*)", "${1}x", "abc", "ax"},
      {"(.)(.*)", "$$1-$2", "abc", "$1-bc"},
      {"(.)(.*)", "$", "abc", "$"},
      {"(.)(.*)", "a$-b", "abc", "a$-b"},
      {"(.)(.*)", "${1", "abc", "${1"},
      {"(.)(.*)", "${}", "abc", "${}"},
      {"(.)(.*)", "$01", "abc", ""},
      {"(.)(.*)", "$9", "abc", ""},
      {"(?P<first>.)(.*)", "${first}-$first-$first_", "abc", "a-a-"},
      {"(.)(.*)", "$0", "abc", "abc"},
      {"(.)(.*)", "$1\xc3\xa9", "abc", ""},
      {"(.)(.*)", "${1}\xc3\xa9", "abc", "a\xc3\xa9"},
      {"(a)|(b)", "[$1][$2]", "b", "[][b]"},
      {"(.)(.*)", "$999999999999", "abc", ""},
      {"(.)(.*)", "$1$2$3x", "abc", "abc"},
      {"(.)(.*)", "${1 }", "abc", "${1 }"},
      {"(.)(.*)", "$1\xe2\x86\x92", "abc", "a\xe2\x86\x92"},
  }));
  INFO(test.regex << " " << test.replacement);
  const auto after =
      Run({{"in", test.input}},
          {Rule("replace",
                {{"regex", test.regex}, {"target", "out"}, {"replacement", test.replacement}},
                {"in"})});
  REQUIRE(after.has_value());
  const auto out = after->find("out");
  CHECK((out == after->end() ? std::string() : out->second) == test.want);
}

TEST_CASE("keep and drop: by the whole joined text; a missing label is an empty text") {
  CHECK(Run(kLabels, {Rule("drop", {{"regex", ".*o.*"}}, {"a"})}) == std::nullopt);
  CHECK(Run(kLabels, {Rule("drop", {{"regex", "o"}}, {"a"})}) == kLabels);
  CHECK(Run(kLabels, {Rule("drop", {{"regex", "foo;bar"}}, {"a", "b"})}) == std::nullopt);
  CHECK(Run(kLabels, {Rule("drop", {{"regex", ""}}, {"none"})}) == std::nullopt);
  CHECK(Run(kLabels, {Rule("drop", {{"regex", ".+"}}, {"none"})}) == kLabels);
  CHECK(Run(kLabels, {Rule("keep", {{"regex", "fo+"}}, {"a"})}) == kLabels);
  CHECK(Run(kLabels, {Rule("keep", {{"regex", "no-match"}}, {"a"})}) == std::nullopt);
  CHECK(Run(kLabels, {Rule("keep", {{"regex", "f|o"}}, {"a"})}) == std::nullopt);
}

TEST_CASE("drop: rules after it are not run, rules before it were") {
  CHECK(Run(kLabels, {Rule("replace", {{"target", "a"}, {"replacement", "gone"}}, {"b"}),
                      Rule("drop", {{"regex", "gone"}}, {"a"})}) == std::nullopt);
  CHECK(Run(kLabels, {Rule("drop", {{"regex", "gone"}}, {"a"}),
                      Rule("replace", {{"target", "a"}, {"replacement", "gone"}}, {"b"})}) ==
        With(kLabels, "a", "gone"));
}

TEST_CASE("keepequal and dropequal: the joined sources against the target label") {
  const LabelMap same = {{"__tmp_port", "1234"}, {"__port1", "1234"}, {"__port2", "5678"}};
  CHECK(Run(same, {Rule("dropequal", {{"target", "__port1"}}, {"__tmp_port"})}) == std::nullopt);
  CHECK(Run(same, {Rule("dropequal", {{"target", "__port2"}}, {"__tmp_port"})}) == same);
  CHECK(Run(same, {Rule("keepequal", {{"target", "__port1"}}, {"__tmp_port"})}) == same);
  CHECK(Run(same, {Rule("keepequal", {{"target", "__port2"}}, {"__tmp_port"})}) == std::nullopt);
  CHECK(Run(same, {Rule("keepequal", {{"target", "none"}}, {"none2"})}) == same);
}

TEST_CASE("hashmod: the last eight bytes of MD5, big endian, modulo") {
  // Values as Prometheus' own rules give them for these sources.
  CHECK(Run(kLabels, {Rule("hashmod", {{"target", "d"}, {"modulus", "1000"}}, {"c"})}) ==
        With(kLabels, "d", "976"));
  const LabelMap lines = {{"a", "foo\nbar"}};
  CHECK(Run(lines, {Rule("hashmod", {{"target", "b"}, {"modulus", "1000"}}, {"a"})}) ==
        With(lines, "b", "734"));
}

TEST_CASE("labelmap: names that match are copied under the new name, the old ones stay") {
  CHECK(Run({{"a", "foo"}, {"b1", "bar"}, {"b2", "baz"}},
            {Rule("labelmap", {{"regex", "(b.*)"}, {"replacement", "bar_${1}"}})}) ==
        LabelMap{{"a", "foo"}, {"b1", "bar"}, {"b2", "baz"}, {"bar_b1", "bar"}, {"bar_b2", "baz"}});
  CHECK(Run({{"a", "foo"},
             {"__meta_my_bar", "aaa"},
             {"__meta_my_baz", "bbb"},
             {"__meta_other", "ccc"}},
            {Rule("labelmap", {{"regex", "__meta_(my.*)"}})}) == LabelMap{{"__meta_my_bar", "aaa"},
                                                                          {"__meta_my_baz", "bbb"},
                                                                          {"__meta_other", "ccc"},
                                                                          {"a", "foo"},
                                                                          {"my_bar", "aaa"},
                                                                          {"my_baz", "bbb"}});
}

TEST_CASE("labelmap: names that the rule makes are not mapped again") {
  CHECK(Run({{"a", "1"}}, {Rule("labelmap", {{"regex", "(.*)"}, {"replacement", "x$1"}})}) ==
        LabelMap{{"a", "1"}, {"xa", "1"}});
}

TEST_CASE("labeldrop and labelkeep: by name, anchored") {
  const LabelMap labels = {{"a", "1"}, {"b1", "2"}, {"b2", "3"}, {"cb", "4"}};
  CHECK(Run(labels, {Rule("labeldrop", {{"regex", "b.*"}})}) == LabelMap{{"a", "1"}, {"cb", "4"}});
  CHECK(Run(labels, {Rule("labelkeep", {{"regex", "b.*"}})}) == LabelMap{{"b1", "2"}, {"b2", "3"}});
  CHECK(Run(labels, {Rule("labelkeep", {{"regex", "none"}})}) == LabelMap{});
}

TEST_CASE("lowercase and uppercase: letters beyond ASCII too, and an empty source deletes") {
  const LabelMap labels = {{"a", "bAr123Foo-\xc3\x84\xce\xa3\xd0\x96\xf0\x90\x90\x80"}, {"b", "x"}};
  CHECK(Run(labels, {Rule("lowercase", {{"target", "l"}}, {"a"}),
                     Rule("uppercase", {{"target", "u"}}, {"a"})}) ==
        LabelMap{{"a", labels.at("a")},
                 {"b", "x"},
                 {"l", "bar123foo-\xc3\xa4\xcf\x83\xd0\xb6\xf0\x90\x90\xa8"},
                 {"u", "BAR123FOO-\xc3\x84\xce\xa3\xd0\x96\xf0\x90\x90\x80"}});
  CHECK(Run(labels, {Rule("lowercase", {{"target", "b"}}, {"none"})}) ==
        LabelMap{{"a", labels.at("a")}});
}

TEST_CASE("relabel: the action's case does not matter, no rules keep everything") {
  CHECK(Run(kLabels, {Rule("LabelDrop", {{"regex", "a|b"}})}) == LabelMap{{"c", "baz"}});
  CHECK(Run(kLabels, {}) == kLabels);
  CHECK(Relabeler::Compile({})->empty());
  CHECK(Relabeler::Compile({Rule("labeldrop", {{"regex", "a"}})})->size() == 1);
}

TEST_CASE("relabel: rules that cannot work are refused, with their position") {
  const RelabelConfig rule = GENERATE(
      Rule("shred", {}), Rule("", {}), Rule("replace", {}),
      Rule("replace", {{"regex", "("}, {"target", "a"}}), Rule("keep", {{"regex", "(?<x"}}),
      Rule("hashmod", {{"target", "a"}}), Rule("hashmod", {{"modulus", "3"}}),
      Rule("hashmod", {{"modulus", "3"}, {"target", "\xff"}}), Rule("lowercase", {}, {"a"}),
      Rule("uppercase", {{"target", "a"}, {"replacement", "x"}}, {"a"}),
      Rule("dropequal", {}, {"a"}), Rule("keepequal", {{"target", "a"}, {"regex", "x"}}, {"a"}),
      Rule("keepequal", {{"target", "a"}, {"separator", "x"}}, {"a"}),
      Rule("labeldrop", {{"regex", "x"}}, {"a"}),
      Rule("labelkeep", {{"regex", "x"}, {"target", "a"}}),
      Rule("labelkeep", {{"regex", "x"}, {"replacement", "a"}}),
      Rule("labelmap", {{"replacement", ""}}));
  RelabelConfig placed = rule;
  placed.position = "forebay.yaml:12:5";
  const auto relabeler = Relabeler::Compile({placed});
  REQUIRE_FALSE(relabeler.ok());
  CHECK(relabeler.error().code() == ErrorCode::kInvalidArgument);
  CHECK(relabeler.error().message().starts_with("forebay.yaml:12:5: "));
}

TEST_CASE("relabel: 256 labels through every kind of name rule") {
  LabelMap labels;
  for (int i = 0; i < 256; ++i) labels.emplace("label_" + std::to_string(i), std::to_string(i));
  const auto after =
      Run(labels, {Rule("labelmap", {{"regex", "label_(.*)"}, {"replacement", "m$1"}}),
                   Rule("labeldrop", {{"regex", "label_.*"}})});
  REQUIRE(after.has_value());
  CHECK(after->size() == 256);
  CHECK(after->at("m255") == "255");
}

TEST_CASE("MD5: the test suite of RFC 1321") {
  const auto hex = [](std::string_view text) {
    std::string out;
    for (const uint8_t byte : internal::Md5(text)) {
      out += "0123456789abcdef"[byte >> 4];
      out += "0123456789abcdef"[byte & 15];
    }
    return out;
  };
  CHECK(hex("") == "d41d8cd98f00b204e9800998ecf8427e");
  CHECK(hex("a") == "0cc175b9c0f1b6a831c399e269772661");
  CHECK(hex("abc") == "900150983cd24fb0d6963f7d28e17f72");
  CHECK(hex("message digest") == "f96b697d7cb7938d525a2f31aaf161d0");
  CHECK(hex("abcdefghijklmnopqrstuvwxyz") == "c3fcd3d76192e4007dfb496cca67e13b");
  CHECK(hex("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") ==
        "d174ab98d277d9f5a5611c2c9f419d9f");
  CHECK(hex("12345678901234567890123456789012345678901234567890123456789012345678901234567890") ==
        "57edf4a22be3c955ac49da2e2107b67a");
}

}  // namespace
}  // namespace forebay::table
