#include "receive/series_resolver.h"

#include <fmt/core.h>

#include <optional>
#include <utility>

#include "base/check.h"
#include "table/series_id.h"

namespace forebay::receive {
namespace {

constexpr size_t kMaxTextInDetail = 96;

ResolvedSeries Refuse(RefusalReason reason, std::string detail) {
  ResolvedSeries refused;
  refused.verdict = Verdict::kRefuse;
  refused.reason = reason;
  refused.detail = std::move(detail);
  return refused;
}

RefusalReason ReasonOf(table::LabelProblem problem) {
  switch (problem) {
    case table::LabelProblem::kNoMetricName:
      return RefusalReason::kNoMetricName;
    case table::LabelProblem::kEmptyName:
      return RefusalReason::kEmptyLabelName;
    case table::LabelProblem::kDuplicateName:
      return RefusalReason::kDuplicateLabel;
    case table::LabelProblem::kNotUtf8:
      return RefusalReason::kNotUtf8;
  }
  FOREBAY_CHECK(false);
}

std::optional<ResolvedSeries> CheckLimits(table::LabelSpan labels, const config::Limits& limits) {
  if (labels.size() > limits.labels_per_series) {
    return Refuse(RefusalReason::kTooManyLabels,
                  fmt::format("{} labels, at most {}", labels.size(), limits.labels_per_series));
  }
  for (const table::Label& label : labels) {
    if (label.name.size() > limits.label_name_bytes.value) {
      return Refuse(RefusalReason::kLabelNameTooLong,
                    fmt::format("label name {} has {} bytes, at most {}",
                                Printable(label.name, kMaxTextInDetail), label.name.size(),
                                limits.label_name_bytes.value));
    }
    if (label.value.size() > limits.label_value_bytes.value) {
      return Refuse(RefusalReason::kLabelValueTooLong,
                    fmt::format("the value of label {} has {} bytes, at most {}",
                                Printable(label.name, kMaxTextInDetail), label.value.size(),
                                limits.label_value_bytes.value));
    }
  }
  return std::nullopt;
}

}  // namespace

ResolvedSeries SeriesResolver::Resolve(std::vector<table::Label>& labels, const Rules& rules,
                                       const ResolveOptions& options) {
  if (!options.unlimited) {
    if (auto refused = CheckLimits(labels, rules.limits())) return std::move(*refused);
  }
  table::SortByName(labels);
  if (const auto finding = table::FindProblem(labels)) {
    std::string detail(table::Describe(finding->problem));
    if (!finding->label.name.empty()) {
      detail += fmt::format(" ({})", Printable(finding->label.name, kMaxTextInDetail));
    }
    return Refuse(ReasonOf(finding->problem), std::move(detail));
  }
  table::DropEmptyValues(labels);

  ResolvedSeries resolved;
  resolved.labels = labels;
  const auto relabel = [&](const table::Relabeler& relabeler) {
    if (relabeler.empty()) return true;
    if (resolved.labels.data() == labels.data()) builder_.Reset(labels);
    const bool kept = relabeler.Apply(builder_) == table::RelabelDecision::kKeep;
    resolved.labels = builder_.labels();
    return kept;
  };
  const auto drop = [&] {
    ResolvedSeries dropped;
    dropped.verdict = Verdict::kDrop;
    dropped.database = resolved.database;
    return dropped;
  };

  resolved.database = options.routed_database;
  if (!relabel(rules.relabeler())) return drop();
  const std::string& database_label = rules.remote_write().database_label;
  if (!database_label.empty()) {
    const std::string_view wanted = table::FindValue(resolved.labels, database_label);
    if (!wanted.empty()) {
      const auto found = rules.FindDatabase(wanted);
      if (!found) {
        return Refuse(RefusalReason::kUnknownDatabase,
                      fmt::format("label {} names the database {}, which is not configured",
                                  database_label, Printable(wanted, kMaxTextInDetail)));
      }
      resolved.database = *found;
    }
  }
  if (!relabel(rules.databases()[resolved.database].relabeler)) return drop();

  resolved.metric = table::FindValue(resolved.labels, table::kMetricNameLabel);
  if (resolved.metric.empty()) {
    return Refuse(RefusalReason::kNoMetricName, "no metric name is left after relabelling");
  }
  resolved.series_id = table::SeriesId(resolved.labels);
  return resolved;
}

}  // namespace forebay::receive
