// Batches to a ClickHouse server, by HTTP: docs/clickhouse.md.
//
// A batch is as many inserts as its size takes. Every row carries the hash of its batch's id and
// its number within the batch, so that whenever it is not known what became of an insert (no
// answer, a crash of ours or theirs, an insert that spread over partitions and broke), the next try
// asks which rows are there and sends the others. That needs nothing of the table's engine, and no
// window that may run out. Memory: about 32 B a row of an insert, its labels once, and what it
// compresses to; per batch in work.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "config/config.h"
#include "upload/clickhouse/dsn.h"
#include "upload/clickhouse/session.h"
#include "upload/clickhouse/table_layout.h"
#include "upload/sink.h"

namespace forebay::upload {

class ClickHouseSink final : public Sink {
 public:
  // A table as it was last seen.
  struct Table {
    TableLayout layout;
    std::vector<WireColumn> columns;
  };

  // Errors: kInvalidArgument: the DSN.
  static Result<std::unique_ptr<ClickHouseSink>> Create(std::string name,
                                                        const config::ClickHouseSink& config);

  const std::string& name() const override { return name_; }
  // Makes the table, adds the columns that are missing. Errors: permanent, when a column there has
  // a type that ours does not fit, or the table has no schema; all others are retryable.
  Status Prepare(const TableTarget& target) override;
  // Errors: permanent, when many rows are refused for what is in them; all others are retryable.
  Result<Receipt> Upload(const BatchHeader& header, BatchReader& reader) override;

  // Prepare on an open session; what it finds is also remembered.
  Result<std::shared_ptr<const Table>> PrepareTable(ClickHouseSession& session,
                                                    const TableTarget& target);

 private:
  ClickHouseSink(std::string name, const config::ClickHouseSink& config, ClickHouseDsn dsn);
  TableLayout LayoutOf(const TableTarget& target, ServerVersion version) const;
  Result<std::vector<ServerColumn>> Describe(ClickHouseSession& session, const TableLayout& layout,
                                             const TableTarget& target) const;
  Status CreateTable(ClickHouseSession& session, const TableLayout& layout,
                     const TableTarget& target) const;
  std::shared_ptr<const Table> Find(const TableTarget& target) const EXCLUDES(mutex_);

  const std::string name_;
  const config::ClickHouseSink config_;
  const ClickHouseDsn dsn_;
  mutable Mutex mutex_;
  // "<table> <schema hash>"; bounded by limits.tables_max.
  std::map<std::string, std::shared_ptr<const Table>> tables_ GUARDED_BY(mutex_);
  bool told_ GUARDED_BY(mutex_) = false;  // what the server's version means was logged
};

}  // namespace forebay::upload
