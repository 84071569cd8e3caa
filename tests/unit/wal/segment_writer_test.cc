// What the writer writes: frames that the reader gives back, a summary that is found and can be
// skipped.
#include "wal/segment_writer.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "io/memory_file_system.h"
#include "wal/segment_reader.h"

namespace forebay::wal {
namespace {

const BlockHeader kRows{.version = kBlockVersionRows, .type = BlockType::kMetric, .row_count = 3};

struct Written {
  BlockHeader header;
  std::string payload;
  std::string frame;
};

std::vector<Written> ReadAll(io::FileSystem& fs, const std::string& path,
                             SegmentReaderOptions options = {}) {
  auto reader = std::move(*SegmentReader::Open(fs, path, options));
  std::vector<Written> blocks;
  while (true) {
    const auto block = reader->Next();
    REQUIRE(block.ok());
    if (!block->has_value()) break;
    const Block& b = **block;
    blocks.push_back({b.header, std::string(b.payload.begin(), b.payload.end()),
                      std::string(b.frame.begin(), b.frame.end())});
  }
  CHECK(reader->damage().empty());
  return blocks;
}

std::string FromHex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

std::string Noise(size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random() & 0xFF);
  return text;
}

}  // namespace

TEST_CASE("segment writer: blocks of every size come back as they were") {
  io::MemoryFileSystem fs;
  SegmentWriter writer;
  std::vector<std::string> payloads;
  // Sizes around the steps of the length's varint and of snappy's 64 KiB fragments.
  for (const size_t size : {0u, 1u, 51u, 119u, 120u, 127u, 128u, 16375u, 16376u, 16383u, 16384u,
                            65535u, 65536u, 65537u, 2097143u, 2097144u}) {
    payloads.push_back(Noise(size, 1));
    payloads.push_back(std::string(size, 'a'));
  }
  auto file = std::move(*fs.Open("a", io::OpenMode::kCreate));
  writer.Reset(*file, UnixMillis{1});
  for (const auto& payload : payloads) REQUIRE(writer.Append(kRows, {}, payload).ok());
  REQUIRE(writer.Finish().ok());
  const auto blocks = ReadAll(fs, "a");
  REQUIRE(blocks.size() == payloads.size());
  for (size_t i = 0; i < blocks.size(); ++i) {
    const bool equal = blocks[i].payload == payloads[i];
    CHECK(equal);
    CHECK(blocks[i].header.version == 1);
    CHECK(blocks[i].header.type == BlockType::kMetric);
    CHECK(blocks[i].header.row_count == 3);
  }
}

TEST_CASE("segment writer: the bytes are those of the example in docs/format/wal.md") {
  io::MemoryFileSystem fs;
  SegmentWriter writer;
  auto file = std::move(*fs.Open("a", io::OpenMode::kCreate));
  writer.Reset(*file, UnixMillis{0x0102030405});
  REQUIRE(writer
              .Append({.version = 1, .type = BlockType::kLog, .row_count = 2}, {.row_bytes = 4},
                      std::string_view("a\nb\n"))
              .ok());
  REQUIRE(writer.Finish().ok());
  const std::string expected = FromHex(
      "41445857414C0000"
      "0000000F"
      "FE798EBD"
      "0C"
      "1CAAAA010300000002"
      "0C610A620A"
      "0000003E"
      "C7559E01"
      "3CECAAAA02F000000000"
      "0000000000000002"
      "0000000000000004"
      "7FFFFFFFFFFFFFFF"
      "8000000000000000"
      "00000001"
      "0000000102030405"
      "000000000000001F");
  CHECK(*fs.Contents("a") == expected);
}

TEST_CASE("segment writer: the summary adds up the blocks and is read from the tail") {
  io::MemoryFileSystem fs;
  SegmentWriter writer;
  auto file = std::move(*fs.Open("a", io::OpenMode::kCreate));
  writer.Reset(*file, UnixMillis{777});
  REQUIRE(
      writer
          .Append(kRows, {.row_bytes = 100, .min_timestamp = 50, .max_timestamp = 60}, Noise(99, 1))
          .ok());
  REQUIRE(
      writer
          .Append(kRows, {.row_bytes = 200, .min_timestamp = 10, .max_timestamp = 55}, Noise(99, 2))
          .ok());
  REQUIRE(writer.Append(kRows, {.row_bytes = 7}, Noise(99, 3)).ok());  // times unknown
  const SegmentSummary finished = *writer.Finish();
  const auto summary = *ReadSummary(fs, "a");
  REQUIRE(summary.has_value());
  CHECK(summary->rows == 9);
  CHECK(summary->row_bytes == 307);
  CHECK(summary->min_timestamp == 10);
  CHECK(summary->max_timestamp == 60);
  CHECK(summary->blocks == 3);
  CHECK(summary->created_ms == 777);
  CHECK(summary->frames_bytes == finished.frames_bytes);
  CHECK(summary->frames_bytes + kSummaryFrameBytes == fs.Contents("a")->size());
}

TEST_CASE("segment writer: a segment without blocks has a summary without times") {
  io::MemoryFileSystem fs;
  SegmentWriter writer;
  auto file = std::move(*fs.Open("a", io::OpenMode::kCreate));
  writer.Reset(*file, UnixMillis{1});
  REQUIRE(writer.Finish().ok());
  CHECK_FALSE((*ReadSummary(fs, "a"))->has_timestamps());
  CHECK(ReadAll(fs, "a").empty());
  CHECK(ReadAll(fs, "a", {.include_summary = true}).size() == 1);
}

TEST_CASE(
    "segment writer: the scan finds what the summary says, and what concatenated segments hold") {
  io::MemoryFileSystem fs;
  SegmentWriter writer;
  for (const std::string path : {"a", "b"}) {
    auto file = std::move(*fs.Open(path, io::OpenMode::kCreate));
    writer.Reset(*file, UnixMillis{5});
    REQUIRE(writer.Append(kRows, {.row_bytes = 1000}, Noise(1000, 1)).ok());
    REQUIRE(writer.Append(kRows, {.row_bytes = 3}, std::string_view("abc")).ok());
    REQUIRE(writer.Finish().ok());
  }
  const SegmentSummary scanned = *ScanSummary(fs, "a");
  CHECK(scanned.rows == 6);
  CHECK(scanned.row_bytes == 1003);
  CHECK(scanned.blocks == 2);
  CHECK(scanned.created_ms == 5);
  CHECK_FALSE(scanned.has_timestamps());
  const auto peeked = *ScanSummary(
      fs, "a", [](const BlockHeader& header, std::span<const char> value, uint32_t value_bytes) {
        CHECK(header.row_count == 3);
        CHECK(value.size() == std::min<size_t>(value_bytes, kPeekBytes));
        CHECK(static_cast<unsigned char>(value[0]) ==
              (value_bytes == 3 ? 'a' : static_cast<unsigned char>(Noise(1, 1)[0])));
        return BlockStats{.row_bytes = 1, .min_timestamp = 2, .max_timestamp = 3};
      });
  CHECK(peeked.row_bytes == 2);
  CHECK(peeked.max_timestamp == 3);

  // With and without the magic of the second: both kinds are written by peers.
  for (const size_t skip : {size_t{0}, kSegmentMagic.size()}) {
    const std::string both = *fs.Contents("a") + fs.Contents("b")->substr(skip);
    REQUIRE(io::WriteFileDurably(fs, "c", both).ok());
    CHECK_FALSE(ReadSummary(fs, "c")->has_value());
    CHECK(ScanSummary(fs, "c")->rows == 12);
    CHECK(ReadAll(fs, "c").size() == 4);
  }
}

TEST_CASE(
    "segment writer: frames taken from another segment are the same bytes, damaged ones are "
    "refused") {
  io::MemoryFileSystem fs;
  SegmentWriter writer;
  auto first = std::move(*fs.Open("a", io::OpenMode::kCreate));
  writer.Reset(*first, UnixMillis{1});
  REQUIRE(writer.Append(kRows, {}, Noise(5000, 9)).ok());
  REQUIRE(writer.Finish().ok());
  const Written block = ReadAll(fs, "a").at(0);

  auto second = std::move(*fs.Open("b", io::OpenMode::kCreate));
  writer.Reset(*second, UnixMillis{1});
  REQUIRE(writer.AppendEncoded(block.header, {.row_bytes = 5}, block.frame).ok());
  std::string damaged = block.frame;
  damaged[100] ^= 1;
  CHECK(writer.AppendEncoded(block.header, {}, damaged).error().code() == ErrorCode::kCorruption);
  CHECK(writer.AppendEncoded(block.header, {}, block.frame.substr(0, 90)).error().code() ==
        ErrorCode::kCorruption);
  CHECK(writer.AppendEncoded(block.header, {}, std::string_view("abc")).error().code() ==
        ErrorCode::kCorruption);
  const SegmentSummary summary = *writer.Finish();
  CHECK(summary.rows == 3);
  CHECK(summary.blocks == 1);
  CHECK(ReadAll(fs, "b").at(0).frame == block.frame);
}

TEST_CASE("segment writer: a failing disk is reported and nothing follows on that file") {
  for (uint64_t capacity : {0u, 4u, 500000u, 1500000u}) {
    io::MemoryFileSystem fs;
    fs.SetCapacity(capacity);
    SegmentWriter writer;
    auto file = std::move(*fs.Open("a", io::OpenMode::kCreate));
    writer.Reset(*file, UnixMillis{1});
    Status status;
    for (int i = 0; i < 10 && status.ok(); ++i) status = writer.Append(kRows, {}, Noise(300000, 3));
    REQUIRE_FALSE(status.ok());
    CHECK(status.error().code() == ErrorCode::kNoSpace);
    CHECK(writer.Append(kRows, {}, std::string_view("x")).error().code() ==
          ErrorCode::kFailedPrecondition);
    CHECK(writer.Finish().error().code() == ErrorCode::kFailedPrecondition);
    // The same writer is good for the next file.
    fs.SetCapacity(1 << 20);
    auto next = std::move(*fs.Open("b", io::OpenMode::kCreate));
    REQUIRE(fs.Remove("a").ok());
    writer.Reset(*next, UnixMillis{1});
    REQUIRE(writer.Append(kRows, {}, std::string_view("x")).ok());
    REQUIRE(writer.Finish().ok());
    CHECK(ReadAll(fs, "b").size() == 1);
  }
}

TEST_CASE("segment writer: small blocks are gathered into few writes") {
  io::MemoryFileSystem fs;
  SegmentWriter writer;
  auto file = std::move(*fs.Open("a", io::OpenMode::kCreate));
  writer.Reset(*file, UnixMillis{1});
  for (int i = 0; i < 10000; ++i) REQUIRE(writer.Append(kRows, {}, Noise(20, 1)).ok());
  REQUIRE(writer.Finish().ok());
  CHECK(fs.OperationCount(io::FileOperation::kWrite) == 1);
  CHECK(ReadAll(fs, "a").size() == 10000);
}

}  // namespace forebay::wal
