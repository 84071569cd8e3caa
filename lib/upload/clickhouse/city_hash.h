// CityHash128 in its version 1.0.2, the checksum of ClickHouse's compressed blocks. (Later versions
// of CityHash give other numbers.) Source: Pike and Alakuijala, "CityHash", 2011; ClickHouse,
// "Compressed block" of the native protocol.
#pragma once

#include <cstdint>
#include <string_view>

namespace forebay::upload {

struct Hash128 {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const Hash128&) const = default;
};

// Threads: any.
Hash128 CityHash128(std::string_view bytes);

}  // namespace forebay::upload
