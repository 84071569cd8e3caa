#include "otlp/metric_names.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace forebay::otlp {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

constexpr Pair kUnits[] = {{"d", "days"},
                           {"h", "hours"},
                           {"min", "minutes"},
                           {"s", "seconds"},
                           {"ms", "milliseconds"},
                           {"us", "microseconds"},
                           {"ns", "nanoseconds"},
                           {"By", "bytes"},
                           {"KiBy", "kibibytes"},
                           {"MiBy", "mebibytes"},
                           {"GiBy", "gibibytes"},
                           {"TiBy", "tebibytes"},
                           {"KBy", "kilobytes"},
                           {"MBy", "megabytes"},
                           {"GBy", "gigabytes"},
                           {"TBy", "terabytes"},
                           {"m", "meters"},
                           {"V", "volts"},
                           {"A", "amperes"},
                           {"J", "joules"},
                           {"W", "watts"},
                           {"g", "grams"},
                           {"Cel", "celsius"},
                           {"Hz", "hertz"},
                           {"1", ""},
                           {"%", "percent"}};
constexpr Pair kPerUnits[] = {{"s", "second"}, {"m", "minute"}, {"h", "hour"}, {"d", "day"},
                              {"w", "week"},   {"mo", "month"}, {"y", "year"}};

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

template <size_t kSize>
std::string_view Look(const Pair (&pairs)[kSize], std::string_view name) {
  for (const Pair& pair : pairs) {
    if (pair.first == name) return pair.second;
  }
  return name;
}

// Without what stands in braces, and blanks around.
std::string WithoutAnnotations(std::string_view unit) {
  std::string out;
  int depth = 0;
  for (const char c : unit) {
    if (c == '{') ++depth;
    if (depth == 0 && c != ' ' && c != '\t') out += c;
    if (c == '}' && depth > 0) --depth;
  }
  return out;
}

// Other characters become `_`, several of them one.
std::string Escape(std::string_view name, bool colons) {
  std::string out;
  for (const char c : name) {
    const bool good = IsLetter(c) || IsDigit(c) || (colons && c == ':');
    if (good) {
      out += c;
    } else if (out.empty() || out.back() != '_') {
      out += '_';
    }
  }
  return out;
}

std::string_view TrimUnderscores(std::string_view text) {
  while (!text.empty() && text.front() == '_') text.remove_prefix(1);
  while (!text.empty() && text.back() == '_') text.remove_suffix(1);
  return text;
}

bool HasToken(std::string_view name, std::string_view token) {
  for (size_t at = name.find(token); at != std::string_view::npos; at = name.find(token, at + 1)) {
    const auto edge = [&](size_t i) { return !IsLetter(name[i]) && !IsDigit(name[i]); };
    const size_t end = at + token.size();
    if ((at == 0 || edge(at - 1)) && (end == name.size() || edge(end))) return true;
  }
  return false;
}

void AppendToken(std::string& name, const std::string& token) {
  if (token.empty() || HasToken(name, token)) return;
  if (!name.empty() && name.back() != '_') name += '_';
  name += token;
}

// `_total` is the last word of a counter, once.
void EndWithTotal(std::string& name) {
  for (const std::string_view suffix : {"_total", ".total"}) {
    if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
  }
  name += "_total";
}

}  // namespace

Naming ParseNaming(std::string_view text) {
  return {text == "underscores_suffixes" || text == "underscores",
          text == "underscores_suffixes" || text == "suffixes"};
}

std::string MetricName(std::string_view name, std::string_view unit, MetricKind kind,
                       const Naming& naming) {
  std::string out = naming.underscores ? Escape(name, true) : std::string(name);
  if (naming.suffixes) {
    const std::string clean = WithoutAnnotations(unit);
    const size_t slash = clean.find('/');
    const bool total = kind == MetricKind::kCounter;
    if (total && out.ends_with("_total")) out.resize(out.size() - 6);
    const auto word = [](std::string_view text) {
      return std::string(TrimUnderscores(Escape(text, false)));
    };
    AppendToken(out, word(Look(kUnits, std::string_view(clean).substr(0, slash))));
    if (slash != std::string::npos) {
      const std::string per = word(Look(kPerUnits, std::string_view(clean).substr(slash + 1)));
      if (!per.empty()) AppendToken(out, "per_" + per);
    }
    if (clean == "1" && kind == MetricKind::kGauge) AppendToken(out, "ratio");
    if (total) EndWithTotal(out);
  }
  if (naming.underscores && !out.empty() && IsDigit(out.front())) out.insert(0, 1, '_');
  return out;
}

std::string LabelName(std::string_view name, const Naming& naming) {
  if (!naming.underscores) return std::string(name);
  std::string out;
  for (const char c : name) out += IsLetter(c) || IsDigit(c) ? c : '_';
  if (!out.empty() && IsDigit(out.front())) out.insert(0, "key_");
  return out;
}

}  // namespace forebay::otlp
