// The messages of OTLP as their JSON has them: keys, field numbers and types.
// Source: opentelemetry-proto 1.x, collector, common, resource, logs, trace and metrics.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "otlp/request_format.h"

namespace forebay::otlp::internal {

enum class JsonType : uint8_t {
  kMessage,
  kString,
  kBase64,
  kHex,
  kBool,
  kEnum,
  kInt64,
  kUint32,
  kUint64,
  kSint32,
  kFixed32,
  kFixed64,
  kSFixed64,
  kDouble,
};

struct JsonMessage;

struct JsonField {
  std::string_view name;
  uint32_t number = 0;
  JsonType type = JsonType::kString;
  bool repeated = false;
  const JsonMessage* message = nullptr;
};

struct JsonMessage {
  std::span<const JsonField> fields;
  // Null: no such key. Threads: any.
  const JsonField* Find(std::string_view name) const {
    for (const JsonField& field : fields) {
      if (field.name == name) return &field;
    }
    return nullptr;
  }
};

// Export...ServiceRequest of the signal. Threads: any.
const JsonMessage& RequestSchema(Signal signal);

}  // namespace forebay::otlp::internal
