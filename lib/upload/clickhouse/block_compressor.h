// ClickHouse's own compressed blocks, which every version takes (`decompress=1`), and which carry
// a checksum: 16 bytes CityHash128 of what follows, u8 method, u32le compressed size with these 9
// bytes, u32le size of the plain bytes, the compressed bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/byte_buffer.h"
#include "base/result.h"

namespace forebay::upload {

enum class BlockMethod : uint8_t { kNone = 0x02, kLz4 = 0x82, kZstd = 0x90 };

// Plain bytes of one block; the server holds one at a time.
inline constexpr size_t kBlockBytes = 1 << 20;
inline constexpr size_t kBlockHeaderBytes = 25;  // checksum, method, sizes

// Cuts what it is given into blocks. Memory: one plain block, and `out`. Threads: one at a time.
class BlockCompressor {
 public:
  // Appends blocks to `out`, which outlives the compressor.
  BlockCompressor(BlockMethod method, ByteBuffer& out);
  ~BlockCompressor();

  void Write(std::string_view bytes);
  // The last block. Errors: kInternal: the library refused; then nothing that was written counts.
  Status Finish();
  uint64_t bytes_in() const { return bytes_in_; }

 private:
  struct Library;
  void Flush();
  size_t Compress(char* to, size_t room);

  const BlockMethod method_;
  ByteBuffer& out_;
  ByteBuffer plain_;
  std::unique_ptr<Library> library_;
  uint64_t bytes_in_ = 0;
  bool failed_ = false;
};

}  // namespace forebay::upload
