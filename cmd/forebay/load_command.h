// `forebay load`: sends made-up remote-write load to a receiver and prints what became of it.
#pragma once

namespace CLI {
class App;
}

namespace forebay::cmd {

// Adds the subcommand to the program's command line. When it ran, exit_code is 0 when every sample
// was accepted, 2 when some were refused or their fate is unknown, 1 after errors on standard
// error. exit_code must live as long as app.
void AddLoadCommand(CLI::App& app, int& exit_code);

}  // namespace forebay::cmd
