// Rows of one insert as columns: numbers by value, texts as a dictionary, so that the labels of a
// series are held once. 8 B per number, 4 B per text and 4 B for its number make a row about 32 B
// of memory. Limits: the sink's (config insert_max_rows, insert_max_bytes).
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "base/byte_buffer.h"
#include "base/result.h"
#include "table/schema.h"
#include "upload/batch_reader.h"
#include "upload/clickhouse/text_rows.h"

namespace forebay::upload {

// True for the types that a chunk holds as text: string, dynamic, guid, decimal, timespan.
bool IsTextType(table::ColumnType type);

// Threads: one at a time; memory is kept by Clear.
class RowChunk {
 public:
  // One column of the schema; which half is filled its type says.
  struct Column {
    std::vector<uint64_t> numbers;  // datetime: Unix ms; real: IEEE 754 bits; others: the integer
    ByteBuffer texts;               // each as in Native: LEB128 length and bytes
    std::vector<uint32_t> starts;   // of the texts, and the end of the last
    std::vector<uint32_t> picks;    // which text, by row
    std::string_view text(uint32_t pick) const {
      return texts.view().substr(starts[pick], starts[pick + 1] - starts[pick]);
    }
  };

  // The schema is copied.
  explicit RowChunk(const table::Schema& schema);
  void Clear();

  // Samples [from, from + count) of the run; they get the numbers from `number` on. The schema's
  // first columns are those of metrics. Lifted values beyond the schema's columns are an error that
  // the caller has looked for.
  void AppendSeries(const SeriesRun& run, size_t from, size_t count, uint32_t number);
  // A parsed text row, a field for each column.
  void AppendText(const std::vector<TextField>& fields, uint32_t number);

  size_t rows() const { return numbers_.size(); }
  // Of all rows in Native, about: what the server will hold.
  uint64_t wire_bytes() const { return wire_bytes_; }
  // Of a sample of this series beside its share of numbers; to ask before AppendSeries.
  static uint64_t WireBytesOf(const SeriesRun& run);

  const std::vector<Column>& columns() const { return columns_; }
  const table::Schema& schema() const { return schema_; }
  // The row's number within its batch.
  const std::vector<uint32_t>& numbers() const { return numbers_; }

 private:
  // The pick of a text; the one before is looked at first.
  static uint32_t Pick(Column& column, std::string_view text);

  const table::Schema schema_;
  std::vector<Column> columns_;
  std::vector<uint32_t> numbers_;
  uint64_t wire_bytes_ = 0;
  ByteBuffer labels_;
};

}  // namespace forebay::upload
