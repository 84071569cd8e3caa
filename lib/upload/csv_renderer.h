// A batch as CSV text (docs/format/rows.md), in pieces of about kRenderChunkBytes. For every sink
// that takes text.
//
// Cost: the labels of a series once per run, about 50 ns a row. Memory: two chunks and the longest
// row.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_buffer.h"
#include "base/result.h"
#include "table/csv_row.h"
#include "table/schema.h"
#include "upload/batch_reader.h"

namespace forebay::upload {

inline constexpr size_t kRenderChunkBytes = 256U << 10;

struct RenderStats {
  uint64_t rows = 0;
  uint64_t bytes = 0;
  // Values without a number, of series; how they look: table/number_text.h.
  uint64_t stale_markers = 0;
  uint64_t nans = 0;
  uint64_t infinities = 0;
};

// Takes the next piece of text. An error ends the rendering and is returned by it.
using TextConsumer = std::function<Status(std::string_view)>;

// Threads: one at a time; memory is reused by the next batch.
class CsvRenderer {
 public:
  // The line of column names, "Timestamp,SeriesId,Labels,Value\n"; empty without a schema.
  static std::string HeaderLine(const std::optional<table::Schema>& schema);

  // Renders everything that the reader still has. Shape: pieces are whole rows, but for text rows
  // longer than a piece. lifted_count: string columns behind the metrics columns; series with fewer
  // get empty fields. Errors: the consumer's, the reader's; kInvalidArgument (permanent) for series
  // with more lifted values.
  Result<RenderStats> Render(BatchReader& reader, size_t lifted_count,
                             const TextConsumer& consumer);

 private:
  Status RenderSeries(const SeriesRun& run, size_t lifted_count, const TextConsumer& consumer);
  void BeginSeries(const SeriesRun& run, size_t lifted_count);
  Status RenderText(const TextRun& run, const TextConsumer& consumer);
  Status Flush(const TextConsumer& consumer);

  table::SeriesRowRenderer rows_;
  ByteBuffer out_;
  ByteBuffer labels_;
  ByteBuffer lifted_;
  std::vector<std::string_view> padded_;
  RenderStats stats_;
};

}  // namespace forebay::upload
