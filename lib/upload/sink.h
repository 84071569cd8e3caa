// The seam to where batches go. A sink knows rows and schemas, nothing of segments, manifests or
// retries.
//
// Contract: Upload may be called again with the same batch id after any error, crash or lost
// answer; it uses the id so that the batch is there once (ARCHITECTURE.md says which sinks can). An
// error's retryable() decides what follows: true: tried again for ever, with backoff; false: the
// batch goes to the dead letters. kResourceExhausted says that the sink is overloaded: it gets
// fewer batches at once. retry_after() is when it wants to be asked again, whatever the batch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "base/time.h"
#include "table/schema.h"
#include "upload/batch_reader.h"

namespace forebay::upload {

// Where rows belong.
struct TableTarget {
  std::string database;
  std::string table;
  std::optional<table::Schema> schema;  // nothing: text rows of a table without a schema

  // What such rows are: logs of adx-mon's collectors.
  const table::Schema& columns() const { return schema ? *schema : table::DefaultLogsSchema(); }
};

struct BatchHeader {
  std::string id;
  TableTarget target;
  UnixMillis first_time;   // when the first segment was made: the same at every try
  uint64_t rows = 0;       // as the segments say; damage may leave less
  uint64_t row_bytes = 0;  // upper bound of the rows as CSV
  // An earlier try, of this process or of one before, may have left all or some of it there.
  bool maybe_there = true;
};

// Rows that a sink refuses for what is in them, while it takes the others of the batch.
struct RejectedRows {
  uint64_t rows = 0;
  std::string header;  // the columns with their types and the line's end; empty: not known
  std::string text;    // as CSV, each with its line's end
  std::string reason;  // of the first

  void Add(std::string_view row, std::string_view why) {
    ++rows;
    text += row;
    if (text.empty() || text.back() != '\n') text += '\n';
    if (reason.empty()) reason = why;
  }
};

// The batch has columns that the table's cannot become (schema drift): for the dead letters, and
// counted apart. what: the column, what it is and what it would be.
inline Error SchemaConflict(std::string what) {
  return Error(ErrorCode::kFailedPrecondition, std::move(what)).WithRetryable(false);
}
inline bool IsSchemaConflict(const Error& error) {
  return error.code() == ErrorCode::kFailedPrecondition && !error.retryable();
}

// What the sink says of a delivered batch.
struct Receipt {
  std::string text;  // for people and the manifest: where it is
  uint64_t rows = 0;
  uint64_t row_bytes = 0;     // rendered
  uint64_t stored_bytes = 0;  // compressed, as sent or written
  // Values without a number among the rows, for the counters; how the sink shows them is its own
  // rule.
  uint64_t stale_markers = 0;
  uint64_t nans = 0;
  uint64_t infinities = 0;
  RejectedRows rejected;       // not among `rows`; they go to the dead letters
  bool already_there = false;  // an earlier try had succeeded; the counts are then 0
};

// Threads: any; Upload of different batches runs at the same time.
class Sink {
 public:
  virtual ~Sink() = default;
  // Unique within the database; in manifests and metrics.
  virtual const std::string& name() const = 0;
  // Makes the table ready for rows of this schema. Called before the first Upload of a target in
  // this process, again after an error; cheap when nothing is to do.
  virtual Status Prepare(const TableTarget& target) = 0;
  // Delivers all that the reader gives. Durable at the sink: when it returns OK.
  virtual Result<Receipt> Upload(const BatchHeader& header, BatchReader& reader) = 0;
};

}  // namespace forebay::upload
