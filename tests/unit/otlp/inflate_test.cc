#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <catch2/catch.hpp>
#include <string>

#include "otlp/inflate.h"

namespace forebay {
namespace {

using otlp::Compression;
using otlp::Inflater;

std::string Gzip(const std::string& text) {
  std::string out(text.size() + 1024, '\0');
  isal_zstream stream;
  isal_deflate_stateless_init(&stream);
  stream.gzip_flag = IGZIP_GZIP;
  stream.end_of_stream = 1;
  stream.next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uint32_t>(text.size());
  stream.next_out = reinterpret_cast<uint8_t*>(out.data());
  stream.avail_out = static_cast<uint32_t>(out.size());
  REQUIRE(isal_deflate_stateless(&stream) == COMP_OK);
  out.resize(stream.total_out);
  return out;
}

std::string Zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

std::string TextOfBytes(size_t size) {
  std::string text;
  uint64_t state = 1;
  while (text.size() < size) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    text += std::to_string(state >> 40) + " some words that come again ";
  }
  text.resize(size);
  return text;
}

Status Run(Compression compression, const std::string& body, uint64_t most, ByteBuffer& out) {
  static Inflater inflater;  // reused, as a worker does
  return inflater.Run(compression, {body.data(), body.size()}, most, out);
}

TEST_CASE("inflate: what was compressed comes out again, whatever its size") {
  ByteBuffer out;
  for (const size_t size : {0U, 1U, 65'535U, 65'536U, 65'537U, 1'000'000U, 5'000'000U}) {
    const std::string text = TextOfBytes(size);
    REQUIRE(Run(Compression::kGzip, Gzip(text), size, out).ok());
    CHECK(out.view() == text);
    REQUIRE(Run(Compression::kZstd, Zstd(text), size, out).ok());
    CHECK(out.view() == text);
    REQUIRE(Run(Compression::kNone, text, size, out).ok());
    CHECK(out.view() == text);
  }
}

TEST_CASE("inflate: members and frames that follow each other are one body") {
  ByteBuffer out;
  const std::string a = TextOfBytes(100'000);
  const std::string b = "tail";
  REQUIRE(Run(Compression::kGzip, Gzip(a) + Gzip("") + Gzip(b), a.size() + 4, out).ok());
  CHECK(out.view() == a + b);
  REQUIRE(Run(Compression::kZstd, Zstd(a) + Zstd(b), a.size() + 4, out).ok());
  CHECK(out.view() == a + b);
}

TEST_CASE("inflate: one byte too many is too large, and no more memory is taken") {
  ByteBuffer out;
  for (const Compression compression :
       {Compression::kGzip, Compression::kZstd, Compression::kNone}) {
    const std::string bomb(64U << 20, '\0');
    const std::string body = compression == Compression::kGzip   ? Gzip(bomb)
                             : compression == Compression::kZstd ? Zstd(bomb)
                                                                 : bomb;
    ByteBuffer fresh;
    const Status status = Run(compression, body, 1U << 20, fresh);
    REQUIRE_FALSE(status.ok());
    CHECK(status.error().code() == ErrorCode::kOutOfRange);
    CHECK(fresh.capacity() <= 4U << 20);
  }
  const std::string text = TextOfBytes(1000);
  CHECK(Run(Compression::kGzip, Gzip(text), 999, out).error().code() == ErrorCode::kOutOfRange);
  CHECK(Run(Compression::kZstd, Zstd(text), 999, out).error().code() == ErrorCode::kOutOfRange);
  CHECK(Run(Compression::kNone, text, 999, out).error().code() == ErrorCode::kOutOfRange);
}

TEST_CASE("inflate: every cut off body is broken, as are wrong bytes") {
  ByteBuffer out;
  const std::string text = TextOfBytes(3000);
  for (const Compression compression : {Compression::kGzip, Compression::kZstd}) {
    const std::string body = compression == Compression::kGzip ? Gzip(text) : Zstd(text);
    for (size_t size = 0; size < body.size(); ++size) {
      const Status status = Run(compression, body.substr(0, size), 1U << 20, out);
      REQUIRE_FALSE(status.ok());
      CHECK(status.error().code() == ErrorCode::kInvalidArgument);
    }
    CHECK_FALSE(Run(compression, text, 1U << 20, out).ok());
    CHECK_FALSE(Run(compression, body + "x", 1U << 20, out).ok());
  }
  std::string wrong = Gzip(text);
  wrong[wrong.size() - 6] = static_cast<char>(wrong[wrong.size() - 6] + 1);  // the checksum
  CHECK_FALSE(Run(Compression::kGzip, wrong, 1U << 20, out).ok());
}

}  // namespace
}  // namespace forebay
