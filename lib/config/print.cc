#include "config/print.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "config/internal/expand.h"
#include "config/schema.h"

namespace forebay::config {
namespace {

constexpr size_t kCommentWidth = 100;

// Texts that YAML 1.1 or 1.2 readers take for something else than text.
bool IsReserved(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  constexpr std::array<std::string_view, 9> kWords = {"true", "false", "yes", "no", "on",
                                                      "off",  "null",  "y",   "n"};
  if (std::find(kWords.begin(), kWords.end(), lower) != kWords.end()) return true;
  // "1.2" would be a number to others.
  return lower.find_first_not_of("0123456789.e+-_x") == std::string::npos;
}

bool IsPlain(std::string_view text) {
  const auto safe = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '/' || c == '-';
  };
  return !text.empty() && text.front() != '-' && std::all_of(text.begin(), text.end(), safe) &&
         !IsReserved(text);
}

std::string Quote(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (c == '\n') {
      result += "\\n";
    } else if (c == '\t') {
      result += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      result += fmt::format("\\u{:04x}", byte);  // The one form that YAML and JSON share.
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string YamlText(std::string_view text) {
  const std::string escaped = internal::EscapeDollars(text);
  return IsPlain(escaped) ? escaped : Quote(escaped);
}

class YamlPrinter {
 public:
  explicit YamlPrinter(const PrintOptions& options) : options_(options) {}

  std::string Print(const Config& config) {
    PrintStruct(RootSchema(), &config, 0);
    return std::move(out_);
  }

 private:
  std::string Text(const Field& field, std::string_view text) const {
    if (!options_.mask_secrets) return YamlText(text);
    return YamlText(field.secret && !text.empty() ? "***" : MaskSecrets(text));
  }

  void Comment(const Field& field, size_t indent) {
    if (!options_.with_comments) return;
    std::string_view rest = field.doc;
    const size_t width = kCommentWidth - indent - 2;
    while (!rest.empty()) {
      size_t length = rest.size();
      if (length > width) {
        length = rest.rfind(' ', width);
        if (length == std::string_view::npos) length = rest.size();
      }
      out_ += fmt::format("{:{}}# {}\n", "", indent, rest.substr(0, length));
      rest.remove_prefix(std::min(length + 1, rest.size()));
    }
  }

  void PrintStruct(const StructSchema& schema, const void* object, size_t indent) {
    for (const Field& field : schema.fields) {
      if (field.kind == Kind::kOptionalStruct && field.child(object) == nullptr) continue;
      Comment(field, indent);
      out_ += fmt::format("{:{}}{}:", "", indent, field.name);
      PrintField(field, object, indent);
    }
  }

  void PrintField(const Field& field, const void* object, size_t indent) {
    switch (field.kind) {
      case Kind::kString:
      case Kind::kChoice:
        out_ += fmt::format(" {}\n", Text(field, field.get_text(object)));
        return;
      case Kind::kBytes:
      case Kind::kDuration:
      case Kind::kBool:
      case Kind::kUint:
        out_ += fmt::format(" {}\n", ScalarText(field, object));
        return;
      case Kind::kStringList: {
        std::string items;
        for (const std::string& item : field.strings(object)) {
          items += (items.empty() ? "" : ", ") + Text(field, item);
        }
        out_ += fmt::format(" [{}]\n", items);
        return;
      }
      case Kind::kStruct:
      case Kind::kOptionalStruct:
        out_ += '\n';
        PrintStruct(*field.schema, field.child(object), indent + 2);
        return;
      case Kind::kStructList:
        PrintList(field, object, indent);
        return;
    }
  }

  void PrintList(const Field& field, const void* object, size_t indent) {
    out_ += field.size(object) == 0 ? " []\n" : "\n";
    for (size_t i = 0; i < field.size(object); ++i) {
      // The dash stands on a line of its own, so that comments may precede the first key.
      const size_t begin = out_.size();
      PrintStruct(*field.schema, field.at(object, i), indent + 4);
      if (options_.with_comments) {
        out_.insert(begin, fmt::format("{:{}}-\n", "", indent + 2));
      } else {
        out_[begin + indent + 2] = '-';
      }
    }
  }

  const PrintOptions options_;
  std::string out_;
};

void AppendJson(const StructSchema& schema, const void* object, std::string& out);

std::string JsonText(const Field& field, std::string_view text) {
  return Quote(field.secret && !text.empty() ? "***" : MaskSecrets(text));
}

void AppendJsonField(const Field& field, const void* object, std::string& out) {
  switch (field.kind) {
    case Kind::kString:
    case Kind::kChoice:
      out += JsonText(field, field.get_text(object));
      return;
    case Kind::kBytes:
    case Kind::kDuration:
      out += Quote(ScalarText(field, object));
      return;
    case Kind::kBool:
    case Kind::kUint:
      out += ScalarText(field, object);
      return;
    case Kind::kStringList: {
      std::string items;
      for (const std::string& item : field.strings(object)) {
        items += (items.empty() ? "" : ",") + JsonText(field, item);
      }
      out += fmt::format("[{}]", items);
      return;
    }
    case Kind::kStruct:
    case Kind::kOptionalStruct:
      AppendJson(*field.schema, field.child(object), out);
      return;
    case Kind::kStructList:
      out += '[';
      for (size_t i = 0; i < field.size(object); ++i) {
        if (i > 0) out += ',';
        AppendJson(*field.schema, field.at(object, i), out);
      }
      out += ']';
      return;
  }
}

void AppendJson(const StructSchema& schema, const void* object, std::string& out) {
  char separator = '{';
  for (const Field& field : schema.fields) {
    if (field.kind == Kind::kOptionalStruct && field.child(object) == nullptr) continue;
    out += separator;
    separator = ',';
    out += Quote(field.name);
    out += ':';
    AppendJsonField(field, object, out);
  }
  out += separator == '{' ? "{}" : "}";
}

}  // namespace

std::string MaskSecrets(std::string_view text) {
  constexpr std::string_view kScheme = "://";
  constexpr std::string_view kSignature = "sig=";
  std::string result;
  size_t i = 0;
  while (i < text.size()) {
    const std::string_view rest = text.substr(i);
    if (rest.starts_with(kScheme)) {
      result += kScheme;
      i += kScheme.size();
      // The last @ before the path ends the credentials: a password may contain one.
      const std::string_view authority =
          text.substr(i, std::min(text.find_first_of("/?# ", i), text.size()) - i);
      const size_t at = authority.rfind('@');
      if (at != std::string_view::npos) {
        result += "***";
        i += at;
      }
    } else if (rest.starts_with(kSignature)) {
      result += "sig=***";
      i = std::min(text.find_first_of("&# ", i), text.size());
    } else {
      result += text[i++];
    }
  }
  return result;
}

std::string PrintYaml(const Config& config, const PrintOptions& options) {
  return YamlPrinter(options).Print(config);
}

std::string PrintJson(const Config& config) {
  std::string out;
  AppendJson(RootSchema(), &config, out);
  return out;
}

}  // namespace forebay::config
