// Shell completion: scripts for bash, zsh and fish, made of the program's own commands.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "command_tree.h"

namespace forebay::cmd {

// The script for a shell: "bash", "zsh" or "fish". keys: what can stand behind --set, as
// "batch.min_bytes". Errors: kInvalidArgument: another shell. Threads: any.
Result<std::string> CompletionScript(std::string_view shell, const std::vector<Command>& commands,
                                     const std::vector<std::string>& keys);

}  // namespace forebay::cmd
