#include "otlp/otlp_metrics.h"

#include <string>

namespace forebay::otlp {

OtlpMetrics::OtlpMetrics(metrics::Registry& registry) {
  constexpr std::string_view kTransportNames[] = {"http", "grpc"};
  for (size_t t = 0; t < kTransports; ++t) {
    const std::string transport(kTransportNames[t]);
    for (size_t s = 0; s < kSignals; ++s) {
      const std::string signal(Name(static_cast<Signal>(s)));
      for (size_t c = 0; c < kCodes; ++c) {
        requests_[t][s][c] = registry.AddCounter(
            "forebay_otlp_requests_total",
            "OTLP requests by transport, signal and status code (of HTTP, also for gRPC).",
            {{"transport", transport},
             {"signal", signal},
             {"code", std::to_string(HttpStatusOf(static_cast<Code>(c)))}});
      }
      duration_[t][s] = registry.AddHistogram(
          "forebay_otlp_request_duration_seconds",
          "Time from the end of the request's body to the answer, the group commit included.",
          metrics::ExponentialBuckets(0.0005, 2, 15),
          {{"transport", transport}, {"signal", signal}});
    }
    unsupported_[t] =
        registry.AddCounter("forebay_otlp_unsupported_requests_total",
                            "OTLP requests refused for their media type or content encoding.",
                            {{"transport", transport}});
  }
  cut_ = registry.AddCounter("forebay_otlp_cut_values_total",
                             "Values longer than 1 MiB or nested too deep, stored in part and "
                             "marked.");
  repaired_ = registry.AddCounter("forebay_otlp_repaired_strings_total",
                                  "Strings with bytes that are no UTF-8, or NUL, stored with "
                                  "U+FFFD in their place.");
}

void OtlpMetrics::CountRequest(Transport transport, Signal signal, Code code,
                               std::chrono::nanoseconds duration) {
  const auto t = static_cast<size_t>(transport);
  const auto s = static_cast<size_t>(signal);
  requests_[t][s][static_cast<size_t>(code)]->Increment();
  duration_[t][s]->Observe(duration);
}

void OtlpMetrics::CountTexts(const TextCounts& counts) {
  if (counts.cut != 0) cut_->Increment(counts.cut);
  if (counts.repaired != 0) repaired_->Increment(counts.repaired);
}

}  // namespace forebay::otlp
