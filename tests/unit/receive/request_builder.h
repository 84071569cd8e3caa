// Remote-write requests as bytes, for tests: nothing is sorted, checked or completed.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace forebay::testing {

inline void PutVarint(std::string& out, uint64_t value) {
  while (value >= 0x80) {
    out += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  out += static_cast<char>(value);
}
inline uint64_t ZigZag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}
inline std::string VarintField(uint32_t field, uint64_t value) {
  std::string out;
  PutVarint(out, field << 3);
  PutVarint(out, value);
  return out;
}
inline std::string BitsField(uint32_t field, uint64_t bits) {
  std::string out;
  PutVarint(out, field << 3 | 1);
  char bytes[8];
  std::memcpy(bytes, &bits, sizeof bits);
  return out.append(bytes, sizeof bytes);
}
inline std::string DoubleField(uint32_t field, double value) {
  return BitsField(field, std::bit_cast<uint64_t>(value));
}
inline std::string BytesField(uint32_t field, std::string_view bytes) {
  std::string out;
  PutVarint(out, field << 3 | 2);
  PutVarint(out, bytes.size());
  return out.append(bytes);
}
inline std::string PackedField(uint32_t field, const std::vector<uint64_t>& values) {
  std::string packed;
  for (const uint64_t value : values) PutVarint(packed, value);
  return BytesField(field, packed);
}

using TextLabels = std::vector<std::pair<std::string, std::string>>;
inline const TextLabels kUp = {{"__name__", "up"}, {"job", "x"}};
inline constexpr int64_t kTime = 1'762'000'000'123;

inline std::string SampleMessage(uint64_t bits, int64_t timestamp) {
  return BitsField(1, bits) + VarintField(2, static_cast<uint64_t>(timestamp));
}
inline std::string SampleMessage(double value, int64_t timestamp = kTime) {
  return SampleMessage(std::bit_cast<uint64_t>(value), timestamp);
}

// A 1.0 label field, and those of a whole set.
inline std::string LabelField(std::string_view name, std::string_view value) {
  return BytesField(1, BytesField(1, name) + BytesField(2, value));
}
inline std::string LabelFields(const TextLabels& labels) {
  std::string out;
  for (const auto& [name, value] : labels) out += LabelField(name, value);
  return out;
}
// A 1.0 series field with one sample; `rest`: further fields of TimeSeries.
inline std::string Series1(const TextLabels& labels, double value = 1, std::string_view rest = {}) {
  return BytesField(1,
                    LabelFields(labels) + BytesField(2, SampleMessage(value)) + std::string(rest));
}

// A 2.0 request: symbols are interned as they are used.
class Request2 {
 public:
  Request2() { Ref(""); }
  uint32_t Ref(const std::string& text) {
    const auto [found, added] = refs_.try_emplace(text, static_cast<uint32_t>(refs_.size()));
    if (added) symbols_ += BytesField(4, text);
    return found->second;
  }
  std::vector<uint64_t> Refs(const TextLabels& labels) {
    std::vector<uint64_t> refs;
    for (const auto& [name, value] : labels) {
      refs.push_back(Ref(name));
      refs.push_back(Ref(value));
    }
    return refs;
  }
  // `rest`: fields of TimeSeries after the refs.
  Request2& Add(const TextLabels& labels, std::string_view rest) {
    return AddRaw(PackedField(1, Refs(labels)) + std::string(rest));
  }
  Request2& AddRaw(std::string_view series) {
    series_ += BytesField(5, series);
    return *this;
  }
  std::string Encode() const { return symbols_ + series_; }
  std::string EncodeSymbolsLast() const { return series_ + symbols_; }

 private:
  std::map<std::string, uint32_t> refs_;
  std::string symbols_;
  std::string series_;
};

inline std::string Sample2(double value, int64_t timestamp = kTime) {
  return BytesField(2, SampleMessage(value, timestamp));
}

// A valid integer histogram: 2 zeros, positive 1, 3, 2, negative 1.
inline std::string HistogramMessage(uint64_t count = 9) {
  std::string spans = BytesField(11, VarintField(1, ZigZag(0)) + VarintField(2, 2)) +
                      BytesField(11, VarintField(1, ZigZag(3)) + VarintField(2, 1));
  return VarintField(1, count) + DoubleField(3, 18.5) + VarintField(4, ZigZag(1)) +
         DoubleField(5, 0.001) + VarintField(6, 2) +
         BytesField(8, VarintField(1, ZigZag(-1)) + VarintField(2, 1)) +
         PackedField(9, {ZigZag(1)}) + spans + PackedField(12, {ZigZag(1), ZigZag(2), ZigZag(-1)}) +
         VarintField(14, 2) + VarintField(15, static_cast<uint64_t>(kTime));
}

}  // namespace forebay::testing
