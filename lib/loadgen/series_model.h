// The made-up fleet that a load run reports on: which labels series number n has.
//
// The fleet is a set of targets (pods); each exposes every metric, some of them several times (by
// the label `handler`), so that a target has about 200 series. Series are numbered target by
// target, as a scraper sends them: neighbours share all labels of their pod and differ in name,
// code and handler. Names and values look like Kubernetes; 10 labels make about 317 B of protobuf
// for a series with one sample. Churn replaces a target by a new pod: its generation counts up and
// pod, instance and node change. Everything is a pure function of the numbers. Limits: options.h.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace forebay::loadgen {

struct Label {
  std::string name;
  std::string value;
};

// Threads: any; immutable.
class SeriesModel {
 public:
  struct Options {
    uint64_t series = 1;
    uint32_t tables = 1;
    uint32_t labels = 10;
    double churn_percent_per_minute = 0;
  };

  // The options must be within the limits of options.h.
  explicit SeriesModel(const Options& options);

  uint64_t series() const { return options_.series; }
  uint64_t targets() const { return targets_; }
  uint64_t series_per_target() const { return uint64_t{options_.tables} * variants_; }
  uint64_t Target(uint64_t series) const { return series / series_per_target(); }
  uint32_t Metric(uint64_t series) const;

  // How often the target was replaced `elapsed` after the start. The targets take turns, so that
  // the share of them that churn asks for is replaced in every minute.
  uint32_t Generation(uint64_t target, std::chrono::milliseconds elapsed) const;

  // Brings the generations of the targets from `first_target` on up to date. Returns whether one
  // changed.
  bool UpdateGenerations(uint64_t first_target, std::chrono::milliseconds elapsed,
                         std::vector<uint32_t>& generations) const;

  // Replaces `out` by the labels, ordered by name (bytes). Keeps its memory.
  void Labels(uint64_t series, uint32_t generation, std::vector<Label>& out) const;
  std::string MetricName(uint32_t metric) const;
  // HELP text of a metric, for remote write 2.0.
  std::string Help(uint32_t metric) const;

 private:
  std::string Value(std::string_view label, uint64_t series, uint32_t generation) const;
  std::string PodName(uint64_t target, uint32_t generation) const;

  Options options_;
  uint64_t variants_ = 1;  // series of a metric in one target
  uint64_t targets_ = 1;
  std::vector<std::string> label_names_;  // ordered; [0] is __name__
};

// A 64-bit mix of two numbers; the same on every machine.
uint64_t Mix(uint64_t a, uint64_t b);

}  // namespace forebay::loadgen
