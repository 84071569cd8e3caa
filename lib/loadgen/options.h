// What a load run shall do, as plain values. ResolveOptions fills what was left to defaults and
// refuses what cannot be done; everything else in this module takes resolved options. Limits: the
// constants below; memory is about 320 B a series (the encoded requests).
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace forebay::loadgen {

inline constexpr uint64_t kMaxSeries = 4'000'000;
inline constexpr uint32_t kMaxTables = 100'000;
inline constexpr uint32_t kMinLabels = 3;
inline constexpr uint32_t kMaxLabels = 64;
inline constexpr uint32_t kMaxConnections = 1024;
inline constexpr uint64_t kMaxSamplesPerRequest = 1'000'000;
// Bytes of a log record or span.
inline constexpr uint32_t kMinRecordBytes = 250;
inline constexpr uint32_t kMaxRecordBytes = 64 << 10;
inline constexpr std::chrono::hours kMaxDuration{24 * 30};
// Bodies that --dump may write.
inline constexpr uint64_t kMaxDumpedRequests = 1'000'000;

enum class Protocol { kRemoteWrite1, kRemoteWrite2, kOtlpHttp, kOtlpGrpc };

// What OTLP carries. A sample of the other options is then a data point, a log record or a span,
// and a series a stream of them.
enum class Signal { kMetrics, kLogs, kTraces };

// What a sample's value is; both can be computed again from series, sample number and series count.
enum class ValueMode {
  kCounter,  // grows by a jittered step per series; every other series has decimals
  kUnique,   // sample number * series + series number: no value comes twice in a run
};

// Which minutes --churn counts.
enum class ChurnClock {
  kWall,    // minutes of the run
  kSample,  // minutes of the samples' timestamps: the same series per sample on a slow machine
};

struct TlsOptions {
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
  bool insecure_skip_verify = false;
};

struct LoadOptions {
  // Empty: the default port of the protocol on this machine. OTLP over HTTP: without a path it gets
  // /v1/metrics, /v1/logs or /v1/traces.
  std::string url;
  Protocol protocol = Protocol::kRemoteWrite1;
  Signal signal = Signal::kMetrics;  // other ones by OTLP only
  uint32_t record_bytes = 300;       // encoded, of a log record or span

  uint64_t series = 10'000;
  uint32_t tables = 0;              // metrics; 0: min(200, series / 500), at least 1
  uint32_t labels = 10;             // with __name__
  uint32_t samples_per_series = 1;  // in a request
  uint32_t series_per_request = 2000;
  double churn_percent_per_minute = 0;  // of the series replaced by new ones
  ChurnClock churn_clock = ChurnClock::kWall;
  ValueMode values = ValueMode::kCounter;
  double histogram_share = 0;  // of the series: native histograms in place of samples
  double exemplar_share = 0;   // of the series: one exemplar in each request

  // Timestamps: without `step` the time of sending, at least 1 ms apart per series; with it, sample
  // n of every series is at start + n * step. `start` default: so that a run by `samples` ends now,
  // else a day ago.
  std::optional<UnixMillis> start;
  std::optional<std::chrono::milliseconds> step;

  uint32_t connections = 4;
  double rate = 0;  // samples a second; 0: as fast as answers come
  // A run ends at the first of the two. Zero duration: 30 s, with `samples` an hour.
  std::chrono::milliseconds duration{0};
  uint64_t samples = 0;  // rounded up to whole requests; 0: no such end
  bool retry = true;
  std::chrono::milliseconds request_timeout{30'000};
  // After the end of a run, or an interrupt, requests under way have so long to be answered.
  std::chrono::milliseconds drain{10'000};

  std::string user_agent = "forebay-load";
  std::string tenant;  // empty: no header
  std::string tenant_header = "X-Scope-OrgID";
  std::string basic;   // "user:password"
  std::string bearer;  // token
  std::vector<std::pair<std::string, std::string>> headers;
  TlsOptions tls;
};

// Errors: kInvalidArgument naming the option. Threads: any.
Result<LoadOptions> ResolveOptions(LoadOptions options);

bool IsOtlp(Protocol protocol);
std::string_view ProtocolName(Protocol protocol);
std::string_view SignalName(Signal signal);
// "samples", "records" or "spans".
std::string_view ItemsName(Signal signal);
// What exporters send: 2000 data points, 512 records or spans.
uint32_t DefaultSeriesPerRequest(Signal signal);

Result<Protocol> ParseProtocol(std::string_view text);      // "1.0", "2.0", "otlp-http" ...
Result<Signal> ParseSignal(std::string_view text);          // "metrics", "logs", "traces"
Result<ValueMode> ParseValueMode(std::string_view text);    // "counter", "unique"
Result<ChurnClock> ParseChurnClock(std::string_view text);  // "wall", "sample"

}  // namespace forebay::loadgen
