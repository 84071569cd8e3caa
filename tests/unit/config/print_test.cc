#include "config/print.h"

#include <fstream>
#include <random>
#include <set>
#include <sstream>

#include "config/docs.h"
#include "config/schema.h"
#include "unit/config/test_config.h"

namespace forebay::config {
namespace {

using Catch::Matchers::Contains;
using test::MustLoad;

// Fills every key of a struct with random legal texts and numbers; relations between keys are not
// kept, so the result is for printing and decoding, and mended below for validation.
class Filler {
 public:
  explicit Filler(uint32_t seed) : random_(seed) {}

  void Fill(const StructSchema& schema, void* object) {
    for (const Field& field : schema.fields) {
      if (field.set_number != nullptr) {
        field.set_number(object, Number(field.min, field.max));
      } else if (field.kind == Kind::kChoice) {
        field.set_text(object, std::string(field.choices[Number(0, field.choices.size() - 1)]));
      } else if (field.set_text != nullptr) {
        field.set_text(object, Text());
      } else if (field.set_strings != nullptr) {
        std::vector<std::string> values(Number(0, 3));
        for (std::string& value : values) value = Text();
        field.set_strings(object, std::move(values));
      } else if (field.kind == Kind::kStructList) {
        field.clear(object);
        for (uint64_t i = Number(1, 3); i > 0; --i) Fill(*field.schema, field.append(object));
      } else {
        Fill(*field.schema, field.emplace(object));
      }
    }
  }

  uint64_t Number(uint64_t min, uint64_t max) {
    if (random_() % 4 == 0) return random_() % 2 == 0 ? min : max;
    return std::uniform_int_distribution<uint64_t>(min, max)(random_);
  }

  std::string Text() {
    static const std::vector<std::string> kParts = {
        "a",  "Z",    "0",   ".",    "$",       "$$", "${",     "${HOME}", "${1}",   "}", "{", "[",
        "]",  ": ",   " #",  "'",    "\"",      "\\", "\n",     "\t",      "\x01",   "-", "&", "*",
        "!",  "%",    "@",   "null", "true",    "~",  " ",      "\u00e9",  "\u20ac", "|", ">", ",",
        "\r", "\x7f", "1.2", "://",  "u:p@h/x", "?",  "\ufeff", "\u2028",  "\u0085"};
    std::string text;
    for (uint64_t i = Number(0, 6); i > 0; --i) text += kParts[Number(0, kParts.size() - 1)];
    return text;
  }

  // Makes the validator content, leaving the odd texts where they are free.
  Config MakeConfig() {
    Config config;
    Fill(RootSchema(), &config);
    const Config defaults;
    config.storage.dir += "x";
    config.listen = defaults.listen;
    config.storage.high_watermark = std::max(config.storage.high_watermark, 2U);
    config.storage.low_watermark %= config.storage.high_watermark;
    config.batch.min_bytes = std::min(config.batch.min_bytes, config.batch.max_bytes);
    config.upload.retry_initial = std::min(config.upload.retry_initial, config.upload.retry_max);
    config.limits.in_flight_bodies = std::max(config.limits.in_flight_bodies, config.http.max_body);
    config.tenants.max = std::max<uint64_t>(config.tenants.max, config.tenants.overrides.size());
    MendTenant(config.tenants.limits);
    for (size_t i = 0; i < config.tenants.overrides.size(); ++i) {
      config.tenants.overrides[i].name += std::to_string(i);
      MendTenant(config.tenants.overrides[i].limits);
    }
    config.cluster.kubernetes.api_server = "https://" + config.cluster.kubernetes.api_server;
    for (size_t i = 0; i < config.cluster.members.size(); ++i) {
      config.cluster.members[i].name += std::to_string(i);
      config.cluster.members[i].address = "m" + std::to_string(i) + ":9092";
    }
    config.cluster.dns.service += "x";
    config.cluster.transfer_tls = defaults.cluster.transfer_tls;
    config.cluster.transfer.ledger_window = std::max<milliseconds>(
        seconds(1), config.cluster.transfer.doubt_timeout + config.cluster.transfer.timeout);
    if (config.cluster.members.empty()) config.cluster.discovery = "dns";
    for (std::string& prefix : config.remote_write.drop_label_prefixes) prefix += "x";
    config.remote_write.paths = {"/" + std::to_string(random_()), "/$${x}$1"};
    config.remote_write.tenant_header = "X-$";
    config.remote_write.default_database = "";
    config.remote_write.exemplars_table = "E";
    config.remote_write.histograms_table = "H";
    config.remote_write.metadata_table = "M";
    MendOtlp(config.otlp.logs);
    MendOtlp(config.otlp.traces);
    config.otlp.enabled = true;
    config.listen.otlp_grpc = "h:" + std::to_string(Number(0, 65535));
    MendRelabel(config.remote_write.relabel_configs);
    for (size_t i = 0; i < config.databases.size(); ++i) {
      Database& database = config.databases[i];
      database.name = "D" + std::to_string(i);
      MendRelabel(database.relabel_configs);
      for (size_t l = 0; l < database.lift_labels.size(); ++l) {
        database.lift_labels[l].name += std::to_string(l);
        database.lift_labels[l].column = l == 0 ? "" : "C" + std::to_string(l);
      }
      for (size_t s = 0; s < database.sinks.size(); ++s) {
        MendSink(database.sinks[s], s);
      }
    }
    return config;
  }

 private:
  // One kind of those that were all filled.
  void MendSink(Sink& sink, size_t number) {
    sink.name = "s" + std::to_string(number);
    const auto kind = Number(0, 2);
    if (kind == 0) sink.file->root += std::to_string(number);
    if (kind == 1) MendAdx(*sink.adx);
    if (kind == 2) MendClickHouse(*sink.clickhouse);
    if (kind != 0) sink.file.reset();
    if (kind != 1) sink.adx.reset();
    if (kind != 2) sink.clickhouse.reset();
  }

  template <typename Records>
  static void MendOtlp(Records& records) {
    records.table = "T";
    records.database = "";
    for (size_t l = 0; l < records.lift_attributes.size(); ++l) {
      records.lift_attributes[l].name += std::to_string(l);
      records.lift_attributes[l].column = l == 0 ? "" : "C" + std::to_string(l);
    }
  }

  static void MendAdx(AdxSink& adx) {
    adx.endpoint = "https://cluster";
    adx.ingest_endpoint = adx.auth.authority = adx.auth.identity_endpoint = "";
    adx.auth.token_file += "x";
    adx.status_timeout = std::max(adx.status_timeout, adx.status_interval);
  }

  static void MendClickHouse(ClickHouseSink& clickhouse) {
    clickhouse.dsn = "https://u@server:8443/db?max_threads=2";
    clickhouse.key_file = clickhouse.cert_file.empty() ? "" : "key.pem";
    clickhouse.samples_table = "all_samples";
    clickhouse.logs_table = "otel_logs";
    clickhouse.traces_table = "otel_traces";
  }

  static void MendTenant(TenantLimits& limits) {
    if (limits.requests_per_second == 0) limits.requests_burst = 0;
    if (limits.samples_per_second == 0) limits.samples_burst = 0;
    if (limits.bytes_per_second.value == 0) limits.bytes_burst = {0};
  }

  static void MendRelabel(std::vector<RelabelConfig>& configs) {
    for (RelabelConfig& config : configs) {
      config.source_labels = {"a", "b c"};
      config.target_label = "t";
      config.modulus |= 1;
      if (config.action == "labelmap") config.replacement = "x_${1}";
    }
  }

  std::mt19937 random_;
};

TEST_CASE("print: what is printed loads as the same configuration, comments or not") {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    const Config config = Filler(seed).MakeConfig();
    for (const bool comments : {false, true}) {
      const std::string yaml =
          PrintYaml(config, {.mask_secrets = false, .with_comments = comments});
      const Config again = MustLoad(yaml, {}, {{"HOME", "/root"}});
      const bool same = SameConfig(config, again);
      if (!same) WARN(yaml);
      REQUIRE(same);
    }
  }
}

TEST_CASE("print: the defaults are complete and load as the defaults") {
  const std::string yaml = PrintYaml(MustLoad(""));
  CHECK(SameConfig(MustLoad(yaml), MustLoad("")));
  ForEachKey("0", [&yaml](const std::string& path, const Field& field) {
    if (path.find("relabel_configs.0") != std::string::npos) return;  // No entry by default.
    if (path.find("lift_labels.0") != std::string::npos) return;
    if (path.find("lift_attributes.0") != std::string::npos) return;
    if (path.find("members.0") != std::string::npos) return;
    if (path.find("sinks.0.") != std::string::npos && path.find(".file") == std::string::npos)
      return;
    CHECK_THAT(yaml, Contains(std::string(field.name) + ":"));
  });
  CHECK_THAT(yaml, Contains("max_disk: 10GiB\n") && Contains("max_age: 5m\n") &&
                       Contains("durability: sync\n") && Contains("min_version: \"1.2\"\n") &&
                       Contains("- name: Metrics\n") && Contains("root: ./data/out\n"));
}

TEST_CASE("print: comments say what each key means") {
  const std::string yaml = PrintYaml(MustLoad(""), {.with_comments = true});
  CHECK_THAT(yaml, Contains("  # Batches uploaded at the same time.\n  workers: 2\n"));
  size_t begin = 0;
  for (size_t end; (end = yaml.find('\n', begin)) != std::string::npos; begin = end + 1) {
    CHECK(end - begin <= 100);
  }
}

TEST_CASE("print: credentials in URLs are masked, file names are not") {
  CHECK(MaskSecrets("https://user:pa@ss@host:1/p?q=1") == "https://***@host:1/p?q=1");
  CHECK(MaskSecrets("https://host/p@x") == "https://host/p@x");
  CHECK(MaskSecrets("https://host/c?sv=1&sig=abc%3D&se=2") == "https://host/c?sv=1&sig=***&se=2");
  CHECK(MaskSecrets("a://b:c@d e://f@g") == "a://***@d e://***@g");
  CHECK(MaskSecrets("/etc/user:pass@file") == "/etc/user:pass@file");
  CHECK(MaskSecrets("://") == "://");
  const Config config = MustLoad("storage: {dir: 'http://u:secret@h/'}");
  CHECK_THAT(PrintYaml(config), !Contains("u:secret"));
  CHECK_THAT(PrintYaml(config, {.mask_secrets = false}), Contains("u:secret@h"));
  CHECK_THAT(PrintJson(config), !Contains("u:secret"));
}

TEST_CASE("print: JSON has every key and escapes what JSON must") {
  Config config = MustLoad("");
  config.storage.dir = "a\"b\\c\n\x01$$";
  const std::string json = PrintJson(config);
  CHECK_THAT(
      json,
      Catch::Matchers::StartsWith(
          R"({"storage":{"dir":"a\"b\\c\n\u0001$$","max_disk":"10GiB","high_watermark":95,)"));
  CHECK_THAT(json, Contains(R"("workers":2)") && Contains(R"("drop_nan":false)") &&
                       Contains(R"("paths":["/api/v1/write","/receive","/remote_write"])") &&
                       Contains(R"("databases":[{"name":"Metrics","relabel_configs":[],)"));
  CHECK(json.find('\n') == std::string::npos);
}

TEST_CASE("docs: docs/configuration.md is what the schema says") {
  std::ifstream file(std::string(FOREBAY_TEST_DATA) + "/../../docs/configuration.md");
  std::stringstream text;
  text << file.rdbuf();
  INFO("regenerate: forebay config docs > docs/configuration.md");
  CHECK(text.str() == DocsMarkdown());
}

TEST_CASE("schema: every key has a sentence, a range that holds its default and its own variable") {
  std::set<std::string> names;
  ForEachKey("0", [&names](const std::string& path, const Field& field) {
    CAPTURE(path);
    CHECK(field.doc.ends_with("."));
    CHECK(names.insert(EnvironmentName(path)).second);
    CHECK(field.min <= field.max);
  });
  CHECK(names.size() > 80);
  // The defaults pass the checks of their own ranges.
  MustLoad(PrintYaml(MustLoad("")));
}

TEST_CASE("schema: every scalar key can be set by its variable and by its path") {
  ForEachKey("0", [](const std::string& path, const Field& field) {
    if (field.kind != Kind::kUint && field.kind != Kind::kBytes && field.kind != Kind::kDuration) {
      return;
    }
    CAPTURE(path);
    const test::Pairs by_path = {{path, "nonsense"}};
    const test::Pairs by_variable = {{EnvironmentName(path), "nonsense"}};
    const auto has = [&path](const std::vector<std::string>& lines) {
      for (const std::string& line : lines) {
        if (line.find(": " + path + ": \"nonsense\"") != std::string::npos) return true;
      }
      return false;
    };
    CHECK(has(test::Errors("", by_path)));
    CHECK(has(test::Errors("", {}, by_variable)));
  });
}

}  // namespace
}  // namespace forebay::config
