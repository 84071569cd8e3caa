#include "config_command.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "config/adxmon_flags.h"
#include "config/docs.h"
#include "config/load.h"
#include "config/print.h"
#include "load_options.h"
#include "receive/rules.h"

namespace forebay::cmd {
namespace {

struct Options {
  std::string check_file;
  std::string print_file;
  std::vector<std::string> assignments;
  bool comments = false;
  bool json = false;
  bool show_secrets = false;
};

int Report(const Error& error) {
  fmt::print(stderr, "{}\n", error.message());
  return 1;
}

int Check(const Options& options) {
  config::LoadOptions load;
  load.file = options.check_file;
  load.environment = config::ProcessEnvironment();
  const Result<config::Config> loaded = config::Load(load);
  if (!loaded.ok()) return Report(loaded.error());
  // Regular expressions and lifted columns are the receiver's to compile; the file is good only
  // when they do.
  const auto rules = receive::Rules::Compile(*loaded, /*version=*/1);
  if (!rules.ok()) return Report(rules.error());
  fmt::print("{}: ok\n", options.check_file);
  return 0;
}

// adx-mon's flags are understood here too, so that `config print` shows what `serve` would do with
// them.
Result<config::LoadOptions> PrintLoadOptions(const Options& options,
                                             const std::vector<std::string>& others) {
  FOREBAY_ASSIGN_OR_RETURN(config::AdxMonTranslation flags, config::TranslateAdxMonFlags(others));
  if (!flags.remaining.empty()) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{}: unknown argument; see forebay config print --help",
                             flags.remaining.front()));
  }
  return MakeLoadOptions(options.print_file, options.assignments, std::move(flags));
}

int Print(const Options& options, const std::vector<std::string>& others) {
  const Result<config::LoadOptions> load = PrintLoadOptions(options, others);
  if (!load.ok()) return Report(load.error());
  const Result<config::Config> loaded = config::Load(*load);
  if (!loaded.ok()) return Report(loaded.error());
  for (const std::string& warning : loaded->warnings) fmt::print(stderr, "warning: {}\n", warning);
  if (options.json) {
    fmt::print("{}\n", config::PrintJson(*loaded));
  } else {
    fmt::print("{}", config::PrintYaml(*loaded, {.mask_secrets = !options.show_secrets,
                                                 .with_comments = options.comments}));
  }
  return 0;
}

}  // namespace

void AddConfigCommand(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("config", "Check and print the configuration");
  command->require_subcommand(1);

  CLI::App* check = command->add_subcommand("check", "Say what is wrong with a file; exit 0 or 1");
  check->add_option("file", options->check_file, "YAML file")->required()->type_name("FILE");
  check->callback([options, &exit_code] { exit_code = Check(*options); });

  CLI::App* print = command->add_subcommand("print", "Print the effective configuration");
  print->add_option("--config", options->print_file, "YAML file (default: FOREBAY_CONFIG)")
      ->type_name("FILE");
  print->add_option("--set", options->assignments, "key.path=value, over file and environment")
      ->allow_extra_args(false);
  print->add_flag("--comments", options->comments, "What every key means");
  print->add_flag("--json", options->json, "JSON; secrets are always masked");
  print->add_flag("--show-secrets", options->show_secrets, "Passwords in URLs as they are");
  print->allow_extras();
  print->callback(
      [options, print, &exit_code] { exit_code = Print(*options, print->remaining()); });

  // For the build of the documentation; an empty group hides it.
  CLI::App* docs = command->add_subcommand("docs", "Print docs/configuration.md")->group("");
  docs->callback([&exit_code] {
    fmt::print("{}", config::DocsMarkdown());
    exit_code = 0;
  });
}

}  // namespace forebay::cmd
