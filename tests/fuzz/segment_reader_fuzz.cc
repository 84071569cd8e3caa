// DEPS: wal io
// Segment files of any content. The first input byte says what is done to the rest: read as it is,
// or taken as payloads of a good segment between whose frames the input is put, none of which may
// be lost.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "io/memory_file_system.h"
#include "wal/segment_reader.h"
#include "wal/segment_writer.h"

namespace {

using forebay::wal::SegmentReader;
using forebay::wal::SegmentReaderOptions;

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
  // Input that holds a frame of its own which reaches over the good one and has a right CRC is a
  // block too, but the fuzzer would have to invent that CRC.
  const std::string bytes = good + std::string(input) + good.substr(8);
  Require(ReadAll(bytes, {}, "a good block of some bytes, good, good") >= 2);
  return 0;
}
