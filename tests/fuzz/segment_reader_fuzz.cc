// DEPS: wal io
// Segment files of any content. The first input byte says what is done to the rest: read as it is,
// or taken as payloads of a good segment between whose frames the input is put, none of which may
// be lost.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "io/crc.h"
#include "io/memory_file_system.h"
#include "wal/internal/big_endian.h"
#include "wal/segment_reader.h"
#include "wal/segment_writer.h"

namespace {

using forebay::wal::SegmentReader;
using forebay::wal::SegmentReaderOptions;
using forebay::wal::internal::LoadBigEndian;

void Require(bool condition) {
  if (!condition) std::abort();
}

// Reads all of it. Returns how many blocks had `wanted` as payload.
size_t ReadAll(std::string_view bytes, SegmentReaderOptions options, std::string_view wanted) {
  auto reader = SegmentReader::OpenBytes(std::span(bytes.data(), bytes.size()), options);
  if (!reader.ok()) return 0;
  size_t found = 0;
  uint64_t end = 0;
  while (true) {
    auto block = (*reader)->Next();
    Require(block.ok());
    if (!block->has_value()) break;
    Require((*block)->offset >= end);
    end = (*block)->offset + (*block)->frame.size();
    Require(end <= bytes.size());
    const auto payload = (*block)->payload;
    if (std::string_view(payload.data(), payload.size()) == wanted) ++found;
  }
  for (const auto& range : (*reader)->damage()) {
    Require(range.length > 0 && range.offset + range.length <= bytes.size());
  }
  return found;
}

std::string GoodSegment(std::string_view payload) {
  forebay::io::MemoryFileSystem fs;
  auto file = fs.Open("a", forebay::io::OpenMode::kCreate);
  Require(file.ok());
  forebay::wal::SegmentWriter writer;
  writer.Reset(**file, forebay::UnixMillis{1});
  Require(writer.Append({.version = 1}, {}, std::span(payload.data(), payload.size())).ok());
  Require(writer.Finish().ok());
  return *fs.Contents("a");
}

// Whether a frame that begins in [from, to) has a right CRC and reaches beyond `to`: it hides what
// lies there. The fuzzer is able to find the CRC.
bool FrameReachesOver(std::string_view bytes, size_t from, size_t to) {
  constexpr size_t kHead = forebay::wal::kFrameHeaderBytes;
  for (size_t at = from; at < to && at + kHead < bytes.size(); ++at) {
    const auto length = LoadBigEndian<uint32_t>(bytes.data() + at);
    const std::string_view rest = bytes.substr(at + kHead);
    if (length > rest.size() || at + kHead + length <= to) continue;
    const std::string_view block = rest.substr(0, length);
    if (LoadBigEndian<uint32_t>(bytes.data() + at + 4) == forebay::io::Crc32Ieee(block))
      return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 0) {
    ReadAll(input, {.decode = true, .include_summary = true}, {});
    ReadAll(input, {.decode = false}, {});
    return 0;
  }
  static const std::string good = GoodSegment("a good block of some bytes, good, good");
  const std::string bytes =
      good + std::string(input) + good.substr(forebay::wal::kSegmentMagic.size());
  const size_t second = good.size() + input.size();
  const bool hidden = FrameReachesOver(bytes, good.size(), second);
  Require(ReadAll(bytes, {}, "a good block of some bytes, good, good") >= (hidden ? 1 : 2));
  return 0;
}
