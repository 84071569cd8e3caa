// Segments that a peer hands over: checked, journaled, coalesced, sealed, marked.
#include "wal/peer_segment.h"

#include <catch2/catch.hpp>

#include "support/segments.h"
#include "support/wal_harness.h"

namespace forebay::wal {
namespace {

using testing::SegmentMaker;
using testing::ValueCounts;
using testing::WalHarness;

// What a peer has on its disk. `series` series of two samples each, with values from `first` on.
std::string SegmentBytes(uint64_t first, int64_t series, size_t per_block = 2) {
  io::MemoryFileSystem fs;
  SegmentMaker maker(fs, "peer");
  std::vector<testing::TestSeries> all;
  for (int64_t i = 0; i < series; ++i) {
    const auto value = static_cast<double>(first) + static_cast<double>(2 * i);
    all.push_back({i, "h" + std::to_string(i), {1000 + i, 2000 + i}, {value, value + 1}});
  }
  return *io::ReadFile(fs, "peer/" + maker.Write("T0", 0x77, all, "", per_block), 1 << 20);
}

PeerSegment Segment(uint64_t first, int64_t series = 5, const std::string& file = {}) {
  PeerSegment segment;
  segment.origin = "node-1";
  segment.name = *ParseSegmentName(file.empty() ? "Db_T0_2cawzsrvl4mw4_77.wal" : file);
  segment.bytes = SegmentBytes(first, series);
  segment.min_timestamp = 1000;
  segment.max_timestamp = 2004;
  return segment;
}

// Rows by segment's file name without its id, of all that the store has.
std::map<std::string, uint64_t> RowsByTable(const SegmentStore& store) {
  std::map<std::string, uint64_t> rows;
  for (const TableBacklog& table : store.Backlog()) {
    for (const SegmentPointer& segment : table.segments) {
      rows[table.key + (segment->stays ? " stays" : "")] += segment->rows;
    }
  }
  return rows;
}

ValueCounts Values(uint64_t first, uint64_t count) {
  ValueCounts values;
  for (uint64_t i = 0; i < count; ++i) {
    values[std::bit_cast<uint64_t>(static_cast<double>(first + i))] = 1;
  }
  return values;
}

constexpr auto kHour = std::chrono::hours(1);

WalOptions Options() {
  WalOptions options;
  options.generation.max_age = kHour;
  return options;
}

TEST_CASE("peer segment: blocks are found with their rows, the summary is none") {
  PeerSegment segment = Segment(0);
  REQUIRE_FALSE(CheckBlocks(segment).has_value());
  REQUIRE(segment.blocks.size() == 3);
  CHECK(segment.rows == 10);
  CHECK(segment.blocks[0].offset == 8);
  CHECK(segment.blocks[1].offset == 8 + segment.blocks[0].bytes);
  CHECK(segment.blocks[2].header.row_count == 2);
  CHECK(segment.blocks[2].stats.row_bytes > 50);
  CHECK(segment.blocks[2].stats.max_timestamp == 2004);
  segment.max_timestamp = 0;  // below the least: not known
  REQUIRE_FALSE(CheckBlocks(segment).has_value());
  CHECK(segment.blocks[0].stats.min_timestamp > segment.blocks[0].stats.max_timestamp);
}

TEST_CASE("peer segment: a block that does not hold is named") {
  const PeerSegment good = Segment(0);
  PeerSegment checked = good;
  REQUIRE_FALSE(CheckBlocks(checked).has_value());
  const auto fault_of = [](PeerSegment segment) { return CheckBlocks(segment); };
  SECTION("a bit of the second block") {
    PeerSegment bad = good;
    bad.bytes[checked.blocks[1].offset + 20] ^= 1;
    const auto fault = fault_of(bad);
    REQUIRE(fault.has_value());
    CHECK(fault->number == 1);
    CHECK_THAT(fault->reason, Catch::Contains("bad crc"));
  }
  SECTION("cut off in the third") {
    PeerSegment bad = good;
    bad.bytes.resize(checked.blocks[2].offset + 11);
    const auto fault = fault_of(bad);
    REQUIRE(fault.has_value());
    CHECK(fault->number == 2);
    CHECK_THAT(fault->reason, Catch::Contains("torn"));
  }
  SECTION("no segment") {
    PeerSegment bad = good;
    bad.bytes[0] = 'X';
    REQUIRE(fault_of(bad).has_value());
    CHECK(fault_of(bad)->number == 0);
  }
  SECTION("too large") {
    PeerSegment bad = good;
    bad.bytes.resize(kMaxPeerSegmentBytes + 1);
    REQUIRE(fault_of(bad).has_value());
  }
  SECTION("a version of the future, and blocks without rows") {
    for (const BlockHeader header : {BlockHeader{9, BlockType::kMetric, 1},
                                     BlockHeader{kBlockVersionSeries, BlockType::kMetric, 0}}) {
      io::MemoryFileSystem fs;
      auto file = fs.Open("f", io::OpenMode::kCreateOrTruncate);
      SegmentWriter writer;
      writer.Reset(**file, {});
      REQUIRE(writer.Append(header, {}, std::string_view("value")).ok());
      REQUIRE(writer.Finish().ok());
      PeerSegment bad = good;
      bad.bytes = *io::ReadFile(fs, "f", 1 << 20);
      CHECK(fault_of(bad).has_value());
    }
  }
  SECTION("nothing in it is no fault") {
    PeerSegment empty = good;
    empty.bytes.resize(8);
    CHECK_FALSE(fault_of(empty).has_value());
  }
}

TEST_CASE("peer segment: its record can be read again, and nothing else is taken for one") {
  PeerSegment segment = Segment(0);
  REQUIRE_FALSE(CheckBlocks(segment).has_value());
  const std::string description = DescribePeerSegment(segment);
  CHECK(description == "node-1 Db_T0_2cawzsrvl4mw4_77.wal 1000 2004");
  const auto again = ParsePeerSegment(description, segment.bytes);
  REQUIRE(again.ok());
  CHECK(again->name == segment.name);
  CHECK(again->bytes == segment.bytes);
  CHECK(again->rows == segment.rows);
  CHECK(again->max_timestamp == 2004);
  for (const char* bad :
       {"", "a b c", "node-1 Db_T0_2cawzsrvl4mw4_77.wal 1000", "node-1 ../x.wal 1 2",
        "node-1 Db_T0_x_77.wal 1 2 3", "node-1 Db_T0_x_77.wal 1 z"}) {
    CHECK_FALSE(ParsePeerSegment(bad, segment.bytes).ok());
  }
  segment.bytes[40] ^= 1;
  CHECK_FALSE(ParsePeerSegment(description, segment.bytes).ok());
}

TEST_CASE("wal: segments of peers become one segment of their table, with what this node has") {
  io::MemoryFileSystem fs;
  WalHarness harness(fs, Options());
  harness.set_ledger_window(kHour);
  harness.set_tables(1);
  REQUIRE(harness.Open().ok());
  REQUIRE(harness.Write({{0, 1, 900}, {0, 2, 901}}).ok());  // Db_T0
  REQUIRE(harness.HandOver(Segment(0)).ok());
  REQUIRE(harness.HandOver(Segment(10)).ok());
  REQUIRE(harness.HandOver(Segment(20, 5, "Other_T9_2cawzsrvl4mw4_5.wal")).ok());
  REQUIRE(harness.Flush().ok());
  CHECK(RowsByTable(harness.store()) ==
        std::map<std::string, uint64_t>{{"Db_T0_2cawzsrvl4mw4 stays", 22},
                                        {"Other_T9_2cawzsrvl4mw4 stays", 10}});
  ValueCounts expected = Values(0, 30);
  expected[900] = 1;
  expected[901] = 1;
  CHECK(harness.StoredValues() == expected);
  const auto backlog = harness.store().Backlog();
  CHECK(backlog[1].segments[0]->min_timestamp == 1000);
  CHECK(backlog[1].segments[0]->max_timestamp == 2004);
  const auto rows = harness.store().rows().Snapshot();
  CHECK(rows.at("Other").from_peers == 10);
  CHECK(rows.at("Other").in() == rows.at("Other").out());
  SECTION("its own segments may go on") {
    REQUIRE(harness.Write({{0, 3, 902}}).ok());
    REQUIRE(harness.Flush().ok());
    CHECK(RowsByTable(harness.store()).at("Db_T0_2cawzsrvl4mw4") == 1);
  }
  SECTION("the next start knows which may not") {
    harness.Close();
    REQUIRE(harness.Open().ok());
    CHECK(RowsByTable(harness.store()).at("Db_T0_2cawzsrvl4mw4 stays") == 22);
    const SegmentInfo info = *harness.store().Backlog()[0].segments[0];
    CHECK(info.created.value > 1'600'000'000'000);
    CHECK(info.created.value < 3'000'000'000'000);
  }
  SECTION("one that is kept here says so") {
    auto lease = harness.store().Take(backlog[0].segments[0]->file_name);
    REQUIRE(lease.ok());
    harness.store().KeepHere(*lease);
    lease->Release();
    CHECK(harness.store().Backlog()[0].segments[0]->stays);
  }
}

TEST_CASE(
    "wal: what a peer handed over is there once after a crash, and known when it comes again") {
  io::MemoryFileSystem fs;
  WalHarness harness(fs, Options());
  harness.set_ledger_window(kHour);
  REQUIRE(harness.Open().ok());
  REQUIRE(harness.HandOver(Segment(0)).ok());
  REQUIRE(harness.HandOver(Segment(10)).ok());
  CHECK(harness.HandOver(Segment(0)).error().code() == ErrorCode::kAlreadyExists);
  SECTION("before the seal") {
    const auto crashed = fs.Clone();
    crashed->Crash(testing::kLoseAll);
    WalHarness next(*crashed, Options());
    next.set_ledger_window(kHour);
    REQUIRE(next.Open().ok());
    CHECK(next.HandOver(Segment(10)).error().code() == ErrorCode::kAlreadyExists);
    REQUIRE(next.HandOver(Segment(20)).ok());
    REQUIRE(next.Flush().ok());
    CHECK(next.StoredValues() == Values(0, 30));
    for (const auto& table : next.store().Backlog()) {
      for (const auto& segment : table.segments) CHECK(segment->stays);
    }
    const auto rows = next.store().rows().Snapshot().at("Db");
    CHECK(rows.recovered == 20);
    CHECK(rows.from_peers == 10);
    CHECK(rows.in() == rows.out());
  }
  SECTION("after it") {
    REQUIRE(harness.Flush().ok());
    const auto crashed = fs.Clone();
    crashed->Crash(testing::kLoseAll);
    WalHarness next(*crashed, Options());
    next.set_ledger_window(kHour);
    REQUIRE(next.Open().ok());
    CHECK(next.HandOver(Segment(0)).error().code() == ErrorCode::kAlreadyExists);
    CHECK(next.StoredValues() == Values(0, 20));
  }
}

}  // namespace
}  // namespace forebay::wal
