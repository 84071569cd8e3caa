#include "otlp/json_request.h"

#include <fmt/core.h>
#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "otlp/internal/json_schema.h"
#include "receive/refusal.h"

namespace forebay::otlp {
namespace {

using internal::JsonField;
using internal::JsonMessage;
using internal::JsonType;
using simdjson::dom::element;
using simdjson::dom::element_type;

// Lengths are written as varints of so many bytes, so that they can be put in afterwards.
constexpr size_t kLengthBytes = 5;
constexpr size_t kMaxVarint = 10;
constexpr size_t kKeptCapacity = 4U << 20;

enum WireTag : uint32_t { kVarintTag = 0, kFixed64Tag = 1, kBytesTag = 2, kFixed32Tag = 5 };

void PutVarint(uint64_t value, ByteBuffer& out) {
  char* to = out.Ensure(kMaxVarint);
  while (value >= 0x80) {
    *to++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *to++ = static_cast<char>(value);
  out.SetEnd(to);
}

void PutTag(uint32_t number, WireTag type, ByteBuffer& out) {
  PutVarint(uint64_t{number} << 3 | type, out);
}

template <typename Word>
void PutFixed(Word value, ByteBuffer& out) {
  char* to = out.Ensure(sizeof value);
  for (size_t i = 0; i < sizeof value; ++i) to[i] = static_cast<char>(value >> (8 * i));
  out.SetEnd(to + sizeof value);
}

size_t BeginLength(ByteBuffer& out) {
  const size_t at = out.size();
  out.SetEnd(out.Ensure(kLengthBytes) + kLengthBytes);
  return at;
}

void EndLength(size_t at, ByteBuffer& out) {
  uint64_t length = out.size() - at - kLengthBytes;
  char* to = out.data() + at;
  for (size_t i = 0; i < kLengthBytes; ++i, length >>= 7) {
    to[i] = static_cast<char>((length & 0x7f) | (i + 1 < kLengthBytes ? 0x80 : 0));
  }
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

int Base64Digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

// One request. Throws nothing; the first error ends it.
class Transcoder {
 public:
  explicit Transcoder(ByteBuffer& out) : out_(out) {}

  Status Run(const element& root, const JsonMessage& message) {
    if (root.type() != element_type::OBJECT) {
      return Error(ErrorCode::kInvalidArgument, "the body is JSON, but no object");
    }
    Message(root, message);
    if (error_.empty()) return OkStatus();
    return Error(ErrorCode::kInvalidArgument, error_);
  }

 private:
  void Fail(std::string_view expected) {
    if (!error_.empty()) return;
    std::string path;
    for (const std::string_view part : path_) {
      if (!path.empty()) path += '.';
      path += part;
    }
    error_ = fmt::format("the JSON at {} must be {}", path, expected);
  }

  void Message(const element& value, const JsonMessage& message) {
    simdjson::dom::object object;
    if (value.get(object) != simdjson::SUCCESS) return Fail("an object");
    for (const auto field : object) {
      if (!error_.empty()) return;
      const JsonField* known = message.Find(field.key);
      if (known == nullptr || field.value.is_null()) continue;
      path_.push_back(known->name);
      if (known->repeated) {
        Repeated(field.value, *known);
      } else {
        One(field.value, *known);
      }
      path_.pop_back();
    }
  }

  void Repeated(const element& value, const JsonField& field) {
    simdjson::dom::array array;
    if (value.get(array) != simdjson::SUCCESS) return Fail("an array");
    if (field.type == JsonType::kMessage || field.type == JsonType::kString) {
      for (const element item : array) {
        if (!error_.empty()) return;
        One(item, field);
      }
      return;
    }
    PutTag(field.number, kBytesTag, out_);
    const size_t at = BeginLength(out_);
    for (const element item : array) {
      if (!error_.empty()) return;
      Bare(item, field);
    }
    EndLength(at, out_);
  }

  void One(const element& value, const JsonField& field) {
    switch (field.type) {
      case JsonType::kMessage: {
        PutTag(field.number, kBytesTag, out_);
        const size_t at = BeginLength(out_);
        Message(value, *field.message);
        return EndLength(at, out_);
      }
      case JsonType::kString:
      case JsonType::kBase64:
      case JsonType::kHex:
        return Text(value, field);
      case JsonType::kFixed64:
      case JsonType::kSFixed64:
      case JsonType::kDouble:
        PutTag(field.number, kFixed64Tag, out_);
        break;
      case JsonType::kFixed32:
        PutTag(field.number, kFixed32Tag, out_);
        break;
      default:
        PutTag(field.number, kVarintTag, out_);
    }
    Bare(value, field);
  }

  void Text(const element& value, const JsonField& field) {
    std::string_view text;
    if (value.get(text) != simdjson::SUCCESS) return Fail("a string");
    PutTag(field.number, kBytesTag, out_);
    const size_t at = BeginLength(out_);
    if (field.type == JsonType::kString) {
      out_.Append(text);
    } else if (field.type == JsonType::kHex) {
      Hex(text);
    } else {
      Base64(text);
    }
    EndLength(at, out_);
  }

  void Hex(std::string_view text) {
    if (text.size() % 2 != 0) return Fail("an id in hex");
    for (size_t i = 0; i < text.size(); i += 2) {
      const int high = HexDigit(text[i]);
      const int low = HexDigit(text[i + 1]);
      if (high < 0 || low < 0) return Fail("an id in hex");
      out_.push_back(static_cast<char>(high << 4 | low));
    }
  }

  void Base64(std::string_view text) {
    while (!text.empty() && text.back() == '=') text.remove_suffix(1);
    uint32_t bits = 0;
    int count = 0;
    for (const char c : text) {
      const int digit = Base64Digit(c);
      if (digit < 0) return Fail("base64");
      bits = bits << 6 | static_cast<uint32_t>(digit);
      count += 6;
      if (count < 8) continue;
      count -= 8;
      out_.push_back(static_cast<char>(bits >> count));
    }
  }

  // A number without its tag.
  void Bare(const element& value, const JsonField& field) {
    switch (field.type) {
      case JsonType::kBool: {
        bool flag = false;
        if (value.get(flag) != simdjson::SUCCESS) return Fail("true or false");
        return PutVarint(flag ? 1 : 0, out_);
      }
      case JsonType::kDouble:
        return PutFixed(std::bit_cast<uint64_t>(Double(value)), out_);
      case JsonType::kFixed64:
        return PutFixed(Unsigned(value, UINT64_MAX), out_);
      case JsonType::kUint64:
        return PutVarint(Unsigned(value, UINT64_MAX), out_);
      case JsonType::kUint32:
        return PutVarint(Unsigned(value, UINT32_MAX), out_);
      case JsonType::kFixed32:
        return PutFixed(static_cast<uint32_t>(Unsigned(value, UINT32_MAX)), out_);
      case JsonType::kSFixed64:
        return PutFixed(static_cast<uint64_t>(Signed(value)), out_);
      case JsonType::kInt64:
        return PutVarint(static_cast<uint64_t>(Signed(value)), out_);
      case JsonType::kSint32: {
        const int64_t number = Signed(value);
        if (number != static_cast<int32_t>(number)) return Fail("an integer of 32 bits");
        return PutVarint(static_cast<uint64_t>((number << 1) ^ (number >> 63)) & UINT32_MAX, out_);
      }
      case JsonType::kEnum: {
        if (value.type() == element_type::STRING) return Fail("the enumerator's number");
        const int64_t number = Signed(value);
        if (number != static_cast<int32_t>(number)) return Fail("the enumerator's number");
        return PutVarint(static_cast<uint64_t>(number), out_);
      }
      default:
        Fail("something else");
    }
  }

  double Double(const element& value) {
    double number = 0;
    if (value.get(number) == simdjson::SUCCESS) return number;
    std::string_view text;
    if (value.get(text) == simdjson::SUCCESS) {
      if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
      if (text == "Infinity") return std::numeric_limits<double>::infinity();
      if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (error == std::errc() && end == text.data() + text.size()) return number;
    }
    Fail("a number");
    return 0;
  }

  // A number that is whole, though written with a point or an exponent.
  bool Whole(const element& value, double& number) {
    return value.type() == element_type::DOUBLE && value.get(number) == simdjson::SUCCESS &&
           number == std::trunc(number);
  }

  uint64_t Unsigned(const element& value, uint64_t most) {
    uint64_t number = 0;
    double real = 0;
    std::string_view text;
    bool good = value.get(number) == simdjson::SUCCESS;
    if (!good && value.get(text) == simdjson::SUCCESS) {
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      good = error == std::errc() && end == text.data() + text.size();
    }
    constexpr double kTwo64 = 18446744073709551616.0;
    if (!good && Whole(value, real) && real >= 0 && real < kTwo64) {
      number = static_cast<uint64_t>(real);
      good = true;
    }
    if (!good || number > most) {
      Fail("a whole number, not negative");
      return 0;
    }
    return number;
  }

  int64_t Signed(const element& value) {
    int64_t number = 0;
    double real = 0;
    std::string_view text;
    if (value.get(number) == simdjson::SUCCESS) return number;
    if (value.get(text) == simdjson::SUCCESS) {
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (error == std::errc() && end == text.data() + text.size()) return number;
    }
    constexpr double kTwo63 = 9223372036854775808.0;
    if (Whole(value, real) && real >= -kTwo63 && real < kTwo63) return static_cast<int64_t>(real);
    Fail("a whole number of 64 bits");
    return 0;
  }

  ByteBuffer& out_;
  std::vector<std::string_view> path_;
  std::string error_;
};

}  // namespace

struct JsonRequest::Parser {
  simdjson::dom::parser parser;
};

JsonRequest::JsonRequest() : parser_(std::make_unique<Parser>()) {}
JsonRequest::~JsonRequest() = default;

Status JsonRequest::ToProtobuf(Signal signal, ByteBuffer& text, ByteBuffer& out) {
  out.clear();
  std::memset(text.Ensure(simdjson::SIMDJSON_PADDING), 0, simdjson::SIMDJSON_PADDING);
  if (parser_->parser.max_depth() != kMaxJsonDepth || parser_->parser.capacity() < text.size()) {
    const size_t capacity = std::max<size_t>(text.size(), 64U << 10);
    if (parser_->parser.allocate(capacity, kMaxJsonDepth) != simdjson::SUCCESS) {
      return Error(ErrorCode::kResourceExhausted, "no memory for the JSON of the body");
    }
  }
  element root;
  const auto result = parser_->parser.parse(text.data(), text.size(), false).get(root);
  Status status = OkStatus();
  if (result != simdjson::SUCCESS) {
    status = Error(ErrorCode::kInvalidArgument,
                   fmt::format("the body is no JSON: {}", simdjson::error_message(result)));
  } else {
    status = Transcoder(out).Run(root, internal::RequestSchema(signal));
  }
  if (text.size() > kKeptCapacity) parser_ = std::make_unique<Parser>();
  return status;
}

}  // namespace forebay::otlp
