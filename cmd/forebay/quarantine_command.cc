#include "quarantine_command.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/units.h"
#include "fail.h"
#include "io/posix_file_system.h"
#include "tool.h"
#include "walctl/quarantine.h"

namespace forebay::cmd {
namespace {

struct QuarantineFlags {
  std::string directory = "./data";
  std::vector<std::string> names;
  std::string older_than;
  std::string out;
  bool all = false;
  bool yes = false;
  bool json = false;
};

std::optional<UnixMillis> ModifiedAt(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  return UnixMillis{info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1'000'000};
}

Result<std::vector<walctl::QuarantineItem>> Selected(io::FileSystem& fs,
                                                     const QuarantineFlags& flags) {
  FOREBAY_ASSIGN_OR_RETURN(const auto items,
                           walctl::ListQuarantine(fs, flags.directory, ModifiedAt));
  walctl::QuarantineSelection selection;
  selection.names = flags.names;
  selection.all = flags.all;
  if (!flags.older_than.empty()) {
    auto age = ParseDuration(flags.older_than);
    if (!age.ok()) return std::move(age.error()).WithContext("--older-than");
    selection.before = UnixMillis{SystemClock().Now().value - age->count()};
  }
  return walctl::SelectItems(items, selection);
}

int List(const QuarantineFlags& flags) {
  io::PosixFileSystem fs;
  const auto items = walctl::ListQuarantine(fs, flags.directory, ModifiedAt);
  if (!items.ok()) return Fail("forebay wal quarantine", items.error());
  const UnixMillis now = SystemClock().Now();
  std::fputs(
      (flags.json ? walctl::FormatQuarantineJson(*items) : walctl::FormatQuarantine(*items, now))
          .c_str(),
      stdout);
  return 0;
}

int Export(const QuarantineFlags& flags) {
  io::PosixFileSystem fs;
  const auto items = Selected(fs, flags);
  if (!items.ok()) return Fail("forebay wal quarantine", items.error());
  if (const Status made = fs.CreateDirectories(flags.out); !made.ok())
    return Fail("forebay wal quarantine", made.error());
  for (const walctl::QuarantineItem& item : *items) {
    if (const Status exported = walctl::ExportItem(fs, item, flags.out); !exported.ok()) {
      return Fail("forebay wal quarantine", exported.error());
    }
  }
  fmt::print(stderr, "{} items copied to {}\n", items->size(), flags.out);
  return 0;
}

int Drop(const QuarantineFlags& flags) {
  io::PosixFileSystem fs;
  const auto items = Selected(fs, flags);
  if (!items.ok()) return Fail("forebay wal quarantine", items.error());
  uint64_t bytes = 0;
  for (const walctl::QuarantineItem& item : *items) bytes += item.bytes;
  if ((flags.all || !flags.older_than.empty()) && !flags.yes) {
    return Fail("forebay wal quarantine",
                Error(ErrorCode::kFailedPrecondition,
                      fmt::format("this would remove {} items of {} bytes for good; repeat it with "
                                  "--yes, or keep a copy first: forebay wal quarantine export",
                                  items->size(), bytes)));
  }
  for (const walctl::QuarantineItem& item : *items) {
    if (const Status dropped = walctl::DropItem(fs, item); !dropped.ok()) {
      return Fail("forebay wal quarantine", dropped.error());
    }
  }
  fmt::print(stderr, "{} items of {} bytes dropped; a running daemon notices at its next audit\n",
             items->size(), bytes);
  return 0;
}

}  // namespace

void AddQuarantineCommand(CLI::App& wal, int& exit_code) {
  CLI::App* quarantine =
      wal.add_subcommand("quarantine", "Damaged bytes that were put aside: list, copy, drop");
  quarantine->require_subcommand(1);
  auto flags = std::make_shared<QuarantineFlags>();
  const auto add = [&](const char* name, const char* help, int (*run)(const QuarantineFlags&)) {
    return WithDirectory(AddTool(*quarantine, name, help, flags, run, exit_code), flags->directory);
  };
  CLI::App* ls = add("ls", "List items with their reasons", List);
  ls->add_flag("--json", flags->json, "print JSON");

  CLI::App* exported = add("export", "Copy items and reasons to a directory", Export);
  exported->add_option("items", flags->names, "names as ls prints them");
  exported->add_flag("--all", flags->all, "every item");
  exported->add_option("--out", flags->out, "directory; made when it is not there")
      ->required()
      ->type_name("DIR");

  CLI::App* drop = add("drop", "Remove items and reasons for good", Drop);
  drop->add_option("items", flags->names, "names as ls prints them");
  drop->add_flag("--all", flags->all, "every item; needs --yes");
  drop->add_option("--older-than", flags->older_than, "items of this age, like 30d; needs --yes");
  drop->add_flag("--yes", flags->yes, "really");
}

}  // namespace forebay::cmd
