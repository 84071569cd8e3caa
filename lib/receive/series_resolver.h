// What a series' labels mean under the rules: kept (in which database and table, with which id and
// labels), dropped, or refused and why. Place: runs once for each series not seen before, and for
// series whose side rows are rendered; written for clarity.
// Order: validation, global relabelling, database, the database's relabelling, SeriesId; the table
// is the caller's. Source: docs/remote-write.md; adx-mon, transform/metrics_csv.go.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "receive/refusal.h"
#include "receive/rules.h"
#include "table/labels.h"

namespace forebay::receive {

enum class Verdict : uint8_t { kKeep, kDrop, kRefuse };

// Views are into the labels given or the resolver, good until its next Resolve.
struct ResolvedSeries {
  Verdict verdict = Verdict::kKeep;
  RefusalReason reason = RefusalReason::kNoMetricName;  // of kRefuse
  std::string detail;                                   // of kRefuse; printable
  DatabaseIndex database = 0;
  std::string_view metric;
  int64_t series_id = 0;
  table::LabelSpan labels;  // all, canonical, __name__ included
};

struct ResolveOptions {
  DatabaseIndex routed_database = 0;  // of a series without a database label
  // Bounds on counts and lengths do not apply: the series was accepted once already.
  bool unlimited = false;
};

// Threads: one at a time.
class SeriesResolver {
 public:
  // Sorts `labels` in place. Shape: as received, in any order.
  ResolvedSeries Resolve(std::vector<table::Label>& labels, const Rules& rules,
                         const ResolveOptions& options);

 private:
  table::LabelBuilder builder_;
};

}  // namespace forebay::receive
