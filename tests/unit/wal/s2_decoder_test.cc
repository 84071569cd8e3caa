// S2 elements one by one, limits, and agreement with snappy on random data.
#include "wal/s2_decoder.h"

#include <snappy.h>

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

namespace forebay::wal {
namespace {

// Heap memory of exactly the size, so that the address sanitizer sees one byte beyond.
Result<std::string> DecodeAlone(const std::string& block) {
  const std::vector<char> in(block.begin(), block.end());
  FOREBAY_ASSIGN_OR_RETURN(const size_t length, S2DecodedLength(in));
  REQUIRE(length < (64u << 20));
  std::vector<char> out(length);
  FOREBAY_RETURN_IF_ERROR(S2Decode(in, out));
  return std::string(out.begin(), out.end());
}

bool Walk(const std::string& block) {
  S2Walker walker(block.size());
  while (!walker.done()) {
    const std::string rest = block.substr(walker.position(), S2Walker::kMaxElementHead);
    if (!walker.Step(std::vector<char>(rest.begin(), rest.end()))) return false;
  }
  return true;
}

// The walker must agree on every block that a test looks at.
Result<std::string> Decode(const std::string& block) {
  auto decoded = DecodeAlone(block);
  REQUIRE(Walk(block) == decoded.ok());
  return decoded;
}

std::string Varint(uint32_t value) {
  std::string text;
  for (; value >= 0x80; value >>= 7) text += static_cast<char>(value | 0x80);
  return text + static_cast<char>(value);
}

std::string Literal(const std::string& bytes) {
  REQUIRE(bytes.size() <= 60);
  return static_cast<char>((bytes.size() - 1) << 2) + bytes;
}

// Copy with an 11 bit offset; offset 0 and lengths 4 to 11 are S2's repeats.
std::string Copy1(size_t offset, size_t length) {
  return {static_cast<char>(1 | (length - 4) << 2 | (offset >> 8) << 5),
          static_cast<char>(offset & 0xFF)};
}

std::string Copy2(size_t offset, size_t length) {
  return {static_cast<char>(2 | (length - 1) << 2), static_cast<char>(offset & 0xFF),
          static_cast<char>(offset >> 8)};
}

std::string Copy4(size_t offset, size_t length) {
  std::string text(1, static_cast<char>(3 | (length - 1) << 2));
  for (int i = 0; i < 4; ++i) text += static_cast<char>(offset >> (8 * i) & 0xFF);
  return text;
}

// S2's repeat of any length from 4 on.
std::string Repeat(size_t length) {
  if (length <= 8) return Copy1(0, length);
  size_t bytes = 1;
  size_t base = 8;
  if (length >= 65540) {
    bytes = 3;
    base = 65540;
  } else if (length >= 264) {
    bytes = 2;
    base = 260;
  }
  std::string text = Copy1(0, 8 + bytes);
  for (size_t i = 0; i < bytes; ++i) text += static_cast<char>((length - base) >> (8 * i) & 0xFF);
  return text;
}

// What copying byte by byte gives.
void Extend(std::string& text, size_t offset, size_t length) {
  for (size_t i = 0; i < length; ++i) text += text[text.size() - offset];
}

std::string Noise(size_t bytes) {
  std::mt19937 random(static_cast<unsigned>(bytes));
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random() & 0xFF);
  return text;
}

bool IsCorrupt(const std::string& block) {
  const auto decoded = Decode(block);
  return !decoded.ok() && decoded.error().code() == ErrorCode::kCorruption;
}

}  // namespace

TEST_CASE("s2: every copy offset and length, near the end and far from it") {
  for (const size_t tail : {0u, 1u, 200u, 400u}) {
    for (size_t offset = 1; offset <= 60; ++offset) {
      for (size_t length = 1; length <= 64; ++length) {
        std::string expected = Noise(60);
        std::string body = Literal(expected);
        body += length >= 4 && length <= 11 ? Copy1(offset, length) : Copy2(offset, length);
        Extend(expected, offset, length);
        body += Copy4(offset, length);
        Extend(expected, offset, length);
        // Filler of one-byte literals keeps the fast loop's conditions true for the copies above.
        for (size_t i = 0; i < tail; ++i) {
          body += Literal("x");
          expected += 'x';
        }
        const auto decoded = Decode(Varint(static_cast<uint32_t>(expected.size())) + body);
        REQUIRE(decoded.ok());
        REQUIRE(*decoded == expected);
      }
    }
  }
}

TEST_CASE("s2: repeats of every length class use the offset of the copy before") {
  for (const size_t length :
       {4u, 5u, 8u, 9u, 11u, 12u, 263u, 264u, 265u, 1000u, 65539u, 65540u, 65541u, 300000u}) {
    for (const size_t offset : {1u, 3u, 7u, 8u, 15u, 16u, 17u, 40u}) {
      for (const size_t tail : {0u, 300u}) {
        std::string expected = Noise(50);
        std::string body = Literal(expected) + Copy2(offset, 20);
        Extend(expected, offset, 20);
        body += Repeat(length);
        Extend(expected, offset, length);
        body += Literal("between") + Repeat(6);
        expected += "between";
        Extend(expected, offset, 6);
        for (size_t i = 0; i < tail; ++i) body += Literal("y");
        expected += std::string(tail, 'y');
        const auto decoded = Decode(Varint(static_cast<uint32_t>(expected.size())) + body);
        REQUIRE(decoded.ok());
        REQUIRE(*decoded == expected);
      }
    }
  }
}

TEST_CASE("s2: literals of every length field") {
  for (const size_t length :
       {1u, 59u, 60u, 61u, 255u, 256u, 257u, 65535u, 65536u, 65537u, 70000u}) {
    for (size_t field = length <= 256 ? 1 : (length <= 65536 ? 2 : 3); field <= 4; ++field) {
      const std::string expected = Noise(length);
      std::string body(1, static_cast<char>((59 + field) << 2));
      for (size_t i = 0; i < field; ++i) {
        body += static_cast<char>((length - 1) >> (8 * i) & 0xFF);
      }
      const auto decoded = Decode(Varint(static_cast<uint32_t>(length)) + body + expected);
      REQUIRE(decoded.ok());
      REQUIRE(*decoded == expected);
    }
  }
}

TEST_CASE("s2: damage is corruption") {
  CHECK(IsCorrupt(""));
  CHECK(IsCorrupt("\x80"));
  CHECK(IsCorrupt("\xFF\xFF\xFF\xFF\x1F"));                     // above 32 bits
  CHECK(IsCorrupt("\xFF\xFF\xFF\xFF\xFF\x01"));                 // longer than any length
  CHECK(IsCorrupt(Varint(5)));                                  // fewer bytes than declared
  CHECK(IsCorrupt(Varint(2) + Literal("abc")));                 // more
  CHECK(IsCorrupt(Varint(4) + Literal("abc")));                 // fewer
  CHECK(IsCorrupt(Varint(9) + std::string("\x20") + "abc"));    // literal beyond the end
  CHECK(IsCorrupt(Varint(9) + std::string("\xF4")));            // its length beyond the end
  CHECK(IsCorrupt(Varint(8) + Copy1(0, 8)));                    // repeat as the first element
  CHECK(IsCorrupt(Varint(8) + Literal("abcd") + Copy1(0, 4)));  // repeat before any copy
  CHECK(IsCorrupt(Varint(8) + Literal("abcd") + Copy2(0, 4)));  // offset 0
  CHECK(IsCorrupt(Varint(8) + Literal("abcd") + Copy4(0, 4)));
  CHECK(IsCorrupt(Varint(8) + Literal("abcd") + Copy2(5, 4)));  // before the start
  CHECK(IsCorrupt(Varint(8) + Literal("abcd") + Copy4(0xFFFFFFFF, 4)));
  CHECK(IsCorrupt(Varint(8) + Literal("abcd") + std::string("\x02\x01", 2)));  // cut off
  CHECK(IsCorrupt(Varint(20) + Literal("abcd") + Copy1(4, 4) + std::string("\x15\x00", 2)));
  CHECK(IsCorrupt(Varint(8) + Literal("abcd") + Copy1(4, 4) + Literal("x")));
}

TEST_CASE("s2: the same damage is found in the fast loop") {
  const std::string start = Literal(Noise(60)) + Literal(Noise(60));
  const std::string filler = Copy2(60, 64) + Copy2(60, 64) + Literal(Noise(60)) +
                             Literal(Noise(60)) + Literal(Noise(60)) + Literal(Noise(60));
  for (const std::string& bad :
       {Copy2(0, 4), Copy4(0, 4), Copy2(121, 4), Copy4(0xFFFFFFFF, 4), Repeat(6)}) {
    CHECK(IsCorrupt(Varint(1000) + start + bad + filler));
  }
}

TEST_CASE("s2: an output of another length is an invalid argument") {
  const std::string block = Varint(3) + Literal("abc");
  std::string out(4, '\0');
  CHECK(S2Decode(block, out).error().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE("s2: a prefix needs only the bytes that make it") {
  const std::string text = Noise(60);
  const std::string block = Varint(100000) + Literal(text) + Copy2(60, 64);
  std::string out(100, '\0');
  REQUIRE(*S2DecodePrefix(block, out) == 100);
  CHECK(out == (text + text).substr(0, 100));
  std::string more(200, '\0');
  CHECK(S2DecodePrefix(block, more).error().code() == ErrorCode::kCorruption);
  std::string whole(50, '\0');
  CHECK(*S2DecodePrefix(Varint(3) + Literal("abc"), whole) == 3);
}

TEST_CASE("s2: agrees with snappy on what snappy writes") {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    // Words from a small vocabulary, so that there are matches of all distances.
    std::string text;
    const size_t wanted = random() % 200000;
    const size_t words = 1 + random() % 2000;
    while (text.size() < wanted) text += Noise(1 + random() % words % 40);
    std::string compressed;
    snappy::Compress(text.data(), text.size(), &compressed);
    const auto decoded = Decode(compressed);
    REQUIRE(decoded.ok());
    REQUIRE(*decoded == text);
  }
}

TEST_CASE("s2: flipped bits never read or write outside, and never hang") {
  std::mt19937 random(11);
  std::string text;
  while (text.size() < 5000) text += Noise(1 + random() % 30);
  std::string compressed;
  snappy::Compress(text.data(), text.size(), &compressed);
  for (int round = 0; round < 20000; ++round) {
    std::string damaged = compressed;
    for (unsigned i = 0; i <= random() % 4; ++i) {
      damaged[2 + random() % (damaged.size() - 2)] ^= static_cast<char>(1u << random() % 8);
    }
    std::string by_snappy;
    const auto decoded = Decode(damaged);
    if (snappy::Uncompress(damaged.data(), damaged.size(), &by_snappy)) {
      REQUIRE(decoded.ok());
      REQUIRE(*decoded == by_snappy);
    }
  }
}

}  // namespace forebay::wal
