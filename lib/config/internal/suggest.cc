#include "config/internal/suggest.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace forebay::config::internal {
namespace {

constexpr size_t kMaxWord = 128;  // Longer names are compared by their beginning.

// Keys of earlier versions.
constexpr std::pair<std::string_view, std::string_view> kRenamed[] = {
    {"limits.shutdown_timeout", "drain.stop_timeout"},
};

std::string Normalise(std::string_view text) {
  std::string result;
  for (const char c : text.substr(0, kMaxWord)) {
    if (c == '_' || c == '-') continue;
    result += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return result;
}

std::string_view LastComponent(std::string_view path) {
  const size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

// The key anywhere whose last component, or whole path, is nearest to the word.
std::optional<std::string> NearestAnywhere(std::string_view word) {
  std::optional<std::string> best;
  size_t best_distance = std::max<size_t>(1, word.size() / 5);
  ForEachKey("0", [&](const std::string& path, const Field&) {
    const size_t distance =
        std::min(EditDistance(word, LastComponent(path)), EditDistance(word, path));
    if (distance < best_distance || (!best && distance == best_distance)) {
      best = path;
      best_distance = distance;
    }
  });
  return best;
}

}  // namespace

size_t EditDistance(std::string_view a, std::string_view b) {
  const std::string x = Normalise(a);
  const std::string y = Normalise(b);
  std::vector<size_t> before(y.size() + 1);
  std::vector<size_t> above(y.size() + 1);
  std::vector<size_t> row(y.size() + 1);
  for (size_t j = 0; j <= y.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= x.size(); ++i) {
    before.swap(above);
    above.swap(row);
    row[0] = i;
    for (size_t j = 1; j <= y.size(); ++j) {
      const size_t replace = above[j - 1] + (x[i - 1] == y[j - 1] ? 0 : 1);
      row[j] = std::min({replace, above[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && x[i - 1] == y[j - 2] && x[i - 2] == y[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
  }
  return row[y.size()];
}

std::optional<std::string> Nearest(std::string_view word,
                                   const std::vector<std::string>& candidates) {
  std::optional<std::string> best;
  size_t best_distance = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = EditDistance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string AdviseKey(std::string_view word, std::string_view path, const StructSchema& schema) {
  for (const auto& [before, now] : kRenamed) {
    if (JoinKey(path, word) == before) return fmt::format("its name is {} now", now);
  }
  std::vector<std::string> names;
  for (const Field& field : schema.fields) names.emplace_back(field.name);
  if (const auto name = Nearest(word, names)) {
    return fmt::format("did you mean \"{}\"?", JoinKey(path, *name));
  }
  if (const auto elsewhere = NearestAnywhere(word)) {
    return fmt::format("did you mean \"{}\"?", *elsewhere);
  }
  return fmt::format("valid keys here are {}", JoinNames(names));
}

std::string AdviseEnvironment(std::string_view name) {
  for (const auto& [before, now] : kRenamed) {
    if (name == EnvironmentName(before)) {
      return fmt::format("its name is {} now", EnvironmentName(now));
    }
  }
  std::vector<std::string> names = {"FOREBAY_CONFIG"};
  ForEachKey(
      "0", [&](const std::string& path, const Field&) { names.push_back(EnvironmentName(path)); });
  const auto nearest = Nearest(name, names);
  // All names share a prefix, so there is a nearest one for every word that is not far too short.
  if (nearest) return fmt::format("did you mean {}?", *nearest);
  return "docs/configuration.md lists the names";
}

std::string JoinNames(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    if (!text.empty()) text += ", ";
    text += name;
  }
  return text;
}

}  // namespace forebay::config::internal
