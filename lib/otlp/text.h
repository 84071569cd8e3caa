// The texts that rows of log records and spans are made of: times in nanoseconds, ids in hex, bytes
// in base64, strings as CSV fields or inside JSON. Place: under the row writers.
// Texts from outside need not be UTF-8: what is not becomes U+FFFD, and NUL too where JSON cannot
// escape it; both are counted. Limits: kMaxValueBytes of a field, more is cut (value_writer.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/byte_buffer.h"

namespace forebay::otlp {

// Azure Data Explorer makes null of longer strings and dynamics.
inline constexpr size_t kMaxValueBytes = 1U << 20;
// Stands at the end of what was cut.
inline constexpr std::string_view kCutMarker = " [cut by forebay]";

struct TextCounts {
  uint64_t cut = 0;       // values that were too long
  uint64_t repaired = 0;  // strings with bytes that are no UTF-8, or NUL
};

// Longest text of TimeWriter.
inline constexpr size_t kMaxTimeChars = 30;

// Writes times as RFC 3339 in UTC with nanoseconds, without trailing zeros. Threads: one at a time.
class TimeWriter {
 public:
  // `out` has kMaxTimeChars; returns the end. nanos: since 1970; at most the year 2554.
  char* Write(uint64_t nanos, char* out);
  // The same; nothing for 0, which says that there is no time.
  void Append(uint64_t nanos, ByteBuffer& out);

 private:
  uint64_t day_ = UINT64_MAX;  // whose date stands in date_
  char date_[11] = {};         // "2026-11-01T"
};

// Lower-case hex. Threads: any, as all that follow.
void AppendHex(std::string_view bytes, ByteBuffer& out);
void AppendBase64(std::string_view bytes, ByteBuffer& out);
void AppendUnsigned(uint64_t number, ByteBuffer& out);
void AppendSigned(int64_t number, ByteBuffer& out);

// Copies up to the first byte that JSON within CSV does not have as it is; returns how many bytes.
// Shape: `to` has text.size() bytes, of which more than these may be written.
size_t CopyPlain(std::string_view text, char* to);
// The text as it stands between the quotes of a JSON string within a quoted CSV field.
void AppendJsonText(std::string_view text, ByteBuffer& out, TextCounts& counts);
// The text as a CSV field. `scratch`: memory for what has to be repaired.
void AppendStringField(std::string_view text, ByteBuffer& out, ByteBuffer& scratch,
                       TextCounts& counts);

// The longest beginning of at most `bytes` bytes that does not end within a UTF-8 sequence.
std::string_view CutText(std::string_view text, size_t bytes);

}  // namespace forebay::otlp
