// Subcommands that are a function of their flags.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

namespace forebay::cmd {

// Shape: `run` takes the flags as they are after parsing; what it returns becomes the exit code.
template <typename Flags>
CLI::App* AddTool(CLI::App& parent, const char* name, const char* help,
                  const std::shared_ptr<Flags>& flags, int (*run)(const Flags&), int& exit_code) {
  CLI::App* command = parent.add_subcommand(name, help);
  command->callback([flags, run, &exit_code] { exit_code = run(*flags); });
  return command;
}

// --dir, the data directory; returns the command.
inline CLI::App* WithDirectory(CLI::App* command, std::string& directory) {
  command->add_option("--dir", directory, "data directory")
      ->capture_default_str()
      ->type_name("DIR");
  return command;
}

}  // namespace forebay::cmd
