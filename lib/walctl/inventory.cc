#include "walctl/inventory.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <tuple>

#include "wal/batch_manifest.h"
#include "wal/flake_id.h"
#include "wal/journal_format.h"
#include "wal/request_ledger.h"
#include "wal/segment_format.h"
#include "wal/segment_name.h"
#include "wal/segment_reader.h"

namespace forebay::walctl {
namespace {

constexpr std::string_view kDeadLetters = "dlq";
constexpr std::array<std::string_view, 7> kFolders{
    "peer-ledger", "journal", "segments", "batches", "ledger", "quarantine", kDeadLetters};
constexpr std::string_view kManifestSuffix = ".batch";

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

bool InFolder(const std::string& path, std::string_view folder) {
  return io::BaseName(io::DirectoryOf(path)) == folder;
}

UnixMillis Earlier(UnixMillis a, UnixMillis b) { return a < b ? a : b; }

// A problem is news of the file, but a file that is gone is not there to be told about.
Status Note(const Error& error, FileEntry& entry) {
  if (error.code() == ErrorCode::kNotFound) return error;
  entry.problem = error.message();
  return OkStatus();
}

Status DescribeSegment(io::FileSystem& fs, FileEntry& entry) {
  const auto name = wal::ParseSegmentName(io::BaseName(entry.path));
  if (name.ok()) {
    entry.table = wal::SegmentKey(*name);
    entry.created = wal::MillisOf(name->id);
  }
  auto summary = wal::ReadSummary(fs, entry.path);
  if (!summary.ok()) return Note(summary.error(), entry);
  if (!*summary) {
    auto scanned = wal::ScanSummary(fs, entry.path);
    if (!scanned.ok()) return Note(scanned.error(), entry);
    *summary = *scanned;
  }
  entry.rows = (*summary)->rows;
  entry.row_bytes = (*summary)->row_bytes;
  if ((*summary)->has_timestamps()) {
    entry.first = UnixMillis{(*summary)->min_timestamp};
    entry.last = UnixMillis{(*summary)->max_timestamp};
  }
  return OkStatus();
}

Status DescribeManifest(io::FileSystem& fs, FileEntry& entry) {
  const auto text = io::ReadFile(fs, entry.path, wal::kMaxManifestBytes);
  if (!text.ok()) return Note(text.error(), entry);
  const auto manifest = wal::ParseManifest(*text);
  if (!manifest.ok()) return Note(manifest.error(), entry);
  entry.table = wal::SegmentKey({manifest->database, manifest->table, manifest->schema_hash, 0});
  entry.rows = manifest->rows();
  entry.row_bytes = manifest->row_bytes();
  entry.created = manifest->created;
  return OkStatus();
}

}  // namespace

std::string_view Name(FileKind kind) {
  switch (kind) {
    case FileKind::kSegment:
      return "segment";
    case FileKind::kJournal:
      return "journal";
    case FileKind::kManifest:
      return "manifest";
    case FileKind::kLedger:
      return "ledger";
    case FileKind::kDeadLetter:
      return "dead-letter";
    case FileKind::kQuarantine:
      return "quarantine";
    case FileKind::kOther:
      return "other";
  }
  return "other";
}

Result<FileKind> DetectKind(io::FileSystem& fs, const std::string& path) {
  // What lies in the quarantine is damaged whatever it begins with.
  if (InFolder(path, "quarantine")) return FileKind::kQuarantine;
  // Nor do dead letters wait for an upload, though they are segments and manifests.
  if (InFolder(io::DirectoryOf(path), kDeadLetters)) return FileKind::kDeadLetter;
  // A spare holds a journal that is none any more.
  if (wal::IsSpareFileName(io::BaseName(path))) return FileKind::kOther;
  FOREBAY_ASSIGN_OR_RETURN(const auto file, fs.Open(path, io::OpenMode::kRead));
  std::array<char, 8> begin{};
  FOREBAY_ASSIGN_OR_RETURN(const size_t n, file->ReadAt(0, begin));
  const std::string_view magic(begin.data(), n);
  if (magic == wal::kJournalMagic) return FileKind::kJournal;
  if (magic.substr(0, wal::kSegmentMagicChecked) ==
      wal::kSegmentMagic.substr(0, wal::kSegmentMagicChecked)) {
    return FileKind::kSegment;
  }
  if (magic == wal::kLedgerMagic) return FileKind::kLedger;
  // A file whose beginning is damaged is still what its name says.
  if (EndsWith(path, kManifestSuffix)) return FileKind::kManifest;
  if (EndsWith(path, ".wal")) return FileKind::kSegment;
  if (EndsWith(path, ".log") && InFolder(path, "journal")) return FileKind::kJournal;
  if (EndsWith(path, ".ids") && InFolder(path, "ledger")) return FileKind::kLedger;
  return FileKind::kOther;
}

Result<FileEntry> Describe(io::FileSystem& fs, const std::string& path) {
  FileEntry entry;
  entry.path = path;
  FOREBAY_ASSIGN_OR_RETURN(entry.kind, DetectKind(fs, path));
  FOREBAY_ASSIGN_OR_RETURN(const auto file, fs.Open(path, io::OpenMode::kRead));
  FOREBAY_ASSIGN_OR_RETURN(entry.bytes, file->Size());
  const bool dead_segment = entry.kind == FileKind::kDeadLetter && EndsWith(path, ".wal");
  if (entry.kind == FileKind::kSegment || dead_segment)
    FOREBAY_RETURN_IF_ERROR(DescribeSegment(fs, entry));
  if (entry.kind == FileKind::kManifest) FOREBAY_RETURN_IF_ERROR(DescribeManifest(fs, entry));
  if (entry.kind == FileKind::kJournal || entry.kind == FileKind::kLedger) {
    const std::string_view name = io::BaseName(path);
    uint64_t id = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id, 16);
    if (error == std::errc{} && (*end == '.' || *end == '-')) entry.created = wal::MillisOf(id);
  }
  return entry;
}

Result<std::vector<std::string>> ListPaths(io::FileSystem& fs, const std::string& directory) {
  FOREBAY_ASSIGN_OR_RETURN(const auto top, fs.List(directory));
  std::vector<std::string> folders;
  for (const io::DirectoryEntry& entry : top) {
    if (entry.is_directory &&
        std::find(kFolders.begin(), kFolders.end(), entry.name) != kFolders.end()) {
      folders.push_back(io::JoinPath(directory, entry.name));
    }
  }
  if (folders.empty()) folders.push_back(directory);
  std::vector<std::string> paths;
  for (const std::string& folder : folders) {
    const auto entries = fs.List(folder);
    if (!entries.ok()) {
      if (entries.error().code() == ErrorCode::kNotFound) continue;
      return Error(entries.error());
    }
    for (const io::DirectoryEntry& entry : *entries) {
      const std::string path = io::JoinPath(folder, entry.name);
      if (!entry.is_directory) {
        paths.push_back(path);
      } else if (InFolder(path, kDeadLetters)) {
        const auto letter = fs.List(path);
        if (!letter.ok()) continue;  // dropped meanwhile
        for (const io::DirectoryEntry& part : *letter) {
          if (!part.is_directory) paths.push_back(io::JoinPath(path, part.name));
        }
      }
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

Result<std::vector<FileEntry>> ListDirectory(io::FileSystem& fs, const std::string& directory) {
  FOREBAY_ASSIGN_OR_RETURN(const auto paths, ListPaths(fs, directory));
  std::vector<FileEntry> entries;
  for (const std::string& path : paths) {
    auto entry = Describe(fs, path);
    if (entry.ok()) {
      entries.push_back(std::move(*entry));
    } else if (entry.error().code() != ErrorCode::kNotFound) {
      return Error(entry.error()).WithContext(path);
    }
  }
  std::sort(entries.begin(), entries.end(), [](const FileEntry& a, const FileEntry& b) {
    return std::tie(a.kind, a.path) < std::tie(b.kind, b.path);
  });
  return entries;
}

Totals Summarize(const std::vector<FileEntry>& entries) {
  Totals totals;
  std::map<std::string, TableTotals> tables;
  const auto add = [](const FileEntry& entry, TableTotals& to) {
    ++to.segments;
    to.bytes += entry.bytes;
    to.rows += entry.rows.value_or(0);
    to.row_bytes += entry.row_bytes.value_or(0);
    if (entry.created) to.oldest = to.oldest ? Earlier(*to.oldest, *entry.created) : *entry.created;
  };
  for (const FileEntry& entry : entries) {
    totals.unreadable += entry.problem.empty() ? 0 : 1;
    switch (entry.kind) {
      case FileKind::kSegment:
        add(entry, tables[entry.table]);
        add(entry, totals.all);
        break;
      case FileKind::kJournal:
        ++totals.journals;
        totals.journal_bytes += entry.bytes;
        break;
      case FileKind::kManifest:
        ++totals.manifests;
        break;
      case FileKind::kLedger:
        ++totals.ledgers;
        totals.ledger_bytes += entry.bytes;
        break;
      case FileKind::kDeadLetter:
        ++totals.dead_letters;
        totals.dead_letter_bytes += entry.bytes;
        break;
      case FileKind::kQuarantine:
        // The reason beside an item is not an item.
        totals.quarantined += EndsWith(entry.path, ".reason") ? 0 : 1;
        totals.quarantined_bytes += entry.bytes;
        break;
      case FileKind::kOther:
        break;
    }
  }
  for (auto& [name, table] : tables) {
    table.table = name;
    totals.tables.push_back(std::move(table));
  }
  return totals;
}

}  // namespace forebay::walctl
