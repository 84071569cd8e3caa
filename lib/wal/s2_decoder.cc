// Two loops: a fast one while both ends are far, which copies whole words beyond what it needs, and
// an exact one for the last bytes. Element lengths come from one table over the 256 tags, so that
// the common copies share one path.
#include "wal/s2_decoder.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace forebay::wal {
namespace {

static_assert(std::endian::native == std::endian::little, "loads below are little endian");

// The fast loop may read and write so far beyond an element's end.
constexpr ptrdiff_t kInputSlop = 80;    // a tag, 64 bytes of literal, 5 of the next copy
constexpr ptrdiff_t kOutputSlop = 144;  // 64 bytes of literal, 64 of copy, 16 of overshoot

// The low two bits of a tag. Copy 2 (16 bit offset) and copy 4 (32 bit) make 1 to 64 bytes and
// differ from each other in the tables below only.
constexpr unsigned kLiteral = 0;
constexpr unsigned kCopy1 = 1;  // 11 bit offset, 4 to 11 bytes; offset 0: repeat

template <typename Word>
Word Load(const char* at) {
  Word word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

uint32_t Byte(const char* at) { return static_cast<uint8_t>(*at); }

Error Corrupt(const char* what) { return Error(ErrorCode::kCorruption, what); }

struct Preamble {
  uint32_t decoded_length = 0;
  size_t bytes = 0;  // of the varint; 0: damaged
};

Preamble ReadPreamble(std::span<const char> in) {
  uint64_t value = 0;
  const size_t most = std::min<size_t>(in.size(), 5);
  for (size_t i = 0; i < most; ++i) {
    const uint64_t byte = static_cast<uint8_t>(in[i]);
    value |= (byte & 0x7F) << (7 * i);
    if (byte < 0x80) {
      if (value > UINT32_MAX) return {};
      return {.decoded_length = static_cast<uint32_t>(value), .bytes = i + 1};
    }
  }
  return {};
}

// How a copy's tag is read: the length (bits 0..7) and the offset's high part of copy 1
// (bits 8..15).
constexpr std::array<uint16_t, 256> MakeCopyTable() {
  std::array<uint16_t, 256> table{};
  for (unsigned tag = 0; tag < 256; ++tag) {
    const unsigned length = (tag & 3) == kCopy1 ? 4 + (tag >> 2 & 7) : 1 + (tag >> 2);
    const unsigned high = (tag & 3) == kCopy1 ? tag >> 5 : 0;
    table[tag] = static_cast<uint16_t>(length | high << 8);
  }
  return table;
}
constexpr std::array<uint16_t, 256> kCopyTable = MakeCopyTable();
constexpr std::array<uint32_t, 4> kOffsetMask = {0, 0xFF, 0xFFFF, 0xFFFFFFFF};
constexpr std::array<uint8_t, 4> kCopyBytes = {0, 2, 3, 5};
// The shortest repeat with so many more bytes of length.
constexpr std::array<uint32_t, 4> kRepeatBase = {0, 8, 260, 65540};

void Copy16(char* to, const char* from) {
  // Through a local, so that overlapping ranges are read before they are written.
  struct {
    uint64_t low, high;
  } words;
  std::memcpy(&words, from, 16);
  std::memcpy(to, &words, 16);
}

// Writes at least `length` bytes of the pattern that begins `offset` before op, at most 15 more
// than the next multiple of 16. Shape: offset >= 1.
inline void CopyMatchWide(char* op, size_t offset, size_t length) {
  if (offset >= 16) [[likely]] {
    const char* from = op - offset;
    Copy16(op, from);
    if (length > 16) [[unlikely]] {
      char* const end = op + length;
      do {
        op += 16;
        from += 16;
        Copy16(op, from);
      } while (op + 16 < end);
    }
    return;
  }
  // A short period: write it byte by byte until the distance to its start is a multiple of the
  // period that is at least 16, then in words.
  const char* const from = op - offset;
  char* const end = op + length;
  size_t distance = offset;
  while (distance < 16) distance += offset;
  const size_t head = distance - offset;  // then op + head is `distance` behind `from`
  for (size_t i = 0; i < head; ++i) op[i] = from[i];
  for (char* to = op + head; to < end; to += 16) Copy16(to, to - distance);
}

// Exact: writes `length` bytes and no more.
void CopyMatchExact(char* op, size_t offset, size_t length) {
  if (offset >= length) {
    std::memcpy(op, op - offset, length);
    return;
  }
  if (offset == 1) {
    std::memset(op, op[-1], length);
    return;
  }
  const char* from = op - offset;
  for (size_t i = 0; i < length; ++i) op[i] = from[i];
}

class Decoder {
 public:
  Decoder(std::span<const char> in, std::span<char> out)
      : ip_(in.data()),
        in_end_(in.data() + in.size()),
        out_begin_(out.data()),
        op_(out.data()),
        out_end_(out.data() + out.size()) {}

  // Decodes until the input ends, or the output is full if `prefix`. Returns null or what is wrong.
  const char* Run(bool prefix) {
    const char* wrong = RunFast();
    while (wrong == nullptr && ip_ < in_end_) {
      if (prefix && op_ == out_end_) return nullptr;
      wrong = Step(prefix);
      // A long literal or repeat may have been the only thing between two fast stretches.
      if (wrong == nullptr) wrong = RunFast();
    }
    return wrong;
  }

  size_t written() const { return static_cast<size_t>(op_ - out_begin_); }

 private:
  const char* RunFast();
  const char* Step(bool prefix);
  const char* Literal(size_t length, bool prefix);
  const char* Match(size_t length, bool prefix);

  const char* ip_;
  const char* const in_end_;
  char* const out_begin_;
  char* op_;
  char* const out_end_;
  size_t offset_ = 0;  // of the copy before, which a repeat uses; 0: none yet
};

const char* Decoder::RunFast() {
  const char* ip = ip_;
  char* op = op_;
  size_t last_offset = offset_;
  const char* wrong = nullptr;
  while (in_end_ - ip > kInputSlop && out_end_ - op > kOutputSlop) {
    uint32_t tag = Byte(ip);
    if ((tag & 3) == kLiteral) {
      const size_t length = (tag >> 2) + 1;
      if (length > 60) [[unlikely]]
        break;  // its length follows; Step knows
      Copy16(op, ip + 1);
      if (length > 16) {
        Copy16(op + 16, ip + 17);
        Copy16(op + 32, ip + 33);
        Copy16(op + 48, ip + 49);
      }
      op += length;
      ip += length + 1;
      // A copy follows most literals; the slop covers it, so it needs no check of the ends.
      tag = Byte(ip);
      if ((tag & 3) == kLiteral) continue;
    }
    const unsigned kind = tag & 3;
    const uint32_t entry = kCopyTable[tag];
    const size_t length = entry & 0xFF;
    const size_t offset = (Load<uint32_t>(ip + 1) & kOffsetMask[kind]) | (entry & 0xFF00);
    if (offset - 1 >= static_cast<size_t>(op - out_begin_)) [[unlikely]] {
      // A repeat (Step knows), or damage.
      if (kind == kCopy1 && offset == 0) {
        const size_t repeat = length - 4;
        if (repeat > 4 || last_offset == 0) break;
        CopyMatchWide(op, last_offset, length);
        op += length;
        ip += 2;
        continue;
      }
      wrong = "s2: copy from before the start";
      break;
    }
    CopyMatchWide(op, offset, length);
    last_offset = offset;
    op += length;
    ip += kCopyBytes[kind];
  }
  ip_ = ip;
  op_ = op;
  offset_ = last_offset;
  return wrong;
}

const char* Decoder::Literal(size_t length, bool prefix) {
  const size_t room = static_cast<size_t>(out_end_ - op_);
  if (length > room) {
    if (!prefix) return "s2: more bytes than declared";
    length = room;
  }
  if (length > static_cast<size_t>(in_end_ - ip_)) return "s2: literal beyond the end";
  if (length == 0) return nullptr;
  std::memcpy(op_, ip_, length);
  ip_ += length;
  op_ += length;
  return nullptr;
}

const char* Decoder::Match(size_t length, bool prefix) {
  if (offset_ - 1 >= static_cast<size_t>(op_ - out_begin_)) return "s2: copy from before the start";
  const size_t room = static_cast<size_t>(out_end_ - op_);
  if (length > room) {
    if (!prefix) return "s2: more bytes than declared";
    length = room;
  }
  if (length + static_cast<size_t>(kOutputSlop) <= room) {
    CopyMatchWide(op_, offset_, length);
  } else if (length > 0) {
    CopyMatchExact(op_, offset_, length);
  }
  op_ += length;
  return nullptr;
}

// One element, every bound checked.
const char* Decoder::Step(bool prefix) {
  const uint32_t tag = Byte(ip_++);
  const size_t left = static_cast<size_t>(in_end_ - ip_);
  const auto little_endian = [this](size_t bytes) {
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; ++i) value |= Byte(ip_ + i) << (8 * i);
    ip_ += bytes;
    return value;
  };
  const unsigned kind = tag & 3;
  if (kind == kLiteral) {
    size_t length = tag >> 2;
    if (length >= 60) {
      const size_t bytes = length - 59;
      if (bytes > left) return "s2: ends inside a length";
      length = little_endian(bytes);
    }
    return Literal(length + 1, prefix);
  }
  const size_t bytes = kCopyBytes[kind] - size_t{1};
  if (bytes > left) return "s2: ends inside a copy";
  const uint32_t entry = kCopyTable[tag];
  size_t length = entry & 0xFF;
  const size_t offset = little_endian(bytes) | (entry & 0xFF00);
  if (offset != 0) {
    offset_ = offset;
    return Match(length, prefix);
  }
  if (kind != kCopy1) return "s2: copy of offset 0";
  // A repeat of the last offset. Length codes 0 to 4 are 4 to 8 bytes; 5, 6 and 7 have 1, 2 and 3
  // bytes more.
  const size_t extra = length <= 8 ? 0 : length - 8;
  if (extra > static_cast<size_t>(in_end_ - ip_)) return "s2: ends inside a repeat";
  if (extra > 0) length = kRepeatBase[extra] + little_endian(extra);
  if (offset_ == 0) return "s2: repeat before any copy";
  return Match(length, prefix);
}

}  // namespace

Result<size_t> S2DecodedLength(std::span<const char> in) {
  const Preamble preamble = ReadPreamble(in);
  if (preamble.bytes == 0) return Corrupt("s2: damaged length");
  return size_t{preamble.decoded_length};
}

Status S2Decode(std::span<const char> in, std::span<char> out) {
  const Preamble preamble = ReadPreamble(in);
  if (preamble.bytes == 0) return Corrupt("s2: damaged length");
  if (out.size() != preamble.decoded_length) {
    return Error(ErrorCode::kInvalidArgument, "s2: output of another length than declared");
  }
  Decoder decoder(in.subspan(preamble.bytes), out);
  if (const char* wrong = decoder.Run(false)) return Corrupt(wrong);
  if (decoder.written() != out.size()) return Corrupt("s2: fewer bytes than declared");
  return OkStatus();
}

Result<size_t> S2DecodePrefix(std::span<const char> in, std::span<char> out) {
  const Preamble preamble = ReadPreamble(in);
  if (preamble.bytes == 0) return Corrupt("s2: damaged length");
  const size_t wanted = std::min<size_t>(out.size(), preamble.decoded_length);
  Decoder decoder(in.subspan(preamble.bytes), out.first(wanted));
  if (const char* wrong = decoder.Run(true)) return Corrupt(wrong);
  if (decoder.written() != wanted) return Corrupt("s2: fewer bytes than declared");
  return wanted;
}

bool S2Walker::Step(std::span<const char> in) {
  if (position_ == 0) {
    const Preamble preamble = ReadPreamble(in);
    declared_ = preamble.decoded_length;
    position_ = preamble.bytes;
    return preamble.bytes > 0;
  }
  if (in.empty()) return false;
  const uint32_t tag = Byte(in.data());
  const unsigned kind = tag & 3;
  const auto little_endian = [&in](size_t from, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; ++i) value |= uint64_t{Byte(in.data() + from + i)} << (8 * i);
    return value;
  };
  uint64_t head = kCopyBytes[kind];
  uint64_t length = kCopyTable[tag] & 0xFF;
  uint64_t literal = 0;
  if (kind == kLiteral) {
    const size_t extra = tag >> 2 >= 60 ? (tag >> 2) - 59 : 0;
    head = 1 + extra;
    if (head > in.size()) return false;
    literal = length = 1 + (extra > 0 ? little_endian(1, extra) : tag >> 2);
  } else {
    if (head > in.size()) return false;
    const uint64_t offset = little_endian(1, head - 1) | (kCopyTable[tag] & 0xFF00);
    if (offset == 0 && kind == kCopy1) {
      const size_t extra = length <= 8 ? 0 : static_cast<size_t>(length) - 8;
      if (head + extra > in.size()) return false;
      if (extra > 0) length = kRepeatBase[extra] + little_endian(2, extra);
      head += extra;
    } else {
      offset_ = offset;
    }
    if (offset_ == 0 || offset_ > made_) return false;
  }
  position_ += head + literal;
  made_ += length;
  return position_ <= block_bytes_ && made_ <= declared_;
}

}  // namespace forebay::wal
