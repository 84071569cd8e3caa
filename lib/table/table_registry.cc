#include "table/table_registry.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/check.h"

namespace forebay::table {

struct TableRegistry::Chunk {
  std::array<std::unique_ptr<const TableInfo>, kChunkTables> tables;
};

TableRegistry::TableRegistry(uint32_t max_tables)
    : max_tables_(std::min(max_tables, kChunkTables * kMaxChunks)) {}

TableRegistry::~TableRegistry() {
  for (auto& chunk : chunks_) delete chunk.load();
}

Result<TableId> TableRegistry::Intern(std::string_view database, std::string_view name,
                                      const Schema& schema) {
  if (database.size() + name.size() > kMaxTableKeyBytes) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("the table name {}.{} is longer than {} characters", database,
                             name.substr(0, 64), kMaxTableKeyBytes));
  }
  std::string key = fmt::format("{}_{}_{}", database, name, schema.hash_text());
  MutexLock lock(mutex_);
  const auto found = ids_.find(key);
  if (found != ids_.end()) return found->second;
  const uint32_t id = size_.load(std::memory_order_relaxed);
  if (id >= max_tables_) {
    return Error(
        ErrorCode::kResourceExhausted,
        fmt::format("table {}.{} is beyond limits.tables_max ({})", database, name, max_tables_));
  }
  std::atomic<Chunk*>& slot = chunks_[id / kChunkTables];
  if (slot.load(std::memory_order_relaxed) == nullptr)
    slot.store(new Chunk, std::memory_order_release);
  slot.load(std::memory_order_relaxed)->tables[id % kChunkTables] =
      std::make_unique<const TableInfo>(
          TableInfo{std::string(database), std::string(name), schema, key});
  ids_.emplace(std::move(key), id);
  size_.store(id + 1, std::memory_order_release);
  return id;
}

std::optional<TableId> TableRegistry::Find(const std::string& key) const {
  MutexLock lock(mutex_);
  const auto found = ids_.find(key);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const TableInfo& TableRegistry::Get(TableId id) const {
  FOREBAY_CHECK(id < size());
  return *chunks_[id / kChunkTables].load(std::memory_order_acquire)->tables[id % kChunkTables];
}

}  // namespace forebay::table
