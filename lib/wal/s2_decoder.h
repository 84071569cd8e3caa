// Decoder for S2 blocks: snappy's format plus repeat offsets and long copies, as adx-mon's segments
// hold them. Every snappy block is an S2 block. Writing is plain snappy (wal/segment_writer.h).
//
// Limits: a block declares at most 2^32 - 1 decoded bytes; callers bound that before they allocate.
// Nothing is allocated, nothing is read or written outside the spans, whatever the input. Source:
// google/snappy format_description.txt; klauspost/compress s2, "Format Extensions".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"

namespace forebay::wal {

// The decoded length that the block declares. Errors: kCorruption. Threads: any.
Result<size_t> S2DecodedLength(std::span<const char> in);

// Decodes a whole block. Shape: out is exactly as long as S2DecodedLength says; in and out do not
// overlap. Errors: kCorruption (out then holds rubbish), kInvalidArgument when out has another
// length. Threads: any.
Status S2Decode(std::span<const char> in, std::span<char> out);

// Decodes from the start until out is full or the block ends; what comes after is neither read nor
// checked, so `in` may be a part of the block. Returns the bytes written. Errors: kCorruption.
// Threads: any.
Result<size_t> S2DecodePrefix(std::span<const char> in, std::span<char> out);

// Follows the elements of a block without making its bytes, to tell a block from other data at
// little cost: what is not S2 fails within a few elements. Threads: one at a time.
class S2Walker {
 public:
  // As many bytes as an element's tag, length and offset can take.
  static constexpr size_t kMaxElementHead = 5;

  explicit S2Walker(uint64_t block_bytes) : block_bytes_(block_bytes) {}

  // Takes the declared length (first), then one element. Shape: `in` is the block from position()
  // on, at least kMaxElementHead bytes of it or all that are left. Returns false when this cannot
  // be an S2 block.
  bool Step(std::span<const char> in);

  uint64_t position() const { return position_; }  // in the block
  // At the block's end, and all bytes that it declares are there.
  bool done() const { return position_ == block_bytes_ && position_ > 0 && made_ == declared_; }

 private:
  uint64_t block_bytes_;
  uint64_t position_ = 0;
  uint64_t declared_ = 0;  // decoded bytes
  uint64_t made_ = 0;      // so far
  uint64_t offset_ = 0;    // of the last copy, 0: none yet
};

}  // namespace forebay::wal
