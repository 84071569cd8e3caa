// The tables of a node for people: how many rows each gets, what of it waits, and who owns it.
//
// Joined of what the process has seen (TableRegistry), what was sealed of late (TableActivity) and
// what lies on disk (SegmentStore). Made when somebody asks, at most once in kMaxAge: 20 000 tables
// take some 20 ms. Owners are worked out for the tables that are shown; how many tables each member
// owns only when tables or members have changed. Limits: kMaxTables tables an answer,
// kMaxSearchBytes of a search; memory 250 B a table once somebody has asked.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "cluster/membership.h"
#include "table/table_registry.h"
#include "wal/segment_store.h"
#include "wal/table_activity.h"

namespace forebay::server {

enum class TableOrder { kRate, kPending, kName };

struct TableQuery {
  std::string search;  // part of "<database>.<table>", any case; empty: all
  size_t limit = 50;
  TableOrder order = TableOrder::kRate;
};

class TableBoard {
 public:
  static constexpr size_t kMaxTables = 500;
  static constexpr size_t kMaxSearchBytes = 200;
  static constexpr std::chrono::milliseconds kMaxAge{1000};

  // All outlive it. leaving: members that own nothing any more.
  struct Parts {
    const Clock& clock;
    const wal::SegmentStore& store;
    const wal::TableActivity& activity;
    const table::TableRegistry& registry;
    const cluster::Membership& membership;
    std::function<std::vector<std::string>()> leaving;
  };
  explicit TableBoard(const Parts& parts);

  // Shape: one JSON object, docs/http-api.md. Threads: any.
  std::string Json(const TableQuery& query) const EXCLUDES(mutex_);
  // Of the tables seen by this process, how many each member owns now. Threads: any.
  std::map<std::string, uint64_t> CountByOwner() const EXCLUDES(mutex_);

  // Errors: kInvalidArgument saying what is wrong.
  static Result<TableOrder> ParseOrder(std::string_view text);

 private:
  struct Table {
    const std::string* key = nullptr;  // in places_
    uint64_t segments = 0;
    uint64_t rows = 0;
    uint64_t row_bytes = 0;
    uint64_t file_bytes = 0;
    UnixMillis oldest;  // with segments
    double rows_per_second = 0;
    double row_bytes_per_second = 0;
  };
  void Refresh() const REQUIRES(mutex_);
  Table& Place(const std::string& key) const REQUIRES(mutex_);

  const Parts parts_;
  mutable Mutex mutex_;
  // Each table that was ever met, and where its numbers are.
  mutable std::unordered_map<std::string, size_t> places_ GUARDED_BY(mutex_);
  mutable std::vector<Table> tables_ GUARDED_BY(mutex_);
  mutable table::TableId met_ GUARDED_BY(mutex_) = 0;  // of the registry
  mutable std::optional<MonotonicTime> made_ GUARDED_BY(mutex_);
  // What the counts were made of.
  mutable std::shared_ptr<const cluster::MemberSet> members_ GUARDED_BY(mutex_);
  mutable std::vector<std::string> left_out_ GUARDED_BY(mutex_);
  mutable table::TableId counted_ GUARDED_BY(mutex_) = 0;
  mutable std::map<std::string, uint64_t> counts_ GUARDED_BY(mutex_);
};

}  // namespace forebay::server
