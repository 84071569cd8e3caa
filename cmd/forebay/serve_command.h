// `forebay serve`: the daemon.
#pragma once

namespace CLI {
class App;
}

namespace forebay::cmd {

// Adds the subcommand to the program's command line. When it ran, exit_code is 0 after a clean end,
// 1 when the node could not start. exit_code must live as long as app.
void AddServeCommand(CLI::App& app, int& exit_code);

}  // namespace forebay::cmd
