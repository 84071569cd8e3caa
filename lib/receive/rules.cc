#include "receive/rules.h"

#include <fmt/core.h>

#include <utility>

#include "table/names.h"

namespace forebay::receive {

Rules::Rules(const config::Config& config, uint64_t version, table::Relabeler relabeler,
             std::vector<DatabaseRules> databases)
    : version_(version),
      remote_write_(config.remote_write),
      limits_(config.limits),
      otlp_(config.otlp),
      relabeler_(std::move(relabeler)),
      databases_(std::move(databases)) {
  no_relabelling_ = relabeler_.empty();
  for (const DatabaseRules& database : databases_) {
    no_relabelling_ = no_relabelling_ && database.relabeler.empty();
  }
}

Result<std::shared_ptr<const Rules>> Rules::Compile(const config::Config& config,
                                                    uint64_t version) {
  if (config.databases.empty()) {
    return Error(ErrorCode::kInvalidArgument, "databases: at least one is needed");
  }
  FOREBAY_ASSIGN_OR_RETURN(auto global,
                           table::Relabeler::Compile(config.remote_write.relabel_configs));
  std::vector<DatabaseRules> databases;
  for (const config::Database& database : config.databases) {
    const std::string context = fmt::format("database {}", database.name);
    auto relabeler = table::Relabeler::Compile(database.relabel_configs);
    if (!relabeler.ok()) return std::move(relabeler.error()).WithContext(context);
    auto layout =
        table::MetricsLayout::Create(database.lift_labels, config.remote_write.drop_label_prefixes);
    if (!layout.ok()) return std::move(layout.error()).WithContext(context);
    databases.push_back({database.name, std::move(*relabeler), std::move(*layout)});
  }
  std::shared_ptr<Rules> rules(new Rules(config, version, std::move(global), std::move(databases)));
  if (!config.remote_write.default_database.empty()) {
    const auto found = rules->FindDatabase(config.remote_write.default_database);
    if (!found) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("remote_write.default_database: \"{}\" is not in `databases`",
                               config.remote_write.default_database));
    }
    rules->default_database_ = *found;
  }
  return std::shared_ptr<const Rules>(std::move(rules));
}

std::optional<DatabaseIndex> Rules::FindDatabase(std::string_view name) const {
  if (name.empty()) return std::nullopt;
  for (DatabaseIndex i = 0; i < databases_.size(); ++i) {
    if (databases_[i].name == name) return i;
  }
  const std::string clean = table::CleanIdentifier(name);
  if (clean == name) return std::nullopt;
  return FindDatabase(clean);
}

DatabaseIndex Rules::Route(std::string_view tenant) const {
  return FindDatabase(tenant).value_or(default_database_);
}

bool Rules::IsRowLabel(std::string_view name) const {
  if (name == table::kMetricNameLabel) return false;
  for (const std::string& prefix : remote_write_.drop_label_prefixes) {
    if (!prefix.empty() && name.starts_with(prefix)) return false;
  }
  return true;
}

}  // namespace forebay::receive
