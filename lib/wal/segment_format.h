// The constants of the segment container, shared by writer and reader, which do not include each
// other. Bytes: docs/format/wal.md.
//
//   segment := magic(8) frame*
//   frame   := u32be length, u32be crc32-ieee(bytes), bytes(length)     bytes: one S2 block
//   S2 block decodes to: 0xAA 0xAA version type u32be-row-count value   or, in old files, to the
//   value alone
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

namespace forebay::wal {

// Readers check the first six bytes only; the other two are reserved and written as zero.
inline constexpr std::string_view kSegmentMagic{"ADXWAL\0\0", 8};
inline constexpr size_t kSegmentMagicChecked = 6;

inline constexpr size_t kFrameHeaderBytes = 8;
inline constexpr size_t kBlockHeaderBytes = 8;
inline constexpr uint8_t kBlockMarker = 0xAA;  // twice

// Above these a length is damage, not data. The sealer's blocks are some hundred kB, adx-mon's some
// kB.
inline constexpr uint32_t kMaxBlockCompressed = 64U << 20;
inline constexpr uint32_t kMaxBlockDecoded = 256U << 20;

inline constexpr uint8_t kBlockVersionLegacy = 0;  // without the marker; never written
inline constexpr uint8_t kBlockVersionRows = 1;    // the value is text rows
inline constexpr uint8_t kBlockVersionSeries = 2;  // the value is series by columns, or a summary

// Open: other writers may use values that are not named here.
enum class BlockType : uint8_t {
  kUnknown = 0,
  kMetric = 1,
  kTrace = 2,
  kLog = 3,
  kSummary = 0xF0,  // of version 2: not data, readers of rows skip it
};

// The first bytes of a decoded block. Shape: row_count rows are in the value.
struct BlockHeader {
  uint8_t version = kBlockVersionRows;
  BlockType type = BlockType::kUnknown;
  uint32_t row_count = 0;
};

// What is known of one block's rows without decoding it. Times in Unix ms; min above max: not
// known.
struct BlockStats {
  uint64_t row_bytes = 0;  // of the rows as text, an upper bound
  int64_t min_timestamp = std::numeric_limits<int64_t>::max();
  int64_t max_timestamp = std::numeric_limits<int64_t>::min();
};

// The same of a whole segment; the value of its summary block.
struct SegmentSummary {
  uint64_t rows = 0;
  uint64_t row_bytes = 0;
  int64_t min_timestamp = std::numeric_limits<int64_t>::max();
  int64_t max_timestamp = std::numeric_limits<int64_t>::min();
  uint32_t blocks = 0;      // without the summary
  uint64_t created_ms = 0;  // Unix ms, wall clock of the writer
  uint64_t frames_bytes =
      0;  // offset of the summary's frame: a summary found elsewhere is of another segment
  bool from_peer = false;  // holds blocks that a peer handed over: it is not handed on

  bool has_timestamps() const { return min_timestamp <= max_timestamp; }
};

// The summary frame has one size, so that readers find it at the end of the file: the value is
// rows, row bytes, min, max (8 bytes each), blocks (4), flags (2), created (6), frames bytes (8),
// all big endian; the S2 block is one literal.
inline constexpr uint16_t kSummaryFromPeer = 1;  // flag
inline constexpr int kSummaryCreatedBits = 48;
inline constexpr size_t kSummaryValueBytes = 52;
inline constexpr size_t kSummaryDecodedBytes = kBlockHeaderBytes + kSummaryValueBytes;
inline constexpr size_t kSummaryFrameBytes = kFrameHeaderBytes + 2 + kSummaryDecodedBytes;
static_assert(kSummaryDecodedBytes <= 60, "longer literals need a length byte of their own");
static_assert(kSummaryFrameBytes == 70);

}  // namespace forebay::wal
