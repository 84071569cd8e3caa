// The reason first, then the segments: a directory here always says why it exists.
#include "upload/dead_letters.h"

#include <fmt/core.h>

#include <charconv>
#include <utility>

#include "base/byte_buffer.h"
#include "table/json_text.h"
#include "wal/dead_letter_files.h"
#include "wal/flake_id.h"

namespace forebay::upload {
namespace {

constexpr size_t kFlakeDigits = 16;

void AppendField(std::string_view key, std::string_view value, ByteBuffer& out) {
  if (out.view().back() != '{') out.push_back(',');
  table::AppendJsonString(key, out);
  out.push_back(':');
  table::AppendJsonString(value, out);
}

}  // namespace

DeadLetterPlace DeadLetterPlaceOf(const config::Storage& storage) {
  constexpr uint64_t kPartOfDisk = 10;
  DeadLetterPlace place;
  place.directory = io::JoinPath(storage.dir, "dlq");
  place.max_bytes = storage.dead_letters_max.value;
  if (place.max_bytes == 0) place.max_bytes = storage.max_disk.value / kPartOfDisk;
  return place;
}

DeadLetters::DeadLetters(io::FileSystem& fs, DeadLetterPlace place)
    : fs_(fs), place_(std::move(place)) {}

std::string DeadLetters::PathOf(const std::string& batch_id) const {
  return io::JoinPath(place_.directory, batch_id);
}

Status DeadLetters::CheckRoom(const wal::BatchManifest& manifest,
                              std::span<const wal::SegmentLease> leases) const {
  const std::string begun = io::JoinPath(PathOf(manifest.id), std::string(wal::kDeadManifestFile));
  FOREBAY_ASSIGN_OR_RETURN(const bool goes_on, fs_.Exists(begun));
  if (goes_on) return OkStatus();
  uint64_t bytes = 0;
  for (const wal::SegmentLease& lease : leases) bytes += lease ? lease.info().file_bytes : 0;
  const DeadLetterTotals totals = Totals();
  if (totals.bytes == 0 || totals.bytes + bytes <= place_.max_bytes) return OkStatus();
  return Error(ErrorCode::kResourceExhausted,
               fmt::format("the dead letters hold {} bytes, {} more are above "
                           "storage.dead_letters_max ({}): replay or drop some (forebay dlq), or "
                           "raise the limit",
                           totals.bytes, bytes, place_.max_bytes));
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

DeadLetterTotals DeadLetters::Totals() const {
  DeadLetterTotals totals;
  const auto letters = fs_.List(place_.directory);
  if (!letters.ok()) return totals;
  for (const io::DirectoryEntry& letter : *letters) {
    if (!letter.is_directory || !wal::IsBatchId(letter.name)) continue;
    ++totals.batches;
    uint64_t first_segment = 0;
    // The id begins with that of the batch's first segment.
    std::from_chars(letter.name.data(), letter.name.data() + kFlakeDigits, first_segment, 16);
    const UnixMillis made = wal::MillisOf(first_segment);
    if (!totals.oldest || made < *totals.oldest) totals.oldest = made;
    const auto files = fs_.List(PathOf(letter.name));
    if (!files.ok()) continue;
    for (const io::DirectoryEntry& file : *files) totals.bytes += file.size;
  }
  return totals;
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
  const std::string base = io::JoinPath(directory, std::string(wal::kRejectedPrefix) + sink);
  FOREBAY_RETURN_IF_ERROR(io::WriteFileDurably(fs_, base + ".json", reason.view()));
  return io::WriteFileDurably(fs_, base + ".csv", rejected.header + rejected.text);
}

Status DeadLetters::Take(const wal::BatchManifest& manifest, std::span<wal::SegmentLease> leases,
                         wal::SegmentStore& store, UnixMillis now) {
  const std::string directory = PathOf(manifest.id);
  FOREBAY_RETURN_IF_ERROR(fs_.CreateDirectories(directory));
  FOREBAY_RETURN_IF_ERROR(io::WriteFileDurably(
      fs_, io::JoinPath(directory, std::string(wal::kDeadManifestFile)), EncodeManifest(manifest)));
  FOREBAY_RETURN_IF_ERROR(io::WriteFileDurably(
      fs_, io::JoinPath(directory, std::string(wal::kReasonFile)), ReasonJson(manifest, now)));
  return store.MoveSegments(leases, directory);
}

}  // namespace forebay::upload
