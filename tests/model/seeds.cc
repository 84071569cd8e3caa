// The pool of threads, the tallies, and the handler that names the seeds of a crash.
#include "model/seeds.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

namespace forebay::testing {
namespace {

constexpr size_t kMaxJobs = 64;
constexpr uint64_t kMaxReported = 5;  // failing seeds with their text; the others are counted
std::array<std::atomic<uint64_t>, kMaxJobs> running_seeds{};

// Async-signal-safe: writes the seeds under way, then dies of the signal as it would have.
void OnCrash(int signal_number) {
  constexpr char kText[] = "crashed while these seeds ran:";
  (void)!::write(STDERR_FILENO, kText, sizeof(kText) - 1);
  for (const auto& running : running_seeds) {
    const uint64_t seed = running.load();
    if (seed == 0) continue;
    char digits[24] = {' '};
    const auto end = std::to_chars(digits + 1, digits + sizeof(digits), seed).ptr;
    (void)!::write(STDERR_FILENO, digits, static_cast<size_t>(end - digits));
  }
  (void)!::write(STDERR_FILENO, "\n", 1);
  std::signal(signal_number, SIG_DFL);
  (void)std::raise(signal_number);
}

const char* Setting(const char* name) {
  return std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody sets it
}

struct Shared {
  std::atomic<uint64_t> next{0};
  uint64_t end = 0;
  std::mutex mutex;
  uint64_t passed = 0;
  uint64_t failed = 0;
  Tally tally;
};

void Work(Shared& shared, size_t job, const std::string& name,
          const std::function<std::string(uint64_t, Tally&)>& test) {
  while (true) {
    const uint64_t seed = shared.next.fetch_add(1);
    if (seed >= shared.end) return;
    running_seeds[job].store(seed);
    Tally tally;
    const std::string wrong = test(seed, tally);
    running_seeds[job].store(0);
    const std::lock_guard lock(shared.mutex);
    for (const auto& [key, count] : tally) shared.tally[key] += count;
    if (wrong.empty()) {
      ++shared.passed;
    } else if (++shared.failed <= kMaxReported) {
      fmt::print("{}: FAILED, seed {}: {}\n  again: FOREBAY_TEST_MODEL_SEED={}\n", name, seed,
                 wrong, seed);
    }
  }
}

}  // namespace

bool OneSeedOnly() { return Setting("FOREBAY_TEST_MODEL_SEED") != nullptr; }

double SeedScale() {
  const char* scale = Setting("FOREBAY_TEST_MODEL_SCALE");
  return scale == nullptr ? 1 : std::strtod(scale, nullptr);
}

uint64_t RunSeeds(const std::string& name, uint64_t seeds,
                  const std::function<std::string(uint64_t, Tally&)>& test) {
  const char* only = Setting("FOREBAY_TEST_MODEL_SEED");
  const char* asked = Setting("FOREBAY_TEST_MODEL_JOBS");
  const size_t jobs =
      std::clamp<size_t>(asked == nullptr ? 4 : std::strtoull(asked, nullptr, 10), 1, kMaxJobs);
  Shared shared;
  shared.next = only == nullptr ? 1 : std::strtoull(only, nullptr, 10);
  shared.end = only == nullptr
                   ? 1 + std::max<uint64_t>(
                             1, static_cast<uint64_t>(static_cast<double>(seeds) * SeedScale()))
                   : shared.next.load() + 1;
  for (const int signal_number : {SIGABRT, SIGSEGV, SIGBUS}) std::signal(signal_number, OnCrash);
  const auto begin = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> threads;
    for (size_t job = 0; job < jobs; ++job) {
      threads.emplace_back([&, job] { Work(shared, job, name, test); });
    }
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  fmt::print("{}: {} passed, {} failed in {:.1f} s", name, shared.passed, shared.failed,
             took.count());
  for (const auto& [key, count] : shared.tally) fmt::print("; {}: {}", key, count);
  fmt::print("\n");
  (void)std::fflush(stdout);
  return shared.failed;
}

}  // namespace forebay::testing
