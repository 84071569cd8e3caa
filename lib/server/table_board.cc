#include "server/table_board.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/time.h"

namespace forebay::server {
namespace {

char LowerCase(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// What of a key is searched: all but the schema. Names have no '_'.
struct KeyParts {
  explicit KeyParts(std::string_view key) {
    const size_t first = std::min(key.find('_'), key.size());
    const size_t second = std::min(key.find('_', first + 1), key.size());
    searched = key.substr(0, second);
    database = key.substr(0, first);
    table = key.substr(std::min(first + 1, second), second - std::min(first + 1, second));
    schema = key.substr(std::min(second + 1, key.size()));
  }
  std::string_view searched;
  std::string_view database;
  std::string_view table;
  std::string_view schema;
};

// wanted: in lower case, '.' between database and table.
bool Matches(std::string_view key, std::string_view wanted) {
  if (wanted.empty()) return true;
  const std::string_view text = KeyParts(key).searched;
  const auto same = [](char in_key, char asked) {
    return LowerCase(in_key == '_' ? '.' : in_key) == asked;
  };
  return std::search(text.begin(), text.end(), wanted.begin(), wanted.end(), same) != text.end();
}

}  // namespace

TableBoard::TableBoard(const Parts& parts) : parts_(parts) {}

Result<TableOrder> TableBoard::ParseOrder(std::string_view text) {
  if (text == "rate") return TableOrder::kRate;
  if (text == "pending") return TableOrder::kPending;
  if (text == "name") return TableOrder::kName;
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("sort={}: expected rate, pending or name", text));
}

TableBoard::Table& TableBoard::Place(const std::string& key) const {
  const auto [found, added] = places_.try_emplace(key, tables_.size());
  if (added) tables_.emplace_back().key = &found->first;
  return tables_[found->second];
}

void TableBoard::Refresh() const {
  const MonotonicTime now = parts_.clock.Monotonic();
  if (made_ && now - *made_ < kMaxAge) return;
  made_ = now;
  const uint32_t seen = parts_.registry.size();
  if (tables_.size() > 2 * static_cast<size_t>(seen) + kMaxTables) {
    // Most of them are gone: they lay on disk, written by others.
    tables_.clear();
    places_.clear();
    met_ = 0;
  }
  for (Table& table : tables_) table = {table.key, 0, 0, 0, 0, {}, 0, 0};
  for (; met_ < seen; ++met_) (void)Place(parts_.registry.Get(met_).key);
  for (const wal::TableTotals& totals : parts_.store.Tables()) {
    Table& table = Place(totals.key);
    table.oldest = table.segments == 0 ? totals.oldest : std::min(table.oldest, totals.oldest);
    table.segments += totals.segments;
    table.rows += totals.rows;
    table.row_bytes += totals.row_bytes;
    table.file_bytes += totals.file_bytes;
  }
  for (const wal::TableRate& rate : parts_.activity.Rates()) {
    Table& table = Place(rate.key);
    table.rows_per_second = rate.rows_per_second;
    table.row_bytes_per_second = rate.row_bytes_per_second;
  }
}

std::string TableBoard::Json(const TableQuery& query) const {
  std::string wanted = query.search;
  for (char& c : wanted) c = LowerCase(c);
  const auto before = [&](const Table* a, const Table* b) {
    if (query.order == TableOrder::kRate && a->rows_per_second != b->rows_per_second) {
      return a->rows_per_second > b->rows_per_second;
    }
    if (query.order == TableOrder::kPending && a->rows != b->rows) return a->rows > b->rows;
    return *a->key < *b->key;
  };
  const auto members = parts_.membership.Snapshot();
  const std::vector<std::string> without = parts_.leaving();
  nlohmann::json list = nlohmann::json::array();
  MutexLock lock(mutex_);
  Refresh();
  std::vector<const Table*> matched;
  for (const Table& table : tables_) {
    if (Matches(*table.key, wanted)) matched.push_back(&table);
  }
  const size_t shown = std::min({query.limit, kMaxTables, matched.size()});
  std::partial_sort(matched.begin(), matched.begin() + static_cast<ptrdiff_t>(shown), matched.end(),
                    before);
  for (size_t i = 0; i < shown; ++i) {
    const Table& table = *matched[i];
    const KeyParts name(*table.key);
    const cluster::Member* owner = members->OwnerOf(*table.key, without);
    list.push_back({{"database", name.database},
                    {"table", name.table},
                    {"schema", name.schema},
                    {"owner", owner == nullptr ? parts_.membership.self() : owner->name},
                    {"rows_per_second", table.rows_per_second},
                    {"row_bytes_per_second", table.row_bytes_per_second},
                    {"segments", table.segments},
                    {"rows", table.rows},
                    {"row_bytes", table.row_bytes},
                    {"file_bytes", table.file_bytes}});
    if (table.segments > 0) list.back()["oldest"] = FormatRfc3339(table.oldest);
  }
  nlohmann::json json = {{"total", tables_.size()},
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
