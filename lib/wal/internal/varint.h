// LEB128 and zigzag integers, and a bounded cursor over bytes that may be damaged. For the formats
// of this module only.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace forebay::wal::internal {

inline constexpr size_t kMaxVarintBytes = 10;

inline uint64_t ZigZag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}

inline int64_t UnZigZag(uint64_t value) {
  return static_cast<int64_t>((value >> 1) ^ (0 - (value & 1)));
}

// Writes at out, which has room for kMaxVarintBytes. Returns the end.
inline char* PutVarint(char* out, uint64_t value) {
  while (value >= 0x80) {
    *out++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *out++ = static_cast<char>(value);
  return out;
}

// Reads from a byte range and never beyond. Once something did not fit, ok() is false for good and
// all that is read is zero or empty.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}

  bool ok() const { return ok_; }
  size_t left() const { return static_cast<size_t>(end_ - at_); }
  const char* at() const { return at_; }

  uint64_t Varint() {
    if (at_ != end_ && static_cast<signed char>(*at_) >= 0) [[likely]] {
      return static_cast<unsigned char>(*at_++);
    }
    return LongVarint();
  }

  // `bits` at most as many as T has; larger values are damage.
  uint32_t Varint32() {
    const uint64_t value = Varint();
    if (value > UINT32_MAX) return static_cast<uint32_t>(Fail());
    return static_cast<uint32_t>(value);
  }

  uint8_t Byte() {
    if (at_ == end_) return static_cast<uint8_t>(Fail());
    return static_cast<uint8_t>(*at_++);
  }

  std::string_view Bytes(uint64_t count) {
    if (count > left()) {
      Fail();
      return {};
    }
    const std::string_view bytes(at_, count);
    at_ += count;
    return bytes;
  }

  uint64_t Fixed64() { return Fixed(8); }

  // An integer of 1 to 8 bytes, the low ones first.
  uint64_t Fixed(unsigned count) {
    uint64_t value = 0;
    if (left() >= 8) [[likely]] {
      std::memcpy(&value, at_, 8);
      at_ += count;
      return value & (~uint64_t{0} >> (64 - 8 * count));
    }
    const std::string_view bytes = Bytes(count);
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }

 private:
  uint64_t Fail() {
    ok_ = false;
    at_ = end_;
    return 0;
  }

  uint64_t LongVarint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 70 && at_ != end_; shift += 7) {
      const auto byte = static_cast<unsigned char>(*at_++);
      if (shift == 63 && byte > 1) return Fail();
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return Fail();
  }

  const char* at_;
  const char* end_;
  bool ok_ = true;
};

}  // namespace forebay::wal::internal
