// OTLP requests as bytes, for tests: nothing is sorted, checked or completed.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace forebay::testing::otlp_wire {

inline void PutVarint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}
inline std::string Number(uint32_t field, uint64_t value) {
  std::string out;
  PutVarint(out, uint64_t{field} << 3);
  PutVarint(out, value);
  return out;
}
inline std::string Bytes(uint32_t field, std::string_view bytes) {
  std::string out;
  PutVarint(out, uint64_t{field} << 3 | 2);
  PutVarint(out, bytes.size());
  return out.append(bytes);
}
inline std::string Raw64(uint64_t value) {
  char bytes[8];
  std::memcpy(bytes, &value, sizeof value);
  return std::string(bytes, sizeof bytes);
}
inline std::string Fixed64(uint32_t field, uint64_t value) {
  std::string out;
  PutVarint(out, uint64_t{field} << 3 | 1);
  return out + Raw64(value);
}
inline std::string Fixed32(uint32_t field, uint32_t value) {
  std::string out;
  PutVarint(out, uint64_t{field} << 3 | 5);
  char bytes[4];
  std::memcpy(bytes, &value, sizeof value);
  return out.append(bytes, sizeof bytes);
}
inline std::string Double(uint32_t field, double value) {
  return Fixed64(field, std::bit_cast<uint64_t>(value));
}

// AnyValues.
inline std::string Text(std::string_view text) { return Bytes(1, text); }
inline std::string Int(int64_t value) { return Number(3, static_cast<uint64_t>(value)); }
inline std::string Attribute(uint32_t field, std::string_view key, const std::string& value) {
  return Bytes(field, Bytes(1, key) + Bytes(2, value));
}
inline std::string Resource(const std::string& attributes) { return Bytes(1, attributes); }

inline constexpr uint64_t kNanos = 1'762'000'000'123'456'789;
inline const std::string kTraceId = "0123456789abcdef";
inline const std::string kSpanId = "01234567";

// A request of one resource with one scope. `records`: the record fields (2) of its scope.
inline std::string Request(const std::string& resource, const std::string& records,
                           const std::string& scope = "") {
  return Bytes(1, Bytes(1, resource) + Bytes(2, Bytes(1, scope) + records));
}
inline std::string Record(const std::string& fields) { return Bytes(2, fields); }

}  // namespace forebay::testing::otlp_wire
