// `forebay cluster members`: who the cluster's members are as a node with this configuration sees
// them, and who owns a table.
#pragma once

namespace CLI {
class App;
}

namespace forebay::cmd {

void AddClusterCommand(CLI::App& app, int& exit_code);

}  // namespace forebay::cmd
