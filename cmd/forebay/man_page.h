// forebay(1) in man's language, of the program's own commands.
#pragma once

#include <string>
#include <vector>

#include "command_tree.h"

namespace forebay::cmd {

// The whole page, for `man -l`. Threads: any.
std::string ManPage(const std::vector<Command>& commands, const std::string& version);

}  // namespace forebay::cmd
