#include "dlq_command.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "fail.h"
#include "io/posix_file_system.h"
#include "tool.h"
#include "walctl/dead_letters.h"

namespace forebay::cmd {
namespace {

struct DlqFlags {
  std::string directory = "./data";
  std::vector<std::string> ids;
  bool all = false;
  bool yes = false;
  bool json = false;
};

Result<std::vector<walctl::DeadLetter>> Chosen(io::FileSystem& fs, const DlqFlags& flags) {
  FOREBAY_ASSIGN_OR_RETURN(const auto letters, walctl::ListDeadLetters(fs, flags.directory));
  return walctl::SelectDeadLetters(letters, flags.ids, flags.all);
}

int ListLetters(const DlqFlags& flags) {
  io::PosixFileSystem fs;
  const auto letters = walctl::ListDeadLetters(fs, flags.directory);
  if (!letters.ok()) return Fail("forebay dlq", letters.error());
  const std::string text = flags.json ? walctl::FormatDeadLettersJson(*letters)
                                      : walctl::FormatDeadLetters(*letters, SystemClock().Now());
  std::fputs(text.c_str(), stdout);
  return 0;
}

int ShowLetters(const DlqFlags& flags) {
  io::PosixFileSystem fs;
  const auto letters = Chosen(fs, flags);
  if (!letters.ok()) return Fail("forebay dlq", letters.error());
  for (const walctl::DeadLetter& letter : *letters) {
    const auto text = walctl::DescribeDeadLetter(fs, letter);
    if (!text.ok()) return Fail("forebay dlq", text.error());
    std::fputs(text->c_str(), stdout);
  }
  return 0;
}

int ReplayLetters(const DlqFlags& flags) {
  io::PosixFileSystem fs;
  const auto letters = Chosen(fs, flags);
  if (!letters.ok()) return Fail("forebay dlq", letters.error());
  uint64_t asked = 0;
  for (const walctl::DeadLetter& letter : *letters) {
    // With --all what people left there is passed over.
    if (flags.all && letter.segments == 0 && letter.rejected.empty()) continue;
    if (const Status status = walctl::RequestReplay(fs, letter); !status.ok()) {
      return Fail("forebay dlq", status.error());
    }
    ++asked;
  }
  fmt::print(stderr,
             "{} dead letters go back on their way: by a running daemon within 10 s, else at its "
             "next start\n",
             asked);
  return 0;
}

int DropLetters(const DlqFlags& flags) {
  io::PosixFileSystem fs;
  const auto letters = Chosen(fs, flags);
  if (!letters.ok()) return Fail("forebay dlq", letters.error());
  uint64_t bytes = 0;
  for (const walctl::DeadLetter& letter : *letters) bytes += letter.bytes;
  if (!flags.yes) {
    return Fail("forebay dlq",
                Error(ErrorCode::kFailedPrecondition,
                      fmt::format("this would remove {} batches of {} bytes for good; repeat it "
                                  "with --yes",
                                  letters->size(), bytes)));
  }
  for (const walctl::DeadLetter& letter : *letters) {
    if (const Status dropped = walctl::DropDeadLetter(fs, letter); !dropped.ok()) {
      return Fail("forebay dlq", dropped.error());
    }
  }
  fmt::print(stderr, "{} batches of {} bytes dropped; a running daemon notices at its next audit\n",
             letters->size(), bytes);
  return 0;
}

}  // namespace

void AddDlqCommand(CLI::App& app, int& exit_code) {
  CLI::App* dlq =
      app.add_subcommand("dlq", "Batches and rows that a sink refused: list, replay, drop");
  dlq->require_subcommand(1);
  auto flags = std::make_shared<DlqFlags>();
  const auto add = [&](const char* name, const char* help, int (*run)(const DlqFlags&)) {
    return WithDirectory(AddTool(*dlq, name, help, flags, run, exit_code), flags->directory);
  };
  add("ls", "List batches with their reasons", ListLetters)
      ->add_flag("--json", flags->json, "print JSON");
  const auto with_ids = [&](CLI::App* command) {
    command->add_option("batches", flags->ids, "ids as ls prints them");
    command->add_flag("--all", flags->all, "every one");
    return command;
  };
  with_ids(add("show", "All that is known of batches", ShowLetters));
  with_ids(add("replay", "Deliver batches to the sinks that refused them, once", ReplayLetters));
  with_ids(add("drop", "Remove batches for good", DropLetters))
      ->add_flag("--yes", flags->yes, "really");
}

}  // namespace forebay::cmd
