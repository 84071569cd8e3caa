#include "receive/negotiation.h"

#include <catch2/catch.hpp>

using forebay::http::RequestHead;
using forebay::receive::CheckContentEncoding;
using forebay::receive::Negotiate;
using forebay::receive::ParseContentType;
using forebay::wal::RecordKind;

TEST_CASE("negotiation: the content types of both versions are taken, with blanks and any case") {
  const std::string v2 = "io.prometheus.write.v2.Request";
  const auto type = GENERATE_COPY(
      std::make_pair(std::string(), RecordKind::kRemoteWrite1),
      std::make_pair(std::string("application/x-protobuf"), RecordKind::kRemoteWrite1),
      std::make_pair(std::string(" Application/X-Protobuf "), RecordKind::kRemoteWrite1),
      std::make_pair(std::string("application/x-protobuf;proto=prometheus.WriteRequest"),
                     RecordKind::kRemoteWrite1),
      std::make_pair(std::string("application/x-protobuf;charset=utf-8"),
                     RecordKind::kRemoteWrite1),
      std::make_pair("application/x-protobuf;proto=" + v2, RecordKind::kRemoteWrite2),
      std::make_pair("application/x-protobuf ; proto=" + v2, RecordKind::kRemoteWrite2),
      std::make_pair("application/x-protobuf; charset=utf-8 ;\tproto=" + v2,
                     RecordKind::kRemoteWrite2),
      std::make_pair("application/x-protobuf;proto=\"" + v2 + "\"", RecordKind::kRemoteWrite2),
      std::make_pair("application/x-protobuf;a=\"x;proto=y\";proto=" + v2,
                     RecordKind::kRemoteWrite2));
  CAPTURE(type.first);
  const auto kind = ParseContentType(type.first);
  REQUIRE(kind.ok());
  CHECK(*kind == type.second);
}

TEST_CASE("negotiation: other media types, unknown messages and broken parameters are refused") {
  const auto type = GENERATE(
      "application/json", "image/png", "text/plain", "application/x-protobuffer",
      "application/x-protobuf;proto=unknown.Message",
      "application/x-protobuf;proto=", "application/x-protobuf;proto", "application/x-protobuf;",
      "application/x-protobuf;;", "application/x-protobuf;proto=a=b",
      "application/x-protobuf;proto =prometheus.WriteRequest",
      "application/x-protobuf;proto= prometheus.WriteRequest", ";proto=prometheus.WriteRequest",
      "application/x-protobuf;proto=PROMETHEUS.WRITEREQUEST",
      "application/x-protobuf;a=\xc3\xbc;proto=prometheus.WriteRequest");
  CAPTURE(type);
  CHECK(!ParseContentType(type).ok());
}

TEST_CASE("negotiation: only snappy, or no word of it, is a content encoding") {
  CHECK(CheckContentEncoding("").ok());
  CHECK(CheckContentEncoding("snappy").ok());
  CHECK(CheckContentEncoding(" Snappy ").ok());
  for (const char* encoding : {"gzip", "deflate", "zstd", "identity", "snappy, gzip", "x-snappy"}) {
    CAPTURE(encoding);
    CHECK(!CheckContentEncoding(encoding).ok());
  }
}

TEST_CASE("negotiation: the version header and the user agent are never looked at") {
  const auto head = RequestHead::Make("POST", "/api/v1/write",
                                      {{"X-Prometheus-Remote-Write-Version", "99"},
                                       {"Content-Type", "application/x-protobuf"},
                                       {"Content-Encoding", "snappy"}});
  const auto kind = Negotiate(head);
  REQUIRE(kind.ok());
  CHECK(*kind == RecordKind::kRemoteWrite1);
  CHECK(Negotiate(RequestHead::Make("POST", "/api/v1/write")).ok());
  CHECK(!Negotiate(RequestHead::Make("POST", "/", {{"Content-Encoding", "gzip"}})).ok());
}
