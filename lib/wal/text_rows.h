// Rows of text blocks (version 1 and older), which other writers may leave uncounted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace forebay::wal {

// Rows of CSV text: line ends outside of quotes; a last line without its end is one too.
uint32_t CountTextRows(std::string_view text);

// The length of the header line at the begin of the text with its end; 0 when it does not begin
// with one.
size_t HeaderLineBytes(std::string_view text);

}  // namespace forebay::wal
