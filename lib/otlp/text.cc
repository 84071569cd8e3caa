#include "otlp/text.h"

#include <array>
#include <charconv>
#include <cstring>

#include "base/time.h"
#include "table/csv_row.h"
#include "table/utf8.h"

namespace forebay::otlp {
namespace {

constexpr uint64_t kNanosPerSecond = 1'000'000'000;
constexpr uint64_t kSecondsPerDay = 86'400;
constexpr size_t kMaxNumberChars = 21;
constexpr size_t kMaxEscapedBytes = 6;  // \u001f
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr std::string_view kHexDigits = "0123456789abcdef";

constexpr uint64_t kOnes = 0x0101'0101'0101'0101;
constexpr uint64_t kHighs = 0x8080'8080'8080'8080;

// Nonzero when a byte of the word is below 0x20, above 0x7f, a quote or a backslash.
uint64_t NeedsCare(uint64_t word) {
  const uint64_t quote = word ^ (kOnes * 0x22);
  const uint64_t backslash = word ^ (kOnes * 0x5c);
  return (((word - kOnes * 0x20) & ~word) | ((quote - kOnes) & ~quote) |
          ((backslash - kOnes) & ~backslash) | word) &
         kHighs;
}

bool ByteNeedsCare(unsigned char byte) {
  return byte < 0x20 || byte >= 0x80 || byte == '"' || byte == '\\';
}

uint64_t LoadWord(const char* from) {
  uint64_t word = 0;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// The escape of a byte below 0x80 in JSON within CSV.
char* WriteEscape(unsigned char byte, char* to) {
  *to++ = '\\';
  switch (byte) {
    case '"':
      *to++ = '"';
      *to++ = '"';
      return to;
    case '\\':
      *to++ = '\\';
      return to;
    case '\n':
      *to++ = 'n';
      return to;
    case '\r':
      *to++ = 'r';
      return to;
    case '\t':
      *to++ = 't';
      return to;
    case '\b':
      *to++ = 'b';
      return to;
    case '\f':
      *to++ = 'f';
      return to;
    default:
      *to++ = 'u';
      *to++ = '0';
      *to++ = '0';
      *to++ = kHexDigits[byte >> 4];
      *to++ = kHexDigits[byte & 15];
      return to;
  }
}

char* PutReplacement(char* to) {
  std::memcpy(to, kReplacement.data(), kReplacement.size());
  return to + kReplacement.size();
}

// The rest of a text from its first byte that needs care.
void AppendWithCare(std::string_view text, ByteBuffer& out, TextCounts& counts) {
  char* to = out.Ensure(text.size() * kMaxEscapedBytes);
  bool repaired = false;
  while (!text.empty()) {
    const auto byte = static_cast<unsigned char>(text.front());
    size_t used = 1;
    if (byte >= 0x80) {
      used = table::Utf8SequenceBytes(text);
      if (used == 0) {
        to = PutReplacement(to);
        repaired = true;
        used = 1;
      } else {
        std::memcpy(to, text.data(), used);
        to += used;
      }
    } else if (ByteNeedsCare(byte)) {
      to = WriteEscape(byte, to);
    } else {
      used = CopyPlain(text, to);
      to += used;
    }
    text.remove_prefix(used);
  }
  if (repaired) ++counts.repaired;
  out.SetEnd(to);
}

// Without NUL and with U+FFFD for what is no UTF-8.
std::string_view Repair(std::string_view text, ByteBuffer& scratch) {
  scratch.clear();
  char* to = scratch.Ensure(text.size() * kReplacement.size());
  while (!text.empty()) {
    const size_t used = text.front() == '\0' ? 0 : table::Utf8SequenceBytes(text);
    if (used == 0) {
      to = PutReplacement(to);
    } else {
      std::memcpy(to, text.data(), used);
      to += used;
    }
    text.remove_prefix(used == 0 ? 1 : used);
  }
  scratch.SetEnd(to);
  return scratch.view();
}

char* PutTwo(uint64_t value, char* to) {
  *to++ = static_cast<char>('0' + value / 10);
  *to++ = static_cast<char>('0' + value % 10);
  return to;
}

template <typename Integer>
void AppendNumber(Integer number, ByteBuffer& out) {
  char* to = out.Ensure(kMaxNumberChars);
  out.SetEnd(std::to_chars(to, to + kMaxNumberChars, number).ptr);
}

}  // namespace

char* TimeWriter::Write(uint64_t nanos, char* out) {
  const uint64_t seconds = nanos / kNanosPerSecond;
  const uint64_t day = seconds / kSecondsPerDay;
  if (day != day_) {
    char text[kMaxRfc3339Chars];
    FormatRfc3339(UnixMillis{static_cast<int64_t>(day * kSecondsPerDay * 1000)}, text);
    std::memcpy(date_, text, sizeof date_);
    day_ = day;
  }
  std::memcpy(out, date_, sizeof date_);
  out += sizeof date_;
  const uint64_t of_day = seconds % kSecondsPerDay;
  out = PutTwo(of_day / 3600, out);
  *out++ = ':';
  out = PutTwo(of_day / 60 % 60, out);
  *out++ = ':';
  out = PutTwo(of_day % 60, out);
  uint64_t fraction = nanos % kNanosPerSecond;
  if (fraction != 0) {
    *out++ = '.';
    constexpr size_t kDigits = 9;
    size_t last = 0;
    for (size_t i = kDigits; i-- > 0; fraction /= 10) {
      out[i] = static_cast<char>('0' + fraction % 10);
      if (last == 0 && out[i] != '0') last = i + 1;
    }
    out += last;
  }
  *out++ = 'Z';
  return out;
}

void TimeWriter::Append(uint64_t nanos, ByteBuffer& out) {
  if (nanos == 0) return;
  out.SetEnd(Write(nanos, out.Ensure(kMaxTimeChars)));
}

void AppendHex(std::string_view bytes, ByteBuffer& out) {
  char* to = out.Ensure(2 * bytes.size());
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    *to++ = kHexDigits[byte >> 4];
    *to++ = kHexDigits[byte & 15];
  }
  out.SetEnd(to);
}

void AppendBase64(std::string_view bytes, ByteBuffer& out) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  char* to = out.Ensure((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const auto at = [&](size_t index) -> uint32_t {
      return index < bytes.size() ? static_cast<unsigned char>(bytes[index]) : 0;
    };
    const uint32_t three = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
    *to++ = kDigits[three >> 18];
    *to++ = kDigits[(three >> 12) & 63];
    *to++ = i + 1 < bytes.size() ? kDigits[(three >> 6) & 63] : '=';
    *to++ = i + 2 < bytes.size() ? kDigits[three & 63] : '=';
  }
  out.SetEnd(to);
}

void AppendUnsigned(uint64_t number, ByteBuffer& out) { AppendNumber(number, out); }
void AppendSigned(int64_t number, ByteBuffer& out) { AppendNumber(number, out); }

size_t CopyPlain(std::string_view text, char* to) {
  const char* from = text.data();
  constexpr size_t kWord = sizeof(uint64_t);
  size_t done = 0;
  for (; text.size() - done >= kWord; done += kWord) {
    const uint64_t word = LoadWord(from + done);
    std::memcpy(to + done, &word, kWord);
    if (NeedsCare(word) != 0) break;
  }
  // The rest of a text of at least a word, by a word that overlaps what is copied.
  if (text.size() - done < kWord && text.size() >= kWord) {
    const uint64_t word = LoadWord(from + text.size() - kWord);
    if (NeedsCare(word) == 0) [[likely]] {
      std::memcpy(to + text.size() - kWord, &word, kWord);
      return text.size();
    }
  }
  for (; done < text.size(); ++done) {
    if (ByteNeedsCare(static_cast<unsigned char>(from[done]))) break;
    to[done] = from[done];
  }
  return done;
}

void AppendJsonText(std::string_view text, ByteBuffer& out, TextCounts& counts) {
  char* to = out.Ensure(text.size());
  const size_t clean = CopyPlain(text, to);
  out.SetEnd(to + clean);
  if (clean != text.size()) AppendWithCare(text.substr(clean), out, counts);
}

void AppendStringField(std::string_view text, ByteBuffer& out, ByteBuffer& scratch,
                       TextCounts& counts) {
  if (text.empty()) return;
  if (!table::IsValidUtf8(text) || text.find('\0') != std::string_view::npos) {
    text = Repair(text, scratch);
    ++counts.repaired;
  }
  if (text.size() <= kMaxValueBytes) return table::AppendCsvField(text, out);
  ++counts.cut;
  ByteBuffer cut;  // such texts are rare
  cut.Append(CutText(text, kMaxValueBytes - kCutMarker.size()));
  cut.Append(kCutMarker);
  table::AppendCsvField(cut.view(), out);
}

std::string_view CutText(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80) --bytes;
  return text.substr(0, bytes);
}

}  // namespace forebay::otlp
