// Writes one segment file: magic, frames, summary.
//
// Blocks are compressed as plain snappy, which every S2 reader reads. Frames gather in a buffer of
// about kSegmentWriteBytes, so that many small blocks are few writes. Nothing is synced here:
// whoever seals syncs all files of a generation together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/byte_buffer.h"
#include "base/result.h"
#include "base/time.h"
#include "io/file_system.h"
#include "wal/segment_format.h"

namespace forebay::wal {

inline constexpr size_t kSegmentWriteBytes = 1U << 20;

// After an error of the file the segment is scrap: no further call succeeds. Reset begins the next
// segment with the memory of the last. Threads: one at a time.
class SegmentWriter {
 public:
  SegmentWriter() = default;

  // Begins a segment at the start of `file`, which is empty and outlives the writing.
  void Reset(io::File& file, UnixMillis created);

  // The segment holds blocks that a peer handed over: its summary says so. After Reset.
  void MarkFromPeer() { summary_.from_peer = true; }

  // Compresses and frames one block. `stats` are of its rows, header.row_count of them.
  // Errors: kInvalidArgument when the block is above kMaxBlockDecoded or kMaxBlockCompressed
  // (nothing is written, the writer goes on); those of the file.
  Status Append(const BlockHeader& header, const BlockStats& stats, std::span<const char> payload);

  // Adds a frame as it is (length, CRC and bytes: SegmentReader's Block::frame); header and stats
  // are of the block in it. Errors: kCorruption when length or CRC do not fit the bytes (the writer
  // goes on); those of the file.
  Status AppendEncoded(const BlockHeader& header, const BlockStats& stats,
                       std::span<const char> frame);

  // Writes what is buffered and the summary. Returns the summary. Errors: those of the file.
  // Durable: after the caller's SyncData of the file and SyncDirectory.
  Result<SegmentSummary> Finish();

  // So far, without the summary: bytes of the file, and what the blocks hold.
  uint64_t file_bytes() const { return summary_.frames_bytes; }
  const SegmentSummary& summary() const { return summary_; }

 private:
  Status CheckWritable() const;
  Status Add(const BlockHeader& header, const BlockStats& stats, size_t frame_bytes);
  Status Flush();

  io::File* file_ = nullptr;  // null before Reset and after Finish
  ByteBuffer buffer_;         // frames not yet written
  SegmentSummary summary_;
  bool failed_ = false;  // the file refused a write
};

}  // namespace forebay::wal
