#include "receive/refusal.h"

#include <fmt/core.h>

#include "base/check.h"
#include "table/utf8.h"

namespace forebay::receive {

std::string_view Name(RefusalReason reason) {
  switch (reason) {
    case RefusalReason::kNoMetricName:
      return "no_metric_name";
    case RefusalReason::kEmptyLabelName:
      return "empty_label_name";
    case RefusalReason::kDuplicateLabel:
      return "duplicate_label";
    case RefusalReason::kNotUtf8:
      return "not_utf8";
    case RefusalReason::kTooManyLabels:
      return "too_many_labels";
    case RefusalReason::kLabelNameTooLong:
      return "label_name_too_long";
    case RefusalReason::kLabelValueTooLong:
      return "label_value_too_long";
    case RefusalReason::kUnknownDatabase:
      return "unknown_database";
    case RefusalReason::kNoTableName:
      return "no_table_name";
    case RefusalReason::kBadLabelRefs:
      return "bad_label_refs";
    case RefusalReason::kBadMetadataRefs:
      return "bad_metadata_refs";
    case RefusalReason::kNoSamples:
      return "no_samples";
    case RefusalReason::kSeriesLimit:
      return "series_limit";
    case RefusalReason::kTenantSeriesLimit:
      return "tenant_series_limit";
    case RefusalReason::kTableLimit:
      return "table_limit";
    case RefusalReason::kTooFarAhead:
      return "too_far_ahead";
    case RefusalReason::kTooOld:
      return "too_old";
    case RefusalReason::kBadHistogram:
      return "bad_histogram";
    case RefusalReason::kBadExemplar:
      return "bad_exemplar";
    case RefusalReason::kBadMetadata:
      return "bad_metadata";
    case RefusalReason::kSideRowsTooLarge:
      return "side_rows_too_large";
    case RefusalReason::kBadId:
      return "bad_id";
    case RefusalReason::kBadPoint:
      return "bad_point";
    case RefusalReason::kOverloaded:
      return "overloaded";
    case RefusalReason::kCommitFailed:
      return "commit_failed";
  }
  FOREBAY_CHECK(false);
}

std::string_view HowToFix(RefusalReason reason) {
  switch (reason) {
    case RefusalReason::kNoMetricName:
      return "send a non-empty __name__ label (and keep it in the relabelling rules)";
    case RefusalReason::kEmptyLabelName:
      return "give every label a name";
    case RefusalReason::kDuplicateLabel:
      return "send each label name once";
    case RefusalReason::kNotUtf8:
      return "send names and values as UTF-8";
    case RefusalReason::kTooManyLabels:
      return "send fewer labels or raise limits.labels_per_series";
    case RefusalReason::kLabelNameTooLong:
      return "shorten the name or raise limits.label_name_bytes";
    case RefusalReason::kLabelValueTooLong:
      return "shorten the value or raise limits.label_value_bytes";
    case RefusalReason::kUnknownDatabase:
      return "name a configured database or add it to `databases`";
    case RefusalReason::kNoTableName:
      return "use a metric name with at least one ASCII letter or digit";
    case RefusalReason::kBadLabelRefs:
      return "send an even number of labels_refs, each below the number of symbols";
    case RefusalReason::kBadMetadataRefs:
      return "send help_ref and unit_ref below the number of symbols";
    case RefusalReason::kNoSamples:
      return "send at least one sample or histogram per series";
    case RefusalReason::kSeriesLimit:
      return "reduce the number of series or raise limits.series_max or limits.series_bytes";
    case RefusalReason::kTenantSeriesLimit:
      return "reduce the number of the tenant's series or raise its series_max in `tenants`";
    case RefusalReason::kTableLimit:
      return "reduce the number of metrics or raise limits.tables_max";
    case RefusalReason::kTooFarAhead:
      return "check the sender's clock or raise remote_write.max_future";
    case RefusalReason::kTooOld:
      return "raise remote_write.max_past to take older samples";
    case RefusalReason::kBadHistogram:
      return "repair the native histogram at its source";
    case RefusalReason::kBadExemplar:
      return "repair the exemplar's labels at their source";
    case RefusalReason::kBadMetadata:
      return "send metadata as UTF-8";
    case RefusalReason::kSideRowsTooLarge:
      return "send fewer exemplars and histograms per request";
    case RefusalReason::kBadId:
      return "send trace ids of 16 bytes and span ids of 8, or none";
    case RefusalReason::kBadPoint:
      return "repair the data point at its source";
    case RefusalReason::kOverloaded:
    case RefusalReason::kCommitFailed:
      return "send the request again";
  }
  FOREBAY_CHECK(false);
}

std::string Printable(std::string_view text, size_t max_bytes) {
  const bool utf8 = table::IsValidUtf8(text);
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte >= 0x20 && byte != 0x7f && (byte < 0x80 || utf8);
    // A sequence is not cut in two: room for its longest form is kept before its first byte.
    if ((byte & 0xc0) != 0x80 && out.size() + 4 + 3 > max_bytes) {
      out += "...";
      break;
    }
    if (plain) {
      out += c;
    } else {
      if (out.size() + 4 + 3 > max_bytes) {
        out += "...";
        break;
      }
      out += fmt::format("\\x{:02x}", byte);
    }
  }
  return out;
}

std::string DescribeSeries(table::LabelSpan labels) {
  constexpr size_t kMaxText = 96;  // of one name or value
  constexpr size_t kMaxOne = 2 * kMaxText + 16;
  std::string name;
  std::string rest;
  for (const table::Label& label : labels) {
    if (label.name == table::kMetricNameLabel && name.empty()) {
      name = Printable(label.value, kMaxText);
      continue;
    }
    if (rest.size() + kMaxOne + kMaxText > kMaxSeriesText) {
      rest += rest.empty() ? "..." : ",...";
      break;
    }
    if (!rest.empty()) rest += ',';
    rest += Printable(label.name, kMaxText);
    rest += "=\"";
    rest += Printable(label.value, kMaxText);
    rest += '"';
  }
  return fmt::format("{}{{{}}}", name, rest);
}

}  // namespace forebay::receive
