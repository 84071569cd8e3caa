// Labels of a series as views, and an owning set that can be changed (for relabelling).
// A label set is canonical when it is sorted by the bytes of the names, no name is empty or stands
// twice, and no value is empty (an empty value is the same as no label). Everything that identifies
// or renders a series takes canonical sets.
// Limits: none here; the receiver bounds counts and lengths (config::Limits) before.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace forebay::table {

inline constexpr std::string_view kMetricNameLabel = "__name__";

// Views: whoever made them owns the bytes.
struct Label {
  std::string_view name;
  std::string_view value;
  bool operator==(const Label&) const = default;
};

using LabelSpan = std::span<const Label>;

// Sorts by the bytes of the names (unsigned); a stable order for equal names. Does nothing but one
// pass when they are sorted already, as nearly every sender has them.
void SortByName(std::vector<Label>& labels);

// Removes the labels without a value. Keeps the order.
void DropEmptyValues(std::vector<Label>& labels);

// True when sorted and every name stands once.
bool IsSortedUnique(LabelSpan labels);

// The value of `name` in a sorted set; empty when it is not there.
std::string_view FindValue(LabelSpan sorted, std::string_view name);

enum class LabelProblem {
  kNoMetricName,   // no __name__, or an empty one
  kEmptyName,      // a label without a name
  kDuplicateName,  // a name twice
  kNotUtf8,        // a name or a value is not valid UTF-8
};

// For the answer to the sender: "label name is empty".
std::string_view Describe(LabelProblem problem);

struct LabelFinding {
  LabelProblem problem;
  Label label;  // the offending one; empty for kNoMetricName
};

// What makes a series unacceptable whatever the protocol (docs/remote-write.md), the first
// found. Shape: sorted by name; labels without a value may still be there. Threads: any.
std::optional<LabelFinding> FindProblem(LabelSpan sorted);

// [a-zA-Z_:][a-zA-Z0-9_:]* and [a-zA-Z_][a-zA-Z0-9_]*: the names of remote write 1.0.
bool IsLegacyMetricName(std::string_view name);
bool IsLegacyLabelName(std::string_view name);

// A label set that owns its bytes and can be changed. Always canonical.
// Get and Set cost log(n) and a move of at most n small views; texts never move, so every view
// handed out stays good until the next Reset. Memory is kept by Reset: a reused builder does not
// allocate. Threads: one at a time.
class LabelBuilder {
 public:
  LabelBuilder() = default;
  explicit LabelBuilder(LabelSpan labels) { Reset(labels); }

  // Copies the labels in, in any order. Of equal names the last wins; empty names and values are
  // left out. `labels` must not point into this builder.
  void Reset(LabelSpan labels);

  // Empty when there is no such label.
  std::string_view Get(std::string_view name) const { return FindValue(labels_, name); }
  // An empty value deletes. An empty name is ignored.
  void Set(std::string_view name, std::string_view value);
  void Delete(std::string_view name);

  // Sorted by name.
  LabelSpan labels() const { return labels_; }
  size_t size() const { return labels_.size(); }
  bool empty() const { return labels_.empty(); }

 private:
  struct Chunk {
    std::unique_ptr<char[]> bytes;
    size_t size;
  };

  std::string_view Keep(std::string_view text);

  std::vector<Label> labels_;  // sorted by name; views into chunks_
  std::vector<Chunk> chunks_;  // texts, replaced ones too, until Reset
  size_t chunk_ = 0;           // index of the chunk being filled
  size_t used_ = 0;            // bytes used of it
};

}  // namespace forebay::table
