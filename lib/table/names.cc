#include "table/names.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>

namespace forebay::table {
namespace {

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsUpper(char c) { return c >= 'A' && c <= 'Z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAlnum(char c) { return IsLower(c) || IsUpper(c) || IsDigit(c); }
char ToUpper(char c) { return IsLower(c) ? static_cast<char>(c - 'a' + 'A') : c; }

}  // namespace

bool IsIdentifier(std::string_view text) {
  return !text.empty() && text.size() <= kMaxIdentifierChars &&
         std::all_of(text.begin(), text.end(), IsAlnum);
}

std::string CleanIdentifier(std::string_view text) {
  std::string clean;
  clean.reserve(std::min(text.size(), kMaxIdentifierChars));
  for (const char c : text) {
    if (clean.size() == kMaxIdentifierChars) break;
    if (IsAlnum(c)) clean.push_back(c);
  }
  return clean;
}

std::string ProperCase(std::string_view text) {
  std::string proper;
  proper.reserve(std::min(text.size(), kMaxIdentifierChars));
  bool raise = true;  // the first character and what directly follows a dropped one
  for (const char c : text) {
    if (proper.size() == kMaxIdentifierChars) break;
    if (IsAlnum(c)) proper.push_back(raise ? ToUpper(c) : c);
    raise = !IsAlnum(c);
  }
  return proper;
}

Result<std::string> TableName(std::string_view metric) {
  std::string name = ProperCase(metric);
  if (name.empty()) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("metric name \"{}\" has no ASCII letter or digit to name a table with",
                             metric));
  }
  return name;
}

Result<std::string> DatabaseName(std::string_view text) {
  std::string name = CleanIdentifier(text);
  if (name.empty()) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("database name \"{}\" has no ASCII letter or digit", text));
  }
  return name;
}

std::string Base36(uint64_t value) {
  constexpr std::string_view kDigits = "0123456789abcdefghijklmnopqrstuvwxyz";
  char text[13];  // 36^13 > 2^64
  char* begin = std::end(text);
  do {
    *--begin = kDigits[value % 36];
    value /= 36;
  } while (value != 0);
  return std::string(begin, std::end(text));
}

}  // namespace forebay::table
