// Segments and blocks written by the reference encoder, whole and damaged: what they must at least
// give is in the .decoded file beside each.
#include <catch2/catch.hpp>
#include <string>

#include "io/posix_file_system.h"
#include "wal/s2_decoder.h"
#include "wal/segment_name.h"
#include "wal/segment_reader.h"

namespace forebay::wal {
namespace {

const std::string kDirectory = FOREBAY_TEST_DATA "/adxmon/";

std::string Contents(const std::string& name) {
  io::PosixFileSystem fs;
  auto contents = io::ReadFile(fs, kDirectory + name, 64 << 20);
  REQUIRE(contents.ok());
  return *contents;
}

struct FixtureReading {
  std::string values;  // of all blocks, one after the other
  size_t blocks = 0;
  std::vector<DamagedRange> damage;
};

FixtureReading ReadSegment(const std::string& stem) {
  io::PosixFileSystem fs;
  auto reader = SegmentReader::Open(fs, kDirectory + stem + ".wal");
  REQUIRE(reader.ok());
  FixtureReading reading;
  while (true) {
    const auto block = (*reader)->Next();
    REQUIRE(block.ok());
    if (!block->has_value()) break;
    reading.values.append((*block)->payload.data(), (*block)->payload.size());
    ++reading.blocks;
  }
  reading.damage = (*reader)->damage();
  return reading;
}

// The damaged fixtures were made from ten blocks each. Returns the reading, whose values must be
// the expected ones.
FixtureReading ReadDamaged(const std::string& stem) {
  FixtureReading reading = ReadSegment(stem);
  const std::string expected = Contents(stem + ".decoded");
  const bool begins_as_expected = reading.values.compare(0, expected.size(), expected) == 0;
  CHECK(begins_as_expected);
  return reading;
}

}  // namespace

TEST_CASE("fixtures: bare S2 blocks of every level decode to their bytes") {
  for (const std::string level : {"fast", "better", "best", "snappy"}) {
    INFO(level);
    const std::string block = Contents("block-" + level + ".s2");
    const std::string expected = Contents("block-" + level + ".decoded");
    REQUIRE(*S2DecodedLength(block) == expected.size());
    std::string decoded(expected.size(), '\0');
    REQUIRE(S2Decode(block, decoded).ok());
    CHECK(decoded == expected);
    for (const size_t bytes : {0u, 1u, 8u, 63u, 64u, 65u, 1000u, 100000u}) {
      std::string prefix(bytes, '\0');
      REQUIRE(*S2DecodePrefix(block, prefix) == bytes);
      CHECK(prefix == expected.substr(0, bytes));
    }
  }
}

TEST_CASE("fixtures: whole segments decode to their bytes, with valid names and no damage") {
  for (const std::string stem : {"Logs_App_2f24a73200006002", "Logs_Random_2f24a73200006001",
                                 "Metrics_CpuBest_2cawzsrvl4mw4_2f24a73200006000",
                                 "Metrics_CpuBetter_2cawzsrvl4mw4_2f24a73200002000",
                                 "Metrics_CpuFast_2cawzsrvl4mw4_2f24a73200004000",
                                 "Metrics_CpuSnappy_2cawzsrvl4mw4_2f24a73200008000",
                                 "Metrics_MemBig_2cawzsrvl4mw4_2f24a73200012000",
                                 "Metrics_MemBig_2cawzsrvl4mw4_2f24a73200012001"}) {
    INFO(stem);
    CHECK(ParseSegmentName(stem + ".wal").ok());
    const FixtureReading reading = ReadSegment(stem);
    const bool equal = reading.values == Contents(stem + ".decoded");
    CHECK(equal);
    CHECK(reading.damage.empty());
  }
}

TEST_CASE("fixtures: a torn tail loses the last block only") {
  const FixtureReading reading = ReadDamaged("Metrics_DiskTornTail_2cawzsrvl4mw4_2f24a73200008001");
  REQUIRE(reading.damage.size() == 1);
  CHECK(reading.damage[0].reason == DamageReason::kTornFrame);
}

TEST_CASE("fixtures: a torn frame header at the end loses nothing before it") {
  const FixtureReading reading =
      ReadDamaged("Metrics_DiskTornHeader_2cawzsrvl4mw4_2f24a73200008002");
  REQUIRE(reading.damage.size() == 1);
  CHECK(reading.damage[0].reason == DamageReason::kTornFrame);
  CHECK(reading.damage[0].length < kFrameHeaderBytes);
}

TEST_CASE("fixtures: zeros at the end are no damage") {
  const FixtureReading reading = ReadDamaged("Metrics_DiskZeroTail_2cawzsrvl4mw4_2f24a73200008003");
  CHECK(reading.damage.empty());
}

TEST_CASE("fixtures: a flipped bit loses the block that it is in, later blocks survive") {
  const FixtureReading reading = ReadDamaged("Metrics_DiskBitFlip_2cawzsrvl4mw4_2f24a73200008004");
  CHECK(reading.blocks == 9);  // of ten; the seventh is damaged
  REQUIRE(reading.damage.size() == 1);
  CHECK(reading.damage[0].reason == DamageReason::kBadCrc);
}

TEST_CASE("fixtures: a huge length loses no good block") {
  const FixtureReading reading =
      ReadDamaged("Metrics_DiskHugeLength_2cawzsrvl4mw4_2f24a73200008005");
  REQUIRE(reading.damage.size() == 1);
  CHECK(reading.damage[0].reason == DamageReason::kBadLength);
}

TEST_CASE("fixtures: a segment without blocks is legal") {
  const FixtureReading reading = ReadDamaged("Metrics_DiskEmpty_2cawzsrvl4mw4_2f24a73200008006");
  CHECK(reading.blocks == 0);
  CHECK(reading.damage.empty());
}

TEST_CASE("fixtures: a file that is not a segment is refused") {
  io::PosixFileSystem fs;
  const std::string path = kDirectory + "Metrics_NotASegment_2cawzsrvl4mw4_2f24a73200008007.wal";
  CHECK(SegmentReader::Open(fs, path).error().code() == ErrorCode::kCorruption);
  CHECK(ReadSummary(fs, path).error().code() == ErrorCode::kCorruption);
}

}  // namespace forebay::wal
