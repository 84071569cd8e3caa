// Reads segment files block by block, whoever wrote them and whatever happened to them since.
//
// A damaged block never hides a good one: where the framing holds the reader goes on with the next
// frame, else it looks for the next place whose length is possible, whose bytes begin like an S2
// block and whose CRC is right. What it passed over is listed in damage(), so that the caller can
// put it aside. Rules: docs/format/wal.md.
//
// Limits: kMaxBlockCompressed and kMaxBlockDecoded per block, checked before allocating; memory is
// one frame, one decoded block and kSegmentReadBytes; searching costs at most kResyncBytesFactor
// times the file's size in CRCs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_buffer.h"
#include "base/result.h"
#include "io/file_system.h"
#include "wal/segment_format.h"

namespace forebay::wal {

inline constexpr size_t kSegmentReadBytes = 256U << 10;  // read ahead
inline constexpr uint64_t kResyncBytesFactor = 16;
inline constexpr size_t kPeekBytes = 64;          // of a value, when blocks are not decoded
inline constexpr size_t kMaxDamageRanges = 1024;  // further damage widens the last range

enum class DamageReason {
  kTornFrame,    // the file ends inside a frame
  kBadLength,    // the length is impossible
  kBadCrc,       // the bytes are not those that were written
  kUndecodable,  // the CRC is right, the S2 block is not: written so, or above the limits
  kZeros,        // zeros where a frame should begin, and more data behind them
  kBadMagic,     // the file does not begin as segments do, and good frames lie behind
};

// "bad crc" and so on, for logs and quarantine reasons.
std::string_view Name(DamageReason reason);

// Bytes of the file that hold no readable block.
struct DamagedRange {
  uint64_t offset = 0;
  uint64_t length = 0;
  DamageReason reason = DamageReason::kBadCrc;
};

// One block. The spans are valid until the next call of Next.
struct Block {
  BlockHeader header;             // version kBlockVersionLegacy: the block had none
  std::span<const char> payload;  // the value; only its first kPeekBytes when not decoding
  std::span<const char> frame;    // as in the file: length, CRC, S2 block
  uint64_t offset = 0;            // of the frame in the file
  uint32_t decoded_bytes = 0;     // block header and value
};

// What a reader's bytes are in. Kept from one reader to the next it needs no new memory.
struct SegmentReaderMemory {
  ByteBuffer window;   // bytes of the file
  ByteBuffer decoded;  // the block
};

struct SegmentReaderOptions {
  bool decode = true;            // false: lengths and CRCs are checked, values are not decoded
  bool include_summary = false;  // whether Next gives summary blocks
  SegmentReaderMemory* memory = nullptr;  // to use; outlives the reader
};

// Threads: one at a time.
class SegmentReader {
 public:
  // A damaged magic is damage when a good frame lies behind it. Errors: kCorruption when the file
  // is not a segment; those of opening and reading.
  static Result<std::unique_ptr<SegmentReader>> Open(io::FileSystem& fs, const std::string& path,
                                                     SegmentReaderOptions options = {});
  // A segment in memory, which must outlive the reader: the body of a transfer, whose magic must be
  // right.
  static Result<std::unique_ptr<SegmentReader>> OpenBytes(std::span<const char> bytes,
                                                          SegmentReaderOptions options = {});

  // The next good block, nothing at the end. Errors: those of reading the file, never of its
  // content.
  Result<std::optional<Block>> Next();

  // Damage met so far, in file order; all of it once Next gave nothing.
  const std::vector<DamagedRange>& damage() const { return damage_; }
  uint64_t file_bytes() const { return size_; }

 private:
  SegmentReader(std::unique_ptr<io::File> file, std::string path, uint64_t size,
                SegmentReaderOptions options);
  static Result<std::unique_ptr<SegmentReader>> FromFile(std::unique_ptr<io::File> file,
                                                         std::string path,
                                                         SegmentReaderOptions options,
                                                         bool magic_may_be_damaged);
  Result<std::span<const char>> Fetch(uint64_t offset, uint64_t bytes);
  Result<std::span<const char>> FetchSome(uint64_t offset);
  Result<bool> FrameVerifies(uint64_t offset);
  Result<bool> FrameMayBegin(uint64_t offset);
  bool Charge(uint64_t cost);
  Result<bool> IsS2Block(uint64_t offset, uint64_t bytes);
  Result<std::optional<uint64_t>> FindNonZero(uint64_t offset);
  Result<std::optional<uint64_t>> FindFrame(uint64_t offset, uint64_t end);
  Result<uint64_t> EndOfFrames(uint64_t offset, uint64_t end);
  Result<std::optional<uint64_t>> FindFramesUpTo(uint64_t from, uint64_t end);
  Status Resync(uint64_t from, DamageReason reason);
  Status SkipBadFrame(uint64_t frame_bytes);
  Status SkipZeros();
  std::optional<Block> Decode(std::span<const char> frame);
  void AddDamage(uint64_t end, DamageReason reason);

  std::unique_ptr<io::File> file_;
  std::string path_;  // for messages
  const uint64_t size_;
  const SegmentReaderOptions options_;
  uint64_t position_ = kSegmentMagic.size();  // of the next frame
  uint64_t search_budget_;                    // what FindFrame may still cost, in bytes of CRC
  SegmentReaderMemory own_memory_;            // when none was given
  ByteBuffer& window_;                        // bytes of the file from window_offset_ on
  uint64_t window_offset_ = 0;
  ByteBuffer& decoded_;
  std::vector<DamagedRange> damage_;
};

// The summary at the end of the file; nothing when there is none or it is of another segment
// (concatenated files). Errors: kCorruption when the file is not a segment; those of reading.
// Threads: any.
Result<std::optional<SegmentSummary>> ReadSummary(io::FileSystem& fs, const std::string& path);

// What a block's first bytes tell of its rows. Shape: value holds at most kPeekBytes; value_bytes
// is its full length.
using BlockPeek = std::function<BlockStats(const BlockHeader& header, std::span<const char> value,
                                           uint32_t value_bytes)>;

// Computes the summary from the frames without decoding their values. Without `peek` the row bytes
// of a block are the length of its value, and no times are known. Errors: as ReadSummary. Threads:
// any.
Result<SegmentSummary> ScanSummary(io::FileSystem& fs, const std::string& path,
                                   const BlockPeek& peek = nullptr);

}  // namespace forebay::wal
