#include "receive/wire_reader.h"

#include <catch2/catch.hpp>

#include "request_builder.h"

using namespace forebay::testing;  // NOLINT
using forebay::receive::DecodeZigZag;
using forebay::receive::WireReader;

TEST_CASE("wire reader: every wire type is read and unknown fields are passed over") {
  const std::string message = VarintField(1, 300) + DoubleField(2, 1.5) + BytesField(3, "abc") +
                              std::string("\x25\x01\x02\x03\x04", 5) + VarintField(5, ~0ULL);
  WireReader reader(message);
  REQUIRE(reader.Next());
  CHECK(reader.VarintField() == 300);
  REQUIRE(reader.Next());
  CHECK(reader.Fixed64Field() == std::bit_cast<uint64_t>(1.5));
  REQUIRE(reader.Next());
  CHECK(reader.BytesField() == "abc");
  REQUIRE(reader.Next());
  CHECK(reader.field() == 4);
  reader.Skip();
  REQUIRE(reader.Next());
  CHECK(reader.VarintField() == ~0ULL);
  CHECK(!reader.Next());
  CHECK(!reader.failed());
}

TEST_CASE("wire reader: damaged bytes fail once and for all, without a read outside") {
  const auto bytes =
      GENERATE(std::string("\x08", 1),      // a value that is not there
               std::string("\x08\x80", 2),  // a varint without an end
               std::string("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12),  // eleven bytes
               std::string("\x09\x01\x02", 3),  // a torn fixed64
               std::string("\x0a\x05"
                           "abc",
                           5),  // a length beyond the end
               std::string("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11),  // a huge length
               std::string("\x00\x01", 2),                                       // field number 0
               std::string("\x0b\x0c", 2),                                       // a group
               std::string("\x0f\x01", 2),                                       // wire type 7
               std::string("\x80\x80\x80\x80\x80\x01\x01", 7));  // field number above 2^29
  CAPTURE(bytes);
  WireReader reader(bytes);
  while (reader.Next()) reader.Skip();
  CHECK(reader.failed());
  CHECK(reader.Varint() == 0);
  CHECK(reader.Bytes().empty());
  CHECK(reader.failed());
}

TEST_CASE("wire reader: a known field of another wire type is a failure") {
  const std::string message = VarintField(1, 7);
  WireReader reader(message);
  REQUIRE(reader.Next());
  CHECK(reader.BytesField().empty());
  CHECK(reader.failed());
}

TEST_CASE("wire reader: zigzag covers the whole range") {
  for (const int64_t value : {int64_t{0}, int64_t{-1}, int64_t{1}, INT64_MAX, INT64_MIN}) {
    CHECK(DecodeZigZag(ZigZag(value)) == value);
  }
}
