#include "wal/peer_segment.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "wal/internal/peek_rows.h"
#include "wal/s2_decoder.h"
#include "wal/segment_reader.h"
#include "wal/series_block.h"
#include "wal/text_rows.h"

namespace forebay::wal {
namespace {

std::optional<int64_t> ParseTime(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Empty when the block may be stored.
std::string Fault(const BlockHeader& header) {
  if (header.version > kBlockVersionSeries) {
    return fmt::format("block version {} is not known here", header.version);
  }
  if (header.version != kBlockVersionSeries) return {};  // other writers count rows, or do not
  if (header.row_count == 0) return "the block says that it has no rows";
  if (header.row_count > kMaxBlockRows) {
    return fmt::format("{} rows in a block, more than {}", header.row_count, kMaxBlockRows);
  }
  return {};
}

// Of a text block whose writer has not counted them: the one case in which a block is decoded.
uint32_t CountRows(std::span<const char> frame, bool legacy, bool has_schema) {
  const auto s2 = frame.subspan(kFrameHeaderBytes);
  const auto length = S2DecodedLength(s2);
  if (!length.ok()) return 0;
  std::string decoded(*length, '\0');
  if (!S2Decode(s2, decoded).ok()) return 0;
  std::string_view text = decoded;
  if (!legacy) text.remove_prefix(std::min(text.size(), kBlockHeaderBytes));
  if (has_schema) text.remove_prefix(HeaderLineBytes(text));
  return CountTextRows(text);
}

}  // namespace

std::optional<BadBlock> CheckBlocks(PeerSegment& segment) {
  segment.blocks.clear();
  segment.rows = 0;
  const auto bad = [&segment](std::string reason) {
    return BadBlock{static_cast<uint32_t>(segment.blocks.size()), std::move(reason)};
  };
  if (segment.bytes.size() > kMaxPeerSegmentBytes) {
    return bad(fmt::format("a segment of {} bytes, more than {}", segment.bytes.size(),
                           kMaxPeerSegmentBytes));
  }
  const auto reader = SegmentReader::OpenBytes(segment.bytes, {.decode = false});
  if (!reader.ok()) return bad(reader.error().message());
  while (true) {
    const auto block = (*reader)->Next();
    if (!block.ok()) return bad(block.error().message());
    if (!(*reader)->damage().empty()) {
      const DamagedRange& range = (*reader)->damage().front();
      return bad(fmt::format("{} at byte {}", Name(range.reason), range.offset));
    }
    if (!*block) return std::nullopt;
    if (std::string fault = Fault((*block)->header); !fault.empty()) return bad(std::move(fault));
    PeerBlock found;
    found.offset = static_cast<uint32_t>((*block)->offset);
    found.bytes = static_cast<uint32_t>((*block)->frame.size());
    found.header = (*block)->header;
    const bool legacy = found.header.version == kBlockVersionLegacy;
    if (found.header.row_count == 0) {
      found.header.row_count =
          CountRows((*block)->frame, legacy, !segment.name.schema_hash.empty());
    }
    found.stats = internal::PeekRows(
        (*block)->header, (*block)->payload,
        (*block)->decoded_bytes - (legacy ? 0 : static_cast<uint32_t>(kBlockHeaderBytes)));
    if (segment.min_timestamp <= segment.max_timestamp) {
      found.stats.min_timestamp = segment.min_timestamp;
      found.stats.max_timestamp = segment.max_timestamp;
    }
    segment.rows += found.header.row_count;
    segment.blocks.push_back(found);
  }
}

std::string DescribePeerSegment(const PeerSegment& segment) {
  // The name was parsed once, so it can be written again.
  return fmt::format("{} {} {} {}", segment.origin,
                     FormatSegmentName(segment.name).value_or(std::string()), segment.min_timestamp,
                     segment.max_timestamp);
}

Result<PeerSegment> ParsePeerSegment(std::string_view description, std::span<const char> bytes) {
  std::array<std::string_view, 4> fields;
  for (size_t i = 0; i < fields.size(); ++i) {
    const size_t blank = description.find(' ');
    if ((blank == std::string_view::npos) != (i + 1 == fields.size())) {
      return Error(ErrorCode::kInvalidArgument, "a segment of a peer without its description");
    }
    fields[i] = description.substr(0, blank);
    if (blank != std::string_view::npos) description.remove_prefix(blank + 1);
  }
  PeerSegment segment;
  segment.origin = fields[0];
  FOREBAY_ASSIGN_OR_RETURN(segment.name, ParseSegmentName(fields[1]));
  const auto least = ParseTime(fields[2]);
  const auto greatest = ParseTime(fields[3]);
  if (!least || !greatest) {
    return Error(ErrorCode::kInvalidArgument, "a segment of a peer with times that are no numbers");
  }
  segment.min_timestamp = *least;
  segment.max_timestamp = *greatest;
  segment.bytes.assign(bytes.data(), bytes.size());
  if (const auto bad = CheckBlocks(segment)) {
    return Error(ErrorCode::kCorruption, fmt::format("block {}: {}", bad->number, bad->reason));
  }
  return segment;
}

}  // namespace forebay::wal
