// Defaults that depend on each other, and the limits of a load run.
#include "loadgen/options.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <string_view>

namespace forebay::loadgen {
namespace {

Error Invalid(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

// A line break in a header would let one header become two.
bool IsHeaderSafe(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

Status CheckCounts(const LoadOptions& options) {
  if (options.series == 0 || options.series > kMaxSeries) {
    return Invalid(fmt::format("series: {} is not in 1..{}", options.series, kMaxSeries));
  }
  if (options.tables > kMaxTables || options.tables > options.series) {
    return Invalid(fmt::format("tables: {} is above {} or above the number of series",
                               options.tables, kMaxTables));
  }
  if (options.labels < kMinLabels || options.labels > kMaxLabels) {
    return Invalid(
        fmt::format("labels: {} is not in {}..{}", options.labels, kMinLabels, kMaxLabels));
  }
  if (options.samples_per_series == 0 || options.series_per_request == 0) {
    return Invalid("samples-per-series and series-per-request must be at least 1");
  }
  if (uint64_t{options.samples_per_series} * options.series_per_request > kMaxSamplesPerRequest) {
    return Invalid(fmt::format("a request of {} series with {} samples is above {} samples",
                               options.series_per_request, options.samples_per_series,
                               kMaxSamplesPerRequest));
  }
  if (options.connections == 0 || options.connections > kMaxConnections) {
    return Invalid(
        fmt::format("connections: {} is not in 1..{}", options.connections, kMaxConnections));
  }
  return OkStatus();
}

Status CheckShares(const LoadOptions& options) {
  const auto is_share = [](double share) { return share >= 0 && share <= 1; };
  if (!is_share(options.histogram_share) || !is_share(options.exemplar_share)) {
    return Invalid("histograms and exemplars are shares from 0 to 1");
  }
  if (!(options.churn_percent_per_minute >= 0 && options.churn_percent_per_minute <= 10'000)) {
    return Invalid("churn is a percentage a minute from 0 to 10000");
  }
  if (!(options.rate >= 0) || !std::isfinite(options.rate))
    return Invalid("rate must be 0 or more");
  return OkStatus();
}

Status CheckTimes(const LoadOptions& options) {
  using std::chrono::milliseconds;
  if (options.duration < milliseconds{0} || options.duration > kMaxDuration) {
    return Invalid("duration must be at most 30 days");
  }
  if (options.request_timeout <= milliseconds{0} || options.drain < milliseconds{0}) {
    return Invalid("timeout must be above 0 and drain not negative");
  }
  if (options.step && (*options.step < milliseconds{1} || *options.step > std::chrono::hours{24})) {
    return Invalid("step must be from 1ms to 24h");
  }
  if (options.start && !options.step) return Invalid("start needs a step");
  if (options.churn_clock == ChurnClock::kSample && !options.step) {
    return Invalid("churn by sample time needs a step");
  }
  return OkStatus();
}

Status CheckOtlp(const LoadOptions& options) {
  if (!IsOtlp(options.protocol)) {
    if (options.signal == Signal::kMetrics) return OkStatus();
    return Invalid("signal: logs and traces need the protocol otlp-http or otlp-grpc");
  }
  if (options.histogram_share > 0 || options.exemplar_share > 0)
    return Invalid("histograms and exemplars are for remote write, not for OTLP");
  if (options.record_bytes < kMinRecordBytes || options.record_bytes > kMaxRecordBytes) {
    return Invalid(fmt::format("record-bytes: {} is not in {}..{}", options.record_bytes,
                               kMinRecordBytes, kMaxRecordBytes));
  }
  if (options.protocol == Protocol::kOtlpGrpc && options.tls.insecure_skip_verify)
    return Invalid("insecure is not for otlp-grpc: name the authority with ca");
  return OkStatus();
}

// The endpoint that was given, or the default one, with the path of the signal where it has none.
std::string EndpointUrl(const LoadOptions& options) {
  if (options.protocol == Protocol::kOtlpGrpc)
    return options.url.empty() ? "http://127.0.0.1:4317" : options.url;
  if (options.protocol != Protocol::kOtlpHttp)
    return options.url.empty() ? "http://127.0.0.1:9090/api/v1/write" : options.url;
  std::string url = options.url.empty() ? "http://127.0.0.1:9090" : options.url;
  const size_t scheme = url.find("://");
  const size_t path = scheme == std::string::npos ? 0 : url.find_first_of("/?", scheme + 3);
  if (path == std::string::npos) url += '/';
  if (path == std::string::npos || (path + 1 == url.size() && url.back() == '/'))
    url += fmt::format("v1/{}", SignalName(options.signal));
  return url;
}

Status CheckHeaders(const LoadOptions& options) {
  bool safe = IsHeaderSafe(options.tenant) && IsHeaderSafe(options.tenant_header) &&
              IsHeaderSafe(options.bearer) && IsHeaderSafe(options.user_agent);
  for (const auto& [name, value] : options.headers)
    safe = safe && IsHeaderSafe(name) && IsHeaderSafe(value);
  if (!safe) return Invalid("headers must not hold line breaks");
  if (!options.basic.empty() && !options.bearer.empty())
    return Invalid("basic and bearer exclude each other");
  if (options.tls.certificate_file.empty() != options.tls.key_file.empty()) {
    return Invalid("cert and key need each other");
  }
  return OkStatus();
}

}  // namespace

Result<LoadOptions> ResolveOptions(LoadOptions options) {
  FOREBAY_RETURN_IF_ERROR(CheckCounts(options));
  FOREBAY_RETURN_IF_ERROR(CheckShares(options));
  FOREBAY_RETURN_IF_ERROR(CheckTimes(options));
  FOREBAY_RETURN_IF_ERROR(CheckHeaders(options));
  FOREBAY_RETURN_IF_ERROR(CheckOtlp(options));
  options.url = EndpointUrl(options);
  if (options.duration == std::chrono::milliseconds{0}) {
    options.duration = options.samples > 0 ? std::chrono::milliseconds(3'600'000)
                                           : std::chrono::milliseconds(30'000);
  }
  if (options.tables == 0) {
    options.tables = static_cast<uint32_t>(std::clamp<uint64_t>(options.series / 500, 1, 200));
  }
  return options;
}

Result<Protocol> ParseProtocol(std::string_view text) {
  if (text == "1.0" || text == "1") return Protocol::kRemoteWrite1;
  if (text == "2.0" || text == "2") return Protocol::kRemoteWrite2;
  if (text == "otlp-http") return Protocol::kOtlpHttp;
  if (text == "otlp-grpc") return Protocol::kOtlpGrpc;
  return Invalid(fmt::format("protocol: '{}' is not 1.0, 2.0, otlp-http or otlp-grpc", text));
}

Result<Signal> ParseSignal(std::string_view text) {
  for (const Signal signal : {Signal::kMetrics, Signal::kLogs, Signal::kTraces}) {
    if (text == SignalName(signal)) return signal;
  }
  return Invalid(fmt::format("signal: '{}' is not metrics, logs or traces", text));
}

bool IsOtlp(Protocol protocol) {
  return protocol == Protocol::kOtlpHttp || protocol == Protocol::kOtlpGrpc;
}

std::string_view ProtocolName(Protocol protocol) {
  constexpr std::string_view kNames[] = {"1.0", "2.0", "otlp-http", "otlp-grpc"};
  return kNames[static_cast<size_t>(protocol)];
}

std::string_view SignalName(Signal signal) {
  constexpr std::string_view kNames[] = {"metrics", "logs", "traces"};
  return kNames[static_cast<size_t>(signal)];
}

std::string_view ItemsName(Signal signal) {
  constexpr std::string_view kNames[] = {"samples", "records", "spans"};
  return kNames[static_cast<size_t>(signal)];
}

uint32_t DefaultSeriesPerRequest(Signal signal) { return signal == Signal::kMetrics ? 2000 : 512; }

Result<ValueMode> ParseValueMode(std::string_view text) {
  if (text == "counter") return ValueMode::kCounter;
  if (text == "unique") return ValueMode::kUnique;
  return Invalid(fmt::format("values: '{}' is not counter or unique", text));
}

Result<ChurnClock> ParseChurnClock(std::string_view text) {
  if (text == "wall") return ChurnClock::kWall;
  if (text == "sample") return ChurnClock::kSample;
  return Invalid(fmt::format("churn-clock: '{}' is not wall or sample", text));
}

}  // namespace forebay::loadgen
