#include "wal/text_rows.h"

#include "table/schema.h"

namespace forebay::wal {

uint32_t CountTextRows(std::string_view text) {
  uint32_t rows = 0;
  bool quoted = false;
  for (const char c : text) {
    if (c == '"') quoted = !quoted;
    if (c == '\n' && !quoted) ++rows;
  }
  if (!text.empty() && text.back() != '\n') ++rows;
  return rows;
}

size_t HeaderLineBytes(std::string_view text) {
  const size_t end = text.find('\n');
  const size_t bytes = end == std::string_view::npos ? text.size() : end + 1;
  return table::Schema::ParseHeaderLine(text.substr(0, bytes)).ok() ? bytes : 0;
}

}  // namespace forebay::wal
