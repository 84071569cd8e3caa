// Rows into chunks, chunks into inserts, and what to do about each way in which an insert ends.
#include "upload/clickhouse/delivery.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>

#include "base/failpoint.h"
#include "base/log.h"
#include "table/csv_row.h"
#include "table/number_text.h"
#include "upload/clickhouse/city_hash.h"

namespace forebay::upload {
namespace {

// Longer statements go with the rows, not with the URL: servers bound that by 16 KiB.
constexpr size_t kMaxUrlStatement = 4 << 10;
// Kept of rows that a server refuses; with more the whole batch is refused.
constexpr size_t kMaxRejectedBytes = 4 << 20;

void AppendCsvRow(const RowChunk& chunk, uint32_t row, ByteBuffer& out) {
  const auto& columns = chunk.schema().columns();
  for (size_t i = 0; i < columns.size(); ++i) {
    if (i != 0) out.push_back(',');
    const RowChunk::Column& column = chunk.columns()[i];
    if (IsTextType(columns[i].type)) {
      // Without its length.
      std::string_view text = column.text(column.picks[row]);
      while ((static_cast<unsigned char>(text.front()) & 0x80) != 0) text.remove_prefix(1);
      table::AppendCsvField(text.substr(1), out);
      continue;
    }
    const uint64_t number = column.numbers[row];
    if (columns[i].type == table::ColumnType::kDatetime) {
      out.Append(FormatRfc3339(UnixMillis{static_cast<int64_t>(number)}));
    } else if (columns[i].type == table::ColumnType::kReal) {
      char* at = out.Ensure(table::kMaxDoubleChars);
      out.SetEnd(table::WriteDouble(number, at));
    } else {
      out.Append(fmt::format("{}", static_cast<int64_t>(number)));
    }
  }
  out.push_back('\n');
}

std::string InsertStatement(const ClickHouseSink::Table& table) {
  std::string names;
  for (const WireColumn& column : table.columns) {
    if (!names.empty()) names += ',';
    names += QuoteName(column.name);
  }
  return fmt::format("INSERT INTO {} ({}) FORMAT Native", table.layout.FullName(), names);
}

}  // namespace

Delivery::Delivery(const config::ClickHouseSink& config, const ClickHouseDsn& dsn,
                   const BatchHeader& header, ClickHouseSession& session, TablePtr table,
                   std::function<Result<TablePtr>()> prepare)
    : config_(config),
      dsn_(dsn),
      header_(header),
      session_(session),
      table_(std::move(table)),
      prepare_(std::move(prepare)),
      constants_{CityHash128(header.id).low, header.target.table},
      chunk_(header.target.columns()) {
  receipt_.rejected.header = chunk_.schema().header_line();
}

BlockMethod Delivery::Method() const {
  const std::string& name = dsn_.compression.empty() ? config_.compression : dsn_.compression;
  return name == "zstd"  ? BlockMethod::kZstd
         : name == "lz4" ? BlockMethod::kLz4
                         : BlockMethod::kNone;
}

Result<Receipt> Delivery::Run(BatchReader& reader) {
  if (header_.maybe_there) FOREBAY_RETURN_IF_ERROR(CheckNothingRuns());
  FOREBAY_RETURN_IF_ERROR(TakeRuns(reader));
  FOREBAY_RETURN_IF_ERROR(Flush());
  receipt_.already_there = rows_there_ > 0 && inserts_ == 0;
  receipt_.rows += receipt_.already_there ? 0 : rows_there_;
  receipt_.text = fmt::format("{} {}.{} in {} inserts", dsn_.base_url, table_->layout.database,
                              table_->layout.table, inserts_);
  if (rows_there_ > 0) receipt_.text += fmt::format(", {} rows were there", rows_there_);
  return std::move(receipt_);
}

// An insert whose answer was lost may still be at work; what it will leave is not to be seen yet.
Status Delivery::CheckNothingRuns() {
  const ServerAnswer answer =
      session_.Query(fmt::format("SELECT count() FROM system.processes WHERE query_id LIKE {}",
                                 QuoteText("forebay-" + header_.id + "-%")));
  if (answer.Is(ServerErrorKind::kDenied)) {
    LogWarn("system.processes cannot be read: whether an insert still runs is not known",
            {{"batch", header_.id}, {"error", answer.server_error->message}});
    return OkStatus();
  }
  if (!answer.ok()) return answer.ToError("select running inserts");
  if (answer.body == "0\n") return OkStatus();
  return Error(ErrorCode::kAborted, "an earlier insert of this batch is still running");
}

Status Delivery::TakeRuns(BatchReader& reader) {
  while (true) {
    FOREBAY_ASSIGN_OR_RETURN(const RunKind kind, reader.Next());
    switch (kind) {
      case RunKind::kSeries:
        FOREBAY_RETURN_IF_ERROR(TakeSeries(reader.series()));
        break;
      case RunKind::kText:
        FOREBAY_RETURN_IF_ERROR(TakeText(reader.text().text));
        break;
      case RunKind::kEnd:
        return OkStatus();
    }
  }
}

Status Delivery::TakeNumber(uint64_t count) {
  next_number_ += count;
  if (next_number_ <= std::numeric_limits<uint32_t>::max()) return OkStatus();
  return Error(ErrorCode::kInvalidArgument, "a batch has more rows than 32 bits number");
}

Status Delivery::TakeSeries(const SeriesRun& run) {
  const auto& columns = chunk_.schema().columns();
  if (columns.size() < table::kMetricsColumns + run.lifted.size() ||
      columns[0].type != table::ColumnType::kDatetime || !IsTextType(columns[2].type)) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("series do not fit the {} columns of schema {}", columns.size(),
                             chunk_.schema().hash_text()));
  }
  for (const uint64_t value : run.values) {
    constexpr uint64_t kExponent = 0x7ff0'0000'0000'0000;
    if ((value & kExponent) != kExponent) [[likely]]
      continue;
    ++(table::IsStaleMarker(value) ? receipt_.stale_markers
       : table::IsNan(value)       ? receipt_.nans
                                   : receipt_.infinities);
  }
  const uint64_t row_bytes = RowChunk::WireBytesOf(run);
  size_t from = 0;
  while (from < run.timestamps.size()) {
    const uint64_t bytes_left = config_.insert_max_bytes.value -
                                std::min(chunk_.wire_bytes(), config_.insert_max_bytes.value);
    uint64_t count =
        std::min<uint64_t>(run.timestamps.size() - from, config_.insert_max_rows - chunk_.rows());
    count = std::min(count, bytes_left / row_bytes);
    if (count == 0 && chunk_.rows() > 0) {
      FOREBAY_RETURN_IF_ERROR(Flush());
      continue;
    }
    count = std::max<uint64_t>(count, 1);
    chunk_.AppendSeries(run, from, count, static_cast<uint32_t>(next_number_));
    FOREBAY_RETURN_IF_ERROR(TakeNumber(count));
    from += count;
    if (chunk_.rows() == config_.insert_max_rows) FOREBAY_RETURN_IF_ERROR(Flush());
  }
  return OkStatus();
}

Status Delivery::TakeText(std::string_view text) {
  TextRowParser parser(chunk_.schema());
  parser.Begin(text);
  while (parser.Next()) {
    const auto number = static_cast<uint32_t>(next_number_);
    FOREBAY_RETURN_IF_ERROR(TakeNumber(1));
    if (!parser.problem().empty()) {
      receipt_.rejected.Add(parser.row(), parser.problem());
      if (receipt_.rejected.text.size() > kMaxRejectedBytes) {
        return Error(ErrorCode::kInvalidArgument, "many rows are bad: " + parser.problem());
      }
      continue;
    }
    chunk_.AppendText(parser.fields(), number);
    if (chunk_.rows() >= config_.insert_max_rows ||
        chunk_.wire_bytes() >= config_.insert_max_bytes.value) {
      FOREBAY_RETURN_IF_ERROR(Flush());
    }
  }
  return OkStatus();
}

Status Delivery::Flush() {
  if (chunk_.rows() == 0) return OkStatus();
  std::vector<uint32_t> rows(chunk_.rows());
  std::iota(rows.begin(), rows.end(), 0U);
  if (header_.maybe_there && config_.row_identity) {
    FOREBAY_ASSIGN_OR_RETURN(rows, Missing(rows));
    rows_there_ += chunk_.rows() - rows.size();
  }
  if (!rows.empty()) FOREBAY_RETURN_IF_ERROR(Send(rows));
  chunk_.Clear();
  return OkStatus();
}

std::string Delivery::WhereOf(Rows rows) const {
  const auto& numbers = chunk_.numbers();
  std::string where = fmt::format(
      "{0} = {1} AND {2} >= {3} AND {2} <= {4}", QuoteName(kBatchColumn), constants_.batch_hash,
      QuoteName(kRowColumn), numbers[rows.front()], numbers[rows.back()]);
  for (size_t i = 0; i < chunk_.schema().columns().size(); ++i) {
    if (chunk_.schema().columns()[i].name != "Timestamp") continue;
    if (chunk_.schema().columns()[i].type != table::ColumnType::kDatetime) continue;
    int64_t first = std::numeric_limits<int64_t>::max();
    int64_t last = std::numeric_limits<int64_t>::min();
    for (const uint32_t row : rows) {
      first = std::min(first, static_cast<int64_t>(chunk_.columns()[i].numbers[row]));
      last = std::max(last, static_cast<int64_t>(chunk_.columns()[i].numbers[row]));
    }
    where += table_->layout.TimeCondition(table_->columns, first, last);
  }
  return where;
}

Result<std::vector<uint32_t>> Delivery::Missing(Rows rows) {
  const std::string from =
      fmt::format("FROM {} WHERE {}", table_->layout.FullName(), WhereOf(rows));
  ServerAnswer answer = session_.Query("SELECT count() " + from);
  std::vector<uint32_t> missing(rows.begin(), rows.end());
  // A table that is gone has none, nor has one without these columns.
  if (answer.Is(ServerErrorKind::kNoTable) || answer.Is(ServerErrorKind::kColumns)) return missing;
  if (!answer.ok()) return answer.ToError("count the batch's rows");
  if (answer.body == "0\n") return missing;
  answer =
      session_.Query(fmt::format("SELECT {} {} FORMAT RowBinary", QuoteName(kRowColumn), from));
  if (!answer.ok()) return answer.ToError("select the batch's rows");
  std::vector<uint32_t> there(answer.body.size() / sizeof(uint32_t));
  std::memcpy(there.data(), answer.body.data(), there.size() * sizeof(uint32_t));
  std::sort(there.begin(), there.end());
  std::erase_if(missing, [&](uint32_t row) {
    return std::binary_search(there.begin(), there.end(), chunk_.numbers()[row]);
  });
  return missing;
}

ServerAnswer Delivery::Insert(Rows rows) {
  const auto& numbers = chunk_.numbers();
  const std::string range = fmt::format("{}-{}-{}", header_.id, numbers[rows.front()], rows.size());
  ClickHouseSession::Parameters parameters = {{"decompress", "1"},
                                              {"query_id", "forebay-" + range}};
  const ServerVersion version = table_->layout.version;
  if (version >= kHasAsyncInsert) parameters.emplace_back("async_insert", "0");
  if (version >= kHasDeduplicationToken) {
    parameters.emplace_back("insert_deduplication_token", range);
  }
  body_.clear();
  BlockCompressor compressor(Method(), body_);
  const std::string sql = InsertStatement(*table_);
  if (sql.size() <= kMaxUrlStatement) {
    parameters.emplace_back("query", sql);
  } else {
    compressor.Write(sql + "\n");
  }
  const uint64_t begin = compressor.bytes_in();
  WriteNativeBlock(chunk_, rows, table_->columns, constants_, compressor);
  ServerAnswer answer;
  if (const Status finished = compressor.Finish(); !finished.ok()) {
    answer.error = finished.error();
    return answer;
  }
  FOREBAY_FAILPOINT("clickhouse.before_insert");
  answer = session_.Insert(body_.view(), parameters);
  FOREBAY_FAILPOINT("clickhouse.after_insert");
  if (answer.ok()) {
    receipt_.row_bytes += compressor.bytes_in() - begin;
    receipt_.stored_bytes += body_.size();
  }
  return answer;
}

Status Delivery::Send(Rows rows) {
  const ServerAnswer answer = Insert(rows);
  if (!answer.ok()) return AfterRefusal(answer, rows);
  ++inserts_;
  receipt_.rows += rows.size();
  return OkStatus();
}

Status Delivery::SendHalves(Rows rows) {
  const size_t half = rows.size() / 2;
  FOREBAY_RETURN_IF_ERROR(Send(rows.first(half)));
  return Send(rows.subspan(half));
}

Status Delivery::AfterRefusal(const ServerAnswer& answer, Rows rows) {
  const Error error = answer.ToError("insert into " + table_->layout.table);
  if (!answer.server_error) return error;
  switch (answer.server_error->kind) {
    case ServerErrorKind::kNoTable:
    case ServerErrorKind::kColumns: {
      if (prepared_again_) return error;
      prepared_again_ = true;
      FOREBAY_ASSIGN_OR_RETURN(table_, prepare_());
      return Send(rows);
    }
    case ServerErrorKind::kTooLarge:
      if (rows.size() > 1) return SendHalves(rows);
      Reject(rows, answer.server_error->message);
      break;
    case ServerErrorKind::kBadData:
      if (++refused_inserts_ > kMaxRefusedInserts) return error;
      if (rows.size() > 1) return SendHalves(rows);
      Reject(rows, answer.server_error->message);
      break;
    case ServerErrorKind::kOverload:
    case ServerErrorKind::kOutage:
    case ServerErrorKind::kDenied:
    case ServerErrorKind::kRunning:
    case ServerErrorKind::kUnknown:
      return error;
  }
  if (receipt_.rejected.text.size() > kMaxRejectedBytes) return error;
  return OkStatus();
}

void Delivery::Reject(Rows row, std::string_view reason) {
  ByteBuffer text;
  AppendCsvRow(chunk_, row.front(), text);
  receipt_.rejected.Add(text.view(), reason);
}

}  // namespace forebay::upload
