#include "completion.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include <functional>

namespace forebay::cmd {
namespace {

// The scripts know where they are by a text: each word of a command's path with a blank before it.
std::string Place(const Command& command) {
  return command.path.empty() ? "" : " " + command.PathText();
}

bool IsOption(const CommandOption& option) { return !option.positional; }

// "pattern | pattern" of the places behind options for which `wanted` holds; "" when there is none.
std::string Behind(const std::vector<Command>& commands,
                   const std::function<bool(const CommandOption&)>& wanted) {
  std::vector<std::string> patterns;
  for (const Command& command : commands) {
    for (const CommandOption& option : command.options) {
      if (option.positional || option.value.empty() || !wanted(option)) continue;
      for (const std::string& name : option.names) {
        patterns.push_back(fmt::format("\"{} {}\"", Place(command), name));
      }
    }
  }
  return fmt::format("{}", fmt::join(patterns, " | "));
}

bool IsAssignment(const CommandOption& option) { return option.names.front() == "--set"; }

bool IsUnknown(const CommandOption& option) {
  return !option.TakesFile() && !option.TakesDirectory() && option.Choices().empty() &&
         !IsAssignment(option);
}

bool HasFiles(const Command& command) {
  for (const CommandOption& option : command.options) {
    if (option.positional && option.TakesFile()) return true;
  }
  return false;
}

std::string FilePlaces(const std::vector<Command>& commands) {
  std::vector<std::string> places;
  for (const Command& command : commands) {
    if (HasFiles(command)) places.push_back(fmt::format("\"{}\"", Place(command)));
  }
  return fmt::format("{}", fmt::join(places, " | "));
}

std::string AllPlaces(const std::vector<Command>& commands, std::string_view separator) {
  std::vector<std::string> places;
  for (const Command& command : commands) {
    if (!command.path.empty()) places.push_back(fmt::format("\"{}\"", Place(command)));
  }
  return fmt::format("{}", fmt::join(places, separator));
}

const Command* FindChild(const std::vector<Command>& commands, const Command& parent,
                         const std::string& name) {
  std::vector<std::string> path = parent.path;
  path.push_back(name);
  for (const Command& command : commands) {
    if (command.path == path) return &command;
  }
  return nullptr;
}

struct Word {
  std::string text;
  std::string description;
};

// What can stand next at a command: its subcommands, options, and words of its positionals.
std::vector<Word> Words(const std::vector<Command>& commands, const Command& command) {
  std::vector<Word> out;
  for (const std::string& name : command.subcommands) {
    const Command* child = FindChild(commands, command, name);
    out.push_back({name, child == nullptr ? "" : child->description});
  }
  for (const CommandOption& option : command.options) {
    if (option.positional) {
      for (const std::string& choice : option.Choices()) out.push_back({choice, ""});
    } else {
      for (const std::string& name : option.names) out.push_back({name, option.description});
    }
  }
  return out;
}

// In single quotes of bash and zsh.
std::string ShellQuote(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

std::string FishQuote(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

// Lines "<indent><pattern>) <action> ;;" for options with a list of words. bash, zsh.
std::string ChoiceCases(const std::vector<Command>& commands,
                        const std::function<std::string(const std::string& words)>& action) {
  std::string out;
  for (const Command& command : commands) {
    for (const CommandOption& option : command.options) {
      if (option.positional || option.Choices().empty()) continue;
      out += fmt::format("        \"{} {}\") {} ;;\n", Place(command), option.names.front(),
                         action(fmt::format("{}", fmt::join(option.Choices(), " "))));
    }
  }
  return out;
}

std::string BashScript(const std::vector<Command>& commands, const std::vector<std::string>& keys) {
  std::string out = R"(# bash completion of forebay: source <(forebay completion bash)
_forebay() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} place="" words="" i
    # "--config=x" comes in three words.
    if [[ $current == "=" ]]; then current=""; fi
    if [[ $previous == "=" ]]; then previous=${COMP_WORDS[COMP_CWORD - 2]}; fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$place ${COMP_WORDS[i]}" in
)";
  out += fmt::format("        {}) place=\"$place ${{COMP_WORDS[i]}}\" ;;\n",
                     AllPlaces(commands, " | "));
  out += "        esac\n    done\n    COMPREPLY=()\n    case \"$place $previous\" in\n";
  out += fmt::format("        {}) compopt -o filenames 2>/dev/null\n",
                     Behind(commands, &CommandOption::TakesFile));
  out += "            mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); return ;;\n";
  out += fmt::format("        {}) compopt -o filenames 2>/dev/null\n",
                     Behind(commands, &CommandOption::TakesDirectory));
  out += "            mapfile -t COMPREPLY < <(compgen -d -- \"$current\"); return ;;\n";
  out +=
      fmt::format("        {}) compopt -o nospace 2>/dev/null\n", Behind(commands, IsAssignment));
  out += fmt::format(
      "            mapfile -t COMPREPLY < <(compgen -S = -W \"{}\" -- \"$current\"); return ;;\n",
      fmt::join(keys, " "));
  out += ChoiceCases(commands, [](const std::string& words) {
    return fmt::format("mapfile -t COMPREPLY < <(compgen -W \"{}\" -- \"$current\"); return",
                       words);
  });
  out += fmt::format("        {}) return ;;\n", Behind(commands, IsUnknown));
  out += "    esac\n    case $place in\n";
  for (const Command& command : commands) {
    std::vector<std::string> words;
    for (const Word& word : Words(commands, command)) words.push_back(word.text);
    out += fmt::format("        \"{}\") words=\"{}\" ;;\n", Place(command), fmt::join(words, " "));
  }
  out += "    esac\n    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n";
  out += fmt::format(R"(    case $place in
        {})
            if [[ $current != -* ]]; then
                compopt -o filenames 2>/dev/null
                mapfile -t COMPREPLY < <(compgen -f -- "$current")
            fi
            ;;
    esac
}}
complete -F _forebay forebay
)",
                     FilePlaces(commands));
  return out;
}

std::string ZshScript(const std::vector<Command>& commands, const std::vector<std::string>& keys) {
  std::string out = R"(#compdef forebay
# zsh completion of forebay: source <(forebay completion zsh), or as _forebay in a folder of $fpath
_forebay() {
    local previous=${words[CURRENT-1]} place="" i
    local -a entries
    for ((i = 2; i < CURRENT; i++)); do
        case "$place ${words[i]}" in
)";
  out += fmt::format("        {}) place=\"$place ${{words[i]}}\" ;;\n", AllPlaces(commands, " | "));
  out += "        esac\n    done\n    case \"$place $previous\" in\n";
  out +=
      fmt::format("        {}) _files; return ;;\n", Behind(commands, &CommandOption::TakesFile));
  out += fmt::format("        {}) _files -/; return ;;\n",
                     Behind(commands, &CommandOption::TakesDirectory));
  out += fmt::format("        {}) compadd -q -S = -- {}; return ;;\n",
                     Behind(commands, IsAssignment), fmt::join(keys, " "));
  out += ChoiceCases(commands, [](const std::string& words) {
    return fmt::format("compadd -- {}; return", words);
  });
  out += fmt::format("        {}) return 1 ;;\n", Behind(commands, IsUnknown));
  out += "    esac\n    case $place in\n";
  for (const Command& command : commands) {
    out += fmt::format("        \"{}\") entries=(\n", Place(command));
    for (const Word& word : Words(commands, command)) {
      const std::string entry =
          word.description.empty() ? word.text : word.text + ":" + word.description;
      out += fmt::format("            {}\n", ShellQuote(entry));
    }
    out += "        ) ;;\n";
  }
  out += fmt::format(R"(    esac
    case $place in
        {}) [[ $PREFIX == -* ]] || {{ _files; return; }} ;;
    esac
    _describe forebay entries
}}
if [[ ${{funcstack[1]}} == _forebay ]]; then _forebay "$@"; else compdef _forebay forebay; fi
)",
                     FilePlaces(commands));
  return out;
}

std::string FishOption(const CommandOption& option, const std::vector<std::string>& keys) {
  std::string out;
  for (const std::string& name : option.names) {
    out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  }
  if (IsAssignment(option)) {
    out += fmt::format(" -x -a {}", FishQuote(fmt::format("{}=", fmt::join(keys, "= "))));
  } else if (!option.Choices().empty()) {
    out += fmt::format(" -x -a {}", FishQuote(fmt::format("{}", fmt::join(option.Choices(), " "))));
  } else if (option.TakesFile()) {
    out += " -r -F";
  } else if (option.TakesDirectory()) {
    out += " -x -a '(__fish_complete_directories)'";
  } else if (!option.value.empty()) {
    out += " -x";
  }
  return out + " -d " + FishQuote(option.description);
}

std::string FishScript(const std::vector<Command>& commands, const std::vector<std::string>& keys) {
  std::string out = fmt::format(R"(# fish completion of forebay: forebay completion fish | source
function __forebay_at
    set -l place ""
    for word in (commandline -opc)[2..]
        if contains -- "$place $word" {}
            set place "$place $word"
        end
    end
    test "$place" = "$argv[1]"
end
complete -c forebay -f
)",
                                AllPlaces(commands, " "));
  for (const Command& command : commands) {
    const std::string begin =
        fmt::format("complete -c forebay -n '__forebay_at \"{}\"'", Place(command));
    for (const Word& word : Words(commands, command)) {
      if (word.text.starts_with('-')) continue;
      out += fmt::format("{} -a {} -d {}\n", begin, word.text, FishQuote(word.description));
    }
    for (const CommandOption& option : command.options) {
      if (IsOption(option)) out += begin + FishOption(option, keys) + "\n";
    }
    if (HasFiles(command)) out += begin + " -F\n";
  }
  return out;
}

}  // namespace

Result<std::string> CompletionScript(std::string_view shell, const std::vector<Command>& commands,
                                     const std::vector<std::string>& keys) {
  if (shell == "bash") return BashScript(commands, keys);
  if (shell == "zsh") return ZshScript(commands, keys);
  if (shell == "fish") return FishScript(commands, keys);
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("no completion for \"{}\"; there is one for bash, zsh and fish", shell));
}

}  // namespace forebay::cmd
