// The reason first, then the segments: a directory here always says why it exists.
#include "upload/dead_letters.h"

#include <fmt/core.h>

#include <utility>

#include "base/byte_buffer.h"
#include "table/json_text.h"

namespace forebay::upload {
namespace {

void AppendField(std::string_view key, std::string_view value, ByteBuffer& out) {
  if (out.view().back() != '{') out.push_back(',');
  table::AppendJsonString(key, out);
  out.push_back(':');
  table::AppendJsonString(value, out);
}

}  // namespace

DeadLetters::DeadLetters(io::FileSystem& fs, std::string directory)
    : fs_(fs), directory_(std::move(directory)) {}

std::string DeadLetters::PathOf(const std::string& batch_id) const {
  return io::JoinPath(directory_, batch_id);
}

std::string ReasonJson(const wal::BatchManifest& manifest, UnixMillis now) {
  ByteBuffer out;
  out.push_back('{');
  AppendField("batch", manifest.id, out);
  AppendField("database", manifest.database, out);
  AppendField("table", manifest.table, out);
  AppendField("schema_hash", manifest.schema_hash, out);
  AppendField("header_line", manifest.header_line, out);
  AppendField("time", FormatRfc3339(now), out);
  out.Append(fmt::format(",\"rows\":{},\"sinks\":[", manifest.rows()));
  for (size_t i = 0; i < manifest.sinks.size(); ++i) {
    const wal::ManifestSink& sink = manifest.sinks[i];
    out.Append(i == 0 ? "{" : ",{");
    AppendField("name", sink.name, out);
    AppendField("state", Name(sink.state), out);
    AppendField("note", sink.note, out);
    out.push_back('}');
  }
  out.Append("],\"segments\":[");
  for (size_t i = 0; i < manifest.segments.size(); ++i) {
    if (i != 0) out.push_back(',');
    table::AppendJsonString(manifest.segments[i].file_name, out);
  }
  out.Append("]}\n");
  return std::string(out.view());
}

Status DeadLetters::KeepRejected(const wal::BatchManifest& manifest, const std::string& sink,
                                 const RejectedRows& rejected, UnixMillis now) {
  const std::string directory = PathOf(manifest.id);
  FOREBAY_RETURN_IF_ERROR(fs_.CreateDirectories(directory));
  ByteBuffer reason;
  reason.push_back('{');
  AppendField("batch", manifest.id, reason);
  AppendField("database", manifest.database, reason);
  AppendField("table", manifest.table, reason);
  AppendField("schema_hash", manifest.schema_hash, reason);
  AppendField("sink", sink, reason);
  AppendField("time", FormatRfc3339(now), reason);
  AppendField("reason", rejected.reason, reason);
  reason.Append(fmt::format(",\"rows\":{}}}\n", rejected.rows));
  const std::string base = io::JoinPath(directory, "rejected." + sink);
  FOREBAY_RETURN_IF_ERROR(io::WriteFileDurably(fs_, base + ".json", reason.view()));
  return io::WriteFileDurably(fs_, base + ".csv", rejected.header + rejected.text);
}

Status DeadLetters::Take(const wal::BatchManifest& manifest, std::span<wal::SegmentLease> leases,
                         wal::SegmentStore& store, UnixMillis now) {
  const std::string directory = PathOf(manifest.id);
  FOREBAY_RETURN_IF_ERROR(fs_.CreateDirectories(directory));
  FOREBAY_RETURN_IF_ERROR(io::WriteFileDurably(fs_, io::JoinPath(directory, "manifest.batch"),
                                               EncodeManifest(manifest)));
  FOREBAY_RETURN_IF_ERROR(
      io::WriteFileDurably(fs_, io::JoinPath(directory, "reason.json"), ReasonJson(manifest, now)));
  return store.MoveSegments(leases, directory);
}

}  // namespace forebay::upload
