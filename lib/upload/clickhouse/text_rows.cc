#include "upload/clickhouse/text_rows.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <chrono>
#include <limits>

#include "table/number_text.h"

namespace forebay::upload {
namespace {

constexpr size_t kShownField = 60;

// Exactly `digits` digits at the front of text.
std::optional<int> TakeDigits(std::string_view& text, size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int value = 0;
  for (size_t i = 0; i < digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return value;
}

bool Take(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

// ".123": ms.
std::optional<int64_t> TakeFraction(std::string_view& text) {
  if (!Take(text, '.')) return 0;
  int64_t millis = 0;
  int64_t scale = 100;
  size_t digits = 0;
  for (; !text.empty() && text.front() >= '0' && text.front() <= '9'; ++digits) {
    millis += scale * (text.front() - '0');
    scale /= 10;
    text.remove_prefix(1);
  }
  return digits == 0 ? std::nullopt : std::optional(millis);
}

// "Z", "+01:30" or nothing: seconds east.
std::optional<int64_t> TakeOffset(std::string_view& text) {
  if (text.empty() || Take(text, 'Z') || Take(text, 'z')) return 0;
  const int64_t sign = text.front() == '-' ? -1 : 1;
  if (!Take(text, '+') && !Take(text, '-')) return std::nullopt;
  const auto hours = TakeDigits(text, 2);
  if (!hours || !Take(text, ':')) return std::nullopt;
  const auto minutes = TakeDigits(text, 2);
  if (!minutes) return std::nullopt;
  return sign * (*hours * 3600 + *minutes * 60);
}

template <typename T>
std::optional<uint64_t> ParseInteger(std::string_view text) {
  if (text.empty()) return 0;
  T value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return static_cast<uint64_t>(static_cast<int64_t>(value));
}

// The empty field is the stale marker (docs/format/rows.md).
std::optional<uint64_t> ParseReal(std::string_view text) {
  if (text.empty()) return table::kStaleMarkerBits;
  if (text == "NaN") return std::bit_cast<uint64_t>(std::numeric_limits<double>::quiet_NaN());
  std::string_view digits = text;
  if (digits.front() == '+') digits.remove_prefix(1);
  double value = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool whole = parsed.ptr == digits.data() + digits.size() && !digits.empty();
  if (!whole || parsed.ec != std::errc()) return std::nullopt;
  return std::bit_cast<uint64_t>(value);
}

std::optional<uint64_t> ParseBool(std::string_view text) {
  if (text == "true" || text == "True" || text == "1") return 1;
  if (text.empty() || text == "false" || text == "False" || text == "0") return 0;
  return std::nullopt;
}

std::optional<uint64_t> ParseNumber(table::ColumnType type, std::string_view text) {
  switch (type) {
    case table::ColumnType::kDatetime: {
      if (text.empty()) return 0;  // as of a record that was not observed
      const auto time = ParseRfc3339(text);
      return time ? std::optional(static_cast<uint64_t>(*time)) : std::nullopt;
    }
    case table::ColumnType::kLong:
      return ParseInteger<int64_t>(text);
    case table::ColumnType::kInt:
      return ParseInteger<int32_t>(text);
    case table::ColumnType::kReal:
      return ParseReal(text);
    case table::ColumnType::kBool:
      return ParseBool(text);
    default:
      return 0;
  }
}

bool IsText(table::ColumnType type) {
  return type != table::ColumnType::kDatetime && type != table::ColumnType::kLong &&
         type != table::ColumnType::kInt && type != table::ColumnType::kReal &&
         type != table::ColumnType::kBool;
}

}  // namespace

std::optional<int64_t> ParseRfc3339(std::string_view text) {
  namespace chrono = std::chrono;
  const auto year = TakeDigits(text, 4);
  if (!year || !Take(text, '-')) return std::nullopt;
  const auto month = TakeDigits(text, 2);
  if (!month || !Take(text, '-')) return std::nullopt;
  const auto day = TakeDigits(text, 2);
  if (!day) return std::nullopt;
  const chrono::year_month_day date{chrono::year(*year),
                                    chrono::month(static_cast<unsigned>(*month)),
                                    chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  int64_t millis = chrono::sys_days(date).time_since_epoch().count() * int64_t{86'400'000};
  if (text.empty()) return millis;
  if (!Take(text, 'T') && !Take(text, ' ') && !Take(text, 't')) return std::nullopt;
  const auto hour = TakeDigits(text, 2);
  if (!hour || !Take(text, ':')) return std::nullopt;
  const auto minute = TakeDigits(text, 2);
  if (!minute || !Take(text, ':')) return std::nullopt;
  const auto second = TakeDigits(text, 2);
  if (!second || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  millis += (int64_t{*hour} * 3600 + int64_t{*minute} * 60 + *second) * 1000;
  const auto fraction = TakeFraction(text);
  if (!fraction) return std::nullopt;
  const auto offset = TakeOffset(text);
  if (!offset || !text.empty()) return std::nullopt;
  return millis + *fraction - *offset * 1000;
}

bool TextRowParser::Next() {
  if (rest_.empty()) return false;
  problem_.clear();
  Split();
  if (problem_.empty()) Convert();
  return true;
}

// Fields up to the line's end; row_ and rest_ are set. A quote that is never closed ends with the
// text: the row is bad, and what follows its first line is read again.
void TextRowParser::Split() {
  fields_.clear();
  unquoted_.resize(schema_.columns().size());
  size_t at = 0;
  const auto end_row = [&](size_t end) {
    row_ = rest_.substr(0, end);
    rest_.remove_prefix(end);
  };
  while (true) {
    TextField field;
    if (at < rest_.size() && rest_[at] == '"') {
      std::string* copy = fields_.size() < unquoted_.size() ? &unquoted_[fields_.size()] : nullptr;
      if (copy != nullptr) copy->clear();
      size_t begin = ++at;
      bool doubled = false;
      while (true) {
        const size_t quote = rest_.find('"', at);
        if (quote == std::string_view::npos) {
          problem_ = "a quote is not closed";
          const size_t line = rest_.find('\n');
          end_row(line == std::string_view::npos ? rest_.size() : line + 1);
          return;
        }
        at = quote + 1;
        if (at < rest_.size() && rest_[at] == '"') {
          if (copy != nullptr) copy->append(rest_.substr(begin, at - begin));
          begin = ++at;
          doubled = true;
          continue;
        }
        field.text = rest_.substr(begin, quote - begin);
        if (doubled && copy != nullptr) {
          copy->append(field.text);
          field.text = *copy;
        }
        break;
      }
    } else {
      const size_t end = std::min(rest_.find_first_of(",\n", at), rest_.size());
      field.text = rest_.substr(at, end - at);
      at = end;
      const bool last = end == rest_.size() || rest_[end] == '\n';
      if (last && field.text.ends_with('\r')) field.text.remove_suffix(1);
    }
    fields_.push_back(field);
    if (at < rest_.size() && rest_[at] == ',') {
      ++at;
      continue;
    }
    if (at < rest_.size() && rest_[at] == '\r') ++at;
    if (at < rest_.size() && rest_[at] != '\n') {
      problem_ = "text stands behind a closing quote";
      at = std::min(rest_.find('\n', at), rest_.size() - 1);
    }
    end_row(std::min(at + 1, rest_.size()));
    return;
  }
}

void TextRowParser::Convert() {
  const auto& columns = schema_.columns();
  if (fields_.size() != columns.size()) {
    problem_ = fmt::format("{} fields for {} columns", fields_.size(), columns.size());
    return;
  }
  for (size_t i = 0; i < columns.size(); ++i) {
    if (IsText(columns[i].type)) continue;
    const auto number = ParseNumber(columns[i].type, fields_[i].text);
    if (!number) {
      problem_ = fmt::format("column {}: \"{}\" is no {}", columns[i].name,
                             fields_[i].text.substr(0, kShownField), Name(columns[i].type));
      return;
    }
    fields_[i].number = *number;
  }
}

}  // namespace forebay::upload
