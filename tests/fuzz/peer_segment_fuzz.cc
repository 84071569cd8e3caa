// DEPS: wal
// Segments that others hand over, of any content: "<file name>\n<bytes>". What is taken must be
// what the log's record of it and the reader of the upload find again, block by block; and rows are
// never counted beyond what the bytes can hold.
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "wal/peer_segment.h"
#include "wal/segment_format.h"
#include "wal/segment_name.h"
#include "wal/segment_reader.h"

namespace {

using forebay::wal::PeerBlock;
using forebay::wal::PeerSegment;

void Require(bool condition) {
  if (!condition) std::abort();
}

// What the upload will read of the same bytes.
void CompareWithReader(const PeerSegment& segment) {
  auto reader = forebay::wal::SegmentReader::OpenBytes(segment.bytes, {.decode = false});
  Require(reader.ok());
  uint64_t rows = 0;
  size_t end = forebay::wal::kSegmentMagic.size();
  for (const PeerBlock& expected : segment.blocks) {
    const auto block = (*reader)->Next();
    Require(block.ok() && block->has_value());
    Require((*block)->offset == expected.offset && (*block)->frame.size() == expected.bytes);
    Require((*block)->header.version == expected.header.version);
    Require(expected.offset >= end);  // summaries of joined segments may stand between
    end = expected.offset + expected.bytes;
    rows += expected.header.row_count;
    if (expected.header.version == forebay::wal::kBlockVersionSeries) {
      Require(expected.header.row_count > 0);
    }
  }
  const auto last = (*reader)->Next();
  Require(last.ok() && !last->has_value() && (*reader)->damage().empty());
  Require(rows == segment.rows);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t line = input.find('\n');
  if (line == std::string_view::npos) return 0;
  auto name = forebay::wal::ParseSegmentName(input.substr(0, line));
  if (!name.ok()) return 0;
  PeerSegment segment;
  segment.origin = "node-1";
  segment.name = *std::move(name);
  segment.bytes = input.substr(line + 1);
  segment.min_timestamp = std::numeric_limits<int64_t>::min();
  segment.max_timestamp = std::numeric_limits<int64_t>::max();
  if (const auto bad = forebay::wal::CheckBlocks(segment)) {
    Require(bad->number == segment.blocks.size() && !bad->reason.empty());
    return 0;
  }
  CompareWithReader(segment);
  const auto again =
      forebay::wal::ParsePeerSegment(forebay::wal::DescribePeerSegment(segment), segment.bytes);
  Require(again.ok());
  Require(again->origin == segment.origin && again->rows == segment.rows);
  Require(again->min_timestamp == segment.min_timestamp);
  Require(again->max_timestamp == segment.max_timestamp);
  Require(forebay::wal::FormatSegmentName(again->name).value_or("") ==
          forebay::wal::FormatSegmentName(segment.name).value_or("-"));
  Require(again->blocks.size() == segment.blocks.size());
  return 0;
}
