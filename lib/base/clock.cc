#include "base/clock.h"

namespace forebay {

UnixMillis SystemClock::Now() const {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return {std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count()};
}

MonotonicTime SystemClock::Monotonic() const { return std::chrono::steady_clock::now(); }

}  // namespace forebay
