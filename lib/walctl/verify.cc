#include "walctl/verify.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "base/byte_buffer.h"
#include "wal/batch_manifest.h"
#include "wal/journal_reader.h"
#include "wal/s2_decoder.h"
#include "wal/segment_reader.h"
#include "wal/series_block.h"

namespace forebay::walctl {
namespace {

// No body that was accepted decodes to more; the receiver's limit is below.
constexpr size_t kMaxBodyDecoded = 1U << 30;

// Corruption of the whole file becomes a finding; other errors stay errors.
Status NoteWhole(const Error& error, VerifyReport& report) {
  if (error.code() != ErrorCode::kCorruption && error.code() != ErrorCode::kOutOfRange)
    return error;
  report.damage.push_back({0, report.bytes, error.message()});
  return OkStatus();
}

Status VerifySegment(io::FileSystem& fs, VerifyReport& report) {
  wal::SegmentReaderOptions options;
  options.include_summary = true;
  const auto reader = wal::SegmentReader::Open(fs, report.path, options);
  if (!reader.ok()) return NoteWhole(reader.error(), report);
  wal::SeriesBlockDecoder decoder;
  uint64_t last_frame = 0;
  for (;;) {
    FOREBAY_ASSIGN_OR_RETURN(const auto block, (*reader)->Next());
    if (!block) break;
    if (block->header.type == wal::BlockType::kSummary) {
      last_frame = block->offset;
      continue;
    }
    if (block->header.version == wal::kBlockVersionSeries) {
      const std::string_view payload(block->payload.data(), block->payload.size());
      const Status decoded = decoder.Decode(payload, block->header.row_count);
      if (!decoded.ok()) {
        report.damage.push_back({block->offset, block->frame.size(),
                                 fmt::format("series block: {}", decoded.error().message())});
        continue;
      }
    } else if (block->header.version > wal::kBlockVersionSeries) {
      report.damage.push_back({block->offset, block->frame.size(),
                               fmt::format("unknown block version {}", block->header.version)});
      continue;
    }
    ++report.blocks;
    report.rows += block->header.row_count;
  }
  for (const wal::DamagedRange& range : (*reader)->damage()) {
    report.damage.push_back({range.offset, range.length, std::string(wal::Name(range.reason))});
  }
  FOREBAY_ASSIGN_OR_RETURN(const auto summary, wal::ReadSummary(fs, report.path));
  if (summary && report.damage.empty() &&
      (summary->rows != report.rows || summary->blocks != report.blocks)) {
    report.damage.push_back(
        {last_frame, wal::kSummaryFrameBytes,
         fmt::format("the summary counts {} rows in {} blocks, the file holds {} in {}",
                     summary->rows, summary->blocks, report.rows, report.blocks)});
  }
  return OkStatus();
}

Status VerifyJournal(io::FileSystem& fs, VerifyReport& report) {
  const auto reader = wal::JournalReader::Open(fs, report.path);
  if (!reader.ok()) return NoteWhole(reader.error(), report);
  ByteBuffer decoded;
  for (;;) {
    FOREBAY_ASSIGN_OR_RETURN(const auto record, (*reader)->Next());
    if (!record) break;
    const auto size = wal::S2DecodedLength(record->body);
    Status body = size.ok() ? OkStatus() : Status(size.error());
    if (size.ok() && *size > kMaxBodyDecoded)
      body = Error(ErrorCode::kCorruption, "decodes to too many bytes");
    if (body.ok()) {
      decoded.clear();
      body = wal::S2Decode(record->body, std::span(decoded.Ensure(*size), *size));
    }
    if (body.ok()) {
      ++report.blocks;
    } else {
      report.damage.push_back({(*reader)->offset(), record->body.size(),
                               fmt::format("record's body: {}", body.error().message())});
    }
  }
  for (const wal::JournalDamage& damage : (*reader)->damage()) {
    if (damage.torn_tail) {
      report.notes.push_back({damage.offset, damage.length, "unfinished last record"});
    } else {
      report.damage.push_back({damage.offset, damage.length, "no record with a right checksum"});
    }
  }
  if (!(*reader)->complete() && (*reader)->damage().empty()) {
    report.notes.push_back({report.bytes, 0, "no end mark: the file was cut"});
  }
  return OkStatus();
}

Status VerifyManifest(io::FileSystem& fs, VerifyReport& report) {
  const auto text = io::ReadFile(fs, report.path, wal::kMaxManifestBytes);
  if (!text.ok()) return NoteWhole(text.error(), report);
  const auto manifest = wal::ParseManifest(*text);
  if (!manifest.ok()) return NoteWhole(manifest.error(), report);
  report.rows = manifest->rows();
  return OkStatus();
}

}  // namespace

Result<VerifyReport> VerifyFile(io::FileSystem& fs, const std::string& path) {
  VerifyReport report;
  report.path = path;
  FOREBAY_ASSIGN_OR_RETURN(report.kind, DetectKind(fs, path));
  FOREBAY_ASSIGN_OR_RETURN(const auto file, fs.Open(path, io::OpenMode::kRead));
  FOREBAY_ASSIGN_OR_RETURN(report.bytes, file->Size());
  switch (report.kind) {
    case FileKind::kSegment:
      FOREBAY_RETURN_IF_ERROR(VerifySegment(fs, report));
      break;
    case FileKind::kJournal:
      FOREBAY_RETURN_IF_ERROR(VerifyJournal(fs, report));
      break;
    case FileKind::kManifest:
      FOREBAY_RETURN_IF_ERROR(VerifyManifest(fs, report));
      break;
    case FileKind::kLedger:
    case FileKind::kDeadLetter:
    case FileKind::kQuarantine:
    case FileKind::kOther:
      break;
  }
  std::sort(report.damage.begin(), report.damage.end(),
            [](const Finding& a, const Finding& b) { return a.offset < b.offset; });
  return report;
}

}  // namespace forebay::walctl
