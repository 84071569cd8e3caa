// Turns the contents of a generation into segment files: ordered by table, within a table by
// SeriesId, within a series in arrival order. Pure work on one generation; when it runs and what
// follows is the Wal's business.
//
// Cost: two passes over the samples (count, scatter); only series that the seal before did not have
// are sorted. Memory: 16 B a sample and 44 B a series in use, beside the contents.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "io/file_system.h"
#include "table/series_table.h"
#include "table/table_registry.h"
#include "wal/generation.h"
#include "wal/segment_store.h"
#include "wal/segment_writer.h"
#include "wal/series_block.h"

namespace forebay::wal {

// Reuses its memory. Threads: one at a time.
class Sealer {
 public:
  Sealer(io::FileSystem& fs, const Clock& clock, table::SeriesTable& series,
         const table::TableRegistry& tables, std::string directory);

  // Writes one segment per table, named by `generation_id`, and syncs files and directory. On an
  // error the segments written so far are scrap (their journal is still there) and are removed as
  // far as possible; contents are untouched. Marks the series in use. Durable: when it returns OK.
  Result<std::vector<SegmentInfo>> Seal(uint64_t generation_id, uint64_t sequence,
                                        const GenerationContents& contents);
  // Gives large scratch memory back.
  void Trim();

 private:
  // A series that has samples in the generation.
  struct Active {
    table::TableId table;
    table::SeriesRef ref;
    int64_t series_id;
  };

  // What of a table goes into one segment.
  struct TableParts {
    std::span<const Active> series;
    const TextColumn* text = nullptr;
    const PeerColumn* peers = nullptr;
    std::string_view header_line;  // of series and text
  };

  struct OpenSegment {
    SegmentInfo info;
    std::unique_ptr<io::File> file;
  };

  void CountSamples(const GenerationContents& contents);
  void Order(uint64_t sequence);
  size_t KeepOrder(uint64_t sequence);
  void Scatter(const GenerationContents& contents);
  Result<std::vector<SegmentInfo>> WriteAll(uint64_t generation_id,
                                            const GenerationContents& contents);
  Result<SegmentInfo> WriteSegment(SegmentName name, const TableParts& parts);
  Status WritePeers(const PeerColumn& column);
  Status WriteSeries(std::span<const Active> series, std::string_view header_line);
  Status WriteText(const TextColumn& column, std::string_view header_line);
  Status FlushBlock(std::string_view header_line);
  Result<OpenSegment> Open(SegmentName name);
  Result<SegmentInfo> Close(OpenSegment segment);
  Status Sync(const std::vector<SegmentInfo>& segments);
  void RemoveScrap(uint64_t generation_id);
  SegmentName NameOf(table::TableId table, uint64_t generation_id) const;

  io::FileSystem& fs_;
  const Clock& clock_;
  table::SeriesTable& series_;
  const table::TableRegistry& tables_;
  const std::string directory_;

  SeriesBlockEncoder encoder_;
  SegmentWriter writer_;
  std::vector<uint32_t> counts_;         // by ref; zero between calls
  std::vector<uint32_t> positions_;      // by ref: where its next sample goes
  std::vector<table::SeriesRef> found_;  // in use, as they came
  std::vector<Active> active_;           // in use, ordered; between calls those of the last seal
  std::vector<Active> merged_;
  std::vector<int64_t> timestamps_;  // ordered
  std::vector<uint64_t> values_;     // ordered
};

}  // namespace forebay::wal
