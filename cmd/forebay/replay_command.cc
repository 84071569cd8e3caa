#include "replay_command.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "config/load.h"
#include "fail.h"
#include "interrupts.h"
#include "io/posix_file_system.h"
#include "load_options.h"
#include "server/node.h"
#include "walctl/format.h"
#include "walctl/inventory.h"
#include "walctl/verify.h"

namespace forebay::cmd {
namespace {

constexpr uint64_t kMaxTokenBytes = 1U << 20;

struct ReplayFlags {
  std::string directory;
  std::string config_file;
  std::vector<std::string> assignments;
  std::string to;
  std::string ca_file;
  std::string token_file;
  std::string timeout = "1h";
  std::string patience = "1m";
  bool resend = false;
  bool dry_run = false;
};

Result<config::Config> LoadConfig(const ReplayFlags& flags) {
  FOREBAY_ASSIGN_OR_RETURN(auto load, MakeLoadOptions(flags.config_file, flags.assignments));
  load.overrides.emplace_back("storage.dir", flags.directory);
  return config::Load(load);
}

// A directory that is not one must not become one.
Status CheckDirectory(const std::string& directory) {
  io::PosixFileSystem fs;
  for (const char* const part : {"journal", "segments"}) {
    FOREBAY_ASSIGN_OR_RETURN(const bool there, fs.Exists(io::JoinPath(directory, part)));
    if (there) return {};
  }
  return Error(
      ErrorCode::kNotFound,
      fmt::format("{} has neither journal/ nor segments/: it is no data directory", directory));
}

// What journals hold is read by the databases and rules of their node: with others it would be
// something else, or go to the quarantine.
Status CheckJournals(const ReplayFlags& flags) {
  if (!flags.config_file.empty()) return {};
  io::PosixFileSystem fs;
  FOREBAY_ASSIGN_OR_RETURN(const auto entries, walctl::ListDirectory(fs, flags.directory));
  for (const walctl::FileEntry& entry : entries) {
    if (entry.kind != walctl::FileKind::kJournal) continue;
    FOREBAY_ASSIGN_OR_RETURN(const auto journal, walctl::VerifyFile(fs, entry.path));
    if (journal.blocks == 0 && !journal.damaged()) continue;
    return Error(ErrorCode::kFailedPrecondition,
                 fmt::format("{} holds {} requests, which are read by the databases and rules of "
                             "the volume's node: give its configuration too (--config FILE)",
                             entry.path, journal.blocks));
  }
  return {};
}

Status DryRun(const ReplayFlags& flags) {
  io::PosixFileSystem fs;
  FOREBAY_ASSIGN_OR_RETURN(const auto entries, walctl::ListDirectory(fs, flags.directory));
  const walctl::Totals totals = walctl::Summarize(entries);
  std::fputs(walctl::FormatTotals(totals, SystemClock().Now()).c_str(), stdout);
  size_t manifests = 0;
  size_t journals = 0;
  for (const walctl::FileEntry& entry : entries) {
    manifests += entry.kind == walctl::FileKind::kManifest ? 1 : 0;
    journals += entry.kind == walctl::FileKind::kJournal ? 1 : 0;
  }
  fmt::print("{} journals to recover, {} batches that a sink or a peer may have{}\n", journals,
             manifests,
             manifests != 0 && !flags.to.empty() ? ": those stay, for a replay with --config" : "");
  return {};
}

// What lies on the volume for people. Returns the exit code.
int Summary(server::Node& node, const ReplayFlags& flags, uint64_t left_rows) {
  const server::DrainReport report = node.drainer().report();
  if (report.dead_letter_files + report.quarantine_files + report.unreadable_segments != 0) {
    fmt::print(
        "{} also holds {} files of dead letters, {} files of damaged bytes and {} segments that "
        "cannot be read: no replay brings them away\n",
        flags.directory, report.dead_letter_files, report.quarantine_files,
        report.unreadable_segments);
  }
  if (report.left.none()) {
    fmt::print("nothing is left in {}\n", flags.directory);
    return 0;
  }
  fmt::print("{} rows in {} segments are left in {}\n", std::max(left_rows, report.left.rows),
             report.left.segments, flags.directory);
  return 2;
}

// The volume as a node without ports.
Result<std::unique_ptr<server::Node>> OpenVolume(config::Config config, server::NodeMode mode) {
  server::NodeOptions options;
  options.config = std::move(config);
  options.version = FOREBAY_VERSION;
  options.mode = mode;
  FOREBAY_ASSIGN_OR_RETURN(auto node, server::Node::Create(std::move(options)));
  FOREBAY_RETURN_IF_ERROR(node->Start());
  return node;
}

Result<int> ReplayHere(const ReplayFlags& flags, config::Config config) {
  FOREBAY_ASSIGN_OR_RETURN(const auto timeout, ParseDuration(flags.timeout));
  const InterruptWatch interrupts;  // before any other thread is there
  FOREBAY_ASSIGN_OR_RETURN(const auto node,
                           OpenVolume(std::move(config), server::NodeMode::kReplay));
  const server::DrainReport report =
      node->Replay(SystemClock().Monotonic() + timeout, interrupts.token());
  fmt::print("{} rows handed over to other members, {} rows uploaded\n", report.handed_over_rows,
             report.uploaded_rows);
  for (const std::string& why : report.left.why) fmt::print("left: {}\n", why);
  const int code = Summary(*node, flags, report.left.rows + report.left.unsealed_rows);
  (void)node->Stop(SystemClock().Monotonic() + node->config().drain.stop_timeout);
  return code;
}

Result<int> SendAway(const ReplayFlags& flags, config::Config config) {
  server::SendOptions send;
  send.to = flags.to;
  while (send.to.ends_with("/")) send.to.pop_back();
  if (!send.to.starts_with("http://") && !send.to.starts_with("https://")) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("--to: {} is no URL; write http://HOST:PORT, the ingest port of one "
                             "node",
                             flags.to));
  }
  FOREBAY_ASSIGN_OR_RETURN(send.patience, ParseDuration(flags.patience));
  FOREBAY_ASSIGN_OR_RETURN(send.seal_timeout, ParseDuration(flags.timeout));
  send.client.ca_file = flags.ca_file;
  send.client.total_timeout = std::chrono::minutes(2);
  if (!flags.token_file.empty()) {
    io::PosixFileSystem fs;
    FOREBAY_ASSIGN_OR_RETURN(send.client.bearer_token,
                             io::ReadFile(fs, flags.token_file, kMaxTokenBytes));
    while (send.client.bearer_token.ends_with("\n")) send.client.bearer_token.pop_back();
  }
  send.window = config.cluster.transfer.ledger_window;
  send.resend = flags.resend;
  // What the volume's journals hold is read by the rules; its members and sinks are not needed.
  config.cluster.discovery = "none";
  const InterruptWatch interrupts;  // before any other thread is there
  FOREBAY_ASSIGN_OR_RETURN(const auto node, OpenVolume(std::move(config), server::NodeMode::kSend));
  const auto report = node->Send(send, interrupts.token());
  int code = 1;
  if (report.ok()) {
    fmt::print(
        "{} rows in {} segments ({} bytes) sent to {}, which had {} of the segments before\n",
        report->rows, report->segments, report->bytes,
        report->member.empty() ? "nobody" : report->member, report->known);
    for (const std::string& why : report->why) fmt::print("left: {}\n", why);
    code = Summary(*node, flags, report->left_rows);
  }
  (void)node->Stop(SystemClock().Monotonic() + node->config().drain.stop_timeout);
  if (!report.ok()) return report.error();
  return code;
}

int Replay(const ReplayFlags& flags) {
  const auto run = [&]() -> Result<int> {
    FOREBAY_RETURN_IF_ERROR(CheckDirectory(flags.directory));
    if (flags.to.empty() && flags.config_file.empty()) {
      return Error(ErrorCode::kInvalidArgument,
                   "say where to: --to http://HOST:PORT of a node that runs, or --config FILE of "
                   "the volume's node, whose sinks and members are used then");
    }
    if (flags.dry_run) {
      FOREBAY_RETURN_IF_ERROR(DryRun(flags));
      return 0;
    }
    FOREBAY_RETURN_IF_ERROR(CheckJournals(flags));
    FOREBAY_ASSIGN_OR_RETURN(config::Config config, LoadConfig(flags));
    return flags.to.empty() ? ReplayHere(flags, std::move(config))
                            : SendAway(flags, std::move(config));
  };
  const Result<int> code = run();
  return code.ok() ? *code : Fail("forebay wal replay", code.error());
}

}  // namespace

void AddReplayCommand(CLI::App& wal, int& exit_code) {
  CLI::App* command = wal.add_subcommand(
      "replay", "Bring away what lies in the data directory of a node that will not come back");
  const auto flags = std::make_shared<ReplayFlags>();
  command->add_option("--dir", flags->directory, "its data directory; no daemon may run there")
      ->required()
      ->type_name("DIR");
  command->add_option("--to", flags->to, "http://HOST:PORT, ingest port of one node that runs");
  command
      ->add_option("--config", flags->config_file,
                   "configuration of the volume's node: without --to its sinks and members are "
                   "used; with --to only what its journals are read by")
      ->type_name("FILE");
  command->add_option("--set", flags->assignments, "key.path=value, over the file; repeatable")
      ->allow_extra_args(false);
  command->add_option("--timeout", flags->timeout, "for all of it (--to: for the recovery)")
      ->capture_default_str();
  command->add_option("--patience", flags->patience, "with --to: for one segment")
      ->capture_default_str();
  command->add_option("--ca-file", flags->ca_file, "PEM file, with --to https://")
      ->type_name("FILE");
  command->add_option("--token-file", flags->token_file, "file with a bearer token, with --to")
      ->type_name("FILE");
  command->add_flag("--resend", flags->resend,
                    "with --to: send also what an earlier run may have sent to another node, or "
                    "too long ago; it may be there twice then");
  command->add_flag("--dry-run", flags->dry_run, "only say what is there");
  command->footer(
      "Exit code: 0 nothing is left; 2 something is left, and it was said why; 1 an error.\n"
      "It may be killed and run again.");
  command->callback([flags, &exit_code] { exit_code = Replay(*flags); });
}

}  // namespace forebay::cmd
