#include "receive/remote_write_state.h"

#include <fmt/core.h>

#include <utility>

#include "base/log.h"

namespace forebay::receive {

RemoteWriteState::RemoteWriteState(table::SeriesTable& series, table::TableRegistry& tables,
                                   metrics::Registry& registry, wal::RowAccount* rows)
    : series_(series), tables_(tables), metrics_(registry, rows), tenants_(series, registry) {}

Result<std::unique_ptr<RemoteWriteState>> RemoteWriteState::Create(const config::Config& config,
                                                                   table::SeriesTable& series,
                                                                   table::TableRegistry& tables,
                                                                   metrics::Registry& registry,
                                                                   wal::RowAccount* rows) {
  std::unique_ptr<RemoteWriteState> state(new RemoteWriteState(series, tables, registry, rows));
  FOREBAY_RETURN_IF_ERROR(state->SetRules(config));
  return state;
}

Status RemoteWriteState::SetRules(const config::Config& config) {
  {
    // Compiled under the lock, so that versions and rules stay in step; only misses and reloads
    // take it.
    MutexLock lock(mutex_);
    const uint64_t version = rules_version_.load(std::memory_order_relaxed) + 1;
    FOREBAY_ASSIGN_OR_RETURN(auto rules, Rules::Compile(config, version));
    rules_ = std::move(rules);
    max_decoded_body_.store(config.http.max_decoded_body.value, std::memory_order_relaxed);
    tenants_.Configure(config);
    rules_version_.store(version, std::memory_order_release);
    if (version == 1) return OkStatus();
  }
  // Keys hold the version, so none of the old ones is found any more; this frees their memory.
  series_.ForgetKeys();
  return OkStatus();
}

std::shared_ptr<const Rules> RemoteWriteState::rules() const {
  MutexLock lock(mutex_);
  return rules_;
}

void RemoteWriteState::NoteTable(table::TableId table, std::string_view metric) {
  std::string first;
  {
    MutexLock lock(mutex_);
    const auto found = table_metrics_.find(table);
    if (found == table_metrics_.end()) {
      if (table_metrics_.size() < kMaxNamedTables) table_metrics_.emplace(table, metric);
      return;
    }
    if (found->second == metric || collisions_.size() >= kMaxNamedTables) return;
    if (!collisions_.insert(fmt::format("{} {}", table, metric)).second) return;
    first = found->second;
  }
  metrics_.table_name_collisions->Increment();
  LogWarn("two metrics share one table; rows are told apart by SeriesId",
          {{"table", tables_.Get(table).key}, {"metric", metric}, {"first_metric", first}});
}

}  // namespace forebay::receive
