#include "help_command.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "command_tree.h"
#include "completion.h"
#include "config/schema.h"
#include "fail.h"
#include "man_page.h"

namespace forebay::cmd {
namespace {

struct HelpOptions {
  std::vector<std::string> command;
  bool man = false;
};

Result<const CLI::App*> FindCommand(const CLI::App& app, const std::vector<std::string>& words) {
  const CLI::App* found = &app;
  for (const std::string& word : words) {
    const auto children =
        found->get_subcommands([&](const CLI::App* one) { return one->get_name() == word; });
    if (children.empty()) {
      return Error(ErrorCode::kNotFound, fmt::format("no command \"{}\"; forebay help lists them",
                                                     fmt::join(words, " ")));
    }
    found = children.front();
  }
  return found;
}

int PrintHelp(const CLI::App& app, const HelpOptions& options) {
  if (options.man) {
    std::fputs(ManPage(CommandTree(app), FOREBAY_VERSION).c_str(), stdout);
    return 0;
  }
  const auto found = FindCommand(app, options.command);
  if (!found.ok()) return Fail("forebay help", found.error());
  const std::string name = fmt::format("forebay{}{}", options.command.empty() ? "" : " ",
                                       fmt::join(options.command, " "));
  // Not help(), which would describe the command that was parsed: this one.
  const std::string text = app.get_formatter()->make_help(*found, name, CLI::AppFormatMode::Normal);
  std::fputs(text.c_str(), stdout);
  if (options.command.empty()) {
    fmt::print("\nforebay help COMMAND says more of one, forebay help --man is the manual page.\n");
  }
  return 0;
}

// What can stand behind --set: keys with one value, lists by their first element.
std::vector<std::string> AssignableKeys() {
  std::vector<std::string> keys;
  config::ForEachKey("0", [&](const std::string& path, const config::Field& field) {
    if (field.IsScalar() || field.kind == config::Kind::kStringList) keys.push_back(path);
  });
  return keys;
}

int PrintCompletion(const CLI::App& app, const std::string& shell) {
  const auto script = CompletionScript(shell, CommandTree(app), AssignableKeys());
  if (!script.ok()) return Fail("forebay completion", script.error());
  std::fputs(script->c_str(), stdout);
  return 0;
}

}  // namespace

void AddHelpCommands(CLI::App& app, int& exit_code) {
  auto shell = std::make_shared<std::string>();
  CLI::App* completion = app.add_subcommand(
      "completion", "Print the completion script of a shell: source <(forebay completion bash)");
  completion->add_option("shell", *shell, "its name")->required()->type_name("bash|zsh|fish");
  completion->callback([&app, shell, &exit_code] { exit_code = PrintCompletion(app, *shell); });

  auto options = std::make_shared<HelpOptions>();
  CLI::App* help = app.add_subcommand("help", "Say what a command does and takes");
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  help->add_option("command", options->command, "its words, as: wal ls")
      ->type_name(fmt::format("{}", fmt::join(names, "|")));
  help->add_flag("--man", options->man, "print the manual page: forebay help --man | man -l -");
  help->callback([&app, options, &exit_code] { exit_code = PrintHelp(app, *options); });
}

}  // namespace forebay::cmd
