#include "wal/internal/varint.h"
#include "wal/series_block.h"

namespace forebay::wal {
namespace {

using internal::Cursor;
using internal::UnZigZag;

constexpr size_t kMinSeriesBytes = 8 + 1 + 1;  // id, shape, rows
constexpr size_t kMinRowBytes = 2;             // one of timestamps, one of values

Status Damaged(const char* what) {
  return Error(ErrorCode::kCorruption, std::string("series block: ") + what);
}

int64_t WrappingAdd(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

}  // namespace

Status SeriesBlockDecoder::Decode(std::string_view payload, uint32_t expected_rows) {
  said_of_series_ = {};  // until all of it is known to be good
  Cursor in(payload);
  if (in.Byte() != kSeriesBlockLayout) return Damaged("unknown layout");
  row_bytes_ = in.Varint();
  const char* const behind_row_bytes = in.at();
  header_line_ = in.Bytes(in.Varint());
  const uint64_t symbol_count = in.Varint();
  const uint64_t shape_count = in.Varint();
  const uint64_t series_count = in.Varint();
  const uint64_t lifted_count = in.Varint();
  if (!in.ok()) return Damaged("header");
  if (symbol_count > in.left() || shape_count > in.left() || lifted_count > in.left() ||
      series_count > in.left() / kMinSeriesBytes || series_count > kMaxBlockSeries ||
      expected_rows > kMaxBlockRows || expected_rows > in.left() / kMinRowBytes) {
    return Damaged("counts beyond the block");
  }
  FOREBAY_RETURN_IF_ERROR(DecodeDictionary(in, symbol_count, shape_count));
  FOREBAY_RETURN_IF_ERROR(
      DecodeSeries(in, series_count, static_cast<uint32_t>(lifted_count), expected_rows));
  const std::string_view said(behind_row_bytes, static_cast<size_t>(in.at() - behind_row_bytes));
  FOREBAY_RETURN_IF_ERROR(DecodeColumns(in, series_));
  said_of_series_ = said;
  return {};
}

Result<bool> SeriesBlockDecoder::DecodeLike(const SeriesBlockDecoder& model,
                                            std::string_view payload, uint32_t expected_rows) {
  Cursor in(payload);
  if (in.Byte() != kSeriesBlockLayout) return false;
  row_bytes_ = in.Varint();
  // What was checked of these bytes there holds here too.
  if (model.said_of_series_.empty() || expected_rows != model.timestamps_.size() ||
      in.Bytes(model.said_of_series_.size()) != model.said_of_series_) {
    return false;
  }
  said_of_series_ = {};
  header_line_ = {};
  symbols_.clear();
  shapes_.clear();
  shape_names_.clear();
  series_values_.clear();
  series_.clear();
  FOREBAY_RETURN_IF_ERROR(DecodeColumns(in, model.series_));
  return true;
}

Status SeriesBlockDecoder::DecodeDictionary(internal::Cursor& in, uint64_t symbol_count,
                                            uint64_t shape_count) {
  symbols_.clear();
  for (uint64_t i = 0; i < symbol_count && in.ok(); ++i) symbols_.push_back(in.Bytes(in.Varint()));
  shapes_.clear();
  shape_names_.clear();
  for (uint64_t i = 0; i < shape_count && in.ok(); ++i) {
    const uint64_t names = in.Varint();
    if (names > in.left()) return Damaged("label names");
    shapes_.push_back({static_cast<uint32_t>(shape_names_.size()), static_cast<uint32_t>(names)});
    for (uint64_t n = 0; n < names; ++n) {
      const uint32_t symbol = in.Varint32();
      if (symbol >= symbols_.size()) return Damaged("label name");
      shape_names_.push_back(symbol);
    }
  }
  return in.ok() ? OkStatus() : Damaged("dictionary");
}

Status SeriesBlockDecoder::DecodeSeries(internal::Cursor& in, uint64_t series_count,
                                        uint32_t lifted_count, uint32_t expected_rows) {
  series_.clear();
  series_values_.clear();
  uint64_t rows = 0;
  for (uint64_t i = 0; i < series_count; ++i) {
    Series series;
    series.series_id = static_cast<int64_t>(in.Fixed64());
    series.shape = in.Varint32();
    if (series.shape >= shapes_.size()) return Damaged("shape");
    series.first_value = static_cast<uint32_t>(series_values_.size());
    series.label_count = shapes_[series.shape].names;
    series.lifted_count = lifted_count;
    const uint64_t values = static_cast<uint64_t>(series.label_count) + lifted_count;
    if (values > in.left()) return Damaged("label values");
    for (uint64_t v = 0; v < values; ++v) {
      const uint32_t symbol = in.Varint32();
      if (symbol >= symbols_.size()) return Damaged("label value");
      series_values_.push_back(symbol);
    }
    const uint64_t count = in.Varint();
    if (count == 0 || count > expected_rows - rows) return Damaged("row count");
    series.first_row = static_cast<uint32_t>(rows);
    series.rows = static_cast<uint32_t>(count);
    rows += count;
    series_.push_back(series);
  }
  if (!in.ok() || rows != expected_rows) return Damaged("rows");
  return {};
}

Status SeriesBlockDecoder::DecodeColumns(internal::Cursor& in, std::span<const Series> all_series) {
  timestamps_.clear();
  int64_t first = 0;
  for (const Series& series : all_series) {
    first = WrappingAdd(first, UnZigZag(in.Varint()));
    int64_t timestamp = first;
    int64_t delta = 0;
    timestamps_.push_back(timestamp);
    for (uint32_t i = 1; i < series.rows; ++i) {
      delta = WrappingAdd(delta, UnZigZag(in.Varint()));
      timestamp = WrappingAdd(timestamp, delta);
      timestamps_.push_back(timestamp);
    }
  }
  values_.clear();
  for (const Series& series : all_series) {
    uint64_t value = 0;
    for (uint32_t i = 0; i < series.rows; ++i) {
      const unsigned control = in.Byte();
      const unsigned count = control & 0xf;
      const unsigned trailing = control >> 4;
      if (count + trailing > 8) return Damaged("value");
      if (count != 0) value ^= in.Fixed(count) << (8 * trailing);
      values_.push_back(value);
    }
  }
  if (!in.ok() || in.left() != 0) return Damaged("columns");
  return {};
}

}  // namespace forebay::wal
