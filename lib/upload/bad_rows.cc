#include "upload/bad_rows.h"

#include <algorithm>
#include <deque>
#include <utility>

namespace forebay::upload {

RowFilter::RowFilter(std::vector<RowRange> ranges, TextConsumer output)
    : ranges_(std::move(ranges)), output_(std::move(output)) {}

Status RowFilter::Write(std::string_view text) {
  while (!text.empty() && range_ < ranges_.size()) {
    // The rest of this row, as far as it is here.
    size_t length = 0;
    bool ended = false;
    while (length < text.size() && !ended) {
      const char c = text[length++];
      if (c == '"') quoted_ = !quoted_;
      ended = c == '\n' && !quoted_;
    }
    const std::string_view piece = text.substr(0, length);
    text.remove_prefix(length);
    const RowRange range = ranges_[range_];
    if (row_ >= range.first) {
      bytes_ += piece.size();
      rows_ += ended ? 1 : 0;
      FOREBAY_RETURN_IF_ERROR(output_(piece));
    }
    row_ += ended ? 1 : 0;
    if (row_ == range.first + range.count) ++range_;
  }
  return OkStatus();
}

Result<BadRows> FindBadRows(uint64_t rows, int tries,
                            const std::function<Status(RowRange)>& deliver) {
  BadRows found;
  std::deque<RowRange> suspects;
  const auto split = [&](RowRange range) {
    if (range.count == 1) {
      found.ranges.push_back(range);
      return;
    }
    const uint64_t half = range.count / 2;
    suspects.push_back({range.first, half});
    suspects.push_back({range.first + half, range.count - half});
  };
  split({0, rows});
  for (int tried = 0; !suspects.empty(); ++tried) {
    const RowRange range = suspects.front();
    suspects.pop_front();
    if (tried >= tries) {
      found.ranges.push_back(range);
      continue;
    }
    const Status status = deliver(range);
    if (status.ok()) {
      found.delivered += range.count;
    } else if (status.error().retryable()) {
      return status.error();
    } else {
      split(range);
    }
  }
  std::sort(found.ranges.begin(), found.ranges.end(),
            [](const RowRange& a, const RowRange& b) { return a.first < b.first; });
  return found;
}

}  // namespace forebay::upload
