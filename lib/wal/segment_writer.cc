// Framing and compression of segments.
#include "wal/segment_writer.h"

#include <fmt/core.h>
#include <snappy.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "io/crc.h"
#include "wal/internal/big_endian.h"

namespace forebay::wal {
namespace {

using internal::LoadBigEndian;
using internal::StoreBigEndian;

// Of an S2 or snappy block: the decoded length as a varint.
size_t VarintBytes(uint32_t value) {
  size_t bytes = 1;
  for (; value >= 0x80; value >>= 7) ++bytes;
  return bytes;
}

char* StoreVarint(char* at, uint32_t value) {
  for (; value >= 0x80; value >>= 7) *at++ = static_cast<char>(value | 0x80);
  *at++ = static_cast<char>(value);
  return at;
}

// The tag of a literal of 1 to 60 bytes.
constexpr char LiteralTag(size_t bytes) { return static_cast<char>((bytes - 1) << 2); }

char* StoreBlockHeader(char* at, const BlockHeader& header) {
  *at++ = static_cast<char>(kBlockMarker);
  *at++ = static_cast<char>(kBlockMarker);
  *at++ = static_cast<char>(header.version);
  *at++ = static_cast<char>(header.type);
  return StoreBigEndian<uint32_t>(at, header.row_count);
}

// Fills in the frame header before the block at `block`.
void StoreFrameHeader(char* frame, size_t block_bytes) {
  const uint32_t crc = io::Crc32Ieee(std::span(frame + kFrameHeaderBytes, block_bytes));
  StoreBigEndian<uint32_t>(StoreBigEndian<uint32_t>(frame, static_cast<uint32_t>(block_bytes)),
                           crc);
}

}  // namespace

void SegmentWriter::Reset(io::File& file, UnixMillis created) {
  file_ = &file;
  failed_ = false;
  summary_ = SegmentSummary{};
  summary_.created_ms = static_cast<uint64_t>(
      std::clamp<int64_t>(created.value, 0, (int64_t{1} << kSummaryCreatedBits) - 1));
  summary_.frames_bytes = kSegmentMagic.size();
  buffer_.clear();
  buffer_.Append(kSegmentMagic);
}

Status SegmentWriter::CheckWritable() const {
  FOREBAY_CHECK(file_ != nullptr);
  if (!failed_) return OkStatus();
  return Error(ErrorCode::kFailedPrecondition, "segment: an earlier write failed");
}

Status SegmentWriter::Append(const BlockHeader& header, const BlockStats& stats,
                             std::span<const char> payload) {
  FOREBAY_RETURN_IF_ERROR(CheckWritable());
  if (payload.size() > kMaxBlockDecoded - kBlockHeaderBytes) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("segment: block of {} bytes, more than {}", payload.size(),
                             kMaxBlockDecoded - kBlockHeaderBytes));
  }
  // The block header goes before the compressed payload as a literal of its own, so that the
  // payload need not be copied behind it: snappy's copies are relative and none reaches back beyond
  // the payload. What the compressor writes as its own length is overwritten by the end of that
  // literal.
  const auto decoded_bytes = static_cast<uint32_t>(kBlockHeaderBytes + payload.size());
  const size_t own_length_bytes = VarintBytes(static_cast<uint32_t>(payload.size()));
  const size_t head_bytes = VarintBytes(decoded_bytes) + 1 + kBlockHeaderBytes;
  const size_t most = kFrameHeaderBytes + head_bytes + snappy::MaxCompressedLength(payload.size());
  char* const frame = buffer_.Ensure(most);
  char* const body = frame + kFrameHeaderBytes + head_bytes;
  size_t compressed_bytes = 0;
  snappy::RawCompress(payload.data(), payload.size(), body - own_length_bytes, &compressed_bytes);
  char* at = StoreVarint(frame + kFrameHeaderBytes, decoded_bytes);
  *at++ = LiteralTag(kBlockHeaderBytes);
  StoreBlockHeader(at, header);
  const size_t block_bytes = head_bytes + compressed_bytes - own_length_bytes;
  if (block_bytes > kMaxBlockCompressed) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("segment: block of {} bytes compressed, more than {}", block_bytes,
                             kMaxBlockCompressed));
  }
  StoreFrameHeader(frame, block_bytes);
  buffer_.SetEnd(frame + kFrameHeaderBytes + block_bytes);
  return Add(header, stats, kFrameHeaderBytes + block_bytes);
}

Status SegmentWriter::AppendEncoded(const BlockHeader& header, const BlockStats& stats,
                                    std::span<const char> frame) {
  FOREBAY_RETURN_IF_ERROR(CheckWritable());
  if (frame.size() <= kFrameHeaderBytes || frame.size() - kFrameHeaderBytes > kMaxBlockCompressed ||
      LoadBigEndian<uint32_t>(frame.data()) != frame.size() - kFrameHeaderBytes ||
      LoadBigEndian<uint32_t>(frame.data() + 4) !=
          io::Crc32Ieee(frame.subspan(kFrameHeaderBytes))) {
    return Error(ErrorCode::kCorruption, "segment: length or CRC of a frame is wrong");
  }
  buffer_.Append({frame.data(), frame.size()});
  return Add(header, stats, frame.size());
}

Status SegmentWriter::Add(const BlockHeader& header, const BlockStats& stats, size_t frame_bytes) {
  summary_.rows += header.row_count;
  summary_.row_bytes += stats.row_bytes;
  summary_.min_timestamp = std::min(summary_.min_timestamp, stats.min_timestamp);
  summary_.max_timestamp = std::max(summary_.max_timestamp, stats.max_timestamp);
  summary_.blocks += 1;
  summary_.frames_bytes += frame_bytes;
  return buffer_.size() < kSegmentWriteBytes ? OkStatus() : Flush();
}

Status SegmentWriter::Flush() {
  Status written = file_->Write(buffer_.view());
  failed_ = !written.ok();
  buffer_.clear();
  return written;
}

Result<SegmentSummary> SegmentWriter::Finish() {
  FOREBAY_RETURN_IF_ERROR(CheckWritable());
  char* const frame = buffer_.Ensure(kSummaryFrameBytes);
  char* at = StoreVarint(frame + kFrameHeaderBytes, kSummaryDecodedBytes);
  *at++ = LiteralTag(kSummaryDecodedBytes);
  at = StoreBlockHeader(
      at, {.version = kBlockVersionSeries, .type = BlockType::kSummary, .row_count = 0});
  at = StoreBigEndian(at, summary_.rows);
  at = StoreBigEndian(at, summary_.row_bytes);
  at = StoreBigEndian(at, summary_.min_timestamp);
  at = StoreBigEndian(at, summary_.max_timestamp);
  at = StoreBigEndian(at, summary_.blocks);
  const uint64_t flags = summary_.from_peer ? kSummaryFromPeer : 0;
  at = StoreBigEndian(at, flags << kSummaryCreatedBits | summary_.created_ms);
  at = StoreBigEndian(at, summary_.frames_bytes);
  FOREBAY_CHECK(at == frame + kSummaryFrameBytes);
  StoreFrameHeader(frame, kSummaryFrameBytes - kFrameHeaderBytes);
  buffer_.SetEnd(at);
  FOREBAY_RETURN_IF_ERROR(Flush());
  file_ = nullptr;
  return summary_;
}

}  // namespace forebay::wal
