// `forebay wal replay`: brings away what lies on a volume whose node will not come back.
#pragma once

namespace CLI {
class App;
}

namespace forebay::cmd {

// Adds itself to the group `wal`.
void AddReplayCommand(CLI::App& wal, int& exit_code);

}  // namespace forebay::cmd
