#include "table/utf8.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace forebay::table {
namespace {

constexpr uint64_t kHighBits = 0x8080'8080'8080'8080;

uint64_t Load8(const unsigned char* bytes) {
  uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

uint32_t Load4(const unsigned char* bytes) {
  uint32_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

// By words, of which the last overlaps the one before it: no byte beyond the text is read.
bool IsAscii(const unsigned char* p, size_t size) {
  uint64_t found = 0;
  if (size >= 8) {
    for (size_t i = 0; i + 8 < size; i += 8) found |= Load8(p + i);
    found |= Load8(p + size - 8);
  } else if (size >= 4) {
    found = Load4(p) | Load4(p + size - 4);
  } else if (size != 0) {
    found = p[0] | p[size / 2] | p[size - 1];
  }
  return (found & kHighBits) == 0;
}

bool IsContinuation(unsigned char byte) { return (byte & 0xc0) == 0x80; }

// Bytes of the well-formed sequence that begins at `p`, which is not ASCII; 0 when there is none.
size_t SequenceBytes(const unsigned char* p, size_t left) {
  const unsigned char lead = p[0];
  if (lead < 0xc2 || lead > 0xf4) return 0;  // continuation, overlong two-byte form, above U+10FFFF
  if (left < 2) return 0;
  if (lead < 0xe0) return IsContinuation(p[1]) ? 2 : 0;
  // The second byte's range excludes overlong forms, surrogates and what is above U+10FFFF.
  unsigned char low = 0x80;
  unsigned char high = 0xbf;
  if (lead == 0xe0) low = 0xa0;
  if (lead == 0xed) high = 0x9f;
  if (lead == 0xf0) low = 0x90;
  if (lead == 0xf4) high = 0x8f;
  if (p[1] < low || p[1] > high) return 0;
  if (left < 3 || !IsContinuation(p[2])) return 0;
  if (lead < 0xf0) return 3;
  return left >= 4 && IsContinuation(p[3]) ? 4 : 0;
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  size_t left = text.size();
  if (IsAscii(p, left)) [[likely]]
    return true;
  while (left != 0) {
    while (left >= 16 && ((Load8(p) | Load8(p + 8)) & kHighBits) == 0) {
      p += 16;
      left -= 16;
    }
    if (left == 0) break;
    size_t step = 1;
    if (*p >= 0x80) {
      step = SequenceBytes(p, left);
      if (step == 0) return false;
    }
    p += step;
    left -= step;
  }
  return true;
}

size_t Utf8SequenceBytes(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  return *p < 0x80 ? 1 : SequenceBytes(p, text.size());
}

}  // namespace forebay::table
