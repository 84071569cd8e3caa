// Which rows of a batch does a backend refuse that names none? Ranges of rows are delivered one by
// one, halves first, until the bad ones stand alone. For backends that know a range again when it
// comes once more, since every try of the batch begins anew.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "upload/csv_renderer.h"

namespace forebay::upload {

struct RowRange {
  uint64_t first = 0;
  uint64_t count = 0;
  bool operator==(const RowRange&) const = default;
};

// Lets the rows of ranges through, of CSV text that comes in pieces of any size. A line's end
// within quotes ends no row. Threads: one at a time.
class RowFilter {
 public:
  // Shape: ranges by their first row, none over another.
  RowFilter(std::vector<RowRange> ranges, TextConsumer output);

  // Errors: the output's.
  Status Write(std::string_view text);

  uint64_t rows() const { return rows_; }  // let through, as far as their ends have come
  uint64_t bytes() const { return bytes_; }

 private:
  const std::vector<RowRange> ranges_;
  const TextConsumer output_;
  size_t range_ = 0;  // that the row is in, or before
  uint64_t row_ = 0;  // that the next byte belongs to
  bool quoted_ = false;
  uint64_t rows_ = 0;
  uint64_t bytes_ = 0;
};

struct BadRows {
  std::vector<RowRange> ranges;  // by their first row; longer than a row: the tries were used up
  uint64_t delivered = 0;        // rows
};

// rows: refused as a whole. deliver: delivers the rows of a range; an error that is retryable ends
// the search and is returned, any other one says that there is a bad row among them. At most
// `tries` ranges are tried; what is left then counts as bad.
Result<BadRows> FindBadRows(uint64_t rows, int tries,
                            const std::function<Status(RowRange)>& deliver);

}  // namespace forebay::upload
