#include "serve_command.h"

#include <pthread.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "base/thread.h"
#include "config/adxmon_flags.h"
#include "config/load.h"
#include "fail.h"
#include "load_options.h"
#include "server/node.h"

namespace forebay::cmd {
namespace {

struct ServeOptions {
  std::string config_file;
  std::vector<std::string> assignments;  // --set
};

// What --config, --set and adx-mon's flags say, as the loader wants it.
Result<config::LoadOptions> LoadOptionsOf(const ServeOptions& serve,
                                          const std::vector<std::string>& extras) {
  FOREBAY_ASSIGN_OR_RETURN(auto translated, config::TranslateAdxMonFlags(extras));
  if (!translated.remaining.empty()) {
    return Error(
        ErrorCode::kInvalidArgument,
        "unknown argument " + translated.remaining.front() +
            "; `forebay serve --help` lists what there is, and every key of the configuration "
            "can be set by --set key.path=value");
  }
  return MakeLoadOptions(serve.config_file, serve.assignments, std::move(translated));
}

// Waits for SIGTERM or SIGINT; SIGHUP reloads.
void WaitForEnd(server::Node& node, const sigset_t& signals) {
  while (true) {
    int signal_number = 0;
    if (sigwait(&signals, &signal_number) != 0) continue;
    if (signal_number != SIGHUP) {
      LogInfo("stopping", {{"signal", sigdescr_np(signal_number)}});
      return;
    }
    const auto reloaded = node.Reload();
    if (!reloaded.ok()) LogError("reload failed", {{"error", reloaded.error().message()}});
  }
}

// Whoever asks twice does not want to wait: as safe as a kill, which is as safe as a stop.
std::jthread EndAtNextSignal(const sigset_t& signals) {
  return StartThread("signals", [signals](const std::stop_token& stop) {
    const timespec wait{0, 100'000'000};
    while (!stop.stop_requested()) {
      const int signal_number = sigtimedwait(&signals, nullptr, &wait);
      if (signal_number != SIGTERM && signal_number != SIGINT) continue;
      LogWarn("asked a second time: ended at once, what is left goes at the next start",
              {{"signal", sigdescr_np(signal_number)}});
      std::_Exit(128 + signal_number);
    }
  });
}

int Serve(const ServeOptions& serve, const std::vector<std::string>& extras) {
  // Blocked before any thread starts, so that sigwait gets them.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal_number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal_number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  const auto load_options = LoadOptionsOf(serve, extras);
  if (!load_options.ok()) return Fail("forebay", load_options.error());
  server::NodeOptions options;
  options.version = FOREBAY_VERSION;
  options.reload = [load_options = *load_options] { return config::Load(load_options); };
  auto loaded = options.reload();
  if (!loaded.ok()) return Fail("forebay", loaded.error());
  options.config = std::move(*loaded);

  auto node = server::Node::Create(std::move(options));
  if (!node.ok()) return Fail("forebay", node.error());
  const Status started = (*node)->Start();
  if (!started.ok()) return Fail("forebay", started.error());
  WaitForEnd(**node, signals);
  const std::jthread impatient = EndAtNextSignal(signals);
  const Status stopped = (*node)->Shutdown();
  if (!stopped.ok())
    LogWarn("stopped before everything was done", {{"error", stopped.error().message()}});
  node->reset();
  LogInfo("stopped");
  return 0;
}

}  // namespace

void AddServeCommand(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App* serve = app.add_subcommand("serve", "Run the daemon");
  serve
      ->add_option("--config,-c", options->config_file,
                   "YAML file; without it FOREBAY_CONFIG, without that the defaults")
      ->type_name("FILE");
  serve
      ->add_option("--set", options->assignments,
                   "key.path=value, over file and environment; repeatable")
      ->allow_extra_args(false);
  serve->allow_extras();
  serve->footer("adx-mon's ingestor flags are taken as well: docs/configuration.md lists them.");
  serve->callback(
      [serve, options, &exit_code] { exit_code = Serve(*options, serve->remaining()); });
}

}  // namespace forebay::cmd
