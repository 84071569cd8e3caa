// `forebay version`: what this binary is made of.
#pragma once

namespace CLI {
class App;
}

namespace forebay::cmd {

// Adds the subcommand to the program's command line. exit_code must live as long as app.
void AddVersionCommand(CLI::App& app, int& exit_code);

}  // namespace forebay::cmd
