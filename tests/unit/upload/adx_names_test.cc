#include "upload/adx/names.h"

#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <set>

#include "table/schema.h"

namespace forebay::upload::adx {
namespace {

using std::chrono::milliseconds;

TEST_CASE("adx names: the two endpoints of a cluster follow from each other") {
  const std::pair<std::string, std::string> pairs[] = {
      {"https://help.kusto.windows.net", "https://ingest-help.kusto.windows.net"},
      {"https://my-ingest-x.kusto.windows.net", "https://ingest-my-ingest-x.kusto.windows.net"},
      {"https://376.568.1564.1564", "https://ingest-376.568.1564.1564"},
      {"https://192.shouldwork.1.1", "https://ingest-192.shouldwork.1.1"},
      {"https://c.westus.kusto.windows.net:8443",
       "https://ingest-c.westus.kusto.windows.net:8443"}};
  for (const auto& [engine, ingest] : pairs) {
    CHECK(IngestEndpoint(engine) == ingest);
    CHECK(IngestEndpoint(ingest) == ingest);
    CHECK(EngineEndpoint(ingest) == engine);
    CHECK(EngineEndpoint(engine) == engine);
  }
  for (const std::string reserved :
       {"http://localhost:8080", "https://127.0.0.1:8080", "https://192.168.1.1", "https://[::1]",
        "https://[2001:db8::1]:8080", "https://ONEBOX.dev.kusto.windows.net"}) {
    CHECK(IngestEndpoint(reserved) == reserved);
    CHECK(EngineEndpoint(reserved) == reserved);
  }
  CHECK(IngestEndpoint("https://a.b/") == "https://ingest-a.b");
  CHECK(IngestEndpoint("test.kusto.windows.net") == "test.kusto.windows.net");
}

TEST_CASE("adx names: a URL is taken apart, and its errors do not quote the signature") {
  const auto url = ParseUrl("HTTPS://Acct.blob.core.windows.net:443/cont/x?sv=1&sig=a%2B#f");
  REQUIRE(url.ok());
  CHECK(url->scheme == "https");
  CHECK(url->host == "acct.blob.core.windows.net");
  CHECK(url->port == "443");
  CHECK(url->path == "/cont/x");
  CHECK(url->query == "sv=1&sig=a%2B");
  CHECK(ParseUrl("http://[::1]:80/")->host == "::1");
  for (const std::string bad :
       {"", "host", "://x", "https://", "https://u:p@h/", "https://h:x/", "https://[::1",
        "https://h y/?sig=secret", "https://h\xc3\xbc/", "https://h:70000"}) {
    const auto failed = ParseUrl(bad);
    INFO(bad);
    REQUIRE_FALSE(failed.ok());
    CHECK(failed.error().message().find("secret") == std::string::npos);
  }
}

TEST_CASE("adx names: path segments are encoded by RFC 3986") {
  CHECK(EncodeSegment("aZ09-._~") == "aZ09-._~");
  CHECK(EncodeSegment("a b#?%/\xC3\xA9") == "a%20b%23%3F%25%2F%C3%A9");
  CHECK(EncodeSegment("..") == "%2E%2E");
}

TEST_CASE("adx names: only services of Azure, loopback and what is configured are trusted") {
  CHECK(CheckTrusted("https://help.kusto.windows.net", {}).ok());
  CHECK(CheckTrusted("https://ingest-x.kusto.usgovcloudapi.net", {}).ok());
  CHECK(CheckTrusted("https://ade.loganalytics.io", {}).ok());
  CHECK(CheckTrusted("http://127.0.0.1:1", {}).ok());
  CHECK_FALSE(CheckTrusted("http://help.kusto.windows.net", {}).ok());
  for (const std::string bad :
       {"https://evilkusto.windows.net", "https://kusto.windows.net.evil.com",
        "https://kusto.windows.net", "https://example.com", "https://127.evil.com"}) {
    INFO(bad);
    CHECK_FALSE(CheckTrusted(bad, {}).ok());
  }
  const std::vector<std::string> extra = {"Example.com", ".mine.net"};
  CHECK(CheckTrusted("https://example.com", extra).ok());
  CHECK(CheckTrusted("https://a.mine.net", extra).ok());
  CHECK_FALSE(CheckTrusted("https://a.example.com", extra).ok());
}

TEST_CASE("adx names: commands quote what is in names") {
  CHECK(QuoteName("a'b\\c\n") == "['a\\'b\\\\c\\n']");
  const auto schema = table::Schema::Create(
      {{"Timestamp", table::ColumnType::kDatetime}, {"Value", table::ColumnType::kReal}});
  REQUIRE(schema.ok());
  CHECK(CreateTableCommand("Cpu", *schema) ==
        ".create-merge table ['Cpu'] (['Timestamp']:datetime, ['Value']:real)");
  const std::string name = MappingName("Cpu", *schema);
  CHECK(name == fmt::format("Cpu_{:x}", schema->hash()));
  CHECK(
      CreateMappingCommand("Cpu", *schema) ==
      ".create-or-alter table ['Cpu'] ingestion csv mapping '" + name +
          "' '[{\"column\":\"Timestamp\",\"datatype\":\"datetime\",\"Properties\":{\"Ordinal\":"
          "\"0\"}},{\"column\":\"Value\",\"datatype\":\"real\",\"Properties\":{\"Ordinal\":\"1\"}}]"
          "'");
}

TEST_CASE("adx names: time spans of .NET") {
  CHECK(ParseTimeSpan("01:00:00") == milliseconds(3'600'000));
  CHECK(ParseTimeSpan("1.02:03:04") == milliseconds(((26 * 60 + 3) * 60 + 4) * 1000));
  CHECK(ParseTimeSpan("00:00:30.5") == milliseconds(30'500));
  CHECK(ParseTimeSpan("1.00:00:00.1234567") == milliseconds(86'400'123));
  for (const char* bad : {"", "1", "1:2", "24:00:00", "00:60:00", "00:00:60", "a:b:c", "00:00:00",
                          "-01:00:00", "1..0:0:0", "00:00:30."}) {
    INFO(bad);
    CHECK_FALSE(ParseTimeSpan(bad).has_value());
  }
}

TEST_CASE("adx names: until when a signature is good") {
  CHECK(SignatureExpiry("sv=1&se=2026-11-01T20%3A00%3A00Z&sig=x") == UnixMillis{1'793'563'200'000});
  CHECK(SignatureExpiry("se=2026-11-01") == UnixMillis{1'793'491'200'000});
  CHECK(SignatureExpiry("se=1970-01-01T00:00Z") == UnixMillis{0});
  CHECK_FALSE(SignatureExpiry("sig=x&use=2026-11-01").has_value());
  CHECK_FALSE(SignatureExpiry("se=tomorrow!!").has_value());
}

TEST_CASE("adx names: identifiers are version 4 and differ; base64 has padding") {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string uuid = NewUuid();
    CHECK(uuid.size() == 36);
    CHECK(uuid[14] == '4');
    CHECK(std::string("89ab").find(uuid[19]) != std::string::npos);
    seen.insert(uuid);
  }
  CHECK(seen.size() == 1000);
  CHECK(Base64("") == "");
  CHECK(Base64("f") == "Zg==");
  CHECK(Base64("fo") == "Zm8=");
  CHECK(Base64("foo") == "Zm9v");
  CHECK(Base64("\xFF\xFE\xFD\xFC") == "//79/A==");
}

}  // namespace
}  // namespace forebay::upload::adx
