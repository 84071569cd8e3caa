// `forebay wal quarantine ls|export|drop`.
#pragma once

namespace CLI {
class App;
}

namespace forebay::cmd {

// Adds the command to `wal`. exit_code is set when it runs.
void AddQuarantineCommand(CLI::App& wal, int& exit_code);

}  // namespace forebay::cmd
