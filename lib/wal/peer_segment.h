// A segment that a peer handed over: its blocks as they came, checked but not decoded, on their way
// through the journal into the open generation.
//
// What is checked of a block: frame length, CRC, that its S2 block begins with a header of a known
// version, and of series that it counts rows. Whether the rows inside can be read is seen at the
// upload, which keeps damaged blocks apart. Limits: those of wal/segment_format.h,
// kMaxPeerSegmentBytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "wal/segment_format.h"
#include "wal/segment_name.h"

namespace forebay::wal {

// A segment that is larger is uploaded by the node that has it: handing it over would gain little.
inline constexpr size_t kMaxPeerSegmentBytes = 64U << 20;

// Where a block stands in its segment's bytes.
struct PeerBlock {
  uint32_t offset = 0;
  uint32_t bytes = 0;  // of the frame
  BlockHeader header;
  BlockStats stats;
};

struct PeerSegment {
  std::string origin;  // member that sent it
  SegmentName name;    // there
  std::string bytes;   // magic and frames
  std::vector<PeerBlock> blocks;
  uint64_t rows = 0;
  // Of all rows, as the sender has them; least above greatest: not known.
  int64_t min_timestamp = 0;
  int64_t max_timestamp = -1;
};

// The first block that does not hold.
struct BadBlock {
  uint32_t number = 0;  // from 0
  std::string reason;
};

// Fills blocks and rows from bytes. Returns what is wrong, or nothing. Threads: any.
std::optional<BadBlock> CheckBlocks(PeerSegment& segment);

// What stands in a journal record's tenant: "<origin> <file name> <least> <greatest timestamp>".
std::string DescribePeerSegment(const PeerSegment& segment);
// The segment of a record of kind kPeerSegment, with its blocks. Errors: kInvalidArgument: the
// description has another shape; kCorruption: a block does not hold.
Result<PeerSegment> ParsePeerSegment(std::string_view description, std::span<const char> bytes);

}  // namespace forebay::wal
