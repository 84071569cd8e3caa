#include "cluster_command.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "cluster/discovery.h"
#include "cluster/membership.h"
#include "config/load.h"
#include "load_options.h"
#include "metrics/registry.h"

namespace forebay::cmd {
namespace {

constexpr std::chrono::milliseconds kPoll{20};

struct ClusterOptions {
  std::string file;
  std::vector<std::string> assignments;
  std::vector<std::string> keys;
  double timeout_seconds = 10;
  bool json = false;
  bool watch = false;
};

std::string Json(const cluster::Membership& membership, const std::vector<std::string>& keys) {
  const auto set = membership.Snapshot();
  const cluster::Member* leader = set->Leader();
  nlohmann::json out;
  out["self"] = membership.self();
  out["leader"] = leader == nullptr ? nlohmann::json() : nlohmann::json(leader->name);
  out["members"] = nlohmann::json::array();
  for (const auto& member : set->members()) {
    out["members"].push_back(
        {{"name", member.name}, {"address", member.address}, {"ready", member.ready}});
  }
  for (const std::string& key : keys) {
    const cluster::Member* owner = set->OwnerOf(key);
    out["owners"][key] = owner == nullptr ? nlohmann::json() : nlohmann::json(owner->name);
  }
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void PrintTable(const cluster::Membership& membership, const std::vector<std::string>& keys) {
  const auto set = membership.Snapshot();
  fmt::print("{:<32} {:<48} {}\n", "MEMBER", "ADDRESS", "STATE");
  for (const auto& member : set->members()) {
    std::string state = member.ready ? "ready" : "not ready";
    if (set->Leader() == &member) state += ", leader";
    if (member.name == membership.self()) state += ", self";
    fmt::print("{:<32} {:<48} {}\n", member.name, member.address, state);
  }
  for (const std::string& key : keys) {
    const cluster::Member* owner = set->OwnerOf(key);
    fmt::print("{} is owned by {}\n", key, owner == nullptr ? "nobody" : owner->name);
  }
}

void Print(const ClusterOptions& options, const cluster::Membership& membership) {
  if (options.json || options.watch) {
    fmt::print("{}\n", Json(membership, options.keys));
  } else {
    PrintTable(membership, options.keys);
  }
  (void)std::fflush(stdout);
}

Status Members(const ClusterOptions& options) {
  FOREBAY_ASSIGN_OR_RETURN(const auto load, MakeLoadOptions(options.file, options.assignments));
  FOREBAY_ASSIGN_OR_RETURN(const config::Config config, config::Load(load));
  ConfigureLog(options.watch ? LogLevel::kInfo : LogLevel::kWarn, LogFormat::kLogfmt);
  metrics::Registry registry;
  cluster::Membership membership(cluster::SelfName(config.cluster), registry);
  FOREBAY_ASSIGN_OR_RETURN(const auto discovery,
                           cluster::MakeDiscovery(config.cluster, membership, registry));
  discovery->Start();
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::duration<double>(options.timeout_seconds);
  while (!membership.known()) {
    if (std::chrono::steady_clock::now() > deadline) {
      return Error(ErrorCode::kDeadlineExceeded,
                   fmt::format("no answer within {} s (--timeout)", options.timeout_seconds));
    }
    std::this_thread::sleep_for(kPoll);
  }
  Print(options, membership);
  // Until it is killed.
  for (uint64_t seen = membership.changes(); options.watch; std::this_thread::sleep_for(kPoll)) {
    if (membership.changes() == seen) continue;
    seen = membership.changes();
    Print(options, membership);
  }
  discovery->Stop();
  return {};
}

}  // namespace

void AddClusterCommand(CLI::App& app, int& exit_code) {
  CLI::App* group = app.add_subcommand("cluster", "Look at the cluster");
  group->require_subcommand(1);
  CLI::App* command = group->add_subcommand(
      "members", "Print the members as a node with this configuration sees them");
  auto options = std::make_shared<ClusterOptions>();
  command->add_option("--config", options->file, "configuration file")->type_name("FILE");
  command->add_option("--set", options->assignments, "override, as key.path=value; repeatable");
  command->add_option("--owner", options->keys,
                      "say who owns this table, as Metrics_HttpRequests; repeatable");
  command->add_option("--timeout", options->timeout_seconds, "seconds to wait for the first answer")
      ->capture_default_str();
  command->add_flag("--json", options->json, "print JSON");
  command->add_flag("--watch", options->watch,
                    "print a line of JSON at every change, until killed");
  command->callback([options, &exit_code] {
    const Status done = Members(*options);
    if (!done.ok()) fmt::print(stderr, "{}\n", done.error().message());
    exit_code = done.ok() ? 0 : 1;
  });
}

}  // namespace forebay::cmd
