#include "upload/clickhouse/row_chunk.h"

#include <algorithm>

#include "base/check.h"
#include "table/json_text.h"

namespace forebay::upload {
namespace {

constexpr size_t kMaxLengthBytes = 5;

// LEB128, as Native has lengths.
void AppendLength(size_t length, ByteBuffer& out) {
  char* at = out.Ensure(kMaxLengthBytes);
  while (length >= 0x80) {
    *at++ = static_cast<char>(length | 0x80);
    length >>= 7;
  }
  *at++ = static_cast<char>(length);
  out.SetEnd(at);
}

// The text behind its length.
std::string_view WithoutLength(std::string_view entry) {
  size_t bytes = 0;
  while ((static_cast<unsigned char>(entry[bytes]) & 0x80) != 0) ++bytes;
  return entry.substr(bytes + 1);
}

}  // namespace

bool IsTextType(table::ColumnType type) {
  switch (type) {
    case table::ColumnType::kString:
    case table::ColumnType::kDynamic:
    case table::ColumnType::kGuid:
    case table::ColumnType::kDecimal:
    case table::ColumnType::kTimespan:
      return true;
    case table::ColumnType::kBool:
    case table::ColumnType::kDatetime:
    case table::ColumnType::kInt:
    case table::ColumnType::kLong:
    case table::ColumnType::kReal:
      return false;
  }
  return true;
}

RowChunk::RowChunk(const table::Schema& schema)
    : schema_(schema), columns_(schema.columns().size()) {
  Clear();
}

void RowChunk::Clear() {
  for (Column& column : columns_) {
    column.numbers.clear();
    column.texts.clear();
    column.starts.assign(1, 0);
    column.picks.clear();
  }
  numbers_.clear();
  wire_bytes_ = 0;
}

uint32_t RowChunk::Pick(Column& column, std::string_view text) {
  const auto count = static_cast<uint32_t>(column.starts.size() - 1);
  if (count > 0 && WithoutLength(column.text(count - 1)) == text) return count - 1;
  AppendLength(text.size(), column.texts);
  column.texts.Append(text);
  column.starts.push_back(static_cast<uint32_t>(column.texts.size()));
  return count;
}

uint64_t RowChunk::WireBytesOf(const SeriesRun& run) {
  uint64_t bytes = 40;
  for (const table::Label& label : run.labels) bytes += label.name.size() + label.value.size() + 6;
  for (const std::string_view value : run.lifted) bytes += value.size() + 1;
  return bytes;
}

void RowChunk::AppendSeries(const SeriesRun& run, size_t from, size_t count, uint32_t number) {
  FOREBAY_CHECK(columns_.size() >= table::kMetricsColumns + run.lifted.size());
  Column& time = columns_[0];
  Column& series = columns_[1];
  Column& labels = columns_[2];
  Column& value = columns_[3];
  const auto times = run.timestamps.subspan(from, count);
  const auto values = run.values.subspan(from, count);
  time.numbers.insert(time.numbers.end(), times.begin(), times.end());
  series.numbers.insert(series.numbers.end(), count, static_cast<uint64_t>(run.series_id));
  value.numbers.insert(value.numbers.end(), values.begin(), values.end());
  labels_.clear();
  table::AppendLabelsJson(run.labels, labels_);
  uint64_t bytes = labels_.size() + 40;
  labels.picks.insert(labels.picks.end(), count, Pick(labels, labels_.view()));
  for (size_t i = table::kMetricsColumns; i < columns_.size(); ++i) {
    const size_t lifted = i - table::kMetricsColumns;
    const std::string_view text = lifted < run.lifted.size() ? run.lifted[lifted] : "";
    columns_[i].picks.insert(columns_[i].picks.end(), count, Pick(columns_[i], text));
    bytes += text.size() + 1;
  }
  for (size_t i = 0; i < count; ++i) numbers_.push_back(number + static_cast<uint32_t>(i));
  wire_bytes_ += bytes * count;
}

void RowChunk::AppendText(const std::vector<TextField>& fields, uint32_t number) {
  FOREBAY_CHECK(fields.size() == columns_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (IsTextType(schema_.columns()[i].type)) {
      columns_[i].picks.push_back(Pick(columns_[i], fields[i].text));
      wire_bytes_ += fields[i].text.size() + 1;
    } else {
      columns_[i].numbers.push_back(fields[i].number);
      wire_bytes_ += sizeof(uint64_t);
    }
  }
  numbers_.push_back(number);
  wire_bytes_ += 12;
}

}  // namespace forebay::upload
