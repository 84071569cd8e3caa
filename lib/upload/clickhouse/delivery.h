// One try to deliver one batch to ClickHouse.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "upload/clickhouse/clickhouse_sink.h"
#include "upload/clickhouse/native_block.h"
#include "upload/clickhouse/row_chunk.h"
#include "upload/clickhouse/session.h"
#include "upload/sink.h"

namespace forebay::upload {

// So many inserts of a batch may be refused for what is in them while the bad rows are looked for;
// then the batch is refused. One bad row among 500000 takes 20.
inline constexpr uint32_t kMaxRefusedInserts = 400;

// Threads: one at a time.
class Delivery {
 public:
  using TablePtr = std::shared_ptr<const ClickHouseSink::Table>;

  // Everything outlives it. prepare: looks at the table again, makes it if need be.
  Delivery(const config::ClickHouseSink& config, const ClickHouseDsn& dsn,
           const BatchHeader& header, ClickHouseSession& session, TablePtr table,
           std::function<Result<TablePtr>()> prepare);

  // All rows of the reader. Errors: as ClickHouseSink::Upload.
  Result<Receipt> Run(BatchReader& reader);

 private:
  using Rows = std::span<const uint32_t>;  // indexes into the chunk

  Status TakeRuns(BatchReader& reader);
  Status TakeSeries(const SeriesRun& run);
  Status TakeText(std::string_view text);
  Status TakeNumber(uint64_t count);
  Status Flush();
  Status CheckNothingRuns();
  // The rows that the server does not have.
  Result<std::vector<uint32_t>> Missing(Rows rows);
  Status Send(Rows rows);
  Status SendHalves(Rows rows);
  Status AfterRefusal(const ServerAnswer& answer, Rows rows);
  void Reject(Rows row, std::string_view reason);
  ServerAnswer Insert(Rows rows);
  std::string WhereOf(Rows rows) const;
  BlockMethod Method() const;

  const config::ClickHouseSink& config_;
  const ClickHouseDsn& dsn_;
  const BatchHeader& header_;
  ClickHouseSession& session_;
  TablePtr table_;
  const std::function<Result<TablePtr>()> prepare_;
  const BlockConstants constants_;
  RowChunk chunk_;
  ByteBuffer body_;
  Receipt receipt_;
  uint64_t next_number_ = 0;
  uint64_t inserts_ = 0;
  uint64_t rows_there_ = 0;
  uint32_t refused_inserts_ = 0;
  bool prepared_again_ = false;
};

}  // namespace forebay::upload
