#include "metrics/process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

namespace forebay::metrics {
namespace {

// Fields of proc(5) stat, counted from the one after the command's closing bracket (field 3).
constexpr size_t kThreadsField = 17;
constexpr size_t kStartTimeField = 19;
constexpr size_t kVirtualBytesField = 20;
constexpr size_t kResidentPagesField = 21;
constexpr size_t kStatFields = 22;

// Numbers of /proc/self/stat; zeros where a field is not a number or the file is not there.
std::array<double, kStatFields> ReadStat() {
  std::array<double, kStatFields> fields{};
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text, '\0');
  // The command may hold blanks and brackets: the last bracket ends it.
  const size_t command_end = text.rfind(')');
  if (command_end == std::string::npos) return fields;
  std::istringstream rest(text.substr(command_end + 1));
  std::string word;
  for (double& field : fields) {
    if (!(rest >> word)) break;
    field = std::strtod(word.c_str(), nullptr);
  }
  return fields;
}

double BootTimeSeconds() {
  std::ifstream file("/proc/stat");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("btime ")) return std::strtod(line.c_str() + 6, nullptr);
  }
  return 0;
}

double StartTimeSeconds() {
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  return BootTimeSeconds() + ReadStat()[kStartTimeField] / ticks;
}

double CpuSeconds() {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double OpenFileDescriptors() {
  std::error_code error;
  double count = 0;
  std::filesystem::directory_iterator entry("/proc/self/fd", error);
  while (!error && entry != std::filesystem::directory_iterator()) {
    ++count;
    entry.increment(error);
  }
  // One of them was the directory itself, open while we counted.
  return count > 0 ? count - 1 : 0;
}

double MaxFileDescriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  return static_cast<double>(limit.rlim_cur);
}

std::string CompilerName() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

}  // namespace

ProcessMetrics::ProcessMetrics(Registry& registry, const std::string& version) {
  const auto add = [&](const char* name, const char* help, MetricType type,
                       std::function<double()> value) {
    callbacks_.push_back(registry.AddCallback(name, help, type, std::move(value)));
  };
  add("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.",
      MetricType::kCounter, CpuSeconds);
  add("process_resident_memory_bytes", "Resident memory size in bytes.", MetricType::kGauge,
      [] { return ReadStat()[kResidentPagesField] * static_cast<double>(sysconf(_SC_PAGESIZE)); });
  add("process_virtual_memory_bytes", "Virtual memory size in bytes.", MetricType::kGauge,
      [] { return ReadStat()[kVirtualBytesField]; });
  add("process_threads", "Number of threads of the process.", MetricType::kGauge,
      [] { return ReadStat()[kThreadsField]; });
  add("process_open_fds", "Number of open file descriptors.", MetricType::kGauge,
      OpenFileDescriptors);
  add("process_max_fds", "Maximum number of open file descriptors.", MetricType::kGauge,
      MaxFileDescriptors);
  add("process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
      MetricType::kGauge, [start = StartTimeSeconds()] { return start; });
  registry
      .AddGauge("forebay_build_info", "A constant 1 with the version of this build as labels.",
                {{"version", version}, {"compiler", CompilerName()}})
      ->Set(1);
}

}  // namespace forebay::metrics
