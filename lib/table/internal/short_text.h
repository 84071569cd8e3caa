// Comparing and copying texts that are mostly shorter than 32 bytes, where the call of memcmp or
// memcpy costs more than its work. By words, of which the last overlaps the one before it: no byte
// beyond the texts is touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace forebay::table::internal {

template <typename Word>
Word LoadWord(const char* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

template <typename Word>
void CopyWord(const char* from, char* to) {
  std::memcpy(to, from, sizeof(Word));
}

inline bool SameBytes(const char* a, const char* b, size_t size) {
  if (size >= 8) {
    if (size > 32) return std::memcmp(a, b, size) == 0;
    uint64_t found = LoadWord<uint64_t>(a + size - 8) ^ LoadWord<uint64_t>(b + size - 8);
    for (size_t i = 0; i + 8 < size; i += 8) {
      found |= LoadWord<uint64_t>(a + i) ^ LoadWord<uint64_t>(b + i);
    }
    return found == 0;
  }
  if (size >= 4) {
    return ((LoadWord<uint32_t>(a) ^ LoadWord<uint32_t>(b)) |
            (LoadWord<uint32_t>(a + size - 4) ^ LoadWord<uint32_t>(b + size - 4))) == 0;
  }
  for (size_t i = 0; i < size; ++i) {
    if (a[i] != b[i]) return false;
  }
  return true;
}

inline bool Same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && SameBytes(a.data(), b.data(), a.size());
}

// Copies text to `to`. Returns the end.
inline char* CopyText(std::string_view text, char* to) {
  const size_t size = text.size();
  const char* from = text.data();
  if (size >= 8) {
    if (size > 32) {
      std::memcpy(to, from, size);
    } else {
      for (size_t i = 0; i + 8 < size; i += 8) CopyWord<uint64_t>(from + i, to + i);
      CopyWord<uint64_t>(from + size - 8, to + size - 8);
    }
  } else if (size >= 4) {
    CopyWord<uint32_t>(from, to);
    CopyWord<uint32_t>(from + size - 4, to + size - 4);
  } else {
    for (size_t i = 0; i < size; ++i) to[i] = from[i];
  }
  return to + size;
}

}  // namespace forebay::table::internal
