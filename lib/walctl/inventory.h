// What a data directory holds: segments, journals, batch manifests, quarantined bytes. Read-only,
// and safe while a daemon works in the directory: files that vanish between listing and reading are
// left out. Limits: one summary (or one scan of frames) per segment, nothing of a file is kept.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "io/file_system.h"

namespace forebay::walctl {

enum class FileKind {
  kSegment,
  kJournal,
  kManifest,
  kLedger,
  kDeadLetter,  // whatever lies in a directory of dlq/
  kQuarantine,
  kOther,
};
// "segment", "journal", "manifest", "ledger", "dead-letter", "quarantine", "other".
std::string_view Name(FileKind kind);

// By the first bytes and the name, wherever the file lies. Errors: those of opening and reading.
Result<FileKind> DetectKind(io::FileSystem& fs, const std::string& path);

struct FileEntry {
  FileKind kind = FileKind::kOther;
  std::string path;
  uint64_t bytes = 0;
  std::string table;                  // "<database>_<table>[_<hash>]"; of segments and manifests
  std::optional<uint64_t> rows;       // segments and manifests; journals say it only to `wal stat`
  std::optional<uint64_t> row_bytes;  // as uncompressed CSV, an upper bound
  std::optional<UnixMillis> first;    // least timestamp of the rows, where known
  std::optional<UnixMillis> last;
  std::optional<UnixMillis> created;  // from the id in the name, or the manifest
  std::string problem;                // why rows and the rest are not known
};

// One file. Errors: kNotFound when it is gone.
Result<FileEntry> Describe(io::FileSystem& fs, const std::string& path);

// All files of a data directory (its journal/, segments/, batches/, ledger/, quarantine/ and dlq/),
// or of a folder of segments when it has none of these. Ordered by kind, then path. Errors:
// kNotFound when `directory` does not exist; those of listing.
Result<std::vector<FileEntry>> ListDirectory(io::FileSystem& fs, const std::string& directory);

// The paths alone, in the same order.
Result<std::vector<std::string>> ListPaths(io::FileSystem& fs, const std::string& directory);

struct TableTotals {
  std::string table;
  uint64_t segments = 0;
  uint64_t bytes = 0;
  uint64_t rows = 0;
  uint64_t row_bytes = 0;
  std::optional<UnixMillis> oldest;  // least time of creation
};

struct Totals {
  std::vector<TableTotals> tables;  // by name
  TableTotals all;                  // segments of all tables
  uint64_t journals = 0;
  uint64_t journal_bytes = 0;
  uint64_t manifests = 0;
  uint64_t ledgers = 0;
  uint64_t ledger_bytes = 0;
  uint64_t dead_letters = 0;  // files
  uint64_t dead_letter_bytes = 0;
  uint64_t quarantined = 0;
  uint64_t quarantined_bytes = 0;
  uint64_t unreadable = 0;  // entries with a problem
};

Totals Summarize(const std::vector<FileEntry>& entries);

}  // namespace forebay::walctl
