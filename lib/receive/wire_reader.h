// A cursor over protobuf wire bytes: tags, varints, fixed64, length-delimited fields, skipping.
// Place: under both remote-write decoders; knows no message. It never allocates and never reads
// outside its bytes. Errors are sticky: after the first one every read gives zero or nothing,
// Next() is false and failed() is true, so a decoder checks once, at the end of a message.
// Limits: field numbers up to 2^29-1; groups (wire types 3 and 4) are refused, since nothing that
// is read here has them and they would need recursion.
// Source: protobuf.dev, "Encoding".
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace forebay::receive {

enum class WireType : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// Zigzag of sint32 and sint64.
inline int64_t DecodeZigZag(uint64_t value) {
  return static_cast<int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

// Threads: one at a time. The bytes must outlive the reader and what it returns.
class WireReader {
 public:
  WireReader() = default;
  explicit WireReader(std::string_view bytes)
      : position_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  // Goes to the next field and reads its tag. False at the end of the message and after a failure.
  // Then exactly one of the reads below, or Skip().
  bool Next() {
    if (position_ == end_) return false;
    field_begin_ = position_;
    const uint64_t tag = Varint();
    field_ = static_cast<uint32_t>(tag >> 3);
    type_ = static_cast<uint8_t>(tag & 7);
    if (tag < 8 || tag > kMaxTag) [[unlikely]] {
      Fail();
      return false;
    }
    return true;
  }

  uint32_t field() const { return field_; }
  bool Is(WireType type) const { return type_ == static_cast<uint8_t>(type); }
  bool failed() const { return failed_; }
  bool AtEnd() const { return position_ == end_; }
  // Where the current field's tag begins, and where the next byte to read is.
  const char* field_begin() const { return field_begin_; }
  const char* position() const { return position_; }

  // The value of the current field; a failure when it has another wire type.
  uint64_t VarintField() { return Is(WireType::kVarint) ? Varint() : Fail(); }
  uint64_t Fixed64Field() { return Is(WireType::kFixed64) ? Fixed64() : Fail(); }
  std::string_view BytesField() {
    if (Is(WireType::kBytes)) [[likely]]
      return Bytes();
    Fail();
    return {};
  }

  // Passes over the current field, whatever it is.
  void Skip() {
    switch (type_) {
      case 0:
        Varint();
        return;
      case 1:
        Fixed64();
        return;
      case 2:
        Bytes();
        return;
      case 5:
        Take(4);
        return;
      default:
        Fail();
    }
  }

  // Passes over fields from here on that have the number `field` (below 16), hold bytes and are
  // shorter than 128; what is not so is left to Next. Call where Next may be called.
  void SkipShortBytesFields(uint32_t field) {
    const auto tag = static_cast<char>(field << 3 | static_cast<uint8_t>(WireType::kBytes));
    const char* at = position_;
    while (end_ - at >= 2 && at[0] == tag) {
      const auto size = static_cast<int8_t>(at[1]);
      if (size < 0 || size > end_ - at - 2) break;
      at += 2 + size;
    }
    position_ = at;
  }

  // Values without a tag, for packed fields.
  uint64_t Varint() {
    if (position_ != end_ && static_cast<uint8_t>(*position_) < 0x80) [[likely]] {
      return static_cast<uint8_t>(*position_++);
    }
    return LongVarint();
  }
  // Fixed 64 bits as they are; a double is never passed through a floating-point register.
  uint64_t Fixed64() {
    const char* bytes = Take(8);
    if (bytes == nullptr) [[unlikely]]
      return 0;
    uint64_t value;
    std::memcpy(&value, bytes, sizeof value);
    if constexpr (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) value = __builtin_bswap64(value);
    return value;
  }
  std::string_view Bytes() {
    const uint64_t size = Varint();
    const char* bytes = Take(size);
    if (bytes == nullptr) [[unlikely]]
      return {};
    return {bytes, static_cast<size_t>(size)};
  }

  // Ends the reading; returns 0 so that a read can return it.
  uint64_t Fail() {
    failed_ = true;
    position_ = end_;
    return 0;
  }

 private:
  static constexpr uint64_t kMaxTag = (1ULL << 32) - 1;

  // The next `size` bytes, or null and a failure.
  const char* Take(uint64_t size) {
    if (size > static_cast<uint64_t>(end_ - position_)) [[unlikely]] {
      Fail();
      return nullptr;
    }
    const char* bytes = position_;
    position_ += size;
    // Nothing was failed yet when the reader is empty by construction: null is "no bytes" there.
    return bytes != nullptr ? bytes : "";
  }

  uint64_t LongVarint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      if (position_ == end_) return Fail();
      // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): null is the end, which it is not here
      const auto byte = static_cast<uint8_t>(*position_++);
      // The tenth byte holds one bit; protobuf's readers drop what is above it.
      value |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return Fail();
  }

  const char* position_ = nullptr;
  const char* end_ = nullptr;
  const char* field_begin_ = nullptr;
  uint32_t field_ = 0;
  uint8_t type_ = 0;
  bool failed_ = false;
};

}  // namespace forebay::receive
