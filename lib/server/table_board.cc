#include "server/table_board.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "base/time.h"

namespace forebay::server {
namespace {

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

}  // namespace

TableBoard::TableBoard(const Parts& parts)
    : parts_(parts), tables_(parts.clock, kMaxAge, [this] { return Join(); }) {}

Result<TableOrder> TableBoard::ParseOrder(std::string_view text) {
  if (text == "rate") return TableOrder::kRate;
  if (text == "pending") return TableOrder::kPending;
  if (text == "name") return TableOrder::kName;
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("sort={}: expected rate, pending or name", text));
}

std::vector<TableBoard::Table> TableBoard::Join() const {
  std::vector<Table> tables;
  std::unordered_map<std::string, size_t> places;
  const auto place = [&](const std::string& key, const std::string& database,
                         const std::string& name, const std::string& schema) -> Table& {
    const auto [found, added] = places.try_emplace(key, tables.size());
    if (added) {
      Table table;
      table.key = key;
      table.searched = Lower(database + '.' + name);
      table.totals.name = {database, name, schema, 0};
      tables.push_back(std::move(table));
    }
    return tables[found->second];
  };
  const uint32_t seen = parts_.registry.size();
  places.reserve(seen);
  tables.reserve(seen);
  for (table::TableId id = 0; id < seen; ++id) {
    const table::TableInfo& info = parts_.registry.Get(id);
    place(info.key, info.database, info.name, info.schema.hash_text());
  }
  for (auto& [key, totals] : parts_.store.Tables()) {
    place(key, totals.name.database, totals.name.table, totals.name.schema_hash).totals =
        std::move(totals);
  }
  for (const auto& [key, rate] : parts_.activity.Rates()) {
    Table& table = place(key, rate.name.database, rate.name.table, rate.name.schema_hash);
    table.rows_per_second = rate.rows_per_second;
    table.row_bytes_per_second = rate.row_bytes_per_second;
  }
  return tables;
}

std::string TableBoard::Json(const TableQuery& query) const {
  const auto all = tables_.Get();
  const std::string wanted = Lower(query.search);
  std::vector<const Table*> matched;
  for (const Table& table : *all) {
    if (table.searched.find(wanted) != std::string::npos) matched.push_back(&table);
  }
  const auto before = [&](const Table* a, const Table* b) {
    if (query.order == TableOrder::kRate && a->rows_per_second != b->rows_per_second) {
      return a->rows_per_second > b->rows_per_second;
    }
    if (query.order == TableOrder::kPending && a->totals.rows != b->totals.rows) {
      return a->totals.rows > b->totals.rows;
    }
    return std::tie(a->searched, a->key) < std::tie(b->searched, b->key);
  };
  const size_t shown = std::min({query.limit, kMaxTables, matched.size()});
  std::partial_sort(matched.begin(), matched.begin() + static_cast<ptrdiff_t>(shown), matched.end(),
                    before);
  const auto members = parts_.membership.Snapshot();
  const std::vector<std::string> without = parts_.leaving();
  nlohmann::json list = nlohmann::json::array();
  for (size_t i = 0; i < shown; ++i) {
    const Table& table = *matched[i];
    const wal::TableTotals& totals = table.totals;
    const cluster::Member* owner = members->OwnerOf(table.key, without);
    list.push_back({{"database", totals.name.database},
                    {"table", totals.name.table},
                    {"schema", totals.name.schema_hash},
                    {"owner", owner == nullptr ? parts_.membership.self() : owner->name},
                    {"rows_per_second", table.rows_per_second},
                    {"row_bytes_per_second", table.row_bytes_per_second},
                    {"segments", totals.segments},
                    {"rows", totals.rows},
                    {"row_bytes", totals.row_bytes},
                    {"file_bytes", totals.file_bytes}});
    if (totals.segments > 0) list.back()["oldest"] = FormatRfc3339(totals.oldest);
  }
  nlohmann::json json = {{"total", all->size()},
                         {"matched", matched.size()},
                         {"window_seconds", parts_.activity.window().count() / 1000},
                         {"tables", std::move(list)}};
  // Member names come from outside.
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::map<std::string, uint64_t> TableBoard::CountByOwner() const {
  auto members = parts_.membership.Snapshot();
  std::vector<std::string> without = parts_.leaving();
  const uint32_t seen = parts_.registry.size();
  MutexLock lock(mutex_);
  if (members_ != members || left_out_ != without) {
    counts_.clear();
    counted_ = 0;
    members_ = std::move(members);
    left_out_ = std::move(without);
  }
  for (; counted_ < seen; ++counted_) {
    const cluster::Member* owner = members_->OwnerOf(parts_.registry.Get(counted_).key, left_out_);
    ++counts_[owner == nullptr ? parts_.membership.self() : owner->name];
  }
  return counts_;
}

}  // namespace forebay::server
