// `forebay help` and `forebay completion`: what the program can do, for people, man and shells.
#pragma once

namespace CLI {
class App;
}

namespace forebay::cmd {

// Adds both; called last, since the help of `help` names the commands that are there. Both describe
// what app has when they run. exit_code is set when one runs, and must live as long as app.
void AddHelpCommands(CLI::App& app, int& exit_code);

}  // namespace forebay::cmd
