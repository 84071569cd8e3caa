// The tables that this process has seen: a dense id for each (database, table, schema).
//
// Ids are never reused while the process lives; their number is bounded by limits.tables_max.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/mutex.h"
#include "base/result.h"
#include "table/schema.h"

namespace forebay::table {

using TableId = uint32_t;

// Of database and table name together, so that segment names fit into a file name.
inline constexpr size_t kMaxTableKeyBytes = 200;

struct TableInfo {
  std::string database;  // ASCII letters and digits
  std::string name;      // ASCII letters and digits
  Schema schema;
  // "<database>_<name>_<schema hash base36>": the segment prefix and the key of ownership.
  std::string key;
};

class TableRegistry {
 public:
  explicit TableRegistry(uint32_t max_tables);
  ~TableRegistry();

  // The id of the table, new or known. Errors: kResourceExhausted at the bound, kInvalidArgument
  // when the names are longer than kMaxTableKeyBytes. Threads: any.
  Result<TableId> Intern(std::string_view database, std::string_view name, const Schema& schema)
      EXCLUDES(mutex_);
  // The table with this TableInfo::key, when it is known. Threads: any.
  std::optional<TableId> Find(const std::string& key) const EXCLUDES(mutex_);
  // Stable for the life of the registry. Threads: any; lock-free.
  const TableInfo& Get(TableId id) const;
  uint32_t size() const { return size_.load(std::memory_order_acquire); }

 private:
  static constexpr uint32_t kChunkTables = 1024;
  static constexpr uint32_t kMaxChunks = 1024;
  struct Chunk;

  const uint32_t max_tables_;
  std::atomic<uint32_t> size_{0};
  std::array<std::atomic<Chunk*>, kMaxChunks> chunks_{};
  mutable Mutex mutex_;
  std::unordered_map<std::string, TableId> ids_ GUARDED_BY(mutex_);
};

}  // namespace forebay::table
