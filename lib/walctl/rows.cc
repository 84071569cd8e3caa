// Rendering of rows for people and scripts; see rows.h.
#include "walctl/rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "base/byte_buffer.h"
#include "base/time.h"
#include "table/csv_row.h"
#include "table/json_text.h"
#include "table/schema.h"
#include "wal/journal_reader.h"
#include "wal/segment_name.h"
#include "wal/segment_reader.h"
#include "wal/series_block.h"
#include "walctl/inventory.h"

namespace forebay::walctl {
namespace {

constexpr size_t kFlushBytes = 1 << 20;

// A JSON number as it stands: what from_chars reads to the end and JSON can say.
bool IsJsonNumber(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && std::isfinite(value);
}

void AppendJsonField(const table::Column& column, std::string_view text, ByteBuffer& out) {
  using table::ColumnType;
  const ColumnType type = column.type;
  if (text.empty() && type != ColumnType::kString) {
    out.Append("null");
    return;
  }
  const bool numeric =
      type == ColumnType::kReal || type == ColumnType::kLong || type == ColumnType::kInt;
  const bool document =
      type == ColumnType::kDynamic && (text.front() == '{' || text.front() == '[');
  if (document || (numeric && IsJsonNumber(text))) {
    out.Append(text);
  } else {
    table::AppendJsonString(text, out);
  }
}

class SegmentPrinter {
 public:
  SegmentPrinter(const std::string& path, const RowOptions& options, const TextSink& sink)
      : options_(options), sink_(sink) {
    const auto name = wal::ParseSegmentName(io::BaseName(path));
    // A file of another name is taken to carry a header when its first line is one.
    has_schema_ = !name.ok() || !name->schema_hash.empty();
    if (name.ok()) hash_ = name->schema_hash;
  }

  Status Print(const wal::Block& block);
  Status Flush();
  uint64_t rows() const { return rows_; }

 private:
  Status PrintText(std::string_view text);
  Status PrintSeries(const wal::Block& block);
  Status EmitHeader(std::string_view line);
  Status Emit(std::string_view lines);
  void AppendJsonRows(std::string_view csv);

  const RowOptions options_;
  const TextSink& sink_;
  bool has_schema_ = false;
  std::string hash_;
  bool header_done_ = false;
  std::optional<table::Schema> schema_;
  uint64_t rows_ = 0;
  ByteBuffer rendered_;  // CSV of a block
  ByteBuffer out_;
  ByteBuffer labels_field_;
  ByteBuffer lifted_fields_;
  std::vector<table::Label> labels_;
  std::vector<std::string_view> lifted_;
  std::vector<std::string> fields_;
  table::SeriesRowRenderer renderer_;
  wal::SeriesBlockDecoder decoder_;
};

Status SegmentPrinter::Flush() {
  if (out_.empty()) return OkStatus();
  Status status = sink_(out_.view());
  out_.clear();
  return status;
}

Status SegmentPrinter::Emit(std::string_view lines) {
  if (options_.format == RowFormat::kCsv) {
    out_.Append(lines);
  } else {
    AppendJsonRows(lines);
  }
  return out_.size() >= kFlushBytes ? Flush() : OkStatus();
}

Status SegmentPrinter::EmitHeader(std::string_view line) {
  if (header_done_ || !options_.header || options_.format != RowFormat::kCsv) return OkStatus();
  header_done_ = true;
  out_.Append(line);
  return OkStatus();
}

void SegmentPrinter::AppendJsonRows(std::string_view csv) {
  while (!csv.empty()) {
    const size_t used = SplitCsvRecord(csv, fields_);
    csv.remove_prefix(used);
    out_.push_back('{');
    for (size_t i = 0; i < fields_.size(); ++i) {
      if (i > 0) out_.push_back(',');
      table::Column column;
      if (schema_ && i < schema_->columns().size()) {
        column = schema_->columns()[i];
      } else {
        column.name = fmt::format("Column{}", i + 1);
      }
      table::AppendJsonString(column.name, out_);
      out_.push_back(':');
      AppendJsonField(column, fields_[i], out_);
    }
    out_.Append("}\n");
  }
}

Status SegmentPrinter::PrintText(std::string_view text) {
  if (has_schema_) {
    const size_t end = text.find('\n');
    const std::string_view first =
        text.substr(0, end == std::string_view::npos ? text.size() : end + 1);
    auto schema = table::Schema::ParseHeaderLine(first);
    if (schema.ok()) {
      text.remove_prefix(first.size());
      schema_ = std::move(*schema);
      FOREBAY_RETURN_IF_ERROR(EmitHeader(schema_->header_line()));
    }
  }
  FOREBAY_RETURN_IF_ERROR(Emit(text));
  if (!text.empty() && text.back() != '\n' && options_.format == RowFormat::kCsv)
    out_.push_back('\n');
  return OkStatus();
}

Status SegmentPrinter::PrintSeries(const wal::Block& block) {
  FOREBAY_RETURN_IF_ERROR(decoder_.Decode(
      std::string_view(block.payload.data(), block.payload.size()), block.header.row_count));
  rendered_.clear();
  for (const wal::SeriesBlockDecoder::Series& series : decoder_.series()) {
    labels_.clear();
    for (uint32_t i = 0; i < series.label_count; ++i) {
      labels_.push_back({decoder_.LabelName(series, i), decoder_.LabelValue(series, i)});
    }
    lifted_.clear();
    for (uint32_t i = 0; i < series.lifted_count; ++i)
      lifted_.push_back(decoder_.LiftedValue(series, i));
    labels_field_.clear();
    lifted_fields_.clear();
    table::AppendLabelsJsonCsv(labels_, labels_field_);
    table::AppendLiftedFields(lifted_, lifted_fields_);
    renderer_.Begin(series.series_id, labels_field_.view(), lifted_fields_.view());
    for (uint32_t row = series.first_row; row < series.first_row + series.rows; ++row) {
      renderer_.Append(UnixMillis{decoder_.timestamps()[row]}, decoder_.values()[row], rendered_);
    }
  }
  if (auto schema = table::Schema::ParseHeaderLine(decoder_.header_line()); schema.ok())
    schema_ = std::move(*schema);
  FOREBAY_RETURN_IF_ERROR(EmitHeader(decoder_.header_line()));
  return Emit(rendered_.view());
}

Status SegmentPrinter::Print(const wal::Block& block) {
  const bool series = block.header.version == wal::kBlockVersionSeries;
  if (series) {
    FOREBAY_RETURN_IF_ERROR(PrintSeries(block));
  } else {
    FOREBAY_RETURN_IF_ERROR(
        PrintText(std::string_view(block.payload.data(), block.payload.size())));
  }
  rows_ += block.header.row_count;
  return OkStatus();
}

std::string_view KindName(wal::RecordKind kind) {
  switch (kind) {
    case wal::RecordKind::kRemoteWrite1:
      return "remote-write-1.0";
    case wal::RecordKind::kAbandoned:
      return "abandoned";  // the reader keeps these to itself
    case wal::RecordKind::kRemoteWrite2:
      return "remote-write-2.0";
    case wal::RecordKind::kPeerSegment:
      return "peer-segment";
    case wal::RecordKind::kOtlp:
      break;
  }
  if (!wal::IsOtlp(kind)) return "";
  constexpr std::string_view kNames[] = {"otlp-metrics", "otlp-logs", "otlp-traces", ""};
  return kNames[(static_cast<uint8_t>(kind) >> 3) & 3];
}

}  // namespace

Result<RowFormat> ParseRowFormat(std::string_view text) {
  if (text == "csv") return RowFormat::kCsv;
  if (text == "ndjson") return RowFormat::kNdjson;
  return Error(ErrorCode::kInvalidArgument, fmt::format("format: '{}' is not csv or ndjson", text));
}

size_t SplitCsvRecord(std::string_view text, std::vector<std::string>& fields) {
  fields.clear();
  fields.emplace_back();
  size_t i = 0;
  bool quoted = false;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c != '"') {
        fields.back() += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        fields.back() += '"';
        ++i;
      } else {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      fields.emplace_back();
    } else if (c == '\n') {
      ++i;
      break;
    } else if (c != '\r' || i + 1 == text.size() || text[i + 1] != '\n') {
      fields.back() += c;
    }
  }
  return i;
}

Result<RowCounts> PrintSegment(io::FileSystem& fs, const std::string& path,
                               const RowOptions& options, const TextSink& sink) {
  FOREBAY_ASSIGN_OR_RETURN(const auto reader, wal::SegmentReader::Open(fs, path));
  SegmentPrinter printer(path, options, sink);
  RowCounts counts;
  for (;;) {
    FOREBAY_ASSIGN_OR_RETURN(const auto block, reader->Next());
    if (!block) break;
    const Status printed = printer.Print(*block);
    if (printed.ok()) continue;
    if (printed.error().code() != ErrorCode::kCorruption) return Error(printed.error());
    ++counts.damaged_ranges;
  }
  FOREBAY_RETURN_IF_ERROR(printer.Flush());
  counts.rows = printer.rows();
  counts.damaged_ranges += reader->damage().size();
  return counts;
}

Result<RowCounts> PrintJournal(io::FileSystem& fs, const std::string& path, bool header,
                               const TextSink& sink) {
  FOREBAY_ASSIGN_OR_RETURN(const auto reader, wal::JournalReader::Open(fs, path));
  RowCounts counts;
  if (header) FOREBAY_RETURN_IF_ERROR(sink("offset,kind,tenant,received,bytes,refused\n"));
  ByteBuffer line;
  for (;;) {
    FOREBAY_ASSIGN_OR_RETURN(const auto record, reader->Next());
    if (!record) break;
    line.clear();
    line.Append(fmt::format("{},{},", reader->offset(), KindName(record->kind)));
    table::AppendCsvField(record->tenant, line);
    line.Append(fmt::format(",{},{},{}\n", FormatRfc3339(record->received), record->body.size(),
                            record->refused.size()));
    FOREBAY_RETURN_IF_ERROR(sink(line.view()));
    ++counts.rows;
  }
  for (const wal::JournalDamage& damage : reader->damage())
    counts.damaged_ranges += damage.torn_tail ? 0 : 1;
  return counts;
}

Result<std::vector<std::string>> FindSegments(io::FileSystem& fs, const std::string& directory,
                                              std::string_view table) {
  FOREBAY_ASSIGN_OR_RETURN(const auto paths, ListPaths(fs, directory));
  std::vector<std::pair<uint64_t, std::string>> found;
  std::set<std::string> keys;
  for (const std::string& path : paths) {
    const auto name = wal::ParseSegmentName(io::BaseName(path));
    if (!name.ok()) continue;
    FOREBAY_ASSIGN_OR_RETURN(const FileKind kind, DetectKind(fs, path));
    if (kind == FileKind::kDeadLetter) continue;
    const std::string key = wal::SegmentKey(*name);
    if (key == table || name->database + "_" + name->table == table) {
      found.emplace_back(name->id, path);
      keys.insert(key);
    }
  }
  if (found.empty()) {
    return Error(ErrorCode::kNotFound,
                 fmt::format("no segment of table {} below {}", table, directory));
  }
  if (keys.size() > 1) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("table {} has segments of several schemas, name one: {}", table,
                             fmt::join(keys, ", ")));
  }
  std::sort(found.begin(), found.end());
  std::vector<std::string> out;
  out.reserve(found.size());
  for (auto& [id, path] : found) out.push_back(std::move(path));
  return out;
}

}  // namespace forebay::walctl
