#include "otlp/value_writer.h"

#include <algorithm>

#include "table/number_text.h"

namespace forebay::otlp {
namespace {

using receive::WireReader;

// Fields of AnyValue.
enum AnyField : uint32_t {
  kString = 1,
  kBool = 2,
  kInt = 3,
  kDouble = 4,
  kArray = 5,
  kList = 6,
  kBytes = 7,
};

// Tags of strings in fields 1 and 2, as wire bytes; a length below kShort is one byte.
constexpr char kStringTag = 0x0a;
constexpr char kValueTag = 0x12;
constexpr size_t kShort = 128;

struct AnyParts {
  uint32_t field = 0;  // 0: no value
  uint64_t number = 0;
  std::string_view bytes;
};

// The last of the oneof that is there.
bool ReadAny(std::string_view value, AnyParts& parts) {
  // Most are a string of less than 128 bytes and nothing else.
  if (value.size() >= 2 && value[0] == kStringTag &&
      static_cast<unsigned char>(value[1]) == value.size() - 2 && value.size() < kShort)
      [[likely]] {
    parts.field = kString;
    parts.bytes = value.substr(2);
    return true;
  }
  WireReader reader(value);
  while (reader.Next()) {
    const uint32_t field = reader.field();
    switch (field) {
      case kString:
      case kArray:
      case kList:
      case kBytes:
        parts.bytes = reader.BytesField();
        break;
      case kBool:
      case kInt:
        parts.number = reader.VarintField();
        break;
      case kDouble:
        parts.number = reader.Fixed64Field();
        break;
      default:
        reader.Skip();
        continue;
    }
    parts.field = field;
  }
  return !reader.failed();
}

}  // namespace

bool ReadKeyValue(std::string_view message, KeyValue& out) {
  // Most have a short key, a short value, and nothing else.
  if (message.size() >= 4 && message[0] == kStringTag) {
    const size_t key = static_cast<unsigned char>(message[1]);
    if (key < kShort && message.size() >= key + 4 && message[key + 2] == kValueTag) {
      const size_t value = static_cast<unsigned char>(message[key + 3]);
      if (value < kShort && message.size() == key + value + 4) [[likely]] {
        out = {message.substr(2, key), message.substr(key + 4)};
        return true;
      }
    }
  }
  WireReader reader(message);
  out = {};
  while (reader.Next()) {
    if (reader.field() == 1) {
      out.key = reader.BytesField();
    } else if (reader.field() == 2) {
      out.value = reader.BytesField();
    } else {
      reader.Skip();
    }
  }
  return !reader.failed();
}

bool ValueWriter::IsTooLong(const ByteBuffer& out, size_t begin) {
  // In the value itself a pair of quotes is one.
  const std::string_view field = out.view().substr(begin + 1, out.size() - begin - 2);
  const auto quotes = static_cast<size_t>(std::count(field.begin(), field.end(), '"'));
  return field.size() - quotes / 2 > kMaxValueBytes;
}

void ValueWriter::Object(std::span<const KeyValue> attributes, ByteBuffer& out) {
  Field(out, [&] { WriteObject(attributes, out, 0); });
}

void ValueWriter::Any(std::string_view value, ByteBuffer& out) {
  Field(out, [&] { WriteAny(value, out, 0); });
}

void ValueWriter::WriteText(std::string_view text, ByteBuffer& out) {
  char* to = out.Ensure(text.size() + 4);
  *to++ = '"';
  *to++ = '"';
  if (limit_ == SIZE_MAX && CopyPlain(text, to) == text.size()) [[likely]] {
    to += text.size();
    *to++ = '"';
    *to++ = '"';
    return out.SetEnd(to);
  }
  out.SetEnd(to);
  if (limit_ == SIZE_MAX) [[likely]] {
    AppendJsonText(text, out, counts_);
  } else {
    WriteLongText(text, out);
  }
  out.Append("\"\"");
}

// In pieces, as long as there is room.
void ValueWriter::WriteLongText(std::string_view text, ByteBuffer& out) {
  while (!text.empty()) {
    if (!fitting(out)) {
      out.Append(kCutMarker);
      cut_ = true;
      return;
    }
    std::string_view piece = CutText(text, kPieceBytes);
    if (piece.empty()) piece = text.substr(0, kPieceBytes);  // no UTF-8 at all
    AppendJsonText(piece, out, counts_);
    text.remove_prefix(piece.size());
  }
}

void ValueWriter::WriteKey(std::string_view key, bool first, ByteBuffer& out) {
  if (!first) out.push_back(',');
  WriteText(key, out);
  out.push_back(':');
}

// In place of the entries that do not fit.
void ValueWriter::WriteRestCut(bool first, ByteBuffer& out) {
  if (!first) out.push_back(',');
  out.Append("\"\"forebay.cut\"\":true");
  cut_ = true;
}

void ValueWriter::WriteObject(std::span<const KeyValue> attributes, ByteBuffer& out, int depth) {
  out.push_back('{');
  bool first = true;
  for (const KeyValue& attribute : attributes) {
    if (!fitting(out)) {
      WriteRestCut(first, out);
      break;
    }
    WriteKey(attribute.key, first, out);
    WriteAny(attribute.value, out, depth + 1);
    first = false;
  }
  out.push_back('}');
}

void ValueWriter::WriteList(std::string_view message, ByteBuffer& out, int depth) {
  out.push_back('{');
  bool first = true;
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() != 1) {
      reader.Skip();
      continue;
    }
    KeyValue entry;
    if (!ReadKeyValue(reader.BytesField(), entry)) malformed_ = true;
    if (!fitting(out)) {
      WriteRestCut(first, out);
      break;
    }
    WriteKey(entry.key, first, out);
    WriteAny(entry.value, out, depth + 1);
    first = false;
  }
  if (reader.failed()) malformed_ = true;
  out.push_back('}');
}

void ValueWriter::WriteArray(std::string_view message, ByteBuffer& out, int depth) {
  out.push_back('[');
  bool first = true;
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() != 1) {
      reader.Skip();
      continue;
    }
    const std::string_view element = reader.BytesField();
    if (!first) out.push_back(',');
    first = false;
    if (!fitting(out)) {
      out.Append("\"\"");
      out.Append(kCutMarker);
      out.Append("\"\"");
      cut_ = true;
      break;
    }
    WriteAny(element, out, depth + 1);
  }
  if (reader.failed()) malformed_ = true;
  out.push_back(']');
}

void ValueWriter::WriteDouble(uint64_t bits, ByteBuffer& out) {
  constexpr uint64_t kExponent = 0x7ff0'0000'0000'0000;
  if ((bits & kExponent) == kExponent) {
    if (table::IsNan(bits)) return out.Append("\"\"NaN\"\"");
    return out.Append((bits >> 63) != 0 ? "\"\"-Infinity\"\"" : "\"\"Infinity\"\"");
  }
  out.SetEnd(table::WriteDouble(bits, out.Ensure(table::kMaxDoubleChars)));
}

void ValueWriter::WriteAny(std::string_view value, ByteBuffer& out, int depth) {
  AnyParts parts;
  if (!ReadAny(value, parts)) malformed_ = true;
  switch (parts.field) {
    case kString:
      return WriteText(parts.bytes, out);
    case kBool:
      return out.Append(parts.number != 0 ? "true" : "false");
    case kInt:
      return AppendSigned(static_cast<int64_t>(parts.number), out);
    case kDouble:
      return WriteDouble(parts.number, out);
    case kBytes:
      out.Append("\"\"");
      // Four characters for three bytes: bytes without an end are cut as texts are.
      if (limit_ != SIZE_MAX && out.size() + parts.bytes.size() / 3 * 4 > limit_) {
        const size_t room = out.size() < limit_ ? (limit_ - out.size()) / 4 * 3 : 0;
        AppendBase64(parts.bytes.substr(0, room), out);
        out.Append(kCutMarker);
        cut_ = true;
      } else {
        AppendBase64(parts.bytes, out);
      }
      return out.Append("\"\"");
    case kArray:
    case kList:
      break;
    default:
      return out.Append("null");
  }
  if (depth >= kMaxDepth) {
    ++counts_.cut;
    out.Append("\"\"");
    out.Append(kCutMarker);
    return out.Append("\"\"");
  }
  if (parts.field == kArray) return WriteArray(parts.bytes, out, depth);
  WriteList(parts.bytes, out, depth);
}

void ValueWriter::StringField(std::string_view value, ByteBuffer& out) {
  AnyParts parts;
  if (!ReadAny(value, parts)) malformed_ = true;
  if (parts.field == 0) return;
  if (parts.field == kString) return AppendStringField(parts.bytes, out, scratch_, counts_);
  Any(value, out);
}

}  // namespace forebay::otlp
