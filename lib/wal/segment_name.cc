// Parsing and formatting of segment file names.
#include "wal/segment_name.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace forebay::wal {
namespace {

constexpr std::string_view kExtension = ".wal";

// Not isalnum: that asks the locale.
bool IsLetterOrDigit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool IsField(std::string_view field) {
  return !field.empty() && std::all_of(field.begin(), field.end(), IsLetterOrDigit);
}

// The name of a sender may be anything: it goes into messages shortened and without control
// characters.
Error Invalid(std::string_view name, std::string_view why) {
  std::string shown(name.substr(0, 100));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return Error(ErrorCode::kInvalidArgument, fmt::format("segment name '{}': {}", shown, why));
}

}  // namespace

Result<SegmentName> ParseSegmentName(std::string_view file_name) {
  if (file_name.size() > kMaxSegmentNameBytes) return Invalid(file_name, "too long");
  if (!file_name.ends_with(kExtension)) return Invalid(file_name, "does not end in .wal");
  std::string_view rest = file_name.substr(0, file_name.size() - kExtension.size());
  std::array<std::string_view, 4> fields;
  size_t count = 0;
  while (true) {
    if (count == fields.size()) return Invalid(file_name, "more than four fields");
    const size_t end = rest.find('_');
    fields[count++] = rest.substr(0, end);
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  if (count < 3) return Invalid(file_name, "fewer than three fields");
  for (size_t i = 0; i < count; ++i) {
    if (!IsField(fields[i])) return Invalid(file_name, "a field is not letters and digits");
  }
  SegmentName name{.database = std::string(fields[0]),
                   .table = std::string(fields[1]),
                   .schema_hash = count == 4 ? std::string(fields[2]) : std::string(),
                   .id = 0};
  const std::string_view id = fields[count - 1];
  const auto parsed = std::from_chars(id.data(), id.data() + id.size(), name.id, 16);
  if (parsed.ec != std::errc() || parsed.ptr != id.data() + id.size()) {
    return Invalid(file_name, "the id is not 64 bits of hex");
  }
  return name;
}

Result<std::string> FormatSegmentName(const SegmentName& name) {
  if (!IsField(name.database)) return Invalid(name.database, "database is not letters and digits");
  if (!IsField(name.table)) return Invalid(name.table, "table is not letters and digits");
  if (!name.schema_hash.empty() && !IsField(name.schema_hash)) {
    return Invalid(name.schema_hash, "schema hash is not letters and digits");
  }
  std::string text = fmt::format("{}_{:x}{}", SegmentKey(name), name.id, kExtension);
  if (text.size() > kMaxSegmentNameBytes) return Invalid(text, "too long");
  return text;
}

std::string SegmentKey(const SegmentName& name) {
  std::string key = name.database;
  key += '_';
  key += name.table;
  if (!name.schema_hash.empty()) {
    key += '_';
    key += name.schema_hash;
  }
  return key;
}

}  // namespace forebay::wal
