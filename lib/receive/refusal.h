// Why parts of a request are not stored: a closed list, its names in metrics and answers, and the
// hint for whoever has to repair the sender. Place: filled by the decoders, read by the handler.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "table/labels.h"

namespace forebay::receive {

enum class RefusalReason : uint8_t {
  kNoMetricName,
  kEmptyLabelName,
  kDuplicateLabel,
  kNotUtf8,
  kTooManyLabels,
  kLabelNameTooLong,
  kLabelValueTooLong,
  kUnknownDatabase,
  kNoTableName,
  kBadLabelRefs,
  kBadMetadataRefs,
  kNoSamples,
  kSeriesLimit,
  kTenantSeriesLimit,
  kTableLimit,
  kTooFarAhead,
  kTooOld,
  kBadHistogram,
  kBadExemplar,
  kBadMetadata,
  kSideRowsTooLarge,
  kBadId,
  kBadPoint,
  kOverloaded,
  kCommitFailed,
};
inline constexpr size_t kRefusalReasons = static_cast<size_t>(RefusalReason::kCommitFailed) + 1;

using RefusalCounts = std::array<uint64_t, kRefusalReasons>;

// Snake name for metrics and answers: "no_metric_name".
std::string_view Name(RefusalReason reason);
// One sentence: what to change. Never empty.
std::string_view HowToFix(RefusalReason reason);

// Longest text that DescribeSeries gives.
inline constexpr size_t kMaxSeriesText = 512;

// `up{job="x",...}` for messages, at most kMaxSeriesText bytes, printable ASCII and valid UTF-8
// alone; other bytes as \xNN. Shape: labels in any order, not validated. Allocates.
std::string DescribeSeries(table::LabelSpan labels);

// Text from outside made fit for an answer: as above, at most `max_bytes`.
std::string Printable(std::string_view text, size_t max_bytes);

}  // namespace forebay::receive
