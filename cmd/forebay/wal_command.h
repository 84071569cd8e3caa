// `forebay wal ls|stat|cat|verify|export`: looks into a data directory without changing it.
#pragma once

namespace CLI {
class App;
}

namespace forebay::cmd {

// Adds the subcommands to the program's command line. When one ran, exit_code is 0, or 1 after
// errors on standard error and when `verify` found damage. exit_code must live as long as app.
void AddWalCommand(CLI::App& app, int& exit_code);

}  // namespace forebay::cmd
