#include "base/clock.h"

#include <cstdlib>

namespace forebay {
namespace {

// How far the wall clock is wrong, for tests of nodes whose clocks differ; only where failpoints
// are compiled in.
std::chrono::milliseconds WallClockError() {
#if defined(FOREBAY_FAILPOINTS)
  // Nothing in this program writes the environment.
  const char* asked = std::getenv("FOREBAY_TEST_CLOCK_MS");  // NOLINT(concurrency-mt-unsafe)
  if (asked != nullptr) return std::chrono::milliseconds(std::atoll(asked));
#endif
  return std::chrono::milliseconds(0);
}

}  // namespace

UnixMillis SystemClock::Now() const {
  static const std::chrono::milliseconds wrong = WallClockError();
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch() + wrong;
  return {std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count()};
}

MonotonicTime SystemClock::Monotonic() const { return std::chrono::steady_clock::now(); }

}  // namespace forebay
