// JSON text (RFC 8259), plain and inside a quoted CSV field, where every quote stands doubled.
// Quote, backslash and the control characters below 0x20 are escaped (\b \f \n \r \t, else \u00XX);
// every other byte goes through as it is, so valid UTF-8 in gives valid JSON out. The writers do
// not check UTF-8 (the receiver did) and never drop or change a byte of the text. Threads: any,
// each with its own buffer.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/byte_buffer.h"
#include "table/labels.h"

namespace forebay::table {

// Appends "text", quotes included.
void AppendJsonString(std::string_view text, ByteBuffer& out);

// Appends {"name":"value",...} in the order given.
void AppendLabelsJson(LabelSpan labels, ByteBuffer& out);

// The same as one quoted CSV field: "{""name"":""value"",...}". This is the Labels column; which
// labels belong there is decided before (MetricsLayout::Split).
void AppendLabelsJsonCsv(LabelSpan labels, ByteBuffer& out);

// Exactly the bytes that AppendLabelsJsonCsv appends.
size_t LabelsJsonCsvBytes(LabelSpan labels);
// The bytes of a name or value in it, without quotes. LabelsJsonCsvBytes of labels is that of their
// names with empty values, and these of the values.
size_t TextJsonCsvBytes(std::string_view text);

}  // namespace forebay::table
