// Gzip (RFC 1952) by ISA-L's igzip: fast deflate, streamed through fixed buffers.
//
// Level 0 is the fastest, 3 the smallest; 1 is the default (file.compression_level). About
// 75 ns a row of rows ordered by series. Memory: kGzipChunkBytes and the level's tables, up to 320
// KiB. Input has no bound (the trailer's size is modulo 2^32, as the format says).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "base/result.h"

namespace forebay::upload {

inline constexpr size_t kGzipChunkBytes = 256U << 10;

// Threads: one at a time.
class GzipWriter {
 public:
  // Takes compressed bytes, at most kGzipChunkBytes at a time. An error is returned by Write or
  // Finish.
  using Output = std::function<Status(std::string_view)>;

  // Shape: level 0 to 3; others are clamped. Without an output Begin comes first.
  explicit GzipWriter(int level, Output output = nullptr);
  ~GzipWriter();

  // Begins another stream, whatever became of the one before, with the same memory.
  void Begin(Output output);
  // Errors: the output's; the stream is then void.
  Status Write(std::string_view bytes);
  // Ends the stream: no Write afterwards. Errors: the output's.
  Status Finish();

  uint64_t bytes_in() const { return bytes_in_; }
  uint64_t bytes_out() const { return bytes_out_; }

 private:
  struct State;
  Status Run(bool end);

  Output output_;
  std::unique_ptr<State> state_;
  uint64_t bytes_in_ = 0;
  uint64_t bytes_out_ = 0;
};

}  // namespace forebay::upload
