// SeriesId: the number that ties the rows of a series together across tables, nodes and adx-mon.
#pragma once

#include <cstdint>

#include "table/labels.h"

namespace forebay::table {

// xxhash64 (seed 0) of name1 value1 name2 value2 ... without separators, all labels, __name__
// included. Shape: canonical labels. Returns the hash's bits as signed 64-bit, as the SeriesId
// column has it. Source: adx-mon, transform/metrics_csv.go. Threads: any. Does not allocate.
int64_t SeriesId(LabelSpan labels);

}  // namespace forebay::table
