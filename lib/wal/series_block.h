// Version 2 block payloads: series with their samples, by columns. A block stands alone: it holds
// the labels of each of its series once, so blocks of different segments and nodes can be put
// together. Bytes: docs/format/wal.md, "Series blocks". Encoder and decoder do not include each
// other.
//
// Limits: kMaxBlockSeries, kMaxBlockRows; the sealer starts a new block at kTargetBlockBytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_buffer.h"
#include "base/result.h"
#include "table/series_table.h"

namespace forebay::wal {

namespace internal {
class Cursor;
}

inline constexpr uint32_t kMaxBlockSeries = 1U << 20;
inline constexpr uint32_t kMaxBlockRows = 1U << 24;
inline constexpr uint8_t kSeriesBlockLayout = 1;        // its first byte
inline constexpr size_t kTargetBlockBytes = 256 << 10;  // payload, before compression

// Builds payloads, one after the other. Reuses its memory. Threads: one at a time.
class SeriesBlockEncoder {
 public:
  // `series` must outlive the encoder; refs given to Add must be alive until Finish.
  explicit SeriesBlockEncoder(const table::SeriesTable& series);

  // Adds all samples of one series (never empty), oldest first or in arrival order. Shape:
  // timestamps in Unix ms; values as IEEE 754 bits. All series of a block are of one table and come
  // ordered by SeriesId.
  void Add(table::SeriesRef ref, std::span<const int64_t> timestamps,
           std::span<const uint64_t> values);

  bool empty() const { return rows_ == 0; }
  // Bytes that the payload has so far, within a few percent.
  size_t payload_bytes() const;
  uint32_t rows() const { return rows_; }
  uint64_t row_bytes() const { return row_bytes_; }
  int64_t min_timestamp() const { return min_timestamp_; }
  int64_t max_timestamp() const { return max_timestamp_; }

  // The payload (the value of the block, without the block header). Valid until the next Add or
  // Reset.
  std::string_view Finish();
  // Forgets what was added. header_line: of the table's schema (`Name:type,...` and LF), stored in
  // the block so that it can be read without its table; it must live until Finish.
  void Reset(std::string_view header_line);

 private:
  uint32_t LocalSymbol(table::SymbolId id);
  uint32_t LocalShape(table::ShapeId id);

  const table::SeriesTable& series_;
  uint64_t epoch_ = 0;
  std::vector<uint64_t> symbol_local_;  // by SymbolId: epoch << 32 | local index
  std::vector<uint64_t> shape_local_;   // by ShapeId: likewise
  std::string_view header_line_;
  ByteBuffer symbols_;
  ByteBuffer shapes_;
  ByteBuffer series_bytes_;
  ByteBuffer timestamps_;
  ByteBuffer values_;
  ByteBuffer payload_;
  uint32_t symbol_count_ = 0;
  uint32_t shape_count_ = 0;
  uint32_t series_count_ = 0;
  uint32_t rows_ = 0;
  uint64_t row_bytes_ = 0;
  int64_t min_timestamp_ = 0;
  int64_t max_timestamp_ = 0;
  uint32_t lifted_count_ = 0;       // the same for all series of a table
  int64_t previous_timestamp_ = 0;  // first one of the series before
};

// One decoded series block. Views point into the payload that was decoded; arrays are reused by the
// next Decode. Threads: one at a time.
class SeriesBlockDecoder {
 public:
  struct Series {
    int64_t series_id = 0;
    uint32_t shape = 0;        // index for ShapeNames
    uint32_t first_value = 0;  // index into value symbols
    uint32_t label_count = 0;  // labels of the Labels column
    uint32_t lifted_count = 0;
    uint32_t first_row = 0;  // index into timestamps() and values()
    uint32_t rows = 0;
  };

  // Shape: payload as SeriesBlockEncoder::Finish made it; expected_rows from the block header.
  // Every count and reference is checked before use, memory is bounded by the payload's size and
  // expected_rows. Errors: kCorruption.
  Status Decode(std::string_view payload, uint32_t expected_rows);

  // Decode for a block that mostly says of its series what another does, as those of successive
  // generations do: header line, texts, series and their numbers of rows are compared as bytes, and
  // only times and values are decoded. Returns true: they are equal; series() and all texts are
  // those of `model`, which must keep them (here there are none). False: they are not, use Decode.
  // Errors: as Decode's.
  Result<bool> DecodeLike(const SeriesBlockDecoder& model, std::string_view payload,
                          uint32_t expected_rows);

  std::span<const Series> series() const { return series_; }
  std::span<const int64_t> timestamps() const { return timestamps_; }
  std::span<const uint64_t> values() const { return values_; }
  // Of the table's schema: `Name:type,...` and LF.
  std::string_view header_line() const { return header_line_; }
  // Upper bound of the bytes of all rows as CSV.
  uint64_t row_bytes() const { return row_bytes_; }

  // Texts by index; the same text may stand twice.
  std::span<const std::string_view> symbols() const { return symbols_; }
  // Symbols of the names of a series' labels, in order.
  std::span<const uint32_t> NameSymbols(const Series& series) const {
    return std::span(shape_names_).subspan(shapes_[series.shape].first_name, series.label_count);
  }
  // Symbols of the labels' values, and behind them of the lifted values.
  std::span<const uint32_t> ValueSymbols(const Series& series) const {
    return std::span(series_values_)
        .subspan(series.first_value, series.label_count + series.lifted_count);
  }

  std::string_view LabelName(const Series& series, uint32_t i) const {
    return symbols_[NameSymbols(series)[i]];
  }
  std::string_view LabelValue(const Series& series, uint32_t i) const {
    return symbols_[ValueSymbols(series)[i]];
  }
  std::string_view LiftedValue(const Series& series, uint32_t i) const {
    return LabelValue(series, series.label_count + i);
  }

 private:
  struct Shape {
    uint32_t first_name = 0;
    uint32_t names = 0;
  };

  Status DecodeDictionary(internal::Cursor& in, uint64_t symbol_count, uint64_t shape_count);
  Status DecodeSeries(internal::Cursor& in, uint64_t series_count, uint32_t lifted_count,
                      uint32_t expected_rows);
  Status DecodeColumns(internal::Cursor& in, std::span<const Series> all_series);

  std::string_view said_of_series_;  // the payload behind its row bytes, up to the columns
  std::string_view header_line_;
  std::vector<std::string_view> symbols_;
  std::vector<Shape> shapes_;
  std::vector<uint32_t> shape_names_;
  std::vector<uint32_t> series_values_;
  std::vector<Series> series_;
  std::vector<int64_t> timestamps_;
  std::vector<uint64_t> values_;
  uint64_t row_bytes_ = 0;
};

}  // namespace forebay::wal
