// Runs the steps by Google Benchmark, product and floor in turns, and prints a table of CPU time:
//   step | per | CPU ns | floor | ratio | MB/s | what the floor is
// A step whose result is wrong is an error of the program. What it is told: --help.
#include <benchmark/benchmark.h>
#include <fmt/core.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "bench/steps.h"

namespace forebay::bench {
namespace {

constexpr const char* kUsage =
    R"(usage: ./dev bench steps [--filter REGEX] [--repetitions N] [--seconds S] [--json FILE]
  --filter REGEX    only steps whose name matches
  --repetitions N   of each side, in random order; the median counts (default 5)
  --seconds S       least time of each repetition (default 0.1)
  --json FILE       the table with machine and compiler, also into FILE
Google Benchmark's own options (--benchmark_...) are taken too; its table comes with --google.
)";

struct Registered {
  StepNames names;
  std::function<Step()> make;
  std::optional<Step> step;
};

std::vector<std::unique_ptr<Registered>>& Steps() {
  static std::vector<std::unique_ptr<Registered>> steps;
  return steps;
}

void RunLoop(benchmark::State& state, const Loop& loop) {
  if (loop.before) loop.before();
  if (!loop.run()) return state.SkipWithError("the result is wrong");  // warms up, too
  for (auto _ : state) {
    if (loop.before) {
      state.PauseTiming();
      loop.before();
      state.ResumeTiming();
    }
    if (!loop.run()) return state.SkipWithError("the result is wrong");
  }
}

void RunSide(benchmark::State& state, Registered& registered, bool floor) {
  if (!registered.step) registered.step = registered.make();
  RunLoop(state, floor ? registered.step->floor : registered.step->product);
}

// CPU ns of one run, by benchmark.
class Collector final : public benchmark::BenchmarkReporter {
 public:
  explicit Collector(bool show) : show_(show) {}
  bool ReportContext(const Context& context) override {
    console_.SetOutputStream(&GetOutputStream());
    console_.SetErrorStream(&GetErrorStream());
    return !show_ || console_.ReportContext(context);
  }
  void ReportRuns(const std::vector<Run>& runs) override {
    if (show_) console_.ReportRuns(runs);
    for (const Run& run : runs) {
      if (run.error_occurred) {
        std::fprintf(stderr, "bench: %s: %s\n", run.benchmark_name().c_str(),
                     run.error_message.c_str());
        failed_ = true;
      } else if (run.run_type == Run::RT_Iteration) {
        times_[run.run_name.function_name].push_back(run.cpu_accumulated_time * 1e9 /
                                                     static_cast<double>(run.iterations));
      }
    }
  }
  bool failed() const { return failed_; }
  // The median; nothing when it was not run.
  std::optional<double> Median(const std::string& name) const {
    const auto found = times_.find(name);
    if (found == times_.end()) return std::nullopt;
    std::vector<double> times = found->second;
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
  }

 private:
  const bool show_;
  bool failed_ = false;
  std::map<std::string, std::vector<double>> times_;
  benchmark::ConsoleReporter console_{benchmark::ConsoleReporter::OO_Tabular};
};

std::string FloorName(const std::string& name) { return name + "/floor"; }

std::string CpuModel() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

nlohmann::ordered_json Machine() {
  utsname system = {};
  (void)::uname(&system);
  const char* commit = std::getenv("FOREBAY_COMMIT");
  return {{"cpu", CpuModel()},
          {"cores", std::thread::hardware_concurrency()},
          {"kernel", system.release},
          {"compiler", FOREBAY_COMPILER},
          {"commit", commit == nullptr ? "unknown" : commit}};
}

double Rounded(double value) { return std::round(value * 100) / 100; }

// Prints the table. Returns the same for the file.
nlohmann::ordered_json Table(const Collector& times) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  constexpr const char* kLine = "{:<52} {:<6} {:>8} {:>8} {:>6} {:>6}  {}\n";
  fmt::print(kLine, "step", "per", "CPU ns", "floor", "ratio", "MB/s", "the floor is");
  for (const auto& registered : Steps()) {
    const StepNames& names = registered->names;
    const auto product = times.Median(names.name);
    const auto floor = times.Median(FloorName(names.name));
    if (!product || !floor) continue;
    const Step& step = *registered->step;
    const double ns = *product / static_cast<double>(step.items);
    const double floor_ns = *floor / static_cast<double>(step.items);
    const double rate = static_cast<double>(step.bytes) / *product * 1e3;
    fmt::print(kLine, names.name, names.unit, fmt::format("{:.1f}", ns),
               fmt::format("{:.1f}", floor_ns), fmt::format("{:.2f}", ns / floor_ns),
               step.bytes == 0 ? "" : fmt::format("{:.0f}", rate), names.floor);
    nlohmann::ordered_json row = {{"step", names.name},
                                  {"unit", names.unit},
                                  {"ns", Rounded(ns)},
                                  {"floor_ns", Rounded(floor_ns)},
                                  {"ratio", Rounded(ns / floor_ns)},
                                  {"floor", names.floor}};
    if (step.bytes != 0) row["mb_per_second"] = std::lround(rate);
    rows.push_back(std::move(row));
  }
  return rows;
}

struct Arguments {
  std::string filter = ".";
  std::string repetitions = "5";
  std::string seconds = "0.1";
  std::string json;
  bool google = false;
  std::vector<std::string> others;
};

// Nothing: what is wrong or was asked has been printed.
std::optional<Arguments> Parse(int argc, char** argv) {
  Arguments arguments;
  const std::map<std::string, std::string*> values = {{"--filter", &arguments.filter},
                                                      {"--repetitions", &arguments.repetitions},
                                                      {"--seconds", &arguments.seconds},
                                                      {"--json", &arguments.json}};
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (const auto found = values.find(name); found != values.end() && i + 1 < argc) {
      *found->second = argv[++i];
    } else if (name == "--google") {
      arguments.google = true;
    } else if (name.starts_with("--benchmark_")) {
      arguments.others.push_back(name);
    } else {
      std::fputs(kUsage, name == "--help" ? stdout : stderr);
      return std::nullopt;
    }
  }
  return arguments;
}

int Main(int argc, char** argv) {
  const auto arguments = Parse(argc, argv);
  if (!arguments) return argc == 2 && std::string(argv[1]) == "--help" ? 0 : 2;
  std::vector<std::string> options = {argv[0], "--benchmark_filter=" + arguments->filter,
                                      "--benchmark_repetitions=" + arguments->repetitions,
                                      "--benchmark_min_time=" + arguments->seconds,
                                      "--benchmark_enable_random_interleaving=true"};
  options.insert(options.end(), arguments->others.begin(), arguments->others.end());
  std::vector<char*> pointers;
  for (std::string& option : options) pointers.push_back(option.data());
  auto count = static_cast<int>(pointers.size());
  benchmark::Initialize(&count, pointers.data());
  if (benchmark::ReportUnrecognizedArguments(count, pointers.data())) return 2;
  AddReceiveSteps();
  AddOtlpSteps();
  AddWalSteps();
  AddUploadSteps();
  for (const auto& registered : Steps()) {
    Registered& step = *registered;
    for (const bool floor : {false, true}) {
      const std::string name = floor ? FloorName(step.names.name) : step.names.name;
      benchmark::RegisterBenchmark(name.c_str(), [&step, floor](benchmark::State& state) {
        RunSide(state, step, floor);
      })->Unit(benchmark::kMillisecond);
    }
  }
  Collector times(arguments->google);
  benchmark::RunSpecifiedBenchmarks(&times);
  const nlohmann::ordered_json table = Table(times);
  if (times.failed()) return 1;
  if (table.empty()) {
    std::fprintf(stderr, "bench: no step matches \"%s\"\n", arguments->filter.c_str());
    return 1;
  }
  if (arguments->json.empty()) return 0;
  std::ofstream file(arguments->json);
  file << nlohmann::ordered_json(
              {{"what", "CPU time of single steps, median of " + arguments->repetitions +
                            "; floor: only what cannot be left out"},
               {"machine", Machine()},
               {"steps", table}})
              .dump(2)
       << '\n';
  file.close();
  if (file) return 0;
  std::fprintf(stderr, "bench: cannot write %s\n", arguments->json.c_str());
  return 1;
}

}  // namespace

void AddStep(StepNames names, std::function<Step()> make) {
  Steps().push_back(
      std::make_unique<Registered>(Registered{std::move(names), std::move(make), std::nullopt}));
}

}  // namespace forebay::bench

int main(int argc, char** argv) { return forebay::bench::Main(argc, argv); }
