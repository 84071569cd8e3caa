// Sealed generations of the payload, as the steps behind the seal read them: one generation of 8
// samples per series, or 8 of one. Either way a table's batch has 4000 rows.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bench/floors.h"
#include "bench/pipeline.h"

namespace forebay::bench {

inline constexpr uint64_t kRounds = 8;

struct Sealed {
  explicit Sealed(uint64_t samples_per_generation) : sealer(pipeline.NewSealer()) {
    for (uint64_t first = 0; first < kRounds; first += samples_per_generation) {
      contents.push_back(pipeline.Fill(payload, first, samples_per_generation));
      segments.push_back(Must(sealer.Seal(contents.size(), 1, contents.back())));
    }
    std::map<std::string, std::vector<wal::SegmentInfo>> tables;
    for (const auto& generation : segments) {
      for (const wal::SegmentInfo& segment : generation) {
        rows += segment.rows;
        tables[segment.name.table].push_back(segment);
        files.push_back(std::make_unique<KnownSegment>(
            pipeline.fs, io::JoinPath(pipeline.segments_directory(), segment.file_name)));
        file_bytes += files.back()->bytes.size();
        decoded_bytes += files.back()->decoded_bytes;
      }
    }
    Expect(rows == kRounds * payload.samples(), "rows are missing");
    for (auto& [name, batch] : tables) batches.push_back(std::move(batch));
    Expect(batches.size() == payload.options().tables, "tables are missing");
  }

  // Reads all files as little as can be: one copy, checksum, snappy. False: bytes are missing.
  bool ReadFlat() {
    uint64_t bytes = 0;
    for (const auto& file : files) bytes += file->ReadFlat(file_buffer, decoded_buffer);
    return bytes == decoded_bytes;
  }

  Payload payload;
  Pipeline pipeline;
  wal::Sealer sealer;
  std::vector<wal::GenerationContents> contents;
  std::vector<std::vector<wal::SegmentInfo>> segments;  // by generation
  std::vector<std::vector<wal::SegmentInfo>> batches;   // by table, in time order
  std::vector<std::unique_ptr<KnownSegment>> files;
  uint64_t rows = 0;
  uint64_t file_bytes = 0;
  uint64_t decoded_bytes = 0;
  std::vector<char> file_buffer;  // of the floors
  std::vector<char> decoded_buffer;
};

// One of the two; they are kept.
inline const std::shared_ptr<Sealed>& SealedOf(uint64_t samples_per_generation) {
  static const auto whole = std::make_shared<Sealed>(kRounds);
  if (samples_per_generation == kRounds) return whole;
  static const auto single = std::make_shared<Sealed>(1);
  return single;
}

}  // namespace forebay::bench
