#include "otlp/record_rules.h"

#include <utility>

#include "http/message.h"
#include "table/names.h"

namespace forebay::otlp {
namespace {

using table::Column;
using table::ColumnType;

std::vector<Column> LogColumns(bool full) {
  std::vector<Column> columns = table::DefaultLogsSchema().columns();
  if (full) {
    columns.push_back({"Scope", ColumnType::kDynamic});
    columns.push_back({"Flags", ColumnType::kLong});
    columns.push_back({"EventName", ColumnType::kString});
    columns.push_back({"DroppedAttributesCount", ColumnType::kLong});
  }
  return columns;
}

}  // namespace

Result<RecordRules> RecordRules::Compile(Signal signal, const config::Otlp& config) {
  RecordRules rules;
  const auto take = [&rules](const auto& from) {
    rules.table_ = from.table;
    rules.database_ = from.database;
    rules.table_attributes_ = from.table_attributes;
    rules.database_attributes_ = from.database_attributes;
  };
  std::vector<Column> columns;
  const std::vector<config::LiftLabel>* lifts = nullptr;
  if (signal == Signal::kLogs) {
    take(config.logs);
    lifts = &config.logs.lift_attributes;
    rules.full_logs_ = config.logs.columns == "full";
    columns = LogColumns(rules.full_logs_);
  } else {
    take(config.traces);
    lifts = &config.traces.lift_attributes;
    columns = table::DefaultTracesSchema().columns();
  }
  for (const config::LiftLabel& lift : *lifts) {
    columns.push_back(
        {lift.column.empty() ? table::ProperCase(lift.name) : lift.column, ColumnType::kString});
    rules.lifted_.push_back(lift.name);
  }
  auto schema = table::Schema::Create(std::move(columns));
  if (!schema.ok()) {
    return std::move(schema.error())
        .WithContext(signal == Signal::kLogs ? "otlp.logs.lift_attributes"
                                             : "otlp.traces.lift_attributes");
  }
  rules.schema_ = *std::move(schema);
  for (const std::string& name : rules.table_attributes_) rules.NoteLength(name);
  for (const std::string& name : rules.database_attributes_) rules.NoteLength(name);
  for (const std::string& name : rules.lifted_) rules.NoteLength(name);
  return rules;
}

AttributeRole RecordRules::Find(std::string_view name) const {
  for (uint32_t i = 0; i < lifted_.size(); ++i) {
    if (http::EqualsIgnoreCase(lifted_[i], name)) return {AttributeRole::Kind::kLifted, i};
  }
  for (uint32_t i = 0; i < table_attributes_.size(); ++i) {
    if (table_attributes_[i] == name) return {AttributeRole::Kind::kTable, i};
  }
  for (uint32_t i = 0; i < database_attributes_.size(); ++i) {
    if (database_attributes_[i] == name) return {AttributeRole::Kind::kDatabase, i};
  }
  return {};
}

Status CheckRecordRules(const config::Otlp& config) {
  for (const Signal signal : {Signal::kLogs, Signal::kTraces}) {
    auto rules = RecordRules::Compile(signal, config);
    if (!rules.ok()) return std::move(rules.error());
  }
  return OkStatus();
}

}  // namespace forebay::otlp
