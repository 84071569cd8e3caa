// Names of tables, databases and columns: ASCII letters and digits, at most 1024 of them, never
// empty. The rules are adx-mon's, so that a table has the same name whoever writes it.
// Source: docs/format/rows.md, Names; adx-mon, transform/. Threads: any, for all functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace forebay::table {

inline constexpr size_t kMaxIdentifierChars = 1024;

// 1 to 1024 ASCII letters and digits.
bool IsIdentifier(std::string_view text);

// Without everything that is not an ASCII letter or digit, cut at 1024. May come out empty.
std::string CleanIdentifier(std::string_view text);

// The first character upper-cased; a character that is not a letter or digit is dropped and a
// directly following a-z upper-cased: http_requests_total -> HttpRequestsTotal, a::b -> AB,
// _x -> X, a_1b -> A1b. Cut at 1024. May come out empty.
std::string ProperCase(std::string_view text);

// The table of a metric: ProperCase.
// Errors: kInvalidArgument when nothing of the name is left (only symbols or non-ASCII); the series
// is refused with this message, since a table needs a name and inventing one would mix metrics.
Result<std::string> TableName(std::string_view metric);

// The database of a label or tenant value: CleanIdentifier. Errors: kInvalidArgument when empty.
Result<std::string> DatabaseName(std::string_view text);

// Digits 0-9a-z, no leading zeros, "0" for 0; at most 13 characters. As in segment file names.
std::string Base36(uint64_t value);

}  // namespace forebay::table
