// What a mistaken configuration is told: place, key, what is wrong, how to mend it.
#include <fstream>
#include <sstream>

#include "unit/config/test_config.h"

namespace forebay::config {
namespace {

using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;
using test::Errors;
using test::MustLoad;
using test::OneError;

constexpr const char* kSinks = "sinks: [{file: {root: /a}}]";

TEST_CASE("errors: a misspelt key is told with its place and the nearest key of its section") {
  CHECK(OneError("storage:\n  dri: /x\n") ==
        "f.yaml:2:3: storage.dri: unknown key; did you mean \"storage.dir\"?");
  CHECK(OneError("storage: {dir: /x, maxDisk: 1GiB}") ==
        "f.yaml:1:20: storage.maxDisk: unknown key; did you mean \"storage.max_disk\"?");
  CHECK(OneError("listen:\n  tls:\n    cert-file: x\n") ==
        "f.yaml:3:5: listen.tls.cert-file: unknown key; did you mean \"listen.tls.cert_file\"?");
  CHECK(OneError("limits: {shutdown_timeout: 30s}") ==
        "f.yaml:1:10: limits.shutdown_timeout: unknown key; its name is drain.stop_timeout now");
  CHECK_THAT(OneError("databses: []"), Contains("did you mean \"databases\"?"));
}

TEST_CASE("errors: a key in the wrong section is told where it belongs") {
  CHECK(OneError("max_disk: 1GiB") ==
        "f.yaml:1:1: max_disk: unknown key; did you mean \"storage.max_disk\"?");
  CHECK_THAT(OneError("storage: {retry_max: 1s}"), Contains("did you mean \"upload.retry_max\"?"));
  CHECK_THAT(OneError("log: {zzzzzz: 1}"), Contains("valid keys here are level, format"));
}

TEST_CASE("errors: all mistakes of a file are told at once, in the order of their lines") {
  const auto lines = Errors(
      "storage:\n  max_disk: 10Gi\n  dir: [a]\nhttp: {max_connections: 0}\n"
      "durability: always\nbatch: {max_age: 60}\nlogg: {}\n");
  REQUIRE(lines.size() == 6);
  CHECK(lines[0] ==
        "f.yaml:2:13: storage.max_disk: \"10Gi\" is not a size: write a number and a "
        "unit, for example 100MB or 10GiB");
  CHECK(lines[1] == "f.yaml:3:8: storage.dir: expected a single value, found a list");
  CHECK(lines[2] ==
        "f.yaml:4:25: http.max_connections: 0 is out of range: at least 1, at most 1000000");
  CHECK(lines[3] == "f.yaml:5:13: durability: \"always\" is not one of sync, write, none");
  CHECK_THAT(lines[4], StartsWith("f.yaml:6:18: batch.max_age: \"60\" is not a duration"));
  CHECK_THAT(lines[5], StartsWith("f.yaml:7:1: logg: unknown key; did you mean \"log\"?"));
}

TEST_CASE("errors: wrong types, units and choices") {
  CHECK_THAT(OneError("storage: 5"), Contains("expected a map of keys, found a single value"));
  CHECK_THAT(OneError("[a, b]"), Contains("expected a map of keys, found a list"));
  CHECK_THAT(OneError("remote_write: {paths: /a}"),
             Contains("expected a list, for example [a, b]"));
  CHECK_THAT(OneError("remote_write: {paths: [{a: b}]}"),
             Contains("remote_write.paths.0: expected a single value, found a map"));
  CHECK_THAT(OneError("databases: {name: x}"), Contains("expected a list"));
  CHECK_THAT(OneError("remote_write: {drop_nan: yes}"), Contains("neither true nor false"));
  CHECK_THAT(OneError("upload: {workers: -1}"), Contains("not a whole number"));
  CHECK_THAT(OneError("upload: {workers: 1.5}"), Contains("not a whole number"));
  CHECK_THAT(OneError("upload: {workers: 99999999999999999999}"), Contains("not a whole number"));
  CHECK_THAT(OneError("generation: {max_age: 0s}"), Contains("at least 1ms"));
  CHECK_THAT(OneError("log: {level: infos}"),
             Contains("not one of debug, info, warn, error; did you mean \"info\"?"));
  CHECK_THAT(OneError("storage: {dir: }"), Contains("storage.dir: has no value"));
  CHECK_THAT(OneError("storage: {dir: ~}"), Contains("storage.dir: has no value"));
  CHECK_THAT(OneError("storage: {dir: \"a\\0b\"}"), Contains("zero character"));
}

TEST_CASE("errors: a repeated key is told with the place of the first") {
  CHECK(OneError("log: {level: info}\nlog: {level: warn}\n") ==
        "f.yaml:2:1: log: is given twice, first at f.yaml:1:1; remove one");
  CHECK_THAT(OneError("storage:\n  dir: a\n  dir: b\n"), StartsWith("f.yaml:3:3: storage.dir: "));
}

TEST_CASE("errors: broken YAML is told with its place") {
  CHECK_THAT(OneError("storage: {dir: x\n"), StartsWith("f.yaml:") && Contains("a } is missing"));
  CHECK_THAT(OneError("storage:\n\tdir: x\n"), StartsWith("f.yaml:2:"));
  CHECK_THAT(OneError("a: b: c\n"), StartsWith("f.yaml:1:"));
  CHECK_THAT(OneError("a: \"x\n"), Contains("closing quote"));
  CHECK_THAT(OneError("storage:\n  dir: 'x\nlog: {}\n\n"), Contains("closing quote"));
  CHECK_THAT(OneError("log: {level: info}\n---\nlog: {level: info}\n"),
             Contains("a second document"));
  CHECK_THAT(OneError("? [a]\n: b\n"), Contains("a key must be a plain word"));
  CHECK_THAT(OneError("storage: !secret {dir: x}\n"), Contains("tag"));
  CHECK_THAT(OneError(std::string(100, '[')), StartsWith("f.yaml:1:"));
}

TEST_CASE("errors: bytes that are no text are told with their place") {
  CHECK(OneError("log:\n  level: \xff\n") == "f.yaml:2:10: byte 0xff is not UTF-8");
  CHECK(OneError(std::string("a\0b", 3)) == "f.yaml:1:2: control character 0x00");
  CHECK_THAT(OneError("durability: sync\x04\nnonsense: 1\n"), Contains("control character 0x04"));
  CHECK_THAT(OneError(std::string((4 << 20) + 1, ' ')), Contains("larger than 4 MiB"));
}

TEST_CASE("errors: a variable that stands for no key is told with the nearest one") {
  CHECK(OneError("", {}, {{"FOREBAY_STORAGE_DRI", "x"}}) ==
        "environment FOREBAY_STORAGE_DRI: stands for no key; did you mean FOREBAY_STORAGE_DIR?");
  CHECK_THAT(OneError("", {}, {{"FOREBAY_LISTEN_PORT", "9090"}}), Contains("stands for no key"));
  CHECK_THAT(OneError("", {}, {{"FOREBAY_STORAGE_MAX_DISK", "lots"}}),
             StartsWith("environment FOREBAY_STORAGE_MAX_DISK: storage.max_disk: \"lots\""));
  CHECK_THAT(OneError("", {}, {{"FOREBAY_STORAGE_DIR", "\xff"}}), Contains("not UTF-8"));
}

TEST_CASE("errors: variables of others are left alone") {
  MustLoad("", {},
           {{"FOREBAY_CONFIG", "x"},
            {"FOREBAY_FAILPOINT", "x"},
            {"FOREBAY_FAILPOINTS", "x"},
            {"FOREBAY_TEST_ANYTHING", "x"},
            {"FOREBAYX", "x"},
            {"FOREBAY_SERVICE_HOST", "10.0.0.1"},
            {"FOREBAY_SERVICE_PORT", "9090"},
            {"FOREBAY_SERVICE_PORT_HTTP_INGEST", "9090"},
            {"FOREBAY_PORT", "tcp://10.0.0.1:9090"},
            {"FOREBAY_PORT_9090_TCP", "tcp://10.0.0.1:9090"},
            {"FOREBAY_PORT_9090_TCP_ADDR", "10.0.0.1"},
            {"FOREBAY_ADMIN_PORT_9091_TCP_PROTO", "tcp"}});
}

TEST_CASE("errors: mistaken paths of --set") {
  CHECK(OneError("", {{"storage.dri", "x"}}) ==
        "command line: storage.dri: unknown key; did you mean \"storage.dir\"?");
  CHECK_THAT(OneError("", {{"storage.dir.x", "y"}}), Contains("nothing is below it"));
  CHECK_THAT(OneError("", {{"databases.name", "y"}}), Contains("write an index after it"));
  CHECK_THAT(OneError("", {{"databases.3.name", "y"}}), Contains("the next is 1"));
  CHECK_THAT(OneError("", {{"databases.99999999999999999999999.name", "y"}}), Contains("index"));
  CHECK_THAT(OneError("", {{"remote_write.paths.0", "/y"}}), Contains("is set as a whole"));
  CHECK_THAT(OneError("", {{"databases", "[{"}}), StartsWith("command line: databases: YAML"));
  CHECK_THAT(OneError("", {{"", "x"}}), Contains("unknown key"));
  CHECK_THAT(OneError("", {{"storage..dir", "x"}}), Contains("unknown key"));
}

TEST_CASE("errors: a mistake of the file is told also where a flag covers it") {
  CHECK_THAT(OneError("storage: {max_disk: lots}", {{"storage.max_disk", "1GiB"}}),
             StartsWith("f.yaml:1:21: "));
}

TEST_CASE("validation: names and references of databases") {
  CHECK(OneError("databases:\n  - name: my-db\n    sinks: [{file: {root: /a}}]\n") ==
        "f.yaml:2:11: databases.0.name: \"my-db\" may have ASCII letters and digits only");
  CHECK_THAT(OneError(std::string("databases:\n  - {name: A, ") + kSinks + "}\n  - {name: A, " +
                      "sinks: [{file: {root: /b}}]}\n"),
             StartsWith("f.yaml:3:12: databases.1.name: \"A\" is another database's name"));
  CHECK_THAT(OneError(std::string("databases: [{") + kSinks + "}]"), Contains("has no name"));
  CHECK_THAT(OneError("databases: [{name: A}]"), Contains("databases.0: has no sinks"));
  CHECK_THAT(OneError("databases: [{name: A, sinks: []}]"), Contains("has no sinks"));
  CHECK_THAT(OneError("remote_write: {default_database: Other}"),
             Contains("\"Other\" is not one of `databases` (Metrics)"));
  CHECK_THAT(OneError("databases: [{name: " + std::string(65, 'a') + ", " + kSinks + "}]"),
             Contains("at most 64"));
}

TEST_CASE("validation: sinks have one kind, distinct names and roots") {
  CHECK_THAT(OneError("databases: [{name: A, sinks: [{name: x}]}]"),
             Contains("databases.0.sinks.0: has no kind"));
  CHECK(OneError("databases: [{name: A, sinks: [{flie: {root: /a}}]}]") ==
        "f.yaml:1:32: databases.0.sinks.0.flie: unknown key; did you mean "
        "\"databases.0.sinks.0.file\"?");
  CHECK_THAT(OneError("databases: [{name: A, sinks: [{file: }]}]"), Contains("has no root"));
  CHECK_THAT(OneError("databases: [{name: A, sinks: [{file: {root: /a}}, {file: {root: /b}}]}]"),
             Contains("give each a `name`"));
  CHECK_THAT(OneError("databases: [{name: A, sinks: [{file: {root: /a}}, {name: b, file: {root: "
                      "/a}}]}]"),
             Contains("another sink's root"));
  CHECK_THAT(OneError("databases: [{name: A, sinks: [{name: a/b, file: {root: /a}}]}]"),
             Contains("letters, digits, - and _ only"));
  CHECK_THAT(OneError("databases: [{name: A, sinks: [{file: {root: /a, compression_level: 9}}]}]"),
             Contains("at least 0, at most 3"));
}

TEST_CASE("validation: an adx sink has an endpoint that is a URL, and what its token needs") {
  const auto sink = [](const std::string& keys) {
    return "databases: [{name: M, sinks: [{adx: {" + keys + "}}]}]\n";
  };
  CHECK(MustLoad(sink("endpoint: \"https://x.kusto.windows.net\"")).databases[0].sinks[0].adx);
  CHECK_THAT(OneError(sink("")), Contains("has no endpoint"));
  for (const char* bad : {"x.kusto.windows.net", "https://", "https://u:p@h", "https://h/?a=b"}) {
    CHECK_THAT(OneError(sink("endpoint: \"" + std::string(bad) + "\"")),
               Contains("is no URL of a server"));
  }
  CHECK_THAT(OneError(sink("endpoint: \"http://h\", auth: {kind: token}")),
             Contains("auth.token_file: must be set"));
  CHECK_THAT(OneError("databases: [{name: M, sinks: [{adx: {endpoint: \"http://h\"}, file: {root: "
                      "o}}]}]\n"),
             Contains("several kinds"));
}

TEST_CASE("validation: relations of sizes and times") {
  CHECK(OneError("batch: {min_bytes: 2GB}") ==
        "f.yaml:1:20: batch.min_bytes: 2GB is more than batch.max_bytes (1GB); lower it or raise "
        "batch.max_bytes");
  // The key at fault stands nowhere: its section is told.
  CHECK_THAT(OneError("batch:\n  max_bytes: 1MB\n"), StartsWith("f.yaml:2:3: batch.min_bytes: "));
  CHECK_THAT(OneError("upload: {retry_initial: 10m}"), Contains("upload.retry_max (5m)"));
  CHECK_THAT(OneError("limits: {in_flight_bodies: 1MiB}"), Contains("http.max_body (32MiB)"));
  CHECK_THAT(OneError("tenants: {limits: {samples_burst: 5}}"),
             Contains("tenants.limits.samples_per_second"));
  CHECK_THAT(OneError("tenants: {overrides: [{name: a, limits: {bytes_burst: 5B}}]}"),
             Contains("tenants.overrides.0.limits.bytes_per_second"));
  CHECK_THAT(OneError("tenants: {overrides: [{name: a}, {name: a}]}"), Contains("stands twice"));
  CHECK_THAT(OneError("tenants: {overrides: [{limits: {series_max: 1}}]}"),
             Contains("tenant_header"));
  CHECK_THAT(OneError("tenants: {max: 1, overrides: [{name: a}, {name: b}]}"),
             Contains("tenants.max"));
}

TEST_CASE("validation: addresses and TLS") {
  for (const char* good : {"0.0.0.0:1", ":9", "[::]:9", "[::1]:0", "host-1.example:9", "*:1"}) {
    CAPTURE(good);
    const std::string yaml = std::string("listen: {ingest: \"") + good + "\"}";
    if (std::string(good) == "*:1") {
      CHECK_THAT(OneError(yaml), Contains("host"));
    } else {
      CHECK(MustLoad(yaml).listen.ingest == good);
    }
  }
  for (const char* bad : {"", "host", "host:", "host:x", "host:65536", "::1:9", "[::1:9", "a b:1",
                          "[]:1", "host:-1"}) {
    CAPTURE(bad);
    CHECK_THAT(OneError(std::string("listen: {ingest: \"") + bad + "\"}"),
               Contains("listen.ingest: ") && Contains("write host:port"));
  }
  CHECK_THAT(OneError("listen: {ingest: \"a:1\", admin: \"a:1\"}"),
             Contains("listen.admin: is the address of listen.ingest"));
  MustLoad("listen: {ingest: \"a:0\", admin: \"a:0\"}");
  CHECK_THAT(OneError("listen: {tls: {cert_file: c}}"), Contains("needs listen.tls.key_file too"));
  CHECK_THAT(OneError("listen: {tls: {key_file: c}}"), Contains("needs listen.tls.cert_file too"));
  CHECK_THAT(OneError("listen: {admin_tls: {client_ca_file: c}}"),
             Contains("listen.admin_tls.client_ca_file: client certificates need TLS"));
  CHECK_THAT(OneError("listen: {tls: {min_version: 1.1}}"), Contains("not one of 1.2, 1.3"));
}

TEST_CASE("validation: relabelling has what its action needs") {
  const auto error = [](const std::string& config) {
    return OneError("remote_write: {relabel_configs: [" + config + "]}");
  };
  CHECK_THAT(error("{source_labels: [a]}"),
             StartsWith("f.yaml:1:34: remote_write.relabel_configs.0: action replace needs "
                        "target_label (replace is the default action)"));
  CHECK_THAT(error("{action: hashmod, source_labels: [a], target_label: b}"), Contains("modulus"));
  CHECK_THAT(error("{action: keepequal, source_labels: [a]}"), Contains("needs target_label"));
  CHECK_THAT(error("{action: uppercase, target_label: b}"), Contains("needs source_labels"));
  CHECK_THAT(error("{action: kep}"), Contains("did you mean \"keep\"?"));
  CHECK_THAT(error("{target_label: 1x}"), Contains("no label name"));
  CHECK_THAT(error("{action: lowercase, source_labels: [a], target_label: $1}"),
             Contains("no label name"));
  CHECK_THAT(error("{action: keep, source_label: [a]}"),
             Contains("did you mean \"remote_write.relabel_configs.0.source_labels\"?"));
  CHECK_THAT(error("{action: labelmap, replacement: a-b}"), Contains("no label name"));
  MustLoad(
      "remote_write: {relabel_configs: [{action: labelmap, regex: a_(.+)}, {target_label: "
      "\"x_${1}_$2\", replacement: y}, {action: drop, source_labels: [a]}]}");
}

TEST_CASE("validation: paths, headers, tables and lifted labels") {
  CHECK_THAT(OneError("remote_write: {paths: [/ok, nope]}"),
             StartsWith("f.yaml:1:29: remote_write.paths.1: \"nope\" must begin with /"));
  CHECK_THAT(OneError("remote_write: {paths: []}"), Contains("must not be empty"));
  CHECK_THAT(OneError("remote_write: {paths: [/a, /a]}"), Contains("listed twice"));
  CHECK_THAT(OneError("remote_write: {paths: [\"/a?b\"]}"), Contains("no URL path"));
  CHECK_THAT(OneError("remote_write: {tenant_header: \"a b\"}"), Contains("no name of a header"));
  CHECK_THAT(OneError("remote_write: {drop_label_prefixes: [\"\"]}"), Contains("every label"));
  CHECK_THAT(OneError("remote_write: {exemplars_table: a_b}"), Contains("letters and digits"));
  CHECK_THAT(OneError("remote_write: {exemplars_table: MetricMetadata}"),
             Contains("another table"));
  CHECK_THAT(OneError("storage: {dir: \"\"}"), Contains("storage.dir: must not be empty"));
  const auto lift = [](const std::string& labels) {
    return OneError("databases: [{name: A, sinks: [{file: {root: /a}}], lift_labels: [" + labels +
                    "]}]");
  };
  CHECK_THAT(lift("{column: X}"), Contains("has no name"));
  CHECK_THAT(lift("{name: host}, {name: HOST}"), Contains("lifted twice"));
  CHECK_THAT(lift("{name: a, column: Value}"), Contains("another column"));
  CHECK_THAT(lift("{name: a, column: X_Y}"), Contains("letters and digits"));
}

TEST_CASE("validation: one mistake is told once, without what follows from it") {
  CHECK_THAT(OneError("batch: {max_bytes: 5 apples, min_bytes: 2kB}"), Contains("5 apples"));
  CHECK_THAT(OneError("databases: [{nam: A, sinks: [{file: {root: /a}}]}]"),
             Contains("did you mean \"databases.0.name\"?"));
}

TEST_CASE("errors: a file full of mistakes is cut off") {
  std::string yaml;
  for (int i = 0; i < 500; ++i) yaml += fmt::format("unknown{}: 1\n", i);
  const auto lines = Errors(yaml);
  CHECK(lines.size() == 101);
  CHECK(lines.back() == "and more; mend these first");
}

TEST_CASE("errors: the recorded file of mistakes gives the recorded messages") {
  const auto read = [](const std::string& name) {
    std::ifstream file(std::string(FOREBAY_TEST_DATA) + "/config/" + name);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  };
  const auto loaded = LoadFromString(read("mistakes.yaml"), "mistakes.yaml");
  REQUIRE_FALSE(loaded.ok());
  CHECK(loaded.error().message() + "\n" == read("mistakes.expected"));
}

}  // namespace
}  // namespace forebay::config
