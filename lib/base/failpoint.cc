#include "base/failpoint.h"

#if defined(FOREBAY_FAILPOINTS)

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace forebay::internal {
namespace {

struct Armed {
  std::string name;
  std::atomic<long> passes_left{0};

  Armed() {
    // Nothing in this program writes the environment.
    const char* asked = std::getenv("FOREBAY_FAILPOINT");  // NOLINT(concurrency-mt-unsafe)
    if (asked == nullptr) return;
    const std::string text(asked);
    const size_t colon = text.rfind(':');
    name = text.substr(0, colon);
    passes_left = colon == std::string::npos ? 1 : std::atol(text.c_str() + colon + 1);
    if (!IsFailpoint(name)) {
      std::fprintf(stderr, "forebay: FOREBAY_FAILPOINT: there is no failpoint \"%s\"\n",
                   name.c_str());
      // A test's mistake, found where the first failpoint is passed.
      std::exit(2);  // NOLINT(concurrency-mt-unsafe)
    }
  }
};

}  // namespace

void PassFailpoint(std::string_view name) {
  static Armed armed;
  if (armed.name != name || armed.passes_left.fetch_sub(1) != 1) return;
  (void)kill(getpid(), SIGKILL);
  pause();  // the signal is on its way
}

}  // namespace forebay::internal

#endif  // FOREBAY_FAILPOINTS
