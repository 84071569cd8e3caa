#include "base/clock.h"

#include <cstdlib>

namespace forebay {
namespace {

// How far the wall clock is wrong, for tests of nodes whose clocks differ; only where failpoints
// are compiled in.
#if defined(FOREBAY_FAILPOINTS)
std::chrono::milliseconds WallClockError() {
  static const std::chrono::milliseconds error = [] {
    // Nothing in this program writes the environment.
    const char* asked = std::getenv("FOREBAY_TEST_CLOCK_MS");  // NOLINT(concurrency-mt-unsafe)
    return std::chrono::milliseconds(asked == nullptr ? 0 : std::atoll(asked));
  }();
  return error;
}
#else
constexpr std::chrono::milliseconds WallClockError() { return std::chrono::milliseconds(0); }
#endif

}  // namespace

UnixMillis SystemClock::Now() const {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch() + WallClockError();
  return {std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count()};
}

MonotonicTime SystemClock::Monotonic() const { return std::chrono::steady_clock::now(); }

}  // namespace forebay
