// Bodies as sent to bodies as they are decoded: gzip (RFC 1952, also of several members) by ISA-L
// and zstd. Place: before the decoders, and at replay.
// Limits: no more than the given bytes are ever made, and memory grows with what comes out, so that
// a small body cannot ask for much.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/byte_buffer.h"
#include "base/result.h"
#include "otlp/request_format.h"

namespace forebay::otlp {

// Threads: one at a time.
class Inflater {
 public:
  Inflater();
  ~Inflater();

  // Replaces the contents of `out`. Errors: kInvalidArgument: broken or cut off; kOutOfRange: more
  // than `most` bytes.
  Status Run(Compression compression, std::span<const char> body, uint64_t most, ByteBuffer& out);

 private:
  struct State;
  Status Gunzip(std::span<const char> body, uint64_t most, ByteBuffer& out);
  Status Unzstd(std::span<const char> body, uint64_t most, ByteBuffer& out);
  std::unique_ptr<State> state_;
};

}  // namespace forebay::otlp
