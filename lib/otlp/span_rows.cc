// Spans: fields of Span to the columns of a row; events and links as JSON.
#include <array>

#include "otlp/internal/records.h"
#include "otlp/wire_fields.h"

namespace forebay::otlp {
namespace {

using receive::WireReader;

// The name of an enumerator; of others the number.
template <size_t kNames>
void AppendName(uint64_t number, const std::array<std::string_view, kNames>& names,
                ByteBuffer& out) {
  if (number < kNames) return out.Append(names[number]);
  AppendSigned(static_cast<int32_t>(number), out);
}

constexpr std::array<std::string_view, 6> kKinds = {"Unspecified", "Internal", "Server",
                                                    "Client",      "Producer", "Consumer"};
constexpr std::array<std::string_view, 3> kStatusCodes = {"Unset", "Ok", "Error"};

}  // namespace

bool RecordDecoder::ReadSpan(std::string_view message, Span& span) {
  events_.clear();
  links_.clear();
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        span.trace_id = reader.BytesField();
        break;
      case 2:
        span.span_id = reader.BytesField();
        break;
      case 3:
        span.trace_state = reader.BytesField();
        break;
      case 4:
        span.parent_id = reader.BytesField();
        break;
      case 5:
        span.name = reader.BytesField();
        break;
      case 6:
        span.kind = reader.VarintField();
        break;
      case 7:
        span.start = reader.Fixed64Field();
        break;
      case 8:
        span.end = reader.Fixed64Field();
        break;
      case 9:
        TakeAttribute(reader.BytesField(), attributes_, route_, lifted_);
        break;
      case 10:
        span.dropped_attributes = reader.VarintField();
        break;
      case 11:
        events_.push_back(reader.BytesField());
        break;
      case 12:
        span.dropped_events = reader.VarintField();
        break;
      case 13:
        links_.push_back(reader.BytesField());
        break;
      case 14:
        span.dropped_links = reader.VarintField();
        break;
      case 15: {
        WireReader status(reader.BytesField());
        while (status.Next()) {
          if (status.field() == 2) {
            span.status_message = status.BytesField();
          } else if (status.field() == 3) {
            span.status_code = status.VarintField();
          } else {
            status.Skip();
          }
        }
        if (status.failed()) malformed_ = true;
        break;
      }
      case 16:
        span.flags = Fixed32Field(reader);
        break;
      default:
        reader.Skip();
    }
  }
  if (reader.failed()) malformed_ = true;
  return !malformed_ && IdsAreFine(span.trace_id, span.span_id) && IdsAreFine({}, span.parent_id);
}

void RecordDecoder::WriteSpan(const Span& span, ByteBuffer& out) {
  const auto string = [&](std::string_view text) {
    AppendStringField(text, out, scratch_, values_.counts());
    out.push_back(',');
  };
  times_.Append(span.start, out);
  out.push_back(',');
  times_.Append(span.end, out);
  out.push_back(',');
  // A span that has not ended, or ended before it began, took no time.
  AppendUnsigned(span.end > span.start ? span.end - span.start : 0, out);
  out.push_back(',');
  WriteId(span.trace_id, out);
  out.push_back(',');
  WriteId(span.span_id, out);
  out.push_back(',');
  WriteId(span.parent_id, out);
  out.push_back(',');
  string(span.trace_state);
  string(span.name);
  AppendName(span.kind, kKinds, out);
  out.push_back(',');
  AppendUnsigned(span.flags, out);
  out.push_back(',');
  AppendName(span.status_code, kStatusCodes, out);
  out.push_back(',');
  string(span.status_message);
  out.Append(service_field_.view());
  out.push_back(',');
  values_.Object(attributes_, out);
  out.push_back(',');
  WriteEvents(out);
  out.push_back(',');
  WriteLinks(out);
  out.push_back(',');
  out.Append(resource_field_.view());
  out.push_back(',');
  out.Append(scope_field_.view());
  for (const uint64_t dropped :
       {span.dropped_attributes, span.dropped_events, span.dropped_links}) {
    out.push_back(',');
    AppendUnsigned(dropped, out);
  }
  WriteLifted(out);
  out.push_back('\n');
}

// "attributes":{...} of an event or a link, when it has some.
void RecordDecoder::WriteAttributesOf(std::string_view message, uint32_t field, ByteBuffer& out) {
  inner_.clear();
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() != field) {
      reader.Skip();
      continue;
    }
    KeyValue attribute;
    if (!ReadKeyValue(reader.BytesField(), attribute)) malformed_ = true;
    inner_.push_back(attribute);
  }
  if (reader.failed()) malformed_ = true;
  if (inner_.empty()) return;
  out.Append(",\"\"attributes\"\":");
  values_.WriteObject(inner_, out, 2);
}

void RecordDecoder::WriteEvents(ByteBuffer& out) {
  values_.Field(out, [&] {
    out.push_back('[');
    bool first = true;
    for (const std::string_view message : events_) {
      if (!first) out.push_back(',');
      first = false;
      if (!values_.fitting(out)) {
        values_.WriteText("", out);
        values_.NoteCut();
        break;
      }
      uint64_t time = 0;
      uint64_t dropped = 0;
      std::string_view name;
      WireReader reader(message);
      while (reader.Next()) {
        switch (reader.field()) {
          case 1:
            time = reader.Fixed64Field();
            break;
          case 2:
            name = reader.BytesField();
            break;
          case 4:
            dropped = reader.VarintField();
            break;
          default:
            reader.Skip();
        }
      }
      if (reader.failed()) malformed_ = true;
      out.Append("{\"\"timestamp\"\":\"\"");
      times_.Append(time, out);
      out.Append("\"\",\"\"name\"\":");
      values_.WriteText(name, out);
      WriteAttributesOf(message, 3, out);
      if (dropped != 0) {
        out.Append(",\"\"dropped_attributes_count\"\":");
        AppendUnsigned(dropped, out);
      }
      out.push_back('}');
    }
    out.push_back(']');
  });
}

void RecordDecoder::WriteLinks(ByteBuffer& out) {
  values_.Field(out, [&] {
    out.push_back('[');
    bool first = true;
    for (const std::string_view message : links_) {
      if (!first) out.push_back(',');
      first = false;
      if (!values_.fitting(out)) {
        values_.WriteText("", out);
        values_.NoteCut();
        break;
      }
      std::string_view trace;
      std::string_view id;
      std::string_view state;
      uint64_t dropped = 0;
      uint32_t flags = 0;
      WireReader reader(message);
      while (reader.Next()) {
        switch (reader.field()) {
          case 1:
            trace = reader.BytesField();
            break;
          case 2:
            id = reader.BytesField();
            break;
          case 3:
            state = reader.BytesField();
            break;
          case 5:
            dropped = reader.VarintField();
            break;
          case 6:
            flags = Fixed32Field(reader);
            break;
          default:
            reader.Skip();
        }
      }
      if (reader.failed()) malformed_ = true;
      out.Append("{\"\"trace_id\"\":\"\"");
      AppendHex(trace, out);
      out.Append("\"\",\"\"span_id\"\":\"\"");
      AppendHex(id, out);
      out.Append("\"\"");
      if (!state.empty()) {
        out.Append(",\"\"trace_state\"\":");
        values_.WriteText(state, out);
      }
      WriteAttributesOf(message, 4, out);
      if (dropped != 0) {
        out.Append(",\"\"dropped_attributes_count\"\":");
        AppendUnsigned(dropped, out);
      }
      if (flags != 0) {
        out.Append(",\"\"flags\"\":");
        AppendUnsigned(flags, out);
      }
      out.push_back('}');
    }
    out.push_back(']');
  });
}

}  // namespace forebay::otlp
