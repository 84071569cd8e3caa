// The two conventions of ISA-L behind one: seed in, CRC out, complements inside.
#include "io/crc.h"

#include <isa-l/crc.h>

#include <algorithm>
#include <cstddef>

namespace forebay::io {
namespace {

// crc32_iscsi takes its length as an int.
constexpr size_t kMaxPiece = size_t{1} << 30;

}  // namespace

uint32_t Crc32Ieee(std::span<const char> bytes, uint32_t seed) {
  // crc32_gzip_refl complements on the way in and out, as zlib's crc32 does.
  return ::crc32_gzip_refl(seed, reinterpret_cast<const unsigned char*>(bytes.data()),
                           bytes.size());
}

uint32_t Crc32c(std::span<const char> bytes, uint32_t seed) {
  // crc32_iscsi complements neither.
  uint32_t crc = ~seed;
  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min(bytes.size(), kMaxPiece));
    // The library reads only; its signature forgot the const.
    auto* data = reinterpret_cast<unsigned char*>(const_cast<char*>(piece.data()));
    crc = ::crc32_iscsi(data, static_cast<int>(piece.size()), crc);
    bytes = bytes.subspan(piece.size());
  }
  return ~crc;
}

}  // namespace forebay::io
