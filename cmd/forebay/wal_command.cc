#include "wal_command.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "fail.h"
#include "io/posix_file_system.h"
#include "quarantine_command.h"
#include "replay_command.h"
#include "tool.h"
#include "walctl/format.h"
#include "walctl/inventory.h"
#include "walctl/rows.h"
#include "walctl/verify.h"

namespace forebay::cmd {
namespace {

struct WalFlags {
  std::string directory = "./data";
  std::vector<std::string> files;
  bool json = false;
  bool no_header = false;
  std::string table;
  std::string format = "csv";
  std::string out = "-";
};

// Files that were named must be there; files of a directory may go while it is read.
bool IsGone(const WalFlags& flags, const Error& error) {
  return flags.files.empty() && error.code() == ErrorCode::kNotFound;
}

Result<std::vector<walctl::FileEntry>> Entries(const WalFlags& flags) {
  io::PosixFileSystem fs;
  if (flags.files.empty()) return walctl::ListDirectory(fs, flags.directory);
  std::vector<walctl::FileEntry> entries;
  for (const std::string& path : flags.files) {
    FOREBAY_ASSIGN_OR_RETURN(auto entry, walctl::Describe(fs, path));
    entries.push_back(std::move(entry));
  }
  return entries;
}

int List(const WalFlags& flags) {
  const auto entries = Entries(flags);
  if (!entries.ok()) return Fail("forebay wal", entries.error());
  const UnixMillis now = SystemClock().Now();
  std::fputs(
      (flags.json ? walctl::FormatListJson(*entries) : walctl::FormatList(*entries, now)).c_str(),
      stdout);
  return 0;
}

int Stat(const WalFlags& flags) {
  const auto entries = Entries(flags);
  if (!entries.ok()) return Fail("forebay wal", entries.error());
  const walctl::Totals totals = walctl::Summarize(*entries);
  const UnixMillis now = SystemClock().Now();
  std::fputs(
      (flags.json ? walctl::FormatTotalsJson(totals) : walctl::FormatTotals(totals, now)).c_str(),
      stdout);
  return 0;
}

int Verify(const WalFlags& flags) {
  io::PosixFileSystem fs;
  std::vector<std::string> paths = flags.files;
  if (paths.empty()) {
    auto listed = walctl::ListPaths(fs, flags.directory);
    if (!listed.ok()) return Fail("forebay wal", listed.error());
    paths = std::move(*listed);
  }
  std::vector<walctl::VerifyReport> reports;
  bool damaged = false;
  for (const std::string& path : paths) {
    auto report = walctl::VerifyFile(fs, path);
    if (!report.ok()) {
      if (IsGone(flags, report.error())) continue;
      return Fail("forebay wal", report.error());
    }
    if (report->kind != walctl::FileKind::kSegment && report->kind != walctl::FileKind::kJournal &&
        report->kind != walctl::FileKind::kManifest) {
      continue;
    }
    damaged = damaged || report->damaged();
    if (flags.json) {
      reports.push_back(std::move(*report));
    } else {
      std::fputs(walctl::FormatVerify(*report).c_str(), stdout);
    }
  }
  if (flags.json) std::fputs(walctl::FormatVerifyJson(reports).c_str(), stdout);
  return damaged ? 1 : 0;
}

walctl::TextSink FileSink(std::FILE* file) {
  return [file](std::string_view lines) -> Status {
    if (std::fwrite(lines.data(), 1, lines.size(), file) == lines.size()) return OkStatus();
    return ErrnoError(errno, "write");
  };
}

// Prints segments and journals; a header line once, before the first rows.
Result<walctl::RowCounts> PrintAll(const WalFlags& flags, const std::vector<std::string>& paths,
                                   std::FILE* file) {
  io::PosixFileSystem fs;
  walctl::RowOptions options;
  FOREBAY_ASSIGN_OR_RETURN(options.format, walctl::ParseRowFormat(flags.format));
  options.header = !flags.no_header;
  walctl::RowCounts total;
  for (const std::string& path : paths) {
    const auto kind = walctl::DetectKind(fs, path);
    if (!kind.ok() && IsGone(flags, kind.error())) continue;
    if (!kind.ok()) return Error(kind.error());
    const bool journal = *kind == walctl::FileKind::kJournal;
    if (journal && options.format != walctl::RowFormat::kCsv) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("{}: journals are printed as csv only", path));
    }
    const auto counts = journal ? walctl::PrintJournal(fs, path, options.header, FileSink(file))
                                : walctl::PrintSegment(fs, path, options, FileSink(file));
    if (!counts.ok() && IsGone(flags, counts.error())) continue;
    if (!counts.ok()) return Error(counts.error()).WithContext(path);
    total.rows += counts->rows;
    total.damaged_ranges += counts->damaged_ranges;
    if (counts->rows > 0) options.header = false;
  }
  return total;
}

int Report(const Result<walctl::RowCounts>& counts) {
  if (!counts.ok()) return Fail("forebay wal", counts.error());
  if (counts->damaged_ranges > 0) {
    fmt::print(stderr, "forebay wal: {} damaged places were passed over; see forebay wal verify\n",
               counts->damaged_ranges);
  }
  return 0;
}

int Cat(const WalFlags& flags) {
  const int code = Report(PrintAll(flags, flags.files, stdout));
  if (std::fflush(stdout) != 0) return Fail("forebay wal", ErrnoError(errno, "write"));
  return code;
}

int Export(WalFlags flags) {
  if (flags.files.empty() == flags.table.empty()) {
    return Fail("forebay wal",
                Error(ErrorCode::kInvalidArgument, "export: name files, or a table by --table"));
  }
  std::vector<std::string> paths = flags.files;
  if (!flags.table.empty()) {
    io::PosixFileSystem fs;
    auto found = walctl::FindSegments(fs, flags.directory, flags.table);
    if (!found.ok()) return Fail("forebay wal", found.error());
    paths = std::move(*found);
  }
  if (flags.out == "-") return Report(PrintAll(flags, paths, stdout));
  std::FILE* file = std::fopen(flags.out.c_str(), "wbe");
  if (file == nullptr) return Fail("forebay wal", ErrnoError(errno, flags.out));
  const auto counts = PrintAll(flags, paths, file);
  if (std::fclose(file) != 0 && counts.ok())
    return Fail("forebay wal", ErrnoError(errno, flags.out));
  if (counts.ok()) fmt::print(stderr, "{} rows in {}\n", counts->rows, flags.out);
  return Report(counts);
}

void AddSelection(CLI::App* command, WalFlags& flags) {
  WithDirectory(command, flags.directory);
  command->add_option("files", flags.files, "files, in place of a directory")->type_name("FILE");
}

}  // namespace

void AddWalCommand(CLI::App& app, int& exit_code) {
  CLI::App* wal = app.add_subcommand(
      "wal", "Look into a data directory (safe while it is in use); replay brings it away");
  wal->require_subcommand(1);
  auto flags = std::make_shared<WalFlags>();
  const auto add_json = [&flags](CLI::App* command) {
    command->add_flag("--json", flags->json, "print JSON");
  };

  CLI::App* ls = AddTool(*wal, "ls", "List the files of a data directory", flags, List, exit_code);
  AddSelection(ls, *flags);
  add_json(ls);

  CLI::App* stat = AddTool(*wal, "stat", "Totals per table", flags, Stat, exit_code);
  AddSelection(stat, *flags);
  add_json(stat);

  CLI::App* verify =
      AddTool(*wal, "verify", "Check every CRC and decode everything; exit 1 when damaged", flags,
              Verify, exit_code);
  AddSelection(verify, *flags);
  add_json(verify);

  CLI::App* cat =
      AddTool(*wal, "cat", "Print the rows of segments, or the records of journals, as CSV", flags,
              Cat, exit_code);
  cat->add_option("files", flags->files, "segments or journals")->required()->type_name("FILE");
  cat->add_flag("--no-header", flags->no_header, "without the line of column names");

  CLI::App* exported =
      wal->add_subcommand("export", "Write the rows of files or of a table as CSV or NDJSON");
  AddSelection(exported, *flags);
  exported->add_option("--table", flags->table,
                       "<database>_<table>, with _<schema hash> for one schema");
  exported->add_option("--format", flags->format, "how rows are written")
      ->capture_default_str()
      ->type_name("csv|ndjson");
  exported->add_option("--out", flags->out, "file; - is standard output")
      ->capture_default_str()
      ->type_name("FILE");
  exported->add_flag("--no-header", flags->no_header, "CSV without the line of column names");
  exported->callback([flags, &exit_code] { exit_code = Export(*flags); });
  AddQuarantineCommand(*wal, exit_code);
  AddReplayCommand(*wal, exit_code);
}

}  // namespace forebay::cmd
