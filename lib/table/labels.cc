#include "table/labels.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "table/internal/short_text.h"
#include "table/utf8.h"

namespace forebay::table {
namespace {

constexpr size_t kChunkBytes = 4096;

constexpr size_t kFewLabels = 32;

bool NameLess(const Label& a, const Label& b) {
  // Most names differ in the first byte from the one before them.
  if (!a.name.empty() && !b.name.empty() && a.name[0] != b.name[0]) {
    return static_cast<unsigned char>(a.name[0]) < static_cast<unsigned char>(b.name[0]);
  }
  return a.name < b.name;
}

bool IsLegacyName(std::string_view name, bool colon) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  return std::all_of(name.begin(), name.end(), [colon](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (colon && c == ':');
  });
}

auto LowerBound(const std::vector<Label>& labels, std::string_view name) {
  return std::lower_bound(
      labels.begin(), labels.end(), name,
      [](const Label& label, std::string_view wanted) { return label.name < wanted; });
}

}  // namespace

void SortByName(std::vector<Label>& labels) {
  if (std::is_sorted(labels.begin(), labels.end(), NameLess)) return;
  std::stable_sort(labels.begin(), labels.end(), NameLess);
}

void DropEmptyValues(std::vector<Label>& labels) {
  std::erase_if(labels, [](const Label& label) { return label.value.empty(); });
}

bool IsSortedUnique(LabelSpan labels) {
  for (size_t i = 1; i < labels.size(); ++i) {
    if (labels[i - 1].name >= labels[i].name) return false;
  }
  return true;
}

std::string_view FindValue(LabelSpan sorted, std::string_view name) {
  if (sorted.size() <= kFewLabels) {
    for (const Label& label : sorted) {
      if (internal::Same(label.name, name)) return label.value;
    }
    return {};
  }
  const auto found = std::lower_bound(
      sorted.begin(), sorted.end(), name,
      [](const Label& label, std::string_view wanted) { return label.name < wanted; });
  return found != sorted.end() && found->name == name ? found->value : std::string_view();
}

std::string_view Describe(LabelProblem problem) {
  switch (problem) {
    case LabelProblem::kNoMetricName:
      return "no metric name";
    case LabelProblem::kEmptyName:
      return "label name is empty";
    case LabelProblem::kDuplicateName:
      return "label name stands twice";
    case LabelProblem::kNotUtf8:
      return "label is not valid UTF-8";
  }
  FOREBAY_CHECK(false);
}

std::optional<LabelFinding> FindProblem(LabelSpan sorted) {
  bool has_metric_name = false;
  for (size_t i = 0; i < sorted.size(); ++i) {
    const Label& label = sorted[i];
    if (label.name.empty()) return LabelFinding{LabelProblem::kEmptyName, label};
    if (i > 0 && internal::Same(sorted[i - 1].name, label.name)) {
      return LabelFinding{LabelProblem::kDuplicateName, label};
    }
    if (!IsValidUtf8(label.name) || !IsValidUtf8(label.value)) {
      return LabelFinding{LabelProblem::kNotUtf8, label};
    }
    if (internal::Same(label.name, kMetricNameLabel) && !label.value.empty()) {
      has_metric_name = true;
    }
  }
  if (!has_metric_name) return LabelFinding{LabelProblem::kNoMetricName, {}};
  return std::nullopt;
}

bool IsLegacyMetricName(std::string_view name) { return IsLegacyName(name, true); }
bool IsLegacyLabelName(std::string_view name) { return IsLegacyName(name, false); }

void LabelBuilder::Reset(LabelSpan labels) {
  labels_.clear();
  chunk_ = 0;
  used_ = 0;
  for (const Label& label : labels) {
    if (label.name.empty()) continue;
    labels_.push_back({Keep(label.name), Keep(label.value)});
  }
  SortByName(labels_);
  // The sort is stable, so the last of a run of equal names is the last given. Values that are
  // empty go only after that: the last one may be the empty one, and then there is no such label.
  size_t kept = 0;
  for (size_t i = 0; i < labels_.size(); ++i) {
    if (i + 1 < labels_.size() && labels_[i + 1].name == labels_[i].name) continue;
    labels_[kept++] = labels_[i];
  }
  labels_.resize(kept);
  DropEmptyValues(labels_);
}

void LabelBuilder::Set(std::string_view name, std::string_view value) {
  if (name.empty()) return;
  if (value.empty()) {
    Delete(name);
    return;
  }
  const auto found = LowerBound(labels_, name);
  const auto index = static_cast<size_t>(found - labels_.begin());
  const bool known = found != labels_.end() && found->name == name;
  const std::string_view kept_value = Keep(value);
  if (known) {
    labels_[index].value = kept_value;
  } else {
    labels_.insert(found, {Keep(name), kept_value});
  }
}

void LabelBuilder::Delete(std::string_view name) {
  const auto found = LowerBound(labels_, name);
  if (found != labels_.end() && found->name == name) labels_.erase(found);
}

std::string_view LabelBuilder::Keep(std::string_view text) {
  if (text.empty()) return {};
  // A chunk that is too small for this text is passed over until the next Reset.
  while (chunk_ < chunks_.size() && chunks_[chunk_].size - used_ < text.size()) {
    ++chunk_;
    used_ = 0;
  }
  if (chunk_ == chunks_.size()) {
    const size_t size = std::max(kChunkBytes, text.size());
    chunks_.push_back({std::unique_ptr<char[]>(new char[size]), size});
  }
  char* copy = chunks_[chunk_].bytes.get() + used_;
  std::memcpy(copy, text.data(), text.size());
  used_ += text.size();
  return {copy, text.size()};
}

}  // namespace forebay::table
