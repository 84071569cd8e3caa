// The parts of a log record and of a span before their rows are written. Views into the request.
#pragma once

#include <cstdint>
#include <string_view>

#include "otlp/record_decoder.h"

namespace forebay::otlp {

struct RecordDecoder::LogRecord {
  uint64_t time = 0;  // Unix ns, as all times
  uint64_t observed = 0;
  int32_t severity = 0;
  uint32_t flags = 0;
  uint64_t dropped = 0;
  std::string_view severity_text;
  std::string_view body;
  std::string_view trace_id;
  std::string_view span_id;
  std::string_view event_name;
};

struct RecordDecoder::Span {
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t kind = 0;
  uint64_t status_code = 0;
  uint32_t flags = 0;
  uint64_t dropped_attributes = 0;
  uint64_t dropped_events = 0;
  uint64_t dropped_links = 0;
  std::string_view trace_id;
  std::string_view span_id;
  std::string_view parent_id;
  std::string_view trace_state;
  std::string_view name;
  std::string_view status_message;
};

}  // namespace forebay::otlp
