// Prometheus' relabel_config: rules that change, keep or drop a series by its labels. Runs once for
// each series not seen before, so it is written for clarity.
// Semantics: those of Prometheus 3 (regular expressions match the whole text, dot matches newlines,
// a missing label is an empty text, an empty value deletes, label names are any non-empty UTF-8).
// Differences: named groups are written (?P<name>...) only.
// Source: Prometheus documentation, relabel_config; RE2 syntax for the expressions.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "table/labels.h"

namespace forebay::table {

enum class RelabelDecision { kKeep, kDrop };

// A list of compiled rules. Immutable. Threads: any number at once, each with its own builder.
class Relabeler {
 public:
  // Errors: kInvalidArgument with the rule's position: unknown action, bad expression, a field that
  // is missing or that the action does not use.
  static Result<Relabeler> Compile(const std::vector<config::RelabelConfig>& configs);

  Relabeler(Relabeler&&) noexcept;
  Relabeler& operator=(Relabeler&&) noexcept;
  ~Relabeler();

  // No rules: Apply would keep everything as it is, callers may skip making a builder.
  bool empty() const;
  size_t size() const;

  // Applies the rules in order until one drops. After kDrop the builder's labels are unspecified.
  RelabelDecision Apply(LabelBuilder& labels) const;

 private:
  struct Rule;
  explicit Relabeler(std::vector<std::unique_ptr<const Rule>> rules);

  std::vector<std::unique_ptr<const Rule>> rules_;
};

}  // namespace forebay::table
