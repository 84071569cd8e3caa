// The metrics of OTLP itself: requests and what was changed of values. What requests held is
// counted by receive::ReceiveMetrics, with all other protocols.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "metrics/registry.h"
#include "otlp/answers.h"
#include "otlp/text.h"

namespace forebay::otlp {

enum class Transport : uint8_t { kHttp, kGrpc };
inline constexpr size_t kTransports = 2;

// Threads: any.
class OtlpMetrics {
 public:
  explicit OtlpMetrics(metrics::Registry& registry);

  void CountRequest(Transport transport, Signal signal, Code code,
                    std::chrono::nanoseconds duration);
  // A request whose media type or encoding is none that is served.
  void CountUnsupported(Transport transport) {
    unsupported_[static_cast<size_t>(transport)]->Increment();
  }
  void CountTexts(const TextCounts& counts);

 private:
  std::array<std::array<std::array<metrics::Counter*, kCodes>, kSignals>, kTransports> requests_{};
  std::array<std::array<metrics::Histogram*, kSignals>, kTransports> duration_{};
  std::array<metrics::Counter*, kTransports> unsupported_{};
  metrics::Counter* cut_;
  metrics::Counter* repaired_;
};

}  // namespace forebay::otlp
