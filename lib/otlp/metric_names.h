// Names of metrics and labels after OpenTelemetry's rules for Prometheus: characters, units,
// `_total`. Place: made for new series alone. Source: OpenTelemetry specification, "Prometheus and
// OpenMetrics Compatibility"; units by UCUM.
#pragma once

#include <string>
#include <string_view>

namespace forebay::otlp {

// otlp.metrics.naming.
struct Naming {
  bool underscores = true;  // characters that classic names do not have become `_`
  bool suffixes = true;     // unit and `_total`
};
// Shape: one of the configuration's choices.
Naming ParseNaming(std::string_view text);

enum class MetricKind { kGauge, kCounter, kOther };

// Threads: any, for both. Allocate.
std::string MetricName(std::string_view name, std::string_view unit, MetricKind kind,
                       const Naming& naming);
std::string LabelName(std::string_view name, const Naming& naming);

}  // namespace forebay::otlp
