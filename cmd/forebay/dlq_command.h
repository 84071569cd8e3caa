// `forebay dlq ls|show|replay|drop`.
#pragma once

namespace CLI {
class App;
}

namespace forebay::cmd {

// Adds the command. exit_code is set when it runs.
void AddDlqCommand(CLI::App& app, int& exit_code);

}  // namespace forebay::cmd
