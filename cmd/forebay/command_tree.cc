#include "command_tree.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <utility>

namespace forebay::cmd {
namespace {

CommandOption Describe(const CLI::Option& option) {
  CommandOption out;
  out.positional = option.get_positional();
  if (out.positional) out.names.push_back(option.get_name(/*positional=*/true));
  for (const std::string& name : option.get_lnames()) out.names.push_back("--" + name);
  for (const std::string& name : option.get_snames()) out.names.push_back("-" + name);
  if (option.get_items_expected_max() > 0) out.value = option.get_type_name();
  out.description = option.get_description();
  out.default_text = option.get_default_str();
  out.repeatable = option.get_items_expected_max() > 1;
  out.required = option.get_required();
  return out;
}

void Collect(const CLI::App& app, const std::vector<std::string>& path, std::vector<Command>& out) {
  Command command;
  command.path = path;
  command.description = app.get_description();
  command.footer = app.get_footer();
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_group().empty()) command.options.push_back(Describe(*option));
  }
  std::vector<const CLI::App*> children;
  for (const CLI::App* child : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (child->get_group().empty()) continue;
    children.push_back(child);
    command.subcommands.push_back(child->get_name());
  }
  out.push_back(std::move(command));
  for (const CLI::App* child : children) {
    std::vector<std::string> below = path;
    below.push_back(child->get_name());
    Collect(*child, below, out);
  }
}

}  // namespace

std::vector<std::string> CommandOption::Choices() const {
  if (value.find('|') == std::string::npos) return {};
  return CLI::detail::split(value, '|');
}

std::string Command::PathText() const { return fmt::format("{}", fmt::join(path, " ")); }

std::vector<Command> CommandTree(const CLI::App& app) {
  std::vector<Command> out;
  Collect(app, {}, out);
  return out;
}

}  // namespace forebay::cmd
