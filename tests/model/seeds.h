// Runs a test for many seeds, several at a time, and says how it went: each failing seed with what
// was wrong and how to run it again, and what was counted.
//
// Environment: FOREBAY_TEST_MODEL_SEED=n runs that seed alone, FOREBAY_TEST_MODEL_SCALE=x
// multiplies the number of seeds (0.1, 50), FOREBAY_TEST_MODEL_JOBS=n sets how many run at the same
// time (default 4: most of the time of a seed is waiting for threads and backoffs).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace forebay::testing {

// What a test has counted, by name.
using Tally = std::map<std::string, uint64_t>;

// Runs `test` for the seeds 1 to `seeds` (times the scale). It returns what is wrong, or nothing.
// A crash of the process prints the seeds that were running. Prints to standard output. Returns the
// number of seeds that failed. Threads: `test` runs on several; `tally` is its own.
uint64_t RunSeeds(const std::string& name, uint64_t seeds,
                  const std::function<std::string(uint64_t seed, Tally& tally)>& test);

// Whether one seed was asked for: then what is only true of many is not checked.
bool OneSeedOnly();
// FOREBAY_TEST_MODEL_SCALE, 1 when it is not set.
double SeedScale();

}  // namespace forebay::testing
