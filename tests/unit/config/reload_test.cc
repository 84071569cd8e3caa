#include "config/reload.h"

#include "config/schema.h"
#include "unit/config/test_config.h"

namespace forebay::config {
namespace {

using test::MustLoad;
using Keys = std::vector<std::string>;

TEST_CASE("reload: equal configurations have no plan") {
  CHECK_FALSE(PlanReload(MustLoad(""), MustLoad("")).changed());
}

TEST_CASE("reload: live keys are told from those that need a restart") {
  const Config old = MustLoad("");
  const Config next = MustLoad(
      "storage: {dir: /x}\nlisten: {auth: {basic_file: u}, ingest: 'a:1'}\n"
      "batch: {max_age: 1m}\nlog: {level: warn}\nupload: {retry_max: 1h, workers: 9}\n"
      "remote_write: {relabel_configs: [{action: drop, source_labels: [a]}]}\n"
      "databases: [{name: Metrics, lift_labels: [{name: host}], sinks: [{file: {root: /o}}]}]\n");
  const ReloadPlan plan = PlanReload(old, next);
  CHECK(plan.live == Keys{"listen.auth.basic_file", "batch", "remote_write.relabel_configs", "log",
                          "databases.0.lift_labels"});
  CHECK(plan.restart == Keys{"storage.dir", "listen.ingest", "upload.workers", "upload.retry_max",
                             "databases.0.sinks.0.file.root"});
}

TEST_CASE("reload: another number of databases needs a restart") {
  const Config next = MustLoad(
      "databases: [{name: A, sinks: [{file: {root: /a}}]}, {name: B, sinks: [{file: {root: "
      "/b}}]}]");
  CHECK(PlanReload(MustLoad(""), next).restart == Keys{"databases"});
}

TEST_CASE("reload: applying takes the live keys and leaves the others") {
  const Config old = MustLoad("");
  const Config next = MustLoad(
      "storage: {dir: /x}\nlog: {level: warn}\nbatch: {max_segments: 5}\n"
      "remote_write: {paths: [/p], relabel_configs: [{action: drop, source_labels: [a]}]}\n");
  const Config merged = ApplyReload(old, next);
  CHECK(merged.log.level == "warn");
  CHECK(merged.batch.max_segments == 5);
  REQUIRE(merged.remote_write.relabel_configs.size() == 1);
  CHECK(merged.remote_write.relabel_configs[0].position == "f.yaml:4:47");
  CHECK(merged.storage.dir == "./data");
  CHECK(merged.remote_write.paths == old.remote_write.paths);
  CHECK(PlanReload(merged, next).live.empty());
  CHECK(PlanReload(merged, next).restart == Keys{"storage.dir", "remote_write.paths"});
}

}  // namespace
}  // namespace forebay::config
