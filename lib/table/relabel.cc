#include "table/relabel.h"

#include <fmt/core.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <clocale>
#include <cwctype>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "table/internal/md5.h"
#include "table/utf8.h"

namespace forebay::table {
namespace {

using config::RelabelConfig;

enum class Action {
  kReplace,
  kKeep,
  kDrop,
  kKeepEqual,
  kDropEqual,
  kHashMod,
  kLabelMap,
  kLabelDrop,
  kLabelKeep,
  kLowercase,
  kUppercase,
};

constexpr std::array<std::pair<std::string_view, Action>, 11> kActions = {{
    {"replace", Action::kReplace},
    {"keep", Action::kKeep},
    {"drop", Action::kDrop},
    {"keepequal", Action::kKeepEqual},
    {"dropequal", Action::kDropEqual},
    {"hashmod", Action::kHashMod},
    {"labelmap", Action::kLabelMap},
    {"labeldrop", Action::kLabelDrop},
    {"labelkeep", Action::kLabelKeep},
    {"lowercase", Action::kLowercase},
    {"uppercase", Action::kUppercase},
}};

// RE2's own limit is higher; so many groups in a label rule are a mistake.
constexpr int kMaxGroups = 100;

bool IsDigits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// A replacement text, cut into literals and groups as Go's Regexp.Expand reads it: $name, ${name},
// $1, ${1}, $$. A name is the longest run of letters, digits and underscores; an unknown one is
// empty; a `$` that begins none of these stands for itself.
class Template {
 public:
  Template() = default;
  Template(std::string_view text, const RE2& regex) {
    while (true) {
      const size_t dollar = text.find('$');
      AddLiteral(text.substr(0, dollar));
      if (dollar == std::string_view::npos) return;
      text.remove_prefix(dollar + 1);
      if (text.starts_with('$')) {
        AddLiteral("$");
        text.remove_prefix(1);
        continue;
      }
      const size_t reference = AddReference(text, regex);
      if (reference == 0) AddLiteral("$");
      text.remove_prefix(reference);
    }
  }

  // Elements of RE2's submatch array that Expand reads.
  int submatches() const { return submatches_; }

  std::string Expand(const re2::StringPiece* groups) const {
    std::string text;
    for (const Piece& piece : pieces_) {
      if (piece.group < 0) {
        text += piece.literal;
      } else if (groups[piece.group].data() != nullptr) {
        text.append(groups[piece.group].data(), groups[piece.group].size());
      }
    }
    return text;
  }

 private:
  struct Piece {
    std::string literal;
    int group = -1;  // -1: the literal
  };

  void AddLiteral(std::string_view text) {
    if (!text.empty()) pieces_.push_back({std::string(text), -1});
  }

  // Reads what follows a `$`. Returns its length, 0 when it is no reference.
  size_t AddReference(std::string_view text, const RE2& regex) {
    static const RE2 name_pattern("^[\\pL\\p{Nd}_]+");
    const bool brace = text.starts_with('{');
    if (brace) text.remove_prefix(1);
    re2::StringPiece name;
    const re2::StringPiece input(text.data(), text.size());
    if (!name_pattern.Match(input, 0, input.size(), RE2::UNANCHORED, &name, 1)) return 0;
    const size_t length = name.size();
    if (brace && (length >= text.size() || text[length] != '}')) return 0;
    const int group = FindGroup(text.substr(0, length), regex);
    if (group >= 0) {
      pieces_.push_back({"", group});
      submatches_ = std::max(submatches_, group + 1);
    }
    return length + (brace ? 2 : 0);
  }

  // -1 when the expression has no such group.
  static int FindGroup(std::string_view name, const RE2& regex) {
    const bool leading_zero = name.size() > 1 && name[0] == '0';
    if (IsDigits(name) && !leading_zero) {
      int number = -1;
      const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
      if (parsed.ec != std::errc()) return -1;
      return number <= regex.NumberOfCapturingGroups() ? number : -1;
    }
    const auto& groups = regex.NamedCapturingGroups();
    const auto found = groups.find(std::string(name));
    return found == groups.end() ? -1 : found->second;
  }

  std::vector<Piece> pieces_;
  int submatches_ = 1;  // the whole match at least
};

bool IsLabelName(std::string_view name) { return !name.empty() && IsValidUtf8(name); }

// One wide character by glibc's built-in C.UTF-8 tables, whatever the process' locale is; ASCII
// only where there is no such locale.
wint_t MapCase(wint_t c, bool upper) {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  if (locale != nullptr) return upper ? towupper_l(c, locale) : towlower_l(c, locale);
  if (upper) return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c;
  return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

void AppendUtf8(char32_t c, std::string& out) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6);
    put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3f));
    put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  }
}

// Simple case mapping, character by character. Bytes that are not UTF-8 stay as they are.
std::string ChangeCase(std::string_view text, bool upper) {
  if (!IsValidUtf8(text)) return std::string(text);
  std::string changed;
  changed.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t bytes = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    char32_t c = bytes == 1 ? lead : lead & (0x7fU >> bytes);
    for (size_t k = 1; k < bytes; ++k) {
      c = c << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3fU);
    }
    AppendUtf8(static_cast<char32_t>(MapCase(static_cast<wint_t>(c), upper)), changed);
    i += bytes;
  }
  return changed;
}

uint64_t HashMod(std::string_view text, uint64_t modulus) {
  const std::array<uint8_t, 16> digest = internal::Md5(text);
  uint64_t hash = 0;
  for (size_t i = 8; i < 16; ++i) hash = hash << 8 | digest[i];
  return hash % modulus;
}

std::optional<Action> ParseAction(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  for (const auto& [name, action] : kActions) {
    if (name == lower) return action;
  }
  return std::nullopt;
}

// What Prometheus refuses at load time. Returns nothing when all is well, else what is wrong.
std::optional<std::string> FindMistake(const RelabelConfig& config, Action action) {
  static const RelabelConfig defaults;
  const bool sets_label = action == Action::kReplace || action == Action::kHashMod ||
                          action == Action::kLowercase || action == Action::kUppercase ||
                          action == Action::kKeepEqual || action == Action::kDropEqual;
  if (sets_label && config.target_label.empty()) return "target_label is missing";
  if (sets_label && action != Action::kReplace && !IsLabelName(config.target_label)) {
    return "target_label is not a label name";
  }
  if (action == Action::kHashMod && config.modulus == 0) return "modulus is missing";
  const bool replacement_set = config.replacement != defaults.replacement;
  const bool uses_replacement = action == Action::kReplace || action == Action::kLabelMap ||
                                action == Action::kKeep || action == Action::kDrop ||
                                action == Action::kHashMod;
  if (replacement_set && !uses_replacement) return "replacement has no meaning with this action";
  if (action == Action::kLabelMap && config.replacement.empty()) return "replacement is empty";
  if (action == Action::kKeepEqual || action == Action::kDropEqual) {
    if (config.regex != defaults.regex || config.modulus != 0 ||
        config.separator != defaults.separator) {
      return "only source_labels and target_label have a meaning with this action";
    }
  }
  if (action == Action::kLabelDrop || action == Action::kLabelKeep) {
    if (!config.source_labels.empty() || !config.target_label.empty() || config.modulus != 0 ||
        config.separator != defaults.separator) {
      return "only regex has a meaning with this action";
    }
  }
  return std::nullopt;
}

Error RuleError(const RelabelConfig& config, std::string_view message) {
  std::string_view position = config.position;
  if (position.empty()) position = "relabel_configs";
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("{}: relabel action \"{}\": {}", position, config.action, message));
}

}  // namespace

struct Relabeler::Rule {
  Rule(const RelabelConfig& config_in, Action action_in, const RE2::Options& options)
      : config(config_in), action(action_in), regex("^(?s:" + config_in.regex + ")$", options) {}

  // The source labels' values with the separator between them.
  std::string Source(const LabelBuilder& labels) const {
    std::string text;
    for (size_t i = 0; i < config.source_labels.size(); ++i) {
      if (i != 0) text += config.separator;
      text += labels.Get(config.source_labels[i]);
    }
    return text;
  }

  bool Matches(std::string_view text) const {
    const re2::StringPiece input(text.data(), text.size());
    return regex.Match(input, 0, input.size(), RE2::UNANCHORED, nullptr, 0);
  }

  RelabelDecision Apply(LabelBuilder& labels) const;
  void Replace(std::string_view source, LabelBuilder& labels) const;
  void MapNames(LabelBuilder& labels) const;
  void DeleteNames(bool matching, LabelBuilder& labels) const;

  const RelabelConfig config;
  const Action action;
  const RE2 regex;
  Template target;       // replace only
  Template replacement;  // replace and labelmap only
};

void Relabeler::Rule::Replace(std::string_view source, LabelBuilder& labels) const {
  std::array<re2::StringPiece, kMaxGroups + 1> groups;
  const re2::StringPiece input(source.data(), source.size());
  const int wanted = std::max(target.submatches(), replacement.submatches());
  if (!regex.Match(input, 0, input.size(), RE2::UNANCHORED, groups.data(), wanted)) return;
  const std::string name = target.Expand(groups.data());
  if (!IsLabelName(name)) return;
  labels.Set(name, replacement.Expand(groups.data()));
}

void Relabeler::Rule::MapNames(LabelBuilder& labels) const {
  // Over the labels as they were: names that the rule makes are not mapped again.
  const std::vector<Label> before(labels.labels().begin(), labels.labels().end());
  std::array<re2::StringPiece, kMaxGroups + 1> groups;
  for (const Label& label : before) {
    const re2::StringPiece input(label.name.data(), label.name.size());
    if (!regex.Match(input, 0, input.size(), RE2::UNANCHORED, groups.data(),
                     replacement.submatches())) {
      continue;
    }
    labels.Set(replacement.Expand(groups.data()), label.value);
  }
}

void Relabeler::Rule::DeleteNames(bool matching, LabelBuilder& labels) const {
  const std::vector<Label> before(labels.labels().begin(), labels.labels().end());
  for (const Label& label : before) {
    if (Matches(label.name) == matching) labels.Delete(label.name);
  }
}

RelabelDecision Relabeler::Rule::Apply(LabelBuilder& labels) const {
  const auto keep_if = [](bool keep) {
    return keep ? RelabelDecision::kKeep : RelabelDecision::kDrop;
  };
  switch (action) {
    case Action::kReplace:
      Replace(Source(labels), labels);
      return RelabelDecision::kKeep;
    case Action::kKeep:
      return keep_if(Matches(Source(labels)));
    case Action::kDrop:
      return keep_if(!Matches(Source(labels)));
    case Action::kKeepEqual:
      return keep_if(labels.Get(config.target_label) == Source(labels));
    case Action::kDropEqual:
      return keep_if(labels.Get(config.target_label) != Source(labels));
    case Action::kHashMod:
      labels.Set(config.target_label, std::to_string(HashMod(Source(labels), config.modulus)));
      return RelabelDecision::kKeep;
    case Action::kLabelMap:
      MapNames(labels);
      return RelabelDecision::kKeep;
    case Action::kLabelDrop:
      DeleteNames(true, labels);
      return RelabelDecision::kKeep;
    case Action::kLabelKeep:
      DeleteNames(false, labels);
      return RelabelDecision::kKeep;
    case Action::kLowercase:
      labels.Set(config.target_label, ChangeCase(Source(labels), false));
      return RelabelDecision::kKeep;
    case Action::kUppercase:
      labels.Set(config.target_label, ChangeCase(Source(labels), true));
      return RelabelDecision::kKeep;
  }
  FOREBAY_CHECK(false);
}

Relabeler::Relabeler(std::vector<std::unique_ptr<const Rule>> rules) : rules_(std::move(rules)) {}
Relabeler::Relabeler(Relabeler&&) noexcept = default;
Relabeler& Relabeler::operator=(Relabeler&&) noexcept = default;
Relabeler::~Relabeler() = default;

Result<Relabeler> Relabeler::Compile(const std::vector<RelabelConfig>& configs) {
  RE2::Options options;
  options.set_log_errors(false);
  std::vector<std::unique_ptr<const Rule>> rules;
  for (const RelabelConfig& config : configs) {
    const std::optional<Action> action = ParseAction(config.action);
    if (!action) return RuleError(config, "unknown action");
    if (const auto mistake = FindMistake(config, *action)) return RuleError(config, *mistake);
    auto rule = std::make_unique<Rule>(config, *action, options);
    if (!rule->regex.ok()) {
      return RuleError(config, fmt::format("regex \"{}\": {}", config.regex, rule->regex.error()));
    }
    if (rule->regex.NumberOfCapturingGroups() > kMaxGroups) {
      return RuleError(config, fmt::format("regex has more than {} groups", kMaxGroups));
    }
    rule->target = Template(config.target_label, rule->regex);
    rule->replacement = Template(config.replacement, rule->regex);
    rules.push_back(std::move(rule));
  }
  return Relabeler(std::move(rules));
}

bool Relabeler::empty() const { return rules_.empty(); }
size_t Relabeler::size() const { return rules_.size(); }

RelabelDecision Relabeler::Apply(LabelBuilder& labels) const {
  for (const auto& rule : rules_) {
    if (rule->Apply(labels) == RelabelDecision::kDrop) return RelabelDecision::kDrop;
  }
  return RelabelDecision::kKeep;
}

}  // namespace forebay::table
