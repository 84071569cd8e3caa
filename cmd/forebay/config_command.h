// `forebay config check|print`: tells what is wrong with a configuration, or shows the effective
// one.
#pragma once

namespace CLI {
class App;
}

namespace forebay::cmd {

// Adds the subcommand to the program's command line. When it ran, exit_code is 0, or 1 after errors
// on standard error. exit_code must live as long as app.
void AddConfigCommand(CLI::App& app, int& exit_code);

}  // namespace forebay::cmd
