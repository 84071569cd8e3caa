// DEPS: receive
// Cost of receiving, per sample: snappy, and parse + hash + look-up + stage, of known series.
// Payload: 100000 series of 200 tables, 10 labels, 2000 series a request, one sample each.
// Items are samples: items_per_second of one core; the counter s_per_sample is its inverse.
#include <benchmark/benchmark.h>
#include <snappy.h>

#include <string>
#include <vector>

#include "unit/receive/decode_harness.h"

namespace forebay::testing {
namespace {

constexpr int kSeries = 100'000;
constexpr int kTables = 200;
constexpr int kPerRequest = 2000;

TextLabels LabelsOf(int series) {
  const std::string pod = std::to_string(series * 2654435761U % 1'000'003);
  return {{"__name__", "forebay_bench_metric_" + std::to_string(series % kTables) + "_total"},
          {"cluster", "prod-westeurope-1"},
          {"container", "application-container"},
          {"endpoint", "http-metrics"},
          {"instance", "10.24." + std::to_string(series % 250) + ".17:9100"},
          {"job", "kubernetes-service-endpoints"},
          {"namespace", "monitoring-system-" + std::to_string(series % 40)},
          {"pod", "application-deployment-" + pod + "-x7k2p"},
          {"service", "application-service-" + std::to_string(series % 100)},
          {"status", std::to_string(200 + series % 5)}};
}

std::vector<std::string> Requests(bool version_2) {
  std::vector<std::string> requests;
  for (int begin = 0; begin < kSeries; begin += kPerRequest) {
    std::string first;
    Request2 second;
    for (int i = begin; i < begin + kPerRequest; ++i) {
      if (version_2) {
        second.Add(LabelsOf(i), Sample2(i * 1.5));
      } else {
        first += Series1(LabelsOf(i), i * 1.5);
      }
    }
    requests.push_back(version_2 ? second.Encode() : first);
  }
  return requests;
}

void Report(benchmark::State& state) {
  state.SetItemsProcessed(state.iterations() * kPerRequest);
  state.counters["s_per_sample"] = benchmark::Counter(
      kPerRequest, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void ParseHashFindStage(benchmark::State& state) {
  const bool version_2 = state.range(0) == 2;
  const auto requests = Requests(version_2);
  DecodeHarness harness;
  const auto decode = [&](const std::string& request) {
    return version_2 ? harness.Decode2(request) : harness.Decode1(request);
  };
  for (const std::string& request : requests) {
    if (!decode(request).ok()) state.SkipWithError("a request was refused");
  }
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(decode(requests[next]));
    next = (next + 1) % requests.size();
  }
  if (harness.staged.refs.size() != kPerRequest) state.SkipWithError("samples are missing");
  Report(state);
}
BENCHMARK(ParseHashFindStage)->Arg(1)->Arg(2);

void Whole(benchmark::State& state) {
  const bool version_2 = state.range(0) == 2;
  std::vector<std::string> bodies;
  for (const std::string& request : Requests(version_2)) {
    bodies.emplace_back();
    snappy::Compress(request.data(), request.size(), &bodies.back());
  }
  DecodeHarness harness;
  receive::DecodeInput input;
  input.kind = version_2 ? wal::RecordKind::kRemoteWrite2 : wal::RecordKind::kRemoteWrite1;
  input.received = {kTime};
  for (const std::string& body : bodies) {
    input.body = body;
    if (!harness.worker->Decode(input, harness.staged).ok()) state.SkipWithError("refused");
  }
  size_t next = 0;
  for (auto _ : state) {
    input.body = bodies[next];
    benchmark::DoNotOptimize(harness.worker->Decode(input, harness.staged));
    next = (next + 1) % bodies.size();
  }
  Report(state);
}
BENCHMARK(Whole)->Arg(1)->Arg(2);

void NewSeries(benchmark::State& state) {
  const auto requests = Requests(false);
  size_t next = requests.size();
  std::unique_ptr<DecodeHarness> harness;
  for (auto _ : state) {
    if (next == requests.size()) {
      state.PauseTiming();
      harness = std::make_unique<DecodeHarness>();
      next = 0;
      state.ResumeTiming();
    }
    benchmark::DoNotOptimize(harness->Decode1(requests[next++]));
  }
  Report(state);
}
BENCHMARK(NewSeries);

}  // namespace
}  // namespace forebay::testing

BENCHMARK_MAIN();
