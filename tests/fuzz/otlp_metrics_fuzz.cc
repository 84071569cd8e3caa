// DEPS: otlp
// OTLP metrics in every encoding and compression: whatever the input is, counts must add up, rows
// must be whole, and a replay with what was refused must stage the same.
#include "support/otlp_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static forebay::testing::OtlpFuzz fuzz(forebay::otlp::Signal::kMetrics);
  fuzz.Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
