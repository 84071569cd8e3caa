#include "walctl/verify.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "base/byte_buffer.h"
#include "wal/batch_manifest.h"
#include "wal/journal_reader.h"
#include "wal/peer_segment.h"
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

// What the blocks of a segment hold.
struct Blocks {
  uint64_t blocks = 0;  // good ones
  uint64_t rows = 0;
  uint64_t last_summary = 0;  // its offset
};

// Decodes every block. Offsets of findings: in the file, where the segment begins at `base`.
Result<Blocks> VerifyBlocks(wal::SegmentReader& reader, uint64_t base, VerifyReport& report) {
  const auto note = [&](uint64_t offset, uint64_t length, std::string what) {
    report.damage.push_back({base + offset, length, std::move(what)});
  };
  Blocks found;
  wal::SeriesBlockDecoder decoder;
  for (;;) {
    FOREBAY_ASSIGN_OR_RETURN(const auto block, reader.Next());
    if (!block) break;
    if (block->header.type == wal::BlockType::kSummary) {
      found.last_summary = block->offset;
      continue;
    }
    if (block->header.version == wal::kBlockVersionSeries) {
      const std::string_view payload(block->payload.data(), block->payload.size());
      const Status decoded = decoder.Decode(payload, block->header.row_count);
      if (!decoded.ok()) {
        note(block->offset, block->frame.size(),
             fmt::format("series block: {}", decoded.error().message()));
        continue;
      }
    } else if (block->header.version > wal::kBlockVersionSeries) {
      note(block->offset, block->frame.size(),
           fmt::format("unknown block version {}", block->header.version));
      continue;
    }
    ++found.blocks;
    found.rows += block->header.row_count;
  }
  for (const wal::DamagedRange& range : reader.damage()) {
    note(range.offset, range.length, std::string(wal::Name(range.reason)));
  }
  return found;
}

Status VerifySegment(io::FileSystem& fs, VerifyReport& report) {
  wal::SegmentReaderOptions options;
  options.include_summary = true;
  const auto reader = wal::SegmentReader::Open(fs, report.path, options);
  if (!reader.ok()) return NoteWhole(reader.error(), report);
  FOREBAY_ASSIGN_OR_RETURN(const Blocks found, VerifyBlocks(**reader, 0, report));
  report.blocks = found.blocks;
  report.rows = found.rows;
  FOREBAY_ASSIGN_OR_RETURN(const auto summary, wal::ReadSummary(fs, report.path));
  if (summary && report.damage.empty() &&
      (summary->rows != report.rows || summary->blocks != report.blocks)) {
    report.damage.push_back(
        {found.last_summary, wal::kSummaryFrameBytes,
         fmt::format("the summary counts {} rows in {} blocks, the file holds {} in {}",
                     summary->rows, summary->blocks, report.rows, report.blocks)});
  }
  return OkStatus();
}

// The request in a record's body.
Status VerifyRequest(const wal::ReplayedRecord& record, ByteBuffer& decoded) {
  FOREBAY_ASSIGN_OR_RETURN(const size_t size, wal::S2DecodedLength(record.body));
  if (size > kMaxBodyDecoded) return Error(ErrorCode::kCorruption, "decodes to too many bytes");
  decoded.clear();
  return wal::S2Decode(record.body, std::span(decoded.Ensure(size), size));
}

// The segment of a peer in a record's body, which begins at `base` in the file.
Status VerifyPeerSegment(const wal::ReplayedRecord& record, uint64_t base, VerifyReport& report) {
  FOREBAY_ASSIGN_OR_RETURN(const wal::PeerSegment segment,
                           wal::ParsePeerSegment(record.tenant, record.body));
  FOREBAY_ASSIGN_OR_RETURN(const auto reader, wal::SegmentReader::OpenBytes(segment.bytes));
  FOREBAY_ASSIGN_OR_RETURN(const Blocks found, VerifyBlocks(*reader, base, report));
  report.rows += found.rows;
  return OkStatus();
}

Status VerifyJournal(io::FileSystem& fs, VerifyReport& report) {
  const auto reader = wal::JournalReader::Open(fs, report.path);
  if (!reader.ok()) return NoteWhole(reader.error(), report);
  ByteBuffer decoded;
  for (;;) {
    FOREBAY_ASSIGN_OR_RETURN(const auto record, (*reader)->Next());
    if (!record) break;
    const uint64_t at = (*reader)->offset();
    const size_t before = report.damage.size();
    Status body;
    if (record->kind == wal::RecordKind::kPeerSegment) {
      body = VerifyPeerSegment(*record, at, report);
    } else if (!wal::IsOtlp(record->kind)) {  // of which the record's checksum says all
      body = VerifyRequest(*record, decoded);
    }
    if (report.damage.size() != before) continue;
    if (body.ok()) {
      ++report.blocks;
    } else {
      report.damage.push_back(
          {at, record->body.size(), fmt::format("record's body: {}", body.error().message())});
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
