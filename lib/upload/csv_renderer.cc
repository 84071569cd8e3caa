// Runs to rows. The row itself is table::SeriesRowRenderer's.
#include "upload/csv_renderer.h"

#include <fmt/core.h>

#include "table/json_text.h"
#include "table/number_text.h"

namespace forebay::upload {
namespace {

constexpr uint64_t kExponentBits = 0x7ff0'0000'0000'0000;
constexpr size_t kRowsPerCheck = 64;  // rows between two looks at the buffer's size

}  // namespace

std::string CsvRenderer::HeaderLine(const std::optional<table::Schema>& schema) {
  std::string line;
  if (!schema) return line;
  for (const table::Column& column : schema->columns()) {
    if (!line.empty()) line += ',';
    line += column.name;
  }
  line += '\n';
  return line;
}

Result<RenderStats> CsvRenderer::Render(BatchReader& reader, size_t lifted_count,
                                        const TextConsumer& consumer) {
  stats_ = {};
  out_.clear();
  while (true) {
    FOREBAY_ASSIGN_OR_RETURN(const RunKind kind, reader.Next());
    switch (kind) {
      case RunKind::kSeries:
        FOREBAY_RETURN_IF_ERROR(RenderSeries(reader.series(), lifted_count, consumer));
        break;
      case RunKind::kText:
        FOREBAY_RETURN_IF_ERROR(RenderText(reader.text(), consumer));
        break;
      case RunKind::kEnd:
        FOREBAY_RETURN_IF_ERROR(Flush(consumer));
        return stats_;
    }
  }
}

Status CsvRenderer::RenderSeries(const SeriesRun& run, size_t lifted_count,
                                 const TextConsumer& consumer) {
  if (run.lifted.size() > lifted_count) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("series with {} lifted values in a table with {} such columns",
                             run.lifted.size(), lifted_count));
  }
  if (!run.same_series) BeginSeries(run, lifted_count);
  for (size_t row = 0; row < run.timestamps.size(); ++row) {
    const uint64_t bits = run.values[row];
    if ((bits & kExponentBits) == kExponentBits) [[unlikely]] {
      ++(table::IsStaleMarker(bits) ? stats_.stale_markers
         : table::IsNan(bits)       ? stats_.nans
                                    : stats_.infinities);
    }
    rows_.Append(UnixMillis{run.timestamps[row]}, bits, out_);
    if (row % kRowsPerCheck == kRowsPerCheck - 1 && out_.size() >= kRenderChunkBytes) {
      FOREBAY_RETURN_IF_ERROR(Flush(consumer));
    }
  }
  stats_.rows += run.timestamps.size();
  return out_.size() >= kRenderChunkBytes ? Flush(consumer) : OkStatus();
}

void CsvRenderer::BeginSeries(const SeriesRun& run, size_t lifted_count) {
  labels_.clear();
  table::AppendLabelsJsonCsv(run.labels, labels_);
  lifted_.clear();
  if (run.lifted.size() == lifted_count) {
    table::AppendLiftedFields(run.lifted, lifted_);
  } else {
    padded_.assign(run.lifted.begin(), run.lifted.end());
    padded_.resize(lifted_count);
    table::AppendLiftedFields(padded_, lifted_);
  }
  rows_.Begin(run.series_id, labels_.view(), lifted_.view());
}

Status CsvRenderer::RenderText(const TextRun& run, const TextConsumer& consumer) {
  stats_.rows += run.rows;
  FOREBAY_RETURN_IF_ERROR(Flush(consumer));
  for (size_t begin = 0; begin < run.text.size(); begin += kRenderChunkBytes) {
    const std::string_view piece = run.text.substr(begin, kRenderChunkBytes);
    stats_.bytes += piece.size();
    FOREBAY_RETURN_IF_ERROR(consumer(piece));
  }
  if (run.text.back() != '\n') out_.push_back('\n');
  return OkStatus();
}

Status CsvRenderer::Flush(const TextConsumer& consumer) {
  if (out_.empty()) return OkStatus();
  stats_.bytes += out_.size();
  Status consumed = consumer(out_.view());
  out_.clear();
  return consumed;
}

}  // namespace forebay::upload
