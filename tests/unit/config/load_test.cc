#include "config/load.h"

#include <fstream>

#include "config/print.h"
#include "config/schema.h"
#include "unit/config/test_config.h"

namespace forebay::config {
namespace {

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using test::Errors;
using test::MustLoad;
using test::OneError;

constexpr const char* kExample = R"(storage: {dir: ./data, max_disk: 10GiB}
listen: {ingest: "127.0.0.1:9090", admin: "127.0.0.1:9091"}
durability: sync            # sync | write | none
generation: {max_age: 60s, max_memory: 256MiB}
batch: {min_bytes: 100MB, max_bytes: 1GB, max_age: 5m}
databases:
  - name: Metrics
    sinks:
      - file: {root: ./data/out}
)";

TEST_CASE("load: the promised example is the default configuration") {
  const Config config = MustLoad(kExample);
  CHECK(SameConfig(config, MustLoad("")));
  CHECK(config.storage.dir == "./data");
  CHECK(config.storage.max_disk == GiB(10));
  CHECK(config.listen.ingest == "127.0.0.1:9090");
  CHECK(config.listen.admin == "127.0.0.1:9091");
  CHECK(config.durability == Durability::kSync);
  CHECK(config.generation.max_age == seconds(60));
  CHECK(config.generation.max_memory == MiB(256));
  CHECK(config.batch.min_bytes == MB(100));
  CHECK(config.batch.max_bytes == GB(1));
  CHECK(config.batch.max_age == minutes(5));
  REQUIRE(config.databases.size() == 1);
  CHECK(config.databases[0].name == "Metrics");
  REQUIRE(config.databases[0].sinks.size() == 1);
  REQUIRE(config.databases[0].sinks[0].file.has_value());
  CHECK(config.databases[0].sinks[0].file->root == "./data/out");
  CHECK(config.databases[0].sinks[0].file->compression_level == 1);
  CHECK(config.warnings.empty());
}

TEST_CASE("load: empty files, empty sections and comments mean the defaults") {
  for (const char* yaml : {"", "# nothing\n", "---\n", "storage:\nlisten:\n  tls:\n",
                           "databases: []", "databases:\n", "{}"}) {
    CAPTURE(yaml);
    CHECK(SameConfig(MustLoad(yaml), MustLoad("")));
  }
}

TEST_CASE("load: every kind of key is read in block style") {
  const Config config = MustLoad(R"(
http:
  io_threads: 3
  idle_timeout: 1h30m
remote_write:
  paths:
    - /w
    - /api/v1/write
  drop_nan: true
  relabel_configs:
    - source_labels: [a, b]
      regex: (.+);(.+)
      target_label: c
      replacement: ${1}-$2
    - {action: LabelDrop, regex: tmp_.*}
durability: none
databases:
  - name: A
    lift_labels:
      - name: host
        column: HostName
    sinks:
      - name: one
        file:
          root: /a
          compression_level: "3"
)");
  CHECK(config.http.io_threads == 3);
  CHECK(config.http.idle_timeout == minutes(90));
  CHECK(config.remote_write.paths == std::vector<std::string>{"/w", "/api/v1/write"});
  CHECK(config.remote_write.drop_nan);
  REQUIRE(config.remote_write.relabel_configs.size() == 2);
  const RelabelConfig& first = config.remote_write.relabel_configs[0];
  CHECK(first.source_labels == std::vector<std::string>{"a", "b"});
  CHECK(first.replacement == "${1}-$2");
  CHECK(first.action == "replace");
  CHECK(first.position == "f.yaml:11:7");
  CHECK(config.remote_write.relabel_configs[1].action == "labeldrop");
  CHECK(config.durability == Durability::kNone);
  CHECK(config.databases[0].lift_labels[0].column == "HostName");
  CHECK(config.databases[0].sinks[0].name == "one");
  CHECK(config.databases[0].sinks[0].file->compression_level == 3);
}

TEST_CASE("load: flags win over environment, environment over file, file over defaults") {
  const std::string yaml = "storage: {dir: /file}\nbatch: {max_segments: 7}\nlog: {level: warn}\n";
  const test::Pairs environment = {{"FOREBAY_STORAGE_DIR", "/env"}, {"FOREBAY_LOG_LEVEL", "error"}};
  const Config config = MustLoad(yaml, {{"storage.dir", "/flag"}}, environment);
  CHECK(config.storage.dir == "/flag");
  CHECK(config.log.level == "error");
  CHECK(config.batch.max_segments == 7);
  CHECK(config.upload.workers == Upload{}.workers);
  CHECK(MustLoad("", {{"storage.dir", "/1"}, {"storage.dir", "/2"}}).storage.dir == "/2");
}

TEST_CASE("load: lists are overlaid by index and appended to") {
  const Config config =
      MustLoad("databases: [{name: A, sinks: [{file: {root: /a}}]}]",
               {{"databases.1.sinks.0.file.root", "/b"}},
               {{"FOREBAY_DATABASES_0_NAME", "Z"}, {"FOREBAY_DATABASES_1_NAME", "B"}});
  REQUIRE(config.databases.size() == 2);
  CHECK(config.databases[0].name == "Z");
  CHECK(config.databases[0].sinks[0].file->root == "/a");
  CHECK(config.databases[1].name == "B");
  CHECK(config.databases[1].sinks[0].file->root == "/b");
}

TEST_CASE("load: more than ten entries of a list come from the environment in order") {
  test::Pairs environment;
  for (int i = 0; i < 12; ++i) {
    environment.emplace_back(fmt::format("FOREBAY_DATABASES_{}_NAME", i), fmt::format("D{}", i));
    environment.emplace_back(fmt::format("FOREBAY_DATABASES_{}_SINKS_0_FILE_ROOT", i),
                             fmt::format("/{}", i));
  }
  const Config config = MustLoad("", {}, environment);
  REQUIRE(config.databases.size() == 12);
  CHECK(config.databases[11].name == "D11");
}

TEST_CASE("load: an override of an entry changes the default database") {
  const Config config = MustLoad("", {{"databases.0.sinks.0.file.root", "/elsewhere"}});
  REQUIRE(config.databases.size() == 1);
  CHECK(config.databases[0].name == "Metrics");
  CHECK(config.databases[0].sinks[0].file->root == "/elsewhere");
}

TEST_CASE("load: whole lists and structs are set as words or YAML") {
  CHECK(MustLoad("", {{"remote_write.paths", "/a, /b"}}).remote_write.paths ==
        std::vector<std::string>{"/a", "/b"});
  CHECK(MustLoad("", {{"remote_write.paths", "[/c]"}}).remote_write.paths ==
        std::vector<std::string>{"/c"});
  CHECK(MustLoad("", {{"remote_write.drop_label_prefixes", ""}})
            .remote_write.drop_label_prefixes.empty());
  const Config config = MustLoad("", {{"databases", "[{name: M, sinks: [{file: {root: /out}}]}]"},
                                      {"batch", "{min_bytes: 1MB, max_bytes: 2MB}"}});
  CHECK(config.databases[0].name == "M");
  CHECK(config.batch.max_bytes == MB(2));
}

TEST_CASE("load: a value from a flag or variable is not expanded") {
  CHECK(MustLoad("", {{"storage.dir", "/$$x/${HOME}"}}, {{"HOME", "/root"}}).storage.dir ==
        "/$$x/${HOME}");
}

TEST_CASE("load: variables in values are expanded, groups of relabelling are not") {
  const Config config = MustLoad(
      "storage: {dir: '${BASE}/d', max_disk: '${DISK:-3GiB}'}\n"
      "listen: {ingest: '${HOST:-127.0.0.1}:1234'}\n"
      "remote_write:\n  relabel_configs:\n"
      "    - {source_labels: [a], target_label: b, replacement: '$1 ${1} $$x $${BASE} $'}\n",
      {}, {{"BASE", "/base"}, {"HOST", ""}});
  CHECK(config.storage.dir == "/base/d");
  CHECK(config.storage.max_disk == GiB(3));
  CHECK(config.listen.ingest == "127.0.0.1:1234");
  CHECK(config.remote_write.relabel_configs[0].replacement == "$1 ${1} $x ${BASE} $");
}

TEST_CASE("load: an unset variable and an unfinished one are errors at their place") {
  CHECK_THAT(OneError("storage:\n  dir: /x/${NOT_SET}\n"),
             StartsWith("f.yaml:2:8: ") && Contains("NOT_SET is not set") && Contains(":-default"));
  CHECK_THAT(OneError("storage: {dir: '${HOME'}"), Contains("is not complete"));
  CHECK_THAT(OneError("storage: {dir: '${HOME:?x}'}"), Contains("is not complete"));
}

TEST_CASE("load: anchors and aliases are resolved") {
  const Config config = MustLoad(
      "remote_write:\n  relabel_configs: &drop\n    - {action: labeldrop, regex: x}\n"
      "databases:\n  - name: A\n    relabel_configs: *drop\n    sinks: [{file: {root: /a}}]\n");
  REQUIRE(config.databases[0].relabel_configs.size() == 1);
  CHECK(config.databases[0].relabel_configs[0].regex == "x");
}

TEST_CASE("load: aliases that multiply are stopped") {
  std::string yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    yaml += fmt::format("a{0}: &a{0} [*a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}]\n", i,
                        i - 1);
  }
  CHECK_THAT(OneError(yaml), Contains("more than 100000 values"));
  CHECK_THAT(OneError("a: &a [*a]"), Contains("contains itself"));
}

TEST_CASE("load: a file is read, FOREBAY_CONFIG names it, a missing one is told") {
  const std::string path = std::string(FOREBAY_TEST_DATA) + "/config/small.yaml";
  LoadOptions options;
  options.file = path;
  const auto by_name = Load(options);
  REQUIRE(by_name.ok());
  CHECK(by_name->storage.dir == "/small");
  options.file.reset();
  options.environment = {{"FOREBAY_CONFIG", path}};
  const auto by_environment = Load(options);
  REQUIRE(by_environment.ok());
  CHECK(by_environment->storage.dir == "/small");
  options.file = path + ".missing";
  const auto missing = Load(options);
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().code() == ErrorCode::kNotFound);
  CHECK_THAT(missing.error().message(), Contains("small.yaml.missing"));
  options.file = std::string(FOREBAY_TEST_DATA) + "/config";
  CHECK_FALSE(Load(options).ok());
}

TEST_CASE("load: warnings of the command line are kept") {
  LoadOptions options;
  options.warnings = {"--region is accepted"};
  const auto loaded = LoadFromString("", "f.yaml", options);
  REQUIRE(loaded.ok());
  CHECK(loaded->warnings == options.warnings);
}

TEST_CASE("load: assignments split at the first equals sign") {
  CHECK(ParseAssignment("a.b=c=d").value() ==
        std::make_pair(std::string("a.b"), std::string("c=d")));
  CHECK(ParseAssignment("a=").value().second.empty());
  CHECK_FALSE(ParseAssignment("a.b").ok());
  CHECK_FALSE(ParseAssignment("=b").ok());
}

TEST_CASE("load: the example of the documentation loads without a warning") {
  LoadOptions options;
  options.file = std::string(FOREBAY_TEST_DATA) + "/../../docs/examples/forebay.yaml";
  const auto loaded = Load(options);
  if (!loaded.ok()) FAIL(loaded.error().message());
  CHECK(loaded->databases.size() == 2);
  CHECK(loaded->warnings.empty());
}

}  // namespace
}  // namespace forebay::config
