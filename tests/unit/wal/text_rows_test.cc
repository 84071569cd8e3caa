#include "wal/text_rows.h"

#include <catch2/catch.hpp>
#include <string>

#include "io/memory_file_system.h"
#include "table/schema.h"
#include "wal/peer_segment.h"
#include "wal/segment_writer.h"

namespace forebay::wal {
namespace {

TEST_CASE("text rows: line ends outside of quotes end rows, and so does the end") {
  CHECK(CountTextRows("") == 0);
  CHECK(CountTextRows("a\nb\n") == 2);
  CHECK(CountTextRows("a\nb") == 2);
  CHECK(CountTextRows("\"a\nb\"\"c\n\",1\n") == 1);
}

TEST_CASE("text rows: a header line is one with names and types") {
  CHECK(HeaderLineBytes("A:string,B:long\n1,2\n") == 16);
  CHECK(HeaderLineBytes("A:string,B:long") == 15);
  CHECK(HeaderLineBytes("1,2\n") == 0);
}

TEST_CASE("peer segment: rows that a writer has not counted are counted, without the header line") {
  const std::string header = table::DefaultMetricsSchema().header_line();
  io::MemoryFileSystem fs;
  auto file = fs.Open("f", io::OpenMode::kCreateOrTruncate);
  SegmentWriter writer;
  writer.Reset(**file, {});
  const BlockHeader uncounted{kBlockVersionRows, BlockType::kMetric, 0};
  const BlockHeader counted{kBlockVersionRows, BlockType::kMetric, 7};
  REQUIRE(writer.Append(uncounted, {}, header + "a\nb\nc\n").ok());
  REQUIRE(writer.Append(counted, {}, header + "a\n").ok());
  REQUIRE(writer.Finish().ok());
  PeerSegment segment;
  segment.name = *ParseSegmentName("Metrics_T_2cawzsrvl4mw4_1.wal");
  segment.bytes = *io::ReadFile(fs, "f", 1 << 20);
  REQUIRE_FALSE(CheckBlocks(segment).has_value());
  CHECK(segment.blocks[0].header.row_count == 3);
  CHECK(segment.rows == 10);
}

}  // namespace
}  // namespace forebay::wal
