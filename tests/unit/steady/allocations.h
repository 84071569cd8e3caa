// Counts what a program takes from malloc, operator new included, while it is told to: this
// program's malloc and its kin stand before glibc's. Where the first of them came from is kept, for
// a test that fails. Not for sanitizers, which have their own malloc.
#pragma once

#include <cstdint>

namespace forebay::testing {

enum class CountedThreads {
  kThis,
  kOthers,  // all but this one: it plays the client
};

// From now on calls are counted. One at a time.
void StartCounting(CountedThreads threads);
// Returns how many there were. Prints where the first ones came from when they are more than
// expected.
uint64_t StopCounting(uint64_t expected = 0);

}  // namespace forebay::testing
