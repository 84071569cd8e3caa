// Log records: fields of LogRecord to the columns of a row.
#include "otlp/internal/records.h"
#include "otlp/wire_fields.h"

namespace forebay::otlp {

using receive::WireReader;

bool RecordDecoder::ReadLog(std::string_view message, LogRecord& record) {
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        record.time = reader.Fixed64Field();
        break;
      case 2:
        record.severity = static_cast<int32_t>(reader.VarintField());
        break;
      case 3:
        record.severity_text = reader.BytesField();
        break;
      case 5:
        record.body = reader.BytesField();
        break;
      case 6:
        TakeAttribute(reader.BytesField(), attributes_, route_, lifted_);
        break;
      case 7:
        record.dropped = reader.VarintField();
        break;
      case 8:
        record.flags = Fixed32Field(reader);
        break;
      case 9:
        record.trace_id = reader.BytesField();
        break;
      case 10:
        record.span_id = reader.BytesField();
        break;
      case 11:
        record.observed = reader.Fixed64Field();
        break;
      case 12:
        record.event_name = reader.BytesField();
        break;
      default:
        reader.Skip();
    }
  }
  if (reader.failed()) {
    malformed_ = true;
    return false;
  }
  return IdsAreFine(record.trace_id, record.span_id);
}

void RecordDecoder::WriteLog(const LogRecord& record, ByteBuffer& out) {
  constexpr uint64_t kNanosPerMilli = 1'000'000;
  uint64_t time = record.time != 0 ? record.time : record.observed;
  if (time == 0 && input_->received.value > 0) {
    time = static_cast<uint64_t>(input_->received.value) * kNanosPerMilli;
  }
  times_.Append(time, out);
  out.push_back(',');
  times_.Append(record.observed, out);
  out.push_back(',');
  WriteId(record.trace_id, out);
  out.push_back(',');
  WriteId(record.span_id, out);
  out.push_back(',');
  AppendStringField(record.severity_text, out, scratch_, values_.counts());
  out.push_back(',');
  AppendSigned(record.severity, out);
  out.push_back(',');
  if (!record.body.empty()) values_.Any(record.body, out);
  out.push_back(',');
  out.Append(resource_field_.view());
  out.push_back(',');
  values_.Object(attributes_, out);
  if (records_->full_logs()) {
    out.push_back(',');
    out.Append(scope_field_.view());
    out.push_back(',');
    AppendUnsigned(record.flags, out);
    out.push_back(',');
    AppendStringField(record.event_name, out, scratch_, values_.counts());
    out.push_back(',');
    AppendUnsigned(record.dropped, out);
  }
  WriteLifted(out);
  out.push_back('\n');
}

}  // namespace forebay::otlp
