// The forebay program: one subcommand per file.
#include <CLI/CLI.hpp>

#include "cluster_command.h"
#include "config_command.h"
#include "dlq_command.h"
#include "help_command.h"
#include "load_command.h"
#include "serve_command.h"
#include "version_command.h"
#include "wal_command.h"

int main(int argc, char** argv) {
  CLI::App app("Forebay: many small telemetry writes in, few large batches out", "forebay");
  app.require_subcommand(1);
  app.set_version_flag("--version", "forebay " FOREBAY_VERSION, "Print the version and exit");
  int exit_code = 0;
  forebay::cmd::AddServeCommand(app, exit_code);
  forebay::cmd::AddConfigCommand(app, exit_code);
  forebay::cmd::AddClusterCommand(app, exit_code);
  forebay::cmd::AddWalCommand(app, exit_code);
  forebay::cmd::AddDlqCommand(app, exit_code);
  forebay::cmd::AddLoadCommand(app, exit_code);
  forebay::cmd::AddVersionCommand(app, exit_code);
  forebay::cmd::AddHelpCommands(app, exit_code);
  CLI11_PARSE(app, argc, argv);
  return exit_code;
}
