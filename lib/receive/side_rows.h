// The rows of the side tables: exemplars, native histograms, metadata. Schemas and CSV text, as
// docs/remote-write.md has them. Place: DecodeWorker renders them into the staged write.
// Exactness: integers are written as integers, doubles in their shortest exact form; counts are
// text columns, since a real would round integers beyond 2^53. Limits: none here; kMaxSideTextBytes
// bounds a request's text.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/byte_buffer.h"
#include "base/time.h"
#include "receive/native_histogram.h"
#include "receive/series_parts.h"
#include "receive/staged_write.h"
#include "table/labels.h"
#include "table/schema.h"

namespace forebay::receive {

// Threads: any.
const table::Schema& SideSchema(SideTable side);
const std::string& SideTableName(SideTable side, const config::RemoteWrite& config);

// Appends `<SeriesId>,<MetricName>,"{labels}"`: the columns that rows of one series share.
void AppendSeriesFields(int64_t series_id, std::string_view metric, table::LabelSpan labels,
                        ByteBuffer& out);

// One row with its LF each. series_fields: as AppendSeriesFields wrote them. Do not allocate beyond
// the buffer's growth. Threads: any, each with its own buffer.
void AppendExemplarRow(int64_t timestamp, std::string_view series_fields, table::LabelSpan labels,
                       uint64_t value_bits, ByteBuffer& out);
// Shape: a histogram without a problem. start_timestamp: 0 is written as an empty field.
void AppendHistogramRow(const NativeHistogram& histogram, int64_t start_timestamp,
                        std::string_view series_fields, ByteBuffer& out);
void AppendMetadataRow(UnixMillis received, const MetadataParts& metadata, ByteBuffer& out);

// "counter"; numbers that are not known: "unknown".
std::string_view MetricTypeName(uint64_t type);

}  // namespace forebay::receive
