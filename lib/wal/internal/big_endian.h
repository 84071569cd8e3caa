// Big endian integers, as the segment container has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace forebay::wal::internal {

// Reads sizeof(Integer) bytes at `at`.
template <typename Integer>
Integer LoadBigEndian(const char* at) {
  std::make_unsigned_t<Integer> value = 0;
  for (size_t i = 0; i < sizeof(Integer); ++i) {
    value = static_cast<std::make_unsigned_t<Integer>>(value << 8 | static_cast<uint8_t>(at[i]));
  }
  return static_cast<Integer>(value);
}

// Writes sizeof(Integer) bytes at `at`. Returns the end.
template <typename Integer>
char* StoreBigEndian(char* at, Integer integer) {
  auto value = static_cast<std::make_unsigned_t<Integer>>(integer);
  for (size_t i = sizeof(Integer); i-- > 0;) {
    at[i] = static_cast<char>(value & 0xFF);
    value = static_cast<std::make_unsigned_t<Integer>>(value >> 8);
  }
  return at + sizeof(Integer);
}

}  // namespace forebay::wal::internal
