#include <algorithm>
#include <bit>

#include "base/check.h"
#include "table/number_text.h"
#include "wal/internal/varint.h"
#include "wal/series_block.h"

namespace forebay::wal {
namespace {

using internal::kMaxVarintBytes;
using internal::PutVarint;
using internal::ZigZag;

constexpr uint64_t kLocalMask = 0xffff'ffff;
constexpr size_t kHeaderBytes = 1 + 6 * kMaxVarintBytes;
constexpr size_t kMaxValueBytes = 1 + 8;

void AppendVarint(ByteBuffer& out, uint64_t value) {
  out.SetEnd(PutVarint(out.Ensure(kMaxVarintBytes), value));
}

// One value as the XOR with its predecessor: a control byte (trailing zero bytes << 4 | bytes that
// follow), then the bytes between the zeros, lowest first. Writes up to 9 bytes at out, and may
// write 8 more.
char* PutXor(char* out, uint64_t difference) {
  if (difference == 0) {
    *out = 0;
    return out + 1;
  }
  const auto leading = static_cast<unsigned>(std::countl_zero(difference)) / 8;
  const auto trailing = static_cast<unsigned>(std::countr_zero(difference)) / 8;
  const unsigned count = 8 - leading - trailing;
  *out++ = static_cast<char>(trailing << 4 | count);
  const uint64_t shifted = difference >> (8 * trailing);
  static_assert(std::endian::native == std::endian::little);
  std::memcpy(out, &shifted, sizeof shifted);
  return out + count;
}

}  // namespace

SeriesBlockEncoder::SeriesBlockEncoder(const table::SeriesTable& series) : series_(series) {
  Reset({});
}

void SeriesBlockEncoder::Reset(std::string_view header_line) {
  ++epoch_;
  header_line_ = header_line;
  symbols_.clear();
  shapes_.clear();
  series_bytes_.clear();
  timestamps_.clear();
  values_.clear();
  symbol_count_ = 0;
  shape_count_ = 0;
  series_count_ = 0;
  lifted_count_ = 0;
  rows_ = 0;
  row_bytes_ = 0;
  min_timestamp_ = INT64_MAX;
  max_timestamp_ = INT64_MIN;
  previous_timestamp_ = 0;
}

size_t SeriesBlockEncoder::payload_bytes() const {
  return symbols_.size() + shapes_.size() + series_bytes_.size() + timestamps_.size() +
         values_.size();
}

uint32_t SeriesBlockEncoder::LocalSymbol(table::SymbolId id) {
  if (id >= symbol_local_.size()) [[unlikely]]
    symbol_local_.resize(series_.symbols().capacity());
  uint64_t& local = symbol_local_[id];
  if (local >> 32 != epoch_) {
    local = epoch_ << 32 | symbol_count_++;
    const std::string_view text = series_.symbols().Text(id);
    AppendVarint(symbols_, text.size());
    symbols_.Append(text);
  }
  return static_cast<uint32_t>(local & kLocalMask);
}

uint32_t SeriesBlockEncoder::LocalShape(table::ShapeId id) {
  if (id >= shape_local_.size()) [[unlikely]]
    shape_local_.resize(series_.shape_capacity());
  uint64_t& local = shape_local_[id];
  if (local >> 32 != epoch_) {
    local = epoch_ << 32 | shape_count_++;
    const std::span<const table::SymbolId> names = series_.ShapeNames(id);
    AppendVarint(shapes_, names.size());
    for (const table::SymbolId name : names) AppendVarint(shapes_, LocalSymbol(name));
  }
  return static_cast<uint32_t>(local & kLocalMask);
}

void SeriesBlockEncoder::Add(table::SeriesRef ref, std::span<const int64_t> timestamps,
                             std::span<const uint64_t> values) {
  FOREBAY_CHECK(!timestamps.empty() && timestamps.size() == values.size());
  const table::SeriesView view = series_.Get(ref);
  const uint32_t shape = LocalShape(view.shape);
  const size_t names = series_.ShapeNames(view.shape).size();
  lifted_count_ = static_cast<uint32_t>(view.values.size() - names);
  for (const table::SymbolId value : view.values) LocalSymbol(value);  // appends the new ones

  char* out = series_bytes_.Ensure(8 + (view.values.size() + 2) * kMaxVarintBytes);
  std::memcpy(out, &view.series_id, 8);
  out = PutVarint(out + 8, shape);
  for (const table::SymbolId value : view.values)
    out = PutVarint(out, symbol_local_[value] & kLocalMask);
  series_bytes_.SetEnd(PutVarint(out, timestamps.size()));

  const auto difference = [](int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
  };
  out = timestamps_.Ensure(timestamps.size() * kMaxVarintBytes);
  out = PutVarint(out, ZigZag(difference(timestamps[0], previous_timestamp_)));
  previous_timestamp_ = timestamps[0];
  int64_t previous = timestamps[0];
  int64_t previous_delta = 0;
  for (size_t i = 1; i < timestamps.size(); ++i) {
    const int64_t delta = difference(timestamps[i], previous);
    out = PutVarint(out, ZigZag(difference(delta, previous_delta)));
    previous = timestamps[i];
    previous_delta = delta;
  }
  timestamps_.SetEnd(out);

  out = values_.Ensure(values.size() * kMaxValueBytes + 8);
  uint64_t previous_value = 0;
  size_t value_chars = 0;
  for (const uint64_t value : values) {
    out = PutXor(out, value ^ previous_value);
    previous_value = value;
    value_chars += table::DoubleCharsUpperBound(value);
  }
  values_.SetEnd(out);

  const auto [least, greatest] = std::minmax_element(timestamps.begin(), timestamps.end());
  min_timestamp_ = std::min(min_timestamp_, *least);
  max_timestamp_ = std::max(max_timestamp_, *greatest);
  row_bytes_ += timestamps.size() * view.row_prefix_bytes + value_chars;
  rows_ += static_cast<uint32_t>(timestamps.size());
  ++series_count_;
}

std::string_view SeriesBlockEncoder::Finish() {
  payload_.clear();
  char* out = payload_.Ensure(kHeaderBytes + header_line_.size());
  *out++ = static_cast<char>(kSeriesBlockLayout);
  out = PutVarint(out, row_bytes_);
  out = PutVarint(out, header_line_.size());
  out = std::copy(header_line_.begin(), header_line_.end(), out);
  out = PutVarint(out, symbol_count_);
  out = PutVarint(out, shape_count_);
  out = PutVarint(out, series_count_);
  payload_.SetEnd(PutVarint(out, lifted_count_));
  payload_.Append(symbols_.view());
  payload_.Append(shapes_.view());
  payload_.Append(series_bytes_.view());
  payload_.Append(timestamps_.view());
  payload_.Append(values_.view());
  return payload_.view();
}

}  // namespace forebay::wal
