#include "upload/rejected_rows.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "table/schema.h"
#include "upload/dead_letters.h"
#include "wal/dead_letter_files.h"
#include "wal/flake_id.h"
#include "wal/segment_name.h"
#include "wal/segment_writer.h"
#include "wal/text_rows.h"

namespace forebay::upload {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxRejectedFile = 256ULL << 20;
constexpr uint64_t kMaxRejectedReason = 1U << 20;
constexpr size_t kBlockText = 1U << 20;
constexpr size_t kHexDigits = 16;
// A flake id's host and sequence; what is above is its time.
constexpr uint64_t kFlakeLowBits = (1U << 23) - 1;

Error Unusable(const std::string& path, std::string_view why) {
  return Error(ErrorCode::kCorruption, fmt::format("{}: {}", path, why));
}

std::string FieldOf(const json& document, const char* key) {
  const auto found = document.is_object() ? document.find(key) : document.end();
  return found != document.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// A segment id with the time of the batch's first one. Ids of that time are made no more.
uint64_t SegmentIdOf(const std::string& batch_id, const std::string& sink) {
  uint64_t first = 0;
  std::from_chars(batch_id.data(), batch_id.data() + kHexDigits, first, 16);
  const std::string source = batch_id + '/' + sink;
  const std::string hashed = wal::BatchId(first, std::span(&source, 1));
  uint64_t hash = 0;
  std::from_chars(hashed.data() + kHexDigits + 1, hashed.data() + hashed.size(), hash, 16);
  return (first & ~kFlakeLowBits) | (hash & kFlakeLowBits);
}

// The end of the last row that ends within `most` bytes; of the first row when it is longer.
size_t WholeRows(std::string_view text, size_t most) {
  size_t end = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') quoted = !quoted;
    if (text[i] != '\n' || quoted) continue;
    if (i + 1 > most && end != 0) return end;
    end = i + 1;
    if (end > most) return end;
  }
  return text.size() <= most || end == 0 ? text.size() : end;
}

// A file in memory, for the segment's writer.
class TextFile final : public io::File {
 public:
  explicit TextFile(std::string& bytes) : bytes_(bytes) {}
  using File::Write;
  using File::WriteAt;
  Status Write(std::span<const std::string_view> parts) override {
    for (const std::string_view part : parts) bytes_ += part;
    return OkStatus();
  }
  Status WriteAt(uint64_t, std::span<const std::string_view>) override { return Unused(); }
  Result<size_t> ReadAt(uint64_t, std::span<char>) override { return Unused().error(); }
  Result<uint64_t> Size() override { return bytes_.size(); }
  Status Allocate(uint64_t) override { return Unused(); }
  Status Truncate(uint64_t) override { return Unused(); }
  Status SyncData() override { return OkStatus(); }
  Status Close() override { return OkStatus(); }

 private:
  static Status Unused() { return Error(ErrorCode::kUnimplemented, "only written at its end"); }
  std::string& bytes_;
};

Result<wal::SegmentSummary> WriteRows(std::string_view header, std::string_view rows,
                                      UnixMillis created, std::string& out) {
  TextFile file(out);
  wal::SegmentWriter writer;
  writer.Reset(file, created);
  // Nobody hands it on.
  writer.MarkFromPeer();
  std::string payload;
  while (!rows.empty()) {
    const std::string_view part = rows.substr(0, WholeRows(rows, kBlockText));
    rows.remove_prefix(part.size());
    payload.assign(header).append(part);
    const wal::BlockHeader block{wal::kBlockVersionRows, wal::BlockType::kUnknown,
                                 wal::CountTextRows(part)};
    wal::BlockStats stats;
    stats.row_bytes = part.size();
    FOREBAY_RETURN_IF_ERROR(writer.Append(block, stats, payload));
  }
  return writer.Finish();
}

}  // namespace

Result<RejectedLetter> MakeRejectedLetter(io::FileSystem& fs, const std::string& at,
                                          const std::string& batch_id, const std::string& sink) {
  const std::string base = io::JoinPath(at, std::string(wal::kRejectedPrefix) + sink);
  FOREBAY_ASSIGN_OR_RETURN(const std::string reason,
                           io::ReadFile(fs, base + ".json", kMaxRejectedReason));
  FOREBAY_ASSIGN_OR_RETURN(const std::string text,
                           io::ReadFile(fs, base + ".csv", kMaxRejectedFile));
  const json document = json::parse(reason, nullptr, false);
  if (!document.is_object() || FieldOf(document, "sink") != sink) {
    return Unusable(base + ".json", "does not say whose rows these are");
  }
  const size_t header_bytes = wal::HeaderLineBytes(text);
  const std::string hash = FieldOf(document, "schema_hash");
  std::string header;  // of the blocks; tables without a schema have none
  if (!hash.empty()) {
    auto schema = table::Schema::ParseHeaderLine(std::string_view(text).substr(0, header_bytes));
    if (header_bytes == 0 || !schema.ok() || schema->hash_text() != hash) {
      return Unusable(base + ".csv", "its first line is not the columns of the batch");
    }
    header = schema->header_line();
  }
  const std::string_view rows = std::string_view(text).substr(header_bytes);
  if (rows.empty()) return Unusable(base + ".csv", "has no rows");

  RejectedLetter letter;
  wal::BatchManifest& manifest = letter.manifest;
  manifest.database = FieldOf(document, "database");
  manifest.table = FieldOf(document, "table");
  manifest.schema_hash = hash;
  const uint64_t id = SegmentIdOf(batch_id, sink);
  const auto name =
      wal::FormatSegmentName({manifest.database, manifest.table, manifest.schema_hash, id});
  if (!name.ok()) return Unusable(base + ".json", name.error().message());
  manifest.id = wal::BatchId(id, std::span(&*name, 1));
  manifest.header_line = header.substr(0, header.find('\n'));
  manifest.created = manifest.first_time = wal::MillisOf(id);
  manifest.reason = wal::BatchReason::kFlush;
  FOREBAY_ASSIGN_OR_RETURN(const wal::SegmentSummary summary,
                           WriteRows(header, rows, manifest.first_time, letter.segment));
  manifest.segments.push_back({*name, summary.rows, summary.row_bytes});
  wal::ManifestSink refused;
  refused.name = sink;
  refused.state = wal::DeliveryState::kFailed;
  refused.attempts = 1;
  refused.note = fmt::format("rows of batch {}: {}", batch_id, FieldOf(document, "reason"));
  manifest.sinks.push_back(std::move(refused));
  return letter;
}

Status WriteRejectedLetter(io::FileSystem& fs, const std::string& dead_letters,
                           const RejectedLetter& letter) {
  const std::string at = io::JoinPath(dead_letters, letter.manifest.id);
  FOREBAY_RETURN_IF_ERROR(fs.CreateDirectories(at));
  const std::string segment = io::JoinPath(at, letter.manifest.segments.front().file_name);
  const auto there = io::ReadFile(fs, segment, 2 * kMaxRejectedFile);
  if (!there.ok() && there.error().code() != ErrorCode::kNotFound) return there.error();
  if (there.ok() && *there != letter.segment) {
    return Unusable(segment, "is there with other rows; replay or drop that letter first");
  }
  const auto write = [&](std::string_view name, std::string_view bytes) {
    return io::WriteFileDurably(fs, io::JoinPath(at, name), bytes);
  };
  FOREBAY_RETURN_IF_ERROR(write(letter.manifest.segments.front().file_name, letter.segment));
  FOREBAY_RETURN_IF_ERROR(write(wal::kDeadManifestFile, EncodeManifest(letter.manifest)));
  return write(wal::kReasonFile, ReasonJson(letter.manifest, letter.manifest.created));
}

}  // namespace forebay::upload
