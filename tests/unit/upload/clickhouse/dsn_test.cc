#include "upload/clickhouse/dsn.h"

#include <catch2/catch.hpp>

namespace forebay::upload {
namespace {

TEST_CASE("clickhouse dsn: every part is taken, and escapes are undone") {
  const auto dsn = ParseClickHouseDsn(
      "https://wri%40ter:p%3Ass@w/x@host.example:9443/my%20db?max_threads=2&compress=zstd&"
      "skip_verify=1&dial_timeout=5s");
  // The password's slash is not escaped: the host would end before it.
  CHECK_FALSE(dsn.ok());
  const auto good = ParseClickHouseDsn(
      "https://wri%40ter:p%3Ass@w%2Fx@host.example:9443/my%20db?max_threads=2&compress=zstd&"
      "skip_verify=1&dial_timeout=5s");
  REQUIRE(good.ok());
  CHECK(good->base_url == "https://host.example:9443");
  CHECK(good->user == "wri@ter");
  CHECK(good->password == "p:ss@w/x");
  CHECK(good->database == "my db");
  CHECK(good->compression == "zstd");
  CHECK(good->skip_verify);
  CHECK_FALSE(good->mapped);
  REQUIRE(good->settings.size() == 1);
  CHECK(good->settings[0] == std::pair<std::string, std::string>("max_threads", "2"));
}

TEST_CASE("clickhouse dsn: the native protocol's ports become those of HTTP") {
  const std::pair<const char*, const char*> cases[] = {
      {"clickhouse://host:9000/db", "http://host:8123"},
      {"clickhouse://host", "http://host:8123"},
      {"tcp://host:9440", "https://host:8443"},
      {"clickhouse://host:9000/?secure=1", "https://host:8443"},
      {"clickhouse://[::1]:9000", "http://[::1]:8123"},
      {"clickhouse://host:8124", "http://host:8124"},
  };
  for (const auto& [text, url] : cases) {
    INFO(text);
    const auto dsn = ParseClickHouseDsn(text);
    REQUIRE(dsn.ok());
    CHECK(dsn->base_url == url);
    CHECK(dsn->mapped);
  }
  CHECK(ParseClickHouseDsn("clickhouse://host:9000/db")->database == "db");
  CHECK(ParseClickHouseDsn("http://host")->base_url == "http://host:8123");
  CHECK(ParseClickHouseDsn("http://host:9000")->base_url == "http://host:9000");
  CHECK(ParseClickHouseDsn("http://host?secure=true")->base_url == "https://host:8443");
  CHECK(ParseClickHouseDsn("http://host")->database == "default");
}

TEST_CASE("clickhouse dsn: what is wrong is said without the password") {
  for (const char* text :
       {"host:8123", "ftp://u:secret@host", "http://u:secret@", "http://u:secret@host:99999",
        "http://u:secret@host:0", "http://u:secret@host:x", "http://u:sec%zzret@host",
        "http://u:secret@[::1", "http://u:secret@host/a/b", "http://u:secret@h ost",
        "http://u:secret@host?compress=gzip"}) {
    INFO(text);
    const auto dsn = ParseClickHouseDsn(text);
    REQUIRE_FALSE(dsn.ok());
    CHECK(dsn.error().code() == ErrorCode::kInvalidArgument);
    CHECK(dsn.error().message().find("secret") == std::string::npos);
  }
}

TEST_CASE("clickhouse dsn: parameters of URLs are escaped") {
  CHECK(PercentEncode("a b&c=d/%\xc3\xa4-_.~") == "a%20b%26c%3Dd%2F%25%C3%A4-_.~");
}

}  // namespace
}  // namespace forebay::upload
