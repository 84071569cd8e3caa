// The messages of Prometheus remote write 1.0 (prometheus.WriteRequest), read from wire bytes.
// Place: under DecodeWorker, which walks the request and asks here for each part. Nothing is built:
// views into the body, samples straight into columns.
// Limits: those of WireReader. Source: Prometheus remote write 1.0, "Protocol".
#pragma once

#include <string_view>
#include <vector>

#include "base/byte_buffer.h"
#include "receive/series_parts.h"

namespace forebay::receive::remote_write_1 {

// Field numbers of WriteRequest.
inline constexpr uint32_t kTimeSeriesField = 1;
inline constexpr uint32_t kMetadataField = 3;

// Reads a TimeSeries: labels (as bytes), samples (staged), exemplars and histograms (as side
// items). `joined` takes the label fields when other fields stand between them; series.labels then
// points into it. Returns: false when the bytes are no TimeSeries.
[[nodiscard]] bool ReadSeries(std::string_view message, PendingSeries& series,
                              std::vector<SideItem>& side_items, SampleStager& stager,
                              ByteBuffer& joined);

// Replaces `labels` by those in PendingSeries::labels. Returns: false when one is no Label.
[[nodiscard]] bool ReadLabels(std::string_view label_fields, std::vector<table::Label>& labels);

[[nodiscard]] bool ReadExemplar(std::string_view message, ExemplarParts& exemplar);

MetadataParts ReadMetadata(std::string_view message);

}  // namespace forebay::receive::remote_write_1
