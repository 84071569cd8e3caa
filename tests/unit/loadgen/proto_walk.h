// A minimal reader of protobuf wire bytes for these tests: written apart from the encoder under
// test, it knows fields and lengths and nothing of remote write.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace forebay::test {

struct ProtoField {
  uint32_t number = 0;
  uint32_t wire = 0;
  uint64_t integer = 0;    // varint and fixed64
  std::string_view bytes;  // length-delimited
  double real() const {
    double value = 0;
    std::memcpy(&value, &integer, sizeof value);
    return value;
  }
};

inline uint64_t TakeVarint(std::string_view& in) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (in.empty()) throw std::runtime_error("varint beyond the end");
    const auto byte = static_cast<unsigned char>(in.front());
    in.remove_prefix(1);
    value |= uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return value;
  }
  throw std::runtime_error("varint too long");
}

inline std::vector<ProtoField> Walk(std::string_view in) {
  std::vector<ProtoField> fields;
  while (!in.empty()) {
    const uint64_t tag = TakeVarint(in);
    ProtoField field;
    field.number = static_cast<uint32_t>(tag >> 3);
    field.wire = static_cast<uint32_t>(tag & 7);
    if (field.wire == 0) {
      field.integer = TakeVarint(in);
    } else if (field.wire == 1) {
      if (in.size() < 8) throw std::runtime_error("fixed64 beyond the end");
      std::memcpy(&field.integer, in.data(), 8);
      in.remove_prefix(8);
    } else if (field.wire == 2) {
      const uint64_t size = TakeVarint(in);
      if (size > in.size()) throw std::runtime_error("field beyond the end");
      field.bytes = in.substr(0, size);
      in.remove_prefix(size);
    } else {
      throw std::runtime_error("wire type");
    }
    fields.push_back(field);
  }
  return fields;
}

inline std::vector<ProtoField> Pick(std::string_view in, uint32_t number) {
  std::vector<ProtoField> picked;
  for (const ProtoField& field : Walk(in)) {
    if (field.number == number) picked.push_back(field);
  }
  return picked;
}

}  // namespace forebay::test
