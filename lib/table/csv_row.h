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
#include "table/labels.h"
#include "table/number_text.h"

namespace forebay::table {

// Appends one CSV field: as it is, or in quotes with quotes doubled when it holds a quote, comma,
// CR or LF or begins with a blank or tab. Threads: any.
void AppendCsvField(std::string_view text, ByteBuffer& out);

// Appends ",first,second..." for the lifted columns; nothing for none. An absent label is an empty
// field.
void AppendLiftedFields(std::span<const std::string_view> values, ByteBuffer& out);

// Exactly the bytes of any row of the series but its timestamp and value: commas and LF, SeriesId,
// the Labels field and the lifted fields. Counted once per series. Threads: any.
size_t RowFixedBytes(int64_t series_id, LabelSpan labels, std::span<const std::string_view> lifted);
// The same, when the bytes of the Labels field are known.
size_t RowFixedBytes(int64_t series_id, size_t labels_bytes,
                     std::span<const std::string_view> lifted);

// At least the bytes of a row with LF, without rendering it; at most 25 too many, mostly 4. What
// sealed segments announce as their row bytes. Threads: any.
inline size_t RowBytesUpperBound(size_t row_fixed_bytes, uint64_t value_bits) {
  return kMaxRfc3339Chars + row_fixed_bytes + DoubleCharsUpperBound(value_bits);
}

// Renders rows of one series after another. Does not allocate once its buffers have grown to the
// longest series. Threads: one at a time.
class SeriesRowRenderer {
 public:
  // Starts a series. labels_field: the quoted field of AppendLabelsJsonCsv. lifted_fields: as
  // AppendLiftedFields wrote them, with the leading comma, or empty. Both are copied.
  void Begin(int64_t series_id, std::string_view labels_field, std::string_view lifted_fields);

  // Appends one row of the series begun last; Begin comes first. The time is clamped to the years
  // 0000 to 9999, as FormatRfc3339 does.
  void Append(UnixMillis time, uint64_t value_bits, ByteBuffer& out);

 private:
  char* WriteTime(UnixMillis time, char* out);
  char* WriteTimeOfNewDay(UnixMillis time, char* out);

  ByteBuffer middle_;  // `,<SeriesId>,"{...}",`
  ByteBuffer suffix_;  // `[,lifted...]\n`
  // The UTC day [day_begin_, day_begin_ + one day) whose date stands in date_.
  int64_t day_begin_ = 0;
  char date_[11] = {'1', '9', '7', '0', '-', '0', '1', '-', '0', '1', 'T'};
};

}  // namespace forebay::table
