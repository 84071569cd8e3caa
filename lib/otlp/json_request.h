// OTLP/JSON as the same request in protobuf's wire format, so that both encodings are decoded by
// one code. Place: before the decoders. The mapping is protobuf's JSON with OTLP's differences:
// keys in lowerCamelCase, ids in hex, enumerations as integers, 64-bit integers as strings or
// numbers; unknown keys and nulls are passed over. Limits: JSON nested kMaxJsonDepth deep; the
// message has at most three times the text's bytes. Source: OpenTelemetry protocol specification,
// "JSON Protobuf Encoding".
#pragma once

#include <memory>

#include "base/byte_buffer.h"
#include "base/result.h"
#include "otlp/request_format.h"

namespace forebay::otlp {

inline constexpr size_t kMaxJsonDepth = 512;

// Threads: one at a time.
class JsonRequest {
 public:
  JsonRequest();
  ~JsonRequest();

  // Replaces the contents of `out`. `text` gets room behind its bytes, no bytes are added. Errors:
  // kInvalidArgument naming the key or the place: no JSON, or a value that its field cannot have.
  Status ToProtobuf(Signal signal, ByteBuffer& text, ByteBuffer& out);

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace forebay::otlp
