// A small, strict reader of what the row writer makes: CSV after RFC 4180 with LF, and JSON objects
// of strings after RFC 8259. Refuses whatever is not exactly that. It shares no code with the
// writer.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace forebay::test {

using Fields = std::vector<std::string>;

// All rows of the text; nullopt when it is not strict CSV ending in LF.
inline std::optional<std::vector<Fields>> ReadCsv(std::string_view text) {
  std::vector<Fields> rows;
  Fields row;
  size_t i = 0;
  while (i < text.size()) {
    std::string field;
    if (text[i] == '"') {
      ++i;
      while (true) {
        if (i == text.size()) return std::nullopt;
        if (text[i] != '"') {
          field += text[i++];
          continue;
        }
        ++i;
        if (i < text.size() && text[i] == '"') {
          field += '"';
          ++i;
          continue;
        }
        break;
      }
    } else {
      while (i < text.size() && text[i] != ',' && text[i] != '\n') {
        if (text[i] == '"' || text[i] == '\r') return std::nullopt;
        field += text[i++];
      }
    }
    if (i == text.size()) return std::nullopt;
    row.push_back(std::move(field));
    if (text[i] == '\n') {
      rows.push_back(std::move(row));
      row.clear();
    } else if (text[i] != ',') {
      return std::nullopt;
    }
    // A comma at the very end of a row means one more, empty field.
    if (text[i] == ',' && i + 1 < text.size() && text[i + 1] == '\n') {
      row.emplace_back();
      rows.push_back(std::move(row));
      row.clear();
      ++i;
    }
    ++i;
  }
  if (!row.empty()) return std::nullopt;
  return rows;
}

class JsonReader {
 public:
  using Members = std::vector<std::pair<std::string, std::string>>;

  explicit JsonReader(std::string_view text) : text_(text) {}

  // {"name":"value",...} without white space; nullopt for anything else.
  std::optional<Members> ReadObject() {
    Members members;
    if (!Take('{')) return std::nullopt;
    if (!Take('}')) {
      do {
        auto name = ReadString();
        if (!name || !Take(':')) return std::nullopt;
        auto value = ReadString();
        if (!value) return std::nullopt;
        members.emplace_back(*std::move(name), *std::move(value));
      } while (Take(','));
      if (!Take('}')) return std::nullopt;
    }
    if (at_ != text_.size()) return std::nullopt;
    return members;
  }

 private:
  bool Take(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  std::optional<std::string> ReadString() {
    if (!Take('"')) return std::nullopt;
    std::string value;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return value;
      if (static_cast<unsigned char>(c) < 0x20) return std::nullopt;
      if (c != '\\') {
        value += c;
        continue;
      }
      if (at_ == text_.size()) return std::nullopt;
      const char escape = text_[at_++];
      constexpr std::string_view kFrom = "\"\\/bfnrt";
      constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
      if (escape == 'u') {
        if (text_.size() - at_ < 4 || text_.substr(at_, 2) != "00") return std::nullopt;
        value += static_cast<char>(std::stoi(std::string(text_.substr(at_, 4)), nullptr, 16));
        at_ += 4;
      } else if (kFrom.find(escape) != std::string_view::npos) {
        value += kTo[kFrom.find(escape)];
      } else {
        return std::nullopt;
      }
    }
    return std::nullopt;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace forebay::test
