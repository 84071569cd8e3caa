// Damage of every kind and place: no good block is lost, nothing is invented, nothing stops the
// reader.
#include <catch2/catch.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "io/crc.h"
#include "io/memory_file_system.h"
#include "wal/segment_reader.h"
#include "wal/segment_writer.h"

namespace forebay::wal {
namespace {

struct Sample {
  std::string bytes;
  std::vector<std::string> values;  // of the blocks
  std::vector<uint64_t> offsets;  // of their frames, then the offset of the summary, then the size
};

// A segment of blocks whose sizes differ, so that a wrong length does not lead to another frame by
// chance.
Sample MakeSegment(size_t blocks) {
  io::MemoryFileSystem fs;
  auto file = std::move(*fs.Open("a", io::OpenMode::kCreate));
  SegmentWriter writer;
  writer.Reset(*file, UnixMillis{1});
  Sample sample;
  std::mt19937 random(42);
  for (size_t i = 0; i < blocks; ++i) {
    std::string value = "block " + std::to_string(i) + ' ';
    for (size_t j = 0; j < 20 + 7 * i; ++j) value += static_cast<char>(random() & 0xFF);
    sample.offsets.push_back(writer.file_bytes());
    REQUIRE(
        writer.Append({.version = 1, .type = BlockType::kMetric, .row_count = 1}, {}, value).ok());
    sample.values.push_back(value);
  }
  sample.offsets.push_back(writer.file_bytes());
  REQUIRE(writer.Finish().ok());
  sample.bytes = *fs.Contents("a");
  sample.offsets.push_back(sample.bytes.size());
  return sample;
}

struct SegmentReading {
  std::vector<std::string> values;
  std::vector<DamagedRange> damage;
};

// Nothing when the bytes were refused as no segment.
std::optional<SegmentReading> ReadBlocks(const std::string& bytes,
                                         SegmentReaderOptions options = {}) {
  const std::vector<char> exact(bytes.begin(), bytes.end());
  auto reader = SegmentReader::OpenBytes(exact, options);
  if (!reader.ok()) {
    REQUIRE(reader.error().code() == ErrorCode::kCorruption);
    return std::nullopt;
  }
  SegmentReading reading;
  uint64_t last_end = 0;
  while (true) {
    const auto block = (*reader)->Next();
    REQUIRE(block.ok());
    if (!block->has_value()) break;
    REQUIRE((*block)->offset >= last_end);
    last_end = (*block)->offset + (*block)->frame.size();
    reading.values.emplace_back((*block)->payload.begin(), (*block)->payload.end());
  }
  reading.damage = (*reader)->damage();
  for (const DamagedRange& range : reading.damage) {
    REQUIRE(range.length > 0);
    REQUIRE(range.offset + range.length <= bytes.size());
  }
  // A second call at the end stays at the end.
  REQUIRE_FALSE((*reader)->Next()->has_value());
  return reading;
}

std::string Zeros(size_t bytes) { return std::string(bytes, '\0'); }

std::string Frame(const std::string& block) {
  std::string frame;
  for (const uint32_t word : {static_cast<uint32_t>(block.size()), io::Crc32Ieee(block)}) {
    for (int shift = 24; shift >= 0; shift -= 8) frame += static_cast<char>(word >> shift & 0xFF);
  }
  return frame + block;
}

const std::string kMagic(kSegmentMagic);

}  // namespace

TEST_CASE("segment reader: a flipped bit anywhere loses the block that it is in and no other") {
  const Sample sample = MakeSegment(6);
  for (size_t at = 0; at < sample.bytes.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bytes = sample.bytes;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
      const auto reading = ReadBlocks(bytes);
      INFO("byte " << at << " bit " << bit);
      if (at < kSegmentMagicChecked) {
        REQUIRE_FALSE(reading.has_value());
        continue;
      }
      std::vector<std::string> expected;
      bool in_frame = false;
      for (size_t i = 0; i < sample.values.size(); ++i) {
        const bool hit = at >= sample.offsets[i] && at < sample.offsets[i + 1];
        in_frame = in_frame || hit;
        if (!hit) expected.push_back(sample.values[i]);
      }
      in_frame = in_frame || at >= sample.offsets[sample.values.size()];
      REQUIRE(reading->values == expected);
      REQUIRE(reading->damage.size() == (in_frame ? 1 : 0));
    }
  }
}

TEST_CASE("segment reader: damage in the magic of a file costs no block, in bytes it is refused") {
  const Sample sample = MakeSegment(6);
  for (const size_t until : {size_t{1}, size_t{6}, sample.offsets[0], sample.offsets[0] + 3}) {
    std::string bytes = sample.bytes;
    for (size_t at = 0; at < until; ++at) bytes[at] = static_cast<char>(bytes[at] ^ 0x55);
    INFO(until << " bytes damaged");
    CHECK_FALSE(ReadBlocks(bytes).has_value());
    io::MemoryFileSystem fs;
    REQUIRE(io::WriteFileDurably(fs, "a", bytes).ok());
    auto reader = SegmentReader::Open(fs, "a");
    REQUIRE(reader.ok());
    std::vector<std::string> values;
    while (true) {
      const auto block = (*reader)->Next();
      REQUIRE(block.ok());
      if (!block->has_value()) break;
      values.emplace_back((*block)->payload.begin(), (*block)->payload.end());
    }
    const size_t first = until > sample.offsets[0] ? 1 : 0;
    CHECK(values == std::vector<std::string>(sample.values.begin() + static_cast<ptrdiff_t>(first),
                                             sample.values.end()));
    REQUIRE((*reader)->damage().size() == 1);
    CHECK((*reader)->damage()[0].offset == 0);
    CHECK((*reader)->damage()[0].length == sample.offsets[first]);
    CHECK((*reader)->damage()[0].reason == DamageReason::kBadMagic);
  }
}

TEST_CASE("segment reader: a file cut at any length keeps every whole block") {
  const Sample sample = MakeSegment(6);
  for (size_t size = 0; size <= sample.bytes.size(); ++size) {
    INFO("size " << size);
    const auto reading = ReadBlocks(sample.bytes.substr(0, size));
    if (size < kMagic.size()) {
      REQUIRE_FALSE(reading.has_value());
      continue;
    }
    size_t whole = 0;
    bool at_end_of_frame = size == sample.offsets[0];
    for (size_t i = 0; i + 1 < sample.offsets.size(); ++i) {
      if (size >= sample.offsets[i + 1] && i < sample.values.size()) ++whole;
      at_end_of_frame = at_end_of_frame || size == sample.offsets[i + 1];
    }
    REQUIRE(reading->values ==
            std::vector<std::string>(sample.values.begin(),
                                     sample.values.begin() + static_cast<ptrdiff_t>(whole)));
    // Up to three bytes of a torn length are zeros, which cannot be told from padding.
    if (at_end_of_frame) REQUIRE(reading->damage.empty());
    if (!at_end_of_frame && size >= sample.offsets[whole] + 4) {
      REQUIRE(reading->damage.size() == 1);
      REQUIRE(reading->damage[0].reason == DamageReason::kTornFrame);
      REQUIRE(reading->damage[0].offset + reading->damage[0].length == size);
    }
  }
}

TEST_CASE(
    "segment reader: a stretch of zeros, rubbish or nothing in the middle costs what it covers") {
  const Sample sample = MakeSegment(8);
  std::mt19937 random(3);
  for (int round = 0; round < 600; ++round) {
    const size_t begin = kMagic.size() + random() % (sample.bytes.size() - kMagic.size());
    const size_t length = std::min<size_t>(1 + random() % 300, sample.bytes.size() - begin);
    std::string filler = Zeros(length);
    if (round % 3 == 1) {
      for (char& c : filler) c = static_cast<char>(random() & 0xFF);
    }
    if (round % 3 == 2) filler.clear();
    std::string bytes = sample.bytes;
    bytes.replace(begin, length, filler);
    const auto reading = ReadBlocks(bytes);
    std::vector<std::string> expected;
    for (size_t i = 0; i < sample.values.size(); ++i) {
      const bool untouched = sample.offsets[i + 1] <= begin || sample.offsets[i] >= begin + length;
      if (untouched) expected.push_back(sample.values[i]);
    }
    INFO("begin " << begin << " length " << length << " kind " << round % 3);
    // Zeros written over zeros change nothing, so more may survive than expected.
    if (reading->values.size() == expected.size()) REQUIRE(reading->values == expected);
    REQUIRE(reading->values.size() >= expected.size());
    REQUIRE(reading->values.size() <= sample.values.size());
  }
}

TEST_CASE("segment reader: two damaged blocks in a row cost these two") {
  Sample sample = MakeSegment(6);
  for (const size_t block : {2u, 3u}) sample.bytes[sample.offsets[block] + 20] ^= 1;
  const auto reading = ReadBlocks(sample.bytes);
  REQUIRE(reading->values.size() == 4);
  CHECK(reading->values[2] == sample.values[4]);
  REQUIRE(reading->damage.size() == 1);
  CHECK(reading->damage[0].offset == sample.offsets[2]);
  CHECK(reading->damage[0].offset + reading->damage[0].length == sample.offsets[4]);
}

TEST_CASE(
    "segment reader: a wrong length that leads to another frame or to the end hides no good "
    "block") {
  const Sample sample = MakeSegment(6);
  for (size_t target = 2; target < sample.offsets.size(); ++target) {
    INFO("target " << target);
    std::string bytes = sample.bytes;
    const uint64_t length = sample.offsets[target] - sample.offsets[1] - kFrameHeaderBytes;
    bytes[sample.offsets[1] + 2] = static_cast<char>(length >> 8);
    bytes[sample.offsets[1] + 3] = static_cast<char>(length & 0xFF);
    const auto reading = ReadBlocks(bytes);
    if (target == 2) {  // the right length
      CHECK(reading->values == sample.values);
      continue;
    }
    CHECK(reading->values.size() == 5);
    REQUIRE(reading->damage.size() == 1);
    CHECK(reading->damage[0].offset == sample.offsets[1]);
    CHECK(reading->damage[0].length == sample.offsets[2] - sample.offsets[1]);
  }
}

TEST_CASE(
    "segment reader: a part of a magic before a frame does not take the frame's first bytes "
    "along") {
  const Sample sample = MakeSegment(3);
  for (const std::string& rubbish :
       {kMagic.substr(0, 6), kMagic.substr(0, 7), kMagic + kMagic.substr(0, 6)}) {
    const auto reading = ReadBlocks(sample.bytes + rubbish + sample.bytes.substr(8));
    CHECK(reading->values.size() == 6);
    CHECK(reading->damage.size() == 1);
  }
}

TEST_CASE("segment reader: a frame inside the value of a damaged block is not taken for a block") {
  const std::string inner = Frame(std::string("\x05\x10inner", 7));
  const std::string value = "text before " + inner + " and after";
  std::string block(1, static_cast<char>(value.size()));
  block += static_cast<char>((value.size() - 1) << 2);
  block += value;
  const std::string legacy = Frame(std::string("\x05\x10hello", 7));
  std::string bytes = kMagic + Frame(block) + legacy;
  CHECK(ReadBlocks(bytes)->values == std::vector<std::string>{value, "hello"});
  bytes[20] ^= 1;
  CHECK(ReadBlocks(bytes)->values == std::vector<std::string>{"hello"});
}

TEST_CASE("segment reader: a wrong length over several frames loses none of those before its end") {
  const Sample sample = MakeSegment(3);
  // A header that claims all up to the end of the file; behind it a frame, rubbish, good frames.
  const std::string good = sample.bytes.substr(kMagic.size());
  const std::string inside = Frame(std::string("\x03\x08", 2) + "abc") + "rubbish";
  std::string wrong = Frame(std::string(inside.size() + good.size(), 'x'));
  wrong.resize(8);
  const auto reading = ReadBlocks(kMagic + wrong + inside + good);
  REQUIRE(reading->values == sample.values);
  REQUIRE(reading->damage.size() == 1);
}

TEST_CASE("segment reader: zeros at the end are padding, zeros inside are damage") {
  const Sample sample = MakeSegment(3);
  for (const size_t zeros : {1u, 7u, 8u, 9u, 4096u, 600000u}) {
    INFO("zeros " << zeros);
    const auto padded = ReadBlocks(sample.bytes + Zeros(zeros));
    CHECK(padded->values == sample.values);
    CHECK(padded->damage.empty());
    const auto inside = ReadBlocks(sample.bytes.substr(0, sample.offsets[1]) + Zeros(zeros) +
                                   sample.bytes.substr(sample.offsets[1]));
    CHECK(inside->values == sample.values);
    CHECK(inside->damage.size() == 1);
  }
}

TEST_CASE("segment reader: a block whose bytes are right and not S2 is reported and passed over") {
  const Sample sample = MakeSegment(2);
  const auto reading = ReadBlocks(kMagic + Frame("\x05\x01\x01") + Frame("\xFF\xFF\xFF\xFF\x0F") +
                                  sample.bytes.substr(8));
  CHECK(reading->values == sample.values);
  REQUIRE(reading->damage.size() == 2);
  CHECK(reading->damage[0].reason == DamageReason::kUndecodable);
  CHECK(reading->damage[1].reason == DamageReason::kUndecodable);
  CHECK(reading->damage[1].length == 8 + 5);
}

TEST_CASE("segment reader: blocks without header are their value, also after damage") {
  const std::string legacy = Frame(std::string("\x05\x10hello", 7));
  const auto reading = ReadBlocks(kMagic + legacy + "rubbish that is no frame" + legacy);
  CHECK(reading->values == std::vector<std::string>{"hello", "hello"});
  CHECK(reading->damage.size() == 1);

  const std::string bytes = kMagic + legacy;
  auto reader = std::move(*SegmentReader::OpenBytes(bytes));
  const Block block = **reader->Next();
  CHECK(block.header.version == kBlockVersionLegacy);
  CHECK(block.header.row_count == 0);
  CHECK(block.decoded_bytes == 5);
}

TEST_CASE("segment reader: without decoding it finds the same blocks and damage") {
  Sample sample = MakeSegment(6);
  sample.bytes[sample.offsets[3] + 20] ^= 1;
  const auto decoded = ReadBlocks(sample.bytes);
  const auto verified = ReadBlocks(sample.bytes, {.decode = false});
  REQUIRE(verified->values.size() == decoded->values.size());
  for (size_t i = 0; i < decoded->values.size(); ++i) {
    CHECK(verified->values[i] == decoded->values[i].substr(0, kPeekBytes));
  }
  REQUIRE(verified->damage.size() == 1);
  CHECK(verified->damage[0].offset == decoded->damage[0].offset);
}

TEST_CASE(
    "segment reader: good blocks far behind large damage are found in a file read in pieces") {
  const Sample sample = MakeSegment(4);
  std::mt19937 random(1);
  std::string rubbish(3 << 20, '\0');
  for (char& c : rubbish) c = static_cast<char>(random() & 0xFF);
  io::MemoryFileSystem fs;
  REQUIRE(io::WriteFileDurably(fs, "a", sample.bytes + rubbish + sample.bytes.substr(8)).ok());
  auto reader = std::move(*SegmentReader::Open(fs, "a"));
  size_t blocks = 0;
  while (reader->Next()->has_value()) ++blocks;
  CHECK(blocks == 8);
  REQUIRE(reader->damage().size() == 1);
  CHECK(reader->damage()[0].offset == sample.bytes.size());
  CHECK(reader->damage()[0].length == rubbish.size());
}

TEST_CASE("segment reader: bytes made to look like frames everywhere cost bounded work") {
  // Every 40 bytes begins a frame that reaches to the end of the file and holds one S2 literal up
  // to there; only its CRC is wrong. Checking them all would be 200 GB of CRCs.
  constexpr size_t kSize = 4u << 20;
  std::string bytes = kMagic;
  const auto append = [&bytes](size_t value, bool big_endian) {
    for (int i = 0; i < 4; ++i) {
      bytes += static_cast<char>(value >> 8 * (big_endian ? 3 - i : i) & 0xFF);
    }
  };
  while (bytes.size() + 40 < kSize) {
    const size_t begin = bytes.size();
    append(kSize - begin - 8, true);
    append(0, true);
    const size_t literal = kSize - (begin + 8 + 10);
    for (int i = 0; i < 4; ++i) bytes += static_cast<char>((literal >> 7 * i & 0x7F) | 0x80);
    bytes += '\0';
    bytes += '\xFC';
    append(literal - 1, false);
    bytes.resize(begin + 40, '\xFF');
  }
  bytes.resize(kSize, '\xFF');
  const auto reading = ReadBlocks(bytes);
  CHECK(reading->values.empty());
  CHECK(reading->damage.size() == 1);
}

TEST_CASE("segment reader: the list of damage is bounded and still covers all of it") {
  const std::string bad = Frame("\x05\x01\x01");
  std::string bytes = kMagic;
  for (size_t i = 0; i < kMaxDamageRanges + 500; ++i) bytes += bad;
  const auto reading = ReadBlocks(bytes);
  REQUIRE(reading->damage.size() == kMaxDamageRanges);
  CHECK(reading->damage.back().offset + reading->damage.back().length == bytes.size());
}

TEST_CASE("segment reader: an error of the disk is an error, not damage") {
  const Sample sample = MakeSegment(3);
  io::MemoryFileSystem fs;
  REQUIRE(io::WriteFileDurably(fs, "a", sample.bytes + Zeros(1 << 20)).ok());
  auto reader = std::move(*SegmentReader::Open(fs, "a"));
  fs.FailAlways(io::FileOperation::kRead, Error(ErrorCode::kIo, "EIO"));
  Status status;
  size_t blocks = 0;
  for (int i = 0; i < 10 && status.ok(); ++i) {
    const auto block = reader->Next();
    if (!block.ok()) {
      status = block.error();
    } else if (block->has_value()) {
      ++blocks;
    }
  }
  CHECK(status.error().code() == ErrorCode::kIo);
  CHECK(blocks == 3);
  CHECK(reader->damage().empty());
  fs.ClearFaults();
  CHECK_FALSE(reader->Next()->has_value());
  CHECK(SegmentReader::Open(fs, "none").error().code() == ErrorCode::kNotFound);
}

}  // namespace forebay::wal
