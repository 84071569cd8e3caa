#include "upload/clickhouse/block_compressor.h"

#include <lz4.h>
#include <zstd.h>

#include <algorithm>

#include "upload/clickhouse/city_hash.h"

namespace forebay::upload {
namespace {

constexpr size_t kChecksumBytes = 16;
constexpr size_t kSizesBytes = 9;  // method and both sizes
constexpr int kZstdLevel = 1;

void StoreLittleEndian(uint64_t value, size_t bytes, char* to) {
  for (size_t i = 0; i < bytes; ++i) to[i] = static_cast<char>(value >> (8 * i));
}

}  // namespace

struct BlockCompressor::Library {
  ZSTD_CCtx* zstd = nullptr;
  ~Library() { ::ZSTD_freeCCtx(zstd); }
};

BlockCompressor::BlockCompressor(BlockMethod method, ByteBuffer& out)
    : method_(method), out_(out), plain_(kBlockBytes), library_(std::make_unique<Library>()) {
  if (method_ == BlockMethod::kZstd) library_->zstd = ::ZSTD_createCCtx();
}

BlockCompressor::~BlockCompressor() = default;

void BlockCompressor::Write(std::string_view bytes) {
  bytes_in_ += bytes.size();
  while (!bytes.empty()) {
    const size_t taken = std::min(bytes.size(), kBlockBytes - plain_.size());
    plain_.Append(bytes.substr(0, taken));
    bytes.remove_prefix(taken);
    if (plain_.size() == kBlockBytes) Flush();
  }
}

Status BlockCompressor::Finish() {
  if (!plain_.empty()) Flush();
  if (failed_) return Error(ErrorCode::kInternal, "a block cannot be compressed");
  return OkStatus();
}

// Bytes written; 0: it failed.
size_t BlockCompressor::Compress(char* to, size_t room) {
  switch (method_) {
    case BlockMethod::kLz4: {
      const int size = ::LZ4_compress_default(plain_.data(), to, static_cast<int>(plain_.size()),
                                              static_cast<int>(room));
      return static_cast<size_t>(std::max(size, 0));
    }
    case BlockMethod::kZstd: {
      const size_t size =
          ::ZSTD_compressCCtx(library_->zstd, to, room, plain_.data(), plain_.size(), kZstdLevel);
      return ::ZSTD_isError(size) != 0 ? 0 : size;
    }
    case BlockMethod::kNone:
      break;
  }
  std::copy_n(plain_.data(), plain_.size(), to);
  return plain_.size();
}

void BlockCompressor::Flush() {
  const size_t room =
      std::max<size_t>(static_cast<size_t>(::LZ4_compressBound(static_cast<int>(plain_.size()))),
                       ::ZSTD_compressBound(plain_.size()));
  char* const head = out_.Ensure(kBlockHeaderBytes + room);
  char* const sizes = head + kChecksumBytes;
  char* const body = sizes + kSizesBytes;
  const size_t size = Compress(body, room);
  failed_ = failed_ || size == 0;
  sizes[0] = static_cast<char>(method_);
  StoreLittleEndian(kSizesBytes + size, 4, sizes + 1);
  StoreLittleEndian(plain_.size(), 4, sizes + 5);
  const Hash128 hash = CityHash128({sizes, kSizesBytes + size});
  StoreLittleEndian(hash.low, 8, head);
  StoreLittleEndian(hash.high, 8, head + 8);
  out_.SetEnd(body + size);
  plain_.clear();
}

}  // namespace forebay::upload
