// What the floors of the steps are made of: requests and segments whose parts are known beforehand,
// and the least data structures.
#pragma once

#include <snappy.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <protozero/pbf_reader.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "bench/pipeline.h"
#include "io/crc.h"
#include "wal/segment_reader.h"

namespace forebay::bench {

// A growable byte buffer of the size that is needed, whose pages are there.
inline std::vector<char> ResidentBuffer(size_t bytes) { return std::vector<char>(bytes, '\1'); }

// Where the parts of a series of a request stand.
struct KnownSeries {
  std::string_view identity;   // 1.0: the label fields; 2.0: the label refs
  std::vector<uint32_t> refs;  // 2.0
  uint32_t first_sample = 0;
  uint32_t samples = 0;
};

// A request whose message need not be read any more. Views into the message.
struct KnownRequest {
  std::vector<KnownSeries> series;
  std::vector<std::string_view> symbols;  // 2.0
  std::vector<int64_t> timestamps;
  std::vector<uint64_t> values;

  KnownRequest(wal::RecordKind kind, std::string_view message) {
    const bool version_2 = kind == wal::RecordKind::kRemoteWrite2;
    protozero::pbf_reader request(message.data(), message.size());
    while (request.next()) {
      if (request.tag() == (version_2 ? 5U : 1U)) {
        AddSeries(version_2, request.get_view());
      } else if (version_2 && request.tag() == 4U) {
        const auto symbol = request.get_view();
        symbols.emplace_back(symbol.data(), symbol.size());
      } else {
        request.skip();
      }
    }
  }

 private:
  void AddSeries(bool version_2, protozero::data_view message) {
    KnownSeries known;
    known.first_sample = static_cast<uint32_t>(timestamps.size());
    const char* identity_end = nullptr;
    protozero::pbf_reader reader(message);
    while (true) {
      const char* const field = reader.data().data();
      if (!reader.next()) break;
      if (reader.tag() == 1U) {
        if (version_2) {
          for (const uint32_t ref : reader.get_packed_uint32()) known.refs.push_back(ref);
        } else {
          reader.skip();
        }
        if (known.identity.empty()) known.identity = {field, 1};
        identity_end = reader.data().data();
      } else if (reader.tag() == 2U) {
        AddSample(reader.get_view());
      } else {
        reader.skip();
      }
    }
    known.identity = {known.identity.data(),
                      static_cast<size_t>(identity_end - known.identity.data())};
    known.samples = static_cast<uint32_t>(timestamps.size()) - known.first_sample;
    series.push_back(std::move(known));
  }
  void AddSample(protozero::data_view message) {
    uint64_t value = 0;
    int64_t timestamp = 0;
    protozero::pbf_reader reader(message);
    while (reader.next()) {
      switch (reader.tag()) {
        case 1:
          value = std::bit_cast<uint64_t>(reader.get_double());
          break;
        case 2:
          timestamp = reader.get_int64();
          break;
        default:
          reader.skip();
      }
    }
    values.push_back(value);
    timestamps.push_back(timestamp);
  }
};

inline uint64_t HashOf(std::string_view bytes) {
  return XXH3_128bits_withSeed(bytes.data(), bytes.size(), 7).low64;
}

// Hashes to numbers, in a flat array: one cache line a look-up.
class FlatTable {
 public:
  explicit FlatTable(size_t capacity) : slots_(std::bit_ceil(capacity)) {}
  void Clear() { std::fill(slots_.begin(), slots_.end(), Slot{}); }
  void Insert(uint64_t hash, uint32_t number) {
    size_t i = hash & (slots_.size() - 1);
    while (slots_[i].number != kNone) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = {hash, number};
  }
  void Prefetch(uint64_t hash) const { __builtin_prefetch(&slots_[hash & (slots_.size() - 1)]); }
  uint32_t Find(uint64_t hash) const {
    for (size_t i = hash & (slots_.size() - 1);; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i].number == kNone || slots_[i].hash == hash) return slots_[i].number;
    }
  }
  static constexpr uint32_t kNone = 0xffff'ffff;

 private:
  struct Slot {
    uint64_t hash = 0;
    uint32_t number = kNone;
  };
  std::vector<Slot> slots_;
};

// What decoding makes of samples.
struct FlatColumns {
  explicit FlatColumns(size_t samples) : refs(samples), timestamps(samples), values(samples) {}
  std::vector<uint32_t> refs;
  std::vector<int64_t> timestamps;
  std::vector<uint64_t> values;
};

// A segment file in memory, and where its frames stand.
struct KnownSegment {
  std::string bytes;
  std::vector<std::span<const char>> blocks;  // S2, without the frames' heads
  uint64_t rows = 0;
  uint64_t decoded_bytes = 0;

  KnownSegment(io::FileSystem& fs, const std::string& path)
      : bytes(Must(io::ReadFile(fs, path, 1U << 30))) {
    auto reader = Must(wal::SegmentReader::OpenBytes(bytes, {.decode = false}));
    while (const auto block = Must(reader->Next())) {
      blocks.push_back(std::span<const char>(bytes).subspan(
          block->offset + wal::kFrameHeaderBytes, block->frame.size() - wal::kFrameHeaderBytes));
      rows += block->header.row_count;
      decoded_bytes += block->decoded_bytes;
    }
    Expect(reader->damage().empty(), "a segment is damaged");
  }
  KnownSegment(KnownSegment&&) = delete;  // the blocks point into the bytes

  // Reads it as little as can be: a copy, its checksum, the blocks. Returns decoded bytes.
  uint64_t ReadFlat(std::vector<char>& file, std::vector<char>& decoded) const {
    if (file.size() < bytes.size()) file.resize(bytes.size());
    std::memcpy(file.data(), bytes.data(), bytes.size());
    checksum = io::Crc32Ieee({file.data(), bytes.size()});
    return Uncompress(decoded);
  }
  // The blocks by snappy's own decoder.
  uint64_t Uncompress(std::vector<char>& decoded) const {
    uint64_t sum = 0;
    for (const std::span<const char> block : blocks) {
      size_t size = 0;
      if (!snappy::GetUncompressedLength(block.data(), block.size(), &size)) return 0;
      if (decoded.size() < size) decoded.resize(size);
      if (!snappy::RawUncompress(block.data(), block.size(), decoded.data())) return 0;
      sum += size;
    }
    return sum;
  }
  mutable uint32_t checksum = 0;  // so that it is not left out
};

}  // namespace forebay::bench
