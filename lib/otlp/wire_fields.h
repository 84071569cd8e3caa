// Readings of protobuf fields that only OTLP has.
#pragma once

#include <cstdint>
#include <cstring>

#include "receive/wire_reader.h"

namespace forebay::otlp {

// The value of a fixed32 field.
inline uint32_t Fixed32Field(receive::WireReader& reader) {
  if (!reader.Is(receive::WireType::kFixed32)) return static_cast<uint32_t>(reader.Fail());
  const char* at = reader.position();
  reader.Skip();
  if (reader.failed()) return 0;
  uint32_t value = 0;
  std::memcpy(&value, at, sizeof value);
  if constexpr (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) value = __builtin_bswap32(value);
  return value;
}

}  // namespace forebay::otlp
