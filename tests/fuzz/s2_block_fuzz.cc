// DEPS: wal
// S2 blocks: never outside the spans; the same bytes as snappy where snappy accepts; decoder,
// prefix decoder and walker agree with each other. One thing that snappy accepts is refused: the
// literal of 4 GiB, whose length it wraps to 0.
#include <snappy.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "wal/s2_decoder.h"

namespace {

constexpr size_t kMaxDecoded = 128U << 10;

void Require(bool condition) {
  if (!condition) std::abort();
}

bool Walk(std::span<const char> block) {
  forebay::wal::S2Walker walker(block.size());
  while (!walker.done()) {
    if (!walker.Step(block.subspan(walker.position()))) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const char> in(reinterpret_cast<const char*>(data), size);
  const auto length = forebay::wal::S2DecodedLength(in);
  size_t snappy_length = 0;
  const bool snappy_has_length =
      snappy::GetUncompressedLength(in.data(), in.size(), &snappy_length);
  if (!length.ok() || *length > kMaxDecoded) {
    Require(length.ok() || !snappy_has_length);
    return 0;
  }
  std::vector<char> out(*length);
  const bool decoded = forebay::wal::S2Decode(in, out).ok();
  Require(Walk(in) == decoded);
  std::string by_snappy;
  constexpr std::string_view kWrapped = "\xFC\xFF\xFF\xFF\xFF";
  const bool may_wrap = std::string_view(in.data(), in.size()).find(kWrapped) != std::string::npos;
  if (snappy::Uncompress(in.data(), in.size(), &by_snappy) && (decoded || !may_wrap)) {
    Require(decoded && by_snappy.size() == out.size());
    Require(out.empty() || std::memcmp(by_snappy.data(), out.data(), out.size()) == 0);
  }
  std::vector<char> prefix(size > 0 ? std::min<size_t>(out.size(), data[size - 1]) : 0);
  const auto prefix_bytes = forebay::wal::S2DecodePrefix(in, prefix);
  if (decoded) {
    Require(prefix_bytes.ok() && *prefix_bytes == prefix.size());
    Require(prefix.empty() || std::memcmp(prefix.data(), out.data(), prefix.size()) == 0);
  }
  return 0;
}
