// Text rows (CSV, docs/format/rows.md) of tables with a schema as typed fields: for segments that
// adx-mon wrote, and for tables of logs. A row that does not fit its columns is told with the
// reason; the others go on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "table/schema.h"

namespace forebay::upload {

struct TextField {
  uint64_t number = 0;  // as RowChunk::Column::numbers
  std::string_view text;
};

// Walks over the rows of one run. Threads: one at a time.
class TextRowParser {
 public:
  // schema outlives the parser.
  explicit TextRowParser(const table::Schema& schema) : schema_(schema) {}

  // Views into `text`, which outlives the walk.
  void Begin(std::string_view text) { rest_ = text; }

  // The next row. False: there is none.
  bool Next();
  // The row's bytes with its line end, for who keeps bad rows.
  std::string_view row() const { return row_; }
  // Why the row cannot be taken; empty: it can, and fields() are its values.
  const std::string& problem() const { return problem_; }
  const std::vector<TextField>& fields() const { return fields_; }

 private:
  void Split();
  void Convert();

  const table::Schema& schema_;
  std::string_view rest_;
  std::string_view row_;
  std::string problem_;
  std::vector<TextField> fields_;
  std::vector<std::string> unquoted_;  // fields that had doubled quotes, one place per column
};

// "2026-11-01T00:00:00.123Z", any number of digits in the fraction, offsets as +01:30; the date
// alone too. Unix ms; beyond ms cut off. Nothing: it is no time. Threads: any.
std::optional<int64_t> ParseRfc3339(std::string_view text);

}  // namespace forebay::upload
