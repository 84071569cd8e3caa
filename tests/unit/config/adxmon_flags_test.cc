#include "config/adxmon_flags.h"

#include "unit/config/test_config.h"

namespace forebay::config {
namespace {

using Catch::Matchers::Contains;
using test::Pairs;
using Arguments = std::vector<std::string>;

AdxMonTranslation Must(const Arguments& arguments) {
  auto result = TranslateAdxMonFlags(arguments);
  if (!result.ok()) FAIL(result.error().message());
  return std::move(*result);
}

std::string ErrorOf(const Arguments& arguments) {
  const auto result = TranslateAdxMonFlags(arguments);
  REQUIRE_FALSE(result.ok());
  CHECK(result.error().code() == ErrorCode::kInvalidArgument);
  return result.error().message();
}

TEST_CASE("adx-mon flags: a whole command line loads as our configuration") {
  const AdxMonTranslation flags = Must(
      {"--storage-dir", "/mnt/data", "--max-segment-age=5s", "--max-segment-size", "1073741824",
       "--max-transfer-size=10485760", "--max-transfer-age", "1m30s", "--uploads=10",
       "--max-connections", "0", "--max-disk-usage=21474836480", "--enable-wal-fsync",
       "--max-batch-segments=25", "--ca-cert=/tls/crt", "--key=/tls/key"});
  CHECK(flags.remaining.empty());
  CHECK(flags.warnings.empty());
  const Config config = test::MustLoad("", flags.overrides);
  CHECK(config.storage.dir == "/mnt/data");
  CHECK(config.generation.max_age == seconds(5));
  CHECK(config.generation.max_journal == GiB(1));
  CHECK(config.batch.min_bytes == MiB(10));
  CHECK(config.batch.max_age == seconds(90));
  CHECK(config.upload.workers == 10);
  CHECK(config.http.max_connections == 1'000'000);
  CHECK(config.storage.max_disk == GiB(20));
  CHECK(config.durability == Durability::kSync);
  CHECK(config.batch.max_segments == 25);
  CHECK(config.listen.tls.cert_file == "/tls/crt");
  CHECK(config.listen.tls.key_file == "/tls/key");
}

TEST_CASE("adx-mon flags: what is not adx-mon's is handed back in order") {
  const AdxMonTranslation flags = Must({"serve", "--config", "f.yaml", "--uploads", "3", "--set",
                                        "a.b=c", "-v", "--", "--uploads", "4"});
  CHECK(flags.remaining ==
        Arguments{"serve", "--config", "f.yaml", "--set", "a.b=c", "-v", "--", "--uploads", "4"});
  CHECK(flags.overrides == Pairs{{"upload.workers", "3"}});
}

TEST_CASE("adx-mon flags: one dash is as good as two, and a value may hold an equals sign") {
  CHECK(Must({"-storage-dir=/a=b"}).overrides == Pairs{{"storage.dir", "/a=b"}});
  CHECK(Must({"storage-dir"}).remaining == Arguments{"storage-dir"});
}

TEST_CASE("adx-mon flags: booleans are Go's and take a value by equals only") {
  const Pairs sync = {{"durability", "sync"}};
  const Pairs write = {{"durability", "write"}};
  for (const char* word : {"1", "t", "T", "true", "TRUE", "True"}) {
    CHECK(Must({std::string("--enable-wal-fsync=") + word}).overrides == sync);
  }
  for (const char* word : {"0", "f", "F", "false", "FALSE", "False"}) {
    CHECK(Must({std::string("--enable-wal-fsync=") + word}).overrides == write);
  }
  const AdxMonTranslation flags = Must({"--enable-wal-fsync", "false"});
  CHECK(flags.overrides == sync);
  CHECK(flags.remaining == Arguments{"false"});
  CHECK_THAT(ErrorOf({"--enable-wal-fsync=yes"}), Contains("--enable-wal-fsync: \"yes\""));
}

TEST_CASE("adx-mon flags: durations are Go's") {
  const auto age = [](const std::string& text) {
    return Must({"--max-segment-age=" + text}).overrides.at(0).second;
  };
  CHECK(age("5m") == "5m");
  CHECK(age("1h30m") == "1h30m");
  CHECK(age("1.5h") == "1h30m");
  CHECK(age("250ms") == "250ms");
  CHECK(age("0.25s") == "250ms");
  CHECK(age("1ns") == "1ms");
  CHECK(age("2500us") == "3ms");
  CHECK(age("2000\u00b5s") == "2ms");
  for (const char* bad : {"", "5", "m", "1d", "-1s", "1s ", "1..2s"}) {
    CAPTURE(bad);
    CHECK_THAT(ErrorOf({std::string("--max-segment-age=") + bad}), Contains("is not a duration"));
  }
}

TEST_CASE("adx-mon flags: flags without a meaning are accepted with a warning") {
  const AdxMonTranslation flags =
      Must({"--kubeconfig", "/k", "--partition-size=25", "--cluster-labels=a=b", "--region", "eu",
            "--insecure-skip-verify", "--disable-peer-transfer=false",
            "--slow-request-threshold=10", "--storage-backend=adx", "--max-segment-count=1"});
  CHECK(flags.overrides.empty());
  CHECK(flags.remaining.empty());
  REQUIRE(flags.warnings.size() == 9);
  CHECK_THAT(flags.warnings[0], Contains("--kubeconfig is accepted but has no effect: "));
}

TEST_CASE("adx-mon flags: a flag that may be repeated is one list") {
  const AdxMonTranslation flags = Must({"--drop-prefix=Metrics_A", "--drop-prefix", "Logs_"});
  REQUIRE(flags.overrides.size() == 1);
  CHECK(flags.overrides[0].first == "cluster.transfer.drop_prefixes");
  CHECK(flags.overrides[0].second == "Metrics_A,Logs_");
}

TEST_CASE("adx-mon flags: endpoints become databases with a sink for each") {
  const auto flags =
      Must({"--metrics-kusto-endpoints", "M=https://a.b,L=http://c",
            "--logs-kusto-endpoints=L=http://c", "--logs-kusto-endpoints", "L=https://d?x=y"});
  REQUIRE(flags.overrides.size() == 1);
  CHECK(flags.overrides[0].first == "databases");
  CHECK(flags.overrides[0].second ==
        "[{name: \"M\", sinks: [{name: adx, adx: {endpoint: \"https://a.b\"}}]}, "
        "{name: \"L\", sinks: [{name: adx, adx: {endpoint: \"http://c\"}}, "
        "{name: adx-2, adx: {endpoint: \"https://d?x=y\"}}]}]");
}

TEST_CASE("adx-mon flags: an endpoint that is none is refused, naming flag and database") {
  for (const char* bad : {"Metrics=adx.example", "Metrics=https://a\"b", "Metrics="}) {
    CHECK_THAT(ErrorOf({"--metrics-kusto-endpoints", bad}),
               Contains("--metrics-kusto-endpoints: database \"Metrics\""));
  }
  CHECK_THAT(ErrorOf({"--logs-kusto-endpoints=nodb"}), Contains("<database>=<endpoint>"));
}

TEST_CASE("adx-mon flags: all mistakes are told at once") {
  const std::string error =
      ErrorOf({"--uploads=many", "--max-disk-usage=10GiB", "--ca-cert=/c", "--storage-dir"});
  CHECK_THAT(error, Contains("--uploads: \"many\" is not a whole number\n") &&
                        Contains("--max-disk-usage: \"10GiB\" is not a whole number\n") &&
                        Contains("--storage-dir: has no value\n") &&
                        Contains("--ca-cert: needs --key too"));
  CHECK_THAT(ErrorOf({"--key=/k"}), Contains("--key: needs --ca-cert too"));
}

}  // namespace
}  // namespace forebay::config
