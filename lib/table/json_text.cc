#include "table/json_text.h"

#include <array>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace forebay::table {
namespace {

enum class Flavour { kPlain, kCsv };

// Room that a label's punctuation needs in either flavour: `,""` + `"":""` + `""`.
constexpr size_t kPunctuationBytes = 16;
constexpr size_t kMaxEscapedBytes = 6;  // \u001f

// The escape of a byte: 0 none, 'u' the \u00XX form, else the character behind the backslash.
constexpr std::array<char, 256> kEscapes = [] {
  std::array<char, 256> escapes{};
  for (size_t byte = 0; byte < 0x20; ++byte) escapes[byte] = 'u';
  escapes['\b'] = 'b';
  escapes['\f'] = 'f';
  escapes['\n'] = 'n';
  escapes['\r'] = 'r';
  escapes['\t'] = 't';
  escapes['"'] = '"';
  escapes['\\'] = '\\';
  return escapes;
}();

template <typename Word>
Word Load(const char* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

template <typename Word>
void Store(Word word, char* to) {
  std::memcpy(to, &word, sizeof word);
}

// Nonzero when a byte of the word must be escaped: below 0x20, quote or backslash. The three terms
// are the usual has-zero-byte and has-less tests, exact as a yes or no.
template <typename Word>
Word NeedsEscape(Word word) {
  constexpr Word kOnes = static_cast<Word>(~Word{0}) / 0xff;
  constexpr Word kHighs = kOnes * 0x80;
  const Word quote = word ^ (kOnes * 0x22);
  const Word backslash = word ^ (kOnes * 0x5c);
  return (((word - kOnes * 0x20) & ~word) | ((quote - kOnes) & ~quote) |
          ((backslash - kOnes) & ~backslash)) &
         kHighs;
}

// Texts up to 15 bytes, as two words that overlap.
template <typename Word>
bool CopyTwoWords(const char* from, size_t size, char* to) {
  const Word head = Load<Word>(from);
  const Word tail = Load<Word>(from + size - sizeof(Word));
  Store(head, to);
  Store(tail, to + size - sizeof(Word));
  return (NeedsEscape(head) | NeedsEscape(tail)) == 0;
}

bool CopyTiny(const char* from, size_t size, char* to) {
  bool clean = true;
  for (size_t i = 0; i < size; ++i) {
    to[i] = from[i];
    clean &= kEscapes[static_cast<unsigned char>(from[i])] == 0;
  }
  return clean;
}

#if defined(__SSE2__)
using Block = __m128i;
inline Block LoadBlock(const char* from) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}
inline Block JoinWords(uint64_t low, uint64_t high) {
  return _mm_set_epi64x(static_cast<int64_t>(high), static_cast<int64_t>(low));
}
inline void StoreBlock(Block block, char* to) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), block);
}
// Bytes of all ones where an escape is needed.
inline Block EscapeMask(Block block) {
  const Block control = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1f)), block);
  const Block quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
  const Block backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
  return _mm_or_si128(control, _mm_or_si128(quote, backslash));
}
inline Block Join(Block a, Block b) { return _mm_or_si128(a, b); }
inline bool IsZero(Block block) { return _mm_movemask_epi8(block) == 0; }
inline Block ZeroBlock() { return _mm_setzero_si128(); }
#else
struct Block {
  uint64_t low;
  uint64_t high;
};
inline Block LoadBlock(const char* from) {
  return {Load<uint64_t>(from), Load<uint64_t>(from + 8)};
}
inline Block JoinWords(uint64_t low, uint64_t high) { return {low, high}; }
inline void StoreBlock(Block block, char* to) {
  Store(block.low, to);
  Store(block.high, to + 8);
}
inline Block EscapeMask(Block block) { return {NeedsEscape(block.low), NeedsEscape(block.high)}; }
inline Block Join(Block a, Block b) { return {a.low | b.low, a.high | b.high}; }
inline bool IsZero(Block block) { return (block.low | block.high) == 0; }
inline Block ZeroBlock() { return {0, 0}; }
#endif

// Whether nothing in the text needs an escape. Never reads beyond it: the last word overlaps the
// one before it.
bool IsClean(const char* from, size_t size) {
  if (size >= 16) {
    Block found = EscapeMask(LoadBlock(from + size - 16));
    for (size_t i = 0; i + 16 < size; i += 16) found = Join(found, EscapeMask(LoadBlock(from + i)));
    return IsZero(found);
  }
  if (size >= 8) {
    return IsZero(EscapeMask(JoinWords(Load<uint64_t>(from), Load<uint64_t>(from + size - 8))));
  }
  if (size >= 4) {
    const uint64_t head = Load<uint32_t>(from);
    return NeedsEscape(head << 32 | Load<uint32_t>(from + size - 4)) == 0;
  }
  for (size_t i = 0; i < size; ++i) {
    if (kEscapes[static_cast<unsigned char>(from[i])] != 0) return false;
  }
  return true;
}

// Copies the text and says whether it was clean: nothing in it needs an escape. The copy is made
// in any case; nearly every label is clean, and then the copy is the result. Never reads or writes
// beyond the text: the last block overlaps the one before it.
bool CopyIfClean(const char* from, size_t size, char* to) {
  if (size >= 16) {
    Block found = ZeroBlock();
    for (size_t i = 0; i + 16 < size; i += 16) {
      const Block block = LoadBlock(from + i);
      StoreBlock(block, to + i);
      found = Join(found, EscapeMask(block));
    }
    const Block last = LoadBlock(from + size - 16);
    StoreBlock(last, to + size - 16);
    return IsZero(Join(found, EscapeMask(last)));
  }
  if (size >= 8) return CopyTwoWords<uint64_t>(from, size, to);
  if (size >= 4) return CopyTwoWords<uint32_t>(from, size, to);
  return CopyTiny(from, size, to);
}

// Byte by byte, for the few texts with something to escape. `to` holds kMaxEscapedBytes a byte.
template <Flavour kFlavour>
char* WriteEscaped(std::string_view text, char* to) {
  constexpr std::string_view kHex = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const char escape = kEscapes[byte];
    if (escape == 0) {
      *to++ = c;
      continue;
    }
    *to++ = '\\';
    *to++ = escape;
    if (escape == 'u') {
      *to++ = '0';
      *to++ = '0';
      *to++ = kHex[byte >> 4];
      *to++ = kHex[byte & 15];
    } else if (kFlavour == Flavour::kCsv && escape == '"') {
      *to++ = '"';
    }
  }
  return to;
}

template <Flavour kFlavour>
char* WriteQuote(char* to) {
  *to++ = '"';
  if constexpr (kFlavour == Flavour::kCsv) *to++ = '"';
  return to;
}

// Appends the text with escapes. After it `room` bytes are free, of which the end is returned.
template <Flavour kFlavour>
char* WriteText(std::string_view text, char* to, size_t room, ByteBuffer& out) {
  if (CopyIfClean(text.data(), text.size(), to)) [[likely]]
    return to + text.size();
  out.SetEnd(to);
  to = out.Ensure(text.size() * kMaxEscapedBytes + room);
  return WriteEscaped<kFlavour>(text, to);
}

template <Flavour kFlavour>
void AppendLabels(LabelSpan labels, ByteBuffer& out) {
  char* to = out.Ensure(2);
  if constexpr (kFlavour == Flavour::kCsv) *to++ = '"';
  *to++ = '{';
  out.SetEnd(to);
  bool first = true;
  for (const Label& label : labels) {
    const size_t value_room = label.value.size() + kPunctuationBytes;
    to = out.Ensure(label.name.size() + value_room);
    if (!first) *to++ = ',';
    first = false;
    to = WriteQuote<kFlavour>(to);
    to = WriteText<kFlavour>(label.name, to, value_room, out);
    to = WriteQuote<kFlavour>(to);
    *to++ = ':';
    to = WriteQuote<kFlavour>(to);
    to = WriteText<kFlavour>(label.value, to, kPunctuationBytes, out);
    to = WriteQuote<kFlavour>(to);
    out.SetEnd(to);
  }
  to = out.Ensure(2);
  *to++ = '}';
  if constexpr (kFlavour == Flavour::kCsv) *to++ = '"';
  out.SetEnd(to);
}

}  // namespace

void AppendJsonString(std::string_view text, ByteBuffer& out) {
  char* to = out.Ensure(text.size() + kPunctuationBytes);
  *to++ = '"';
  to = WriteText<Flavour::kPlain>(text, to, kPunctuationBytes, out);
  *to++ = '"';
  out.SetEnd(to);
}

void AppendLabelsJson(LabelSpan labels, ByteBuffer& out) {
  AppendLabels<Flavour::kPlain>(labels, out);
}

void AppendLabelsJsonCsv(LabelSpan labels, ByteBuffer& out) {
  AppendLabels<Flavour::kCsv>(labels, out);
}

size_t TextJsonCsvBytes(std::string_view text) {
  size_t bytes = text.size();
  if (IsClean(text.data(), text.size())) [[likely]]
    return bytes;
  for (const char c : text) {
    const char escape = kEscapes[static_cast<unsigned char>(c)];
    if (escape == 0) continue;
    bytes += escape == 'u' ? kMaxEscapedBytes - 1 : escape == '"' ? 2 : 1;
  }
  return bytes;
}

size_t LabelsJsonCsvBytes(LabelSpan labels) {
  constexpr size_t kAround = 4;     // "{ }"
  constexpr size_t kPerLabel = 10;  // four doubled quotes, colon, comma
  if (labels.empty()) return kAround;
  size_t bytes = kAround + kPerLabel * labels.size() - 1;  // one comma less than labels
  for (const Label& label : labels) {
    bytes += TextJsonCsvBytes(label.name) + TextJsonCsvBytes(label.value);
  }
  return bytes;
}

}  // namespace forebay::table
