// UTF-8 validation of names and values from outside.
#pragma once

#include <cstddef>
#include <string_view>

namespace forebay::table {

// True when the bytes are well-formed UTF-8 (Unicode 15, table 3-7: no overlong forms, no
// surrogates, nothing above U+10FFFF). Empty is valid. ASCII is tested by words. Threads: any.
bool IsValidUtf8(std::string_view text);

// Bytes of the well-formed sequence at the beginning of the text; 0: there is none. Shape: not
// empty. Threads: any.
size_t Utf8SequenceBytes(std::string_view text);

}  // namespace forebay::table
