// The program's commands and their options as plain values, taken from what the command line is
// parsed by. Help, man page and shell completion are made of it, so that none can differ from what
// is accepted. What is hidden there (no group) is left out here.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace forebay::cmd {

struct CommandOption {
  std::vector<std::string> names;  // "--config", "-c"; the word alone for a positional
  std::string value;  // what stands behind it: "FILE", "DIR", "csv|ndjson", "TEXT"; empty: a flag
  std::string description;
  std::string default_text;
  bool positional = false;
  bool repeatable = false;
  bool required = false;

  bool TakesFile() const { return value == "FILE"; }
  bool TakesDirectory() const { return value == "DIR"; }
  // The words of "csv|ndjson"; empty when there is no such list.
  std::vector<std::string> Choices() const;
};

struct Command {
  std::vector<std::string> path;  // {"wal", "ls"}; empty for the program itself
  std::string description;
  std::string footer;
  std::vector<CommandOption> options;
  std::vector<std::string> subcommands;

  std::string PathText() const;  // "wal ls"
};

// All commands, the program first, each before its own subcommands. Threads: any that may read app.
std::vector<Command> CommandTree(const CLI::App& app);

}  // namespace forebay::cmd
