// Files with final names are whole and durable; everything before that is a temporary file.
#include "upload/file/file_sink.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/byte_buffer.h"
#include "base/failpoint.h"
#include "table/json_text.h"

namespace forebay::upload {
namespace {

constexpr uint64_t kMaxSchemaFileBytes = 16U << 20;

// The disk below a file sink may be full, away or read-only: that passes, or somebody mends it.
Error Retryable(const Error& error, std::string_view context) {
  return error.WithContext(context).WithRetryable(true);
}

size_t LiftedCount(const TableTarget& target) {
  if (!target.schema) return 0;
  const size_t columns = target.schema->columns().size();
  return columns - std::min(columns, table::kMetricsColumns);
}

}  // namespace

FileSink::FileSink(std::string name, const config::FileSink& config, io::FileSystem& fs)
    : name_(std::move(name)), root_(config.root), level_(config.compression_level), fs_(fs) {}

std::string SchemaJson(const TableTarget& target) {
  ByteBuffer out;
  out.Append("{\"database\":");
  table::AppendJsonString(target.database, out);
  out.Append(",\"table\":");
  table::AppendJsonString(target.table, out);
  out.Append(",\"schema_hash\":");
  table::AppendJsonString(target.schema ? target.schema->hash_text() : "", out);
  out.Append(",\"columns\":[");
  bool first = true;
  if (target.schema) {
    for (const table::Column& column : target.schema->columns()) {
      out.Append(first ? "{\"name\":" : ",{\"name\":");
      first = false;
      table::AppendJsonString(column.name, out);
      out.Append(",\"type\":");
      table::AppendJsonString(Name(column.type), out);
      out.Append("}");
    }
  }
  out.Append("]}\n");
  return std::string(out.view());
}

std::string FileSink::TableDirectory(const TableTarget& target) const {
  return io::JoinPath(io::JoinPath(root_, target.database), target.table);
}

std::string FileSink::DirectoryOf(const BatchHeader& header) const {
  // "2026-11-01T..." gives 2026/11/01.
  std::string date = FormatRfc3339(header.first_time).substr(0, 10);
  std::replace(date.begin(), date.end(), '-', '/');
  return io::JoinPath(TableDirectory(header.target), date);
}

Status FileSink::Prepare(const TableTarget& target) {
  const std::string directory = TableDirectory(target);
  if (const Status made = fs_.CreateDirectories(directory); !made.ok()) {
    return Retryable(made.error(), "file sink");
  }
  if (!target.schema) return OkStatus();
  const std::string path = io::JoinPath(directory, target.schema->hash_text() + ".schema.json");
  const std::string json = SchemaJson(target);
  // Batches of one table are uploaded side by side, and the temporary name is the same for all.
  const MutexLock lock(schema_files_);
  const auto present = io::ReadFile(fs_, path, kMaxSchemaFileBytes);
  if (present.ok() && *present == json) return OkStatus();
  const Status written = io::WriteFileDurably(fs_, path, json);
  return written.ok() ? OkStatus() : Status(Retryable(written.error(), "file sink"));
}

Result<Receipt> FileSink::Upload(const BatchHeader& header, BatchReader& reader) {
  const std::string directory = DirectoryOf(header);
  const std::string path = io::JoinPath(directory, header.id + ".csv.gz");
  const auto exists = fs_.Exists(path);
  if (!exists.ok()) return Retryable(exists.error(), "file sink");
  if (*exists) {
    // The rename may have been seen but not yet be durable.
    if (const Status synced = fs_.SyncDirectory(directory); !synced.ok()) {
      return Retryable(synced.error(), "file sink");
    }
    Receipt receipt;
    receipt.text = path + " was there already";
    receipt.already_there = true;
    return receipt;
  }
  return Write(header, reader, directory, path);
}

Result<Receipt> FileSink::Write(const BatchHeader& header, BatchReader& reader,
                                const std::string& directory, const std::string& path) {
  if (const Status made = fs_.CreateDirectories(directory); !made.ok()) {
    return Retryable(made.error(), "file sink");
  }
  // One of a try that was cut short is overwritten.
  const std::string temporary = io::JoinPath(directory, "." + header.id + ".csv.gz.tmp");
  auto file = fs_.Open(temporary, io::OpenMode::kCreateOrTruncate);
  if (!file.ok()) return Retryable(file.error(), "file sink");
  auto receipt = Render(header, reader, **file);
  Status status = receipt.ok() ? (*file)->SyncData() : Status(receipt.error());
  if (status.ok()) status = (*file)->Close();
  file->reset();
  FOREBAY_FAILPOINT("upload.before_rename");
  if (status.ok()) status = fs_.Rename(temporary, path);
  if (!status.ok()) {
    // Best effort: the next try overwrites it.
    (void)fs_.Remove(temporary);
    return receipt.ok() ? Retryable(status.error(), "file sink") : status.error();
  }
  if (const Status synced = fs_.SyncDirectory(directory); !synced.ok()) {
    return Retryable(synced.error(), "file sink");
  }
  FOREBAY_FAILPOINT("upload.after_rename");
  receipt->text = path;
  return receipt;
}

Result<Receipt> FileSink::Render(const BatchHeader& header, BatchReader& reader, io::File& file) {
  const auto writer = writers_.Take(level_);
  GzipWriter& gzip = writer->gzip;
  gzip.Begin([&](std::string_view bytes) -> Status {
    const Status written = file.Write(bytes);
    return written.ok() ? OkStatus() : Status(Retryable(written.error(), "file sink"));
  });
  FOREBAY_RETURN_IF_ERROR(gzip.Write(CsvRenderer::HeaderLine(header.target.schema)));
  FOREBAY_ASSIGN_OR_RETURN(
      const RenderStats stats,
      writer->renderer.Render(reader, LiftedCount(header.target),
                              [&](std::string_view text) { return gzip.Write(text); }));
  FOREBAY_RETURN_IF_ERROR(gzip.Finish());
  Receipt receipt;
  receipt.rows = stats.rows;
  receipt.row_bytes = stats.bytes;
  receipt.stored_bytes = gzip.bytes_out();
  receipt.stale_markers = stats.stale_markers;
  receipt.nans = stats.nans;
  receipt.infinities = stats.infinities;
  return receipt;
}

}  // namespace forebay::upload
