// What the first bytes of a block tell of its rows.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "wal/internal/varint.h"
#include "wal/segment_format.h"

namespace forebay::wal::internal {

// Of text the length of the value, of series the second field of the payload
// (docs/format/wal.md, "Series blocks"). Times are not looked for. Shape: value holds at least the
// first kPeekBytes of a value of value_bytes, or all of it.
inline BlockStats PeekRows(const BlockHeader& header, std::span<const char> value,
                           uint32_t value_bytes) {
  BlockStats stats;
  stats.row_bytes = value_bytes;
  if (header.version != kBlockVersionSeries) return stats;
  Cursor cursor(std::string_view(value.data(), value.size()));
  (void)cursor.Byte();
  const uint64_t row_bytes = cursor.Varint();
  if (cursor.ok()) stats.row_bytes = row_bytes;
  return stats;
}

}  // namespace forebay::wal::internal
