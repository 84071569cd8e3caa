// Metrics rows as CSV (RFC 4180 with LF): what version 1 blocks hold and what sinks that take text
// get.
//   2026-11-01T00:00:00.123Z,<SeriesId>,"{""k"":""v"",...}",<value>[,lifted...]\n
// The renderer is the inner loop of an upload: all that a series' rows share is made once per
// series, and a row is a time, a copy, a number and a copy. Exact layout: docs/format/rows.md.
// Limits: none here; a row is as long as its labels (config::Limits bounds them).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/byte_buffer.h"
#include "base/time.h"
#include "table/number_text.h"

namespace forebay::table {

// Appends one CSV field: as it is, or in quotes with quotes doubled when it holds a quote, comma,
// CR or LF or begins with a blank or tab. Threads: any.
void AppendCsvField(std::string_view text, ByteBuffer& out);

// Appends ",first,second..." for the lifted columns; nothing for none. An absent label is an empty
// field.
void AppendLiftedFields(std::span<const std::string_view> values, ByteBuffer& out);

// At least the bytes of a row with LF, without rendering it. labels_field and lifted_fields are
// the lengths of what AppendLabelsJsonCsv and AppendLiftedFields wrote.
inline size_t RowBytesUpperBound(size_t labels_field, size_t lifted_fields, uint64_t value_bits) {
  constexpr size_t kSeriesIdChars = 20;  // -9223372036854775808
  constexpr size_t kSeparators = 4;      // three commas and LF
  return kMaxRfc3339Chars + kSeriesIdChars + kSeparators + labels_field + lifted_fields +
         DoubleCharsUpperBound(value_bits);
}

// Renders rows of one series after another. Does not allocate once its buffers have grown to the
// longest series. Threads: one at a time.
class SeriesRowRenderer {
 public:
  // Starts a series. labels_field: the quoted field of AppendLabelsJsonCsv. lifted_fields: as
  // AppendLiftedFields wrote them, with the leading comma, or empty. Both are copied.
  void Begin(int64_t series_id, std::string_view labels_field, std::string_view lifted_fields);

  // Appends one row of the series begun last. The time is clamped to the years 0000 to 9999, as
  // FormatRfc3339 does.
  void Append(UnixMillis time, uint64_t value_bits, ByteBuffer& out);

 private:
  char* WriteTime(UnixMillis time, char* out);
  void SetDay(int64_t millis);

  ByteBuffer middle_;  // `,<SeriesId>,"{...}",`
  ByteBuffer suffix_;  // `[,lifted...]\n`
  // The day whose date stands in date_, as [begin, begin + one day); empty at first.
  int64_t day_begin_ = INT64_MAX;
  char date_[16] = {};  // `2026-11-01T`
};

}  // namespace forebay::table
