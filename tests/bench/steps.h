// Steps of a sample's way, each with its floor: a loop over the same data that does only what
// cannot be left out. All *_steps.cc are one program, whose main (steps_main.cc) runs both sides in
// turns and prints one table.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace forebay::bench {

// One side of a step.
struct Loop {
  std::function<bool()> run;          // all of the data once; false: the result is wrong
  std::function<void()> before = {};  // each run, not timed
};

struct Step {
  uint64_t items = 0;  // of one run
  uint64_t bytes = 0;  // of one run, for MB/s; 0: means nothing here
  Loop product;
  Loop floor;
};

// name: "seal, 8 per generation"; unit: what an item is; floor: what the floor does, in few words.
struct StepNames {
  std::string name;
  std::string unit = "sample";
  std::string floor;
};

// `make` is called when the step is measured for the first time.
void AddStep(StepNames names, std::function<Step()> make);

// One function for each *_steps.cc; the table has their order.
void AddReceiveSteps();
void AddOtlpSteps();
void AddWalSteps();
void AddUploadSteps();

}  // namespace forebay::bench
