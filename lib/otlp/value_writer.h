// Attribute lists and AnyValues of OTLP as JSON in quoted CSV fields, straight from their wire
// bytes. Place: under the row writers.
// Shape: strings, booleans and numbers as JSON has them; bytes as base64; NaN and infinities as
// strings; arrays and key-value lists as JSON's. A field longer than kMaxValueBytes is written
// again: what does not fit is left out and marked, and counted. Limits: kMaxDepth, deeper values
// are left out and marked too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/byte_buffer.h"
#include "otlp/text.h"
#include "receive/wire_reader.h"

namespace forebay::otlp {

inline constexpr int kMaxDepth = 64;

// A KeyValue of the request. value: an AnyValue's bytes; empty: none.
struct KeyValue {
  std::string_view key;
  std::string_view value;
};

// Reads a KeyValue message. False: it is none.
[[nodiscard]] bool ReadKeyValue(std::string_view message, KeyValue& out);

// Threads: one at a time.
class ValueWriter {
 public:
  // Each appends one quoted CSV field.
  void Object(std::span<const KeyValue> attributes, ByteBuffer& out);
  void Any(std::string_view value, ByteBuffer& out);
  // A field that `write` fills with JSON in the CSV flavour (`""` for `"`), by the functions below.
  // It is called again with fitting() false at times when the field gets too long.
  template <typename Write>
  void Field(ByteBuffer& out, const Write& write) {
    const size_t begin = out.size();
    limit_ = SIZE_MAX;
    out.push_back('"');
    write();
    out.push_back('"');
    if (out.size() - begin <= kMaxValueBytes || !IsTooLong(out, begin)) [[likely]]
      return;
    out.Truncate(begin);
    limit_ = begin + kMaxValueBytes - kRoomToEnd;
    cut_ = false;
    out.push_back('"');
    write();
    out.push_back('"');
    limit_ = SIZE_MAX;
    if (cut_) ++counts_.cut;
  }

  // Parts of a field's JSON.
  void WriteAny(std::string_view value, ByteBuffer& out, int depth);
  void WriteObject(std::span<const KeyValue> attributes, ByteBuffer& out, int depth);
  void WriteText(std::string_view text, ByteBuffer& out);  // with its quotes
  // False: no further element fits; NoteCut says so.
  bool fitting(const ByteBuffer& out) const { return out.size() < limit_; }
  void NoteCut() { cut_ = true; }

  // An AnyValue as a CSV field of a string column: strings as they are, others as JSON.
  void StringField(std::string_view value, ByteBuffer& out);

  const TextCounts& counts() const { return counts_; }
  TextCounts& counts() { return counts_; }
  void ResetCounts() { counts_ = {}; }
  // Some bytes that were to be written are no message. Sticky until Reset.
  bool malformed() const { return malformed_; }
  void ResetMalformed() { malformed_ = false; }

 private:
  // For the end of what was cut: markers and closing brackets.
  static constexpr size_t kRoomToEnd = 64U << 10;
  static constexpr size_t kPieceBytes = 2U << 10;

  static bool IsTooLong(const ByteBuffer& out, size_t begin);
  void WriteArray(std::string_view message, ByteBuffer& out, int depth);
  void WriteList(std::string_view message, ByteBuffer& out, int depth);
  void WriteDouble(uint64_t bits, ByteBuffer& out);
  void WriteLongText(std::string_view text, ByteBuffer& out);
  void WriteRestCut(bool first, ByteBuffer& out);
  void WriteKey(std::string_view key, bool first, ByteBuffer& out);

  TextCounts counts_;
  size_t limit_ = SIZE_MAX;  // of out.size(): no new element from here on
  bool cut_ = false;
  bool malformed_ = false;
  ByteBuffer scratch_;
};

}  // namespace forebay::otlp
