#include "table/csv_row.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "table/json_text.h"

namespace forebay::table {
namespace {

constexpr int64_t kMillisPerDay = 86'400'000;
constexpr size_t kMaxSeriesIdChars = 20;

// "00" to "99".
constexpr std::array<char, 200> kTwoDigits = [] {
  std::array<char, 200> digits{};
  for (size_t i = 0; i < 100; ++i) {
    digits[2 * i] = static_cast<char>('0' + i / 10);
    digits[2 * i + 1] = static_cast<char>('0' + i % 10);
  }
  return digits;
}();

char* PutTwoDigits(uint32_t value, char* out) {
  std::memcpy(out, &kTwoDigits[size_t{2} * value], 2);
  return out + 2;
}

size_t DecimalChars(int64_t number) {
  auto rest = static_cast<uint64_t>(number);
  size_t chars = 1;
  if (number < 0) {
    rest = 0 - rest;
    ++chars;
  }
  for (; rest >= 10'000; rest /= 10'000) chars += 4;
  return chars + (rest >= 10) + (rest >= 100) + (rest >= 1000);
}

bool NeedsCsvQuotes(std::string_view text) {
  if (text.empty()) return false;
  return text[0] == ' ' || text[0] == '\t' ||
         text.find_first_of("\",\r\n") != std::string_view::npos;
}

size_t CsvFieldBytes(std::string_view text) {
  if (!NeedsCsvQuotes(text)) return text.size();
  return text.size() + 2 + static_cast<size_t>(std::count(text.begin(), text.end(), '"'));
}

}  // namespace

void AppendCsvField(std::string_view text, ByteBuffer& out) {
  if (!NeedsCsvQuotes(text)) {
    out.Append(text);
    return;
  }
  char* to = out.Ensure(2 * text.size() + 2);
  *to++ = '"';
  for (const char c : text) {
    if (c == '"') *to++ = '"';
    *to++ = c;
  }
  *to++ = '"';
  out.SetEnd(to);
}

void AppendLiftedFields(std::span<const std::string_view> values, ByteBuffer& out) {
  for (const std::string_view value : values) {
    out.push_back(',');
    AppendCsvField(value, out);
  }
}

size_t RowFixedBytes(int64_t series_id, LabelSpan labels,
                     std::span<const std::string_view> lifted) {
  return RowFixedBytes(series_id, LabelsJsonCsvBytes(labels), lifted);
}

size_t RowFixedBytes(int64_t series_id, size_t labels_bytes,
                     std::span<const std::string_view> lifted) {
  constexpr size_t kSeparators = 4;  // three commas and LF
  size_t bytes = kSeparators + DecimalChars(series_id) + labels_bytes;
  for (const std::string_view value : lifted) bytes += 1 + CsvFieldBytes(value);
  return bytes;
}

void SeriesRowRenderer::Begin(int64_t series_id, std::string_view labels_field,
                              std::string_view lifted_fields) {
  middle_.clear();
  char* to = middle_.Ensure(kMaxSeriesIdChars + 3 + labels_field.size());
  *to++ = ',';
  to = std::to_chars(to, to + kMaxSeriesIdChars, series_id).ptr;
  *to++ = ',';
  std::copy(labels_field.begin(), labels_field.end(), to);
  to += labels_field.size();
  *to++ = ',';
  middle_.SetEnd(to);

  suffix_.clear();
  suffix_.Append(lifted_fields);
  suffix_.push_back('\n');
}

void SeriesRowRenderer::Append(UnixMillis time, uint64_t value_bits, ByteBuffer& out) {
  char* to = out.Ensure(kMaxRfc3339Chars + middle_.size() + kMaxDoubleChars + suffix_.size());
  to = WriteTime(time, to);
  std::memcpy(to, middle_.data(), middle_.size());
  to = WriteDouble(value_bits, to + middle_.size());
  std::memcpy(to, suffix_.data(), suffix_.size());
  out.SetEnd(to + suffix_.size());
}

// The same text as FormatRfc3339; the date is made once for all the rows of a day.
char* SeriesRowRenderer::WriteTime(UnixMillis time, char* out) {
  // Unsigned, so that times before day_begin_ are outside as well.
  const uint64_t of_day = static_cast<uint64_t>(time.value) - static_cast<uint64_t>(day_begin_);
  if (of_day >= static_cast<uint64_t>(kMillisPerDay)) [[unlikely]] {
    return WriteTimeOfNewDay(time, out);
  }
  std::memcpy(out, date_, sizeof date_);
  out += sizeof date_;
  const auto millis_of_day = static_cast<uint32_t>(of_day);
  const uint32_t seconds = millis_of_day / 1000;
  const uint32_t minutes = seconds / 60;
  out = PutTwoDigits(minutes / 60, out);
  *out++ = ':';
  out = PutTwoDigits(minutes % 60, out);
  *out++ = ':';
  out = PutTwoDigits(seconds % 60, out);
  const uint32_t millis = millis_of_day % 1000;
  if (millis != 0) {
    *out++ = '.';
    *out++ = static_cast<char>('0' + millis / 100);
    const uint32_t hundredths = millis % 100;
    if (hundredths != 0) {
      out = PutTwoDigits(hundredths, out);
      if (hundredths % 10 == 0) --out;
    }
  }
  *out++ = 'Z';
  return out;
}

// Writes by the slow way and keeps the date. Times that FormatRfc3339 clamps are not kept: their
// day is not the one written.
char* SeriesRowRenderer::WriteTimeOfNewDay(UnixMillis time, char* out) {
  char* end = FormatRfc3339(time, out);
  constexpr int64_t kSafe = 50'000'000'000'000;  // years 386 to 3554: nothing is clamped
  if (time.value > -kSafe && time.value < kSafe) {
    int64_t of_day = time.value % kMillisPerDay;
    if (of_day < 0) of_day += kMillisPerDay;
    day_begin_ = time.value - of_day;
    std::memcpy(date_, out, sizeof date_);
  }
  return end;
}

}  // namespace forebay::table
