#include "config/internal/decode.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include "config/internal/suggest.h"
#include "config/internal/utf8.h"
#include "config/schema.h"

namespace forebay::config::internal {
namespace {

Result<uint64_t> ParseNumber(Kind kind, std::string_view text) {
  switch (kind) {
    case Kind::kBytes: {
      FOREBAY_ASSIGN_OR_RETURN(const ByteCount bytes, ParseByteCount(text));
      return bytes.value;
    }
    case Kind::kDuration: {
      FOREBAY_ASSIGN_OR_RETURN(const milliseconds duration, ParseDuration(text));
      return static_cast<uint64_t>(duration.count());
    }
    case Kind::kBool:
      if (text == "true" || text == "false") return uint64_t{text == "true"};
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("\"{}\" is neither true nor false", text));
    default: {
      uint64_t value = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
      if (error == std::errc() && end == text.data() + text.size()) return value;
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("\"{}\" is not a whole number (no sign, no unit)", text));
    }
  }
}

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [lower](char x, char y) { return lower(x) == lower(y); });
}

std::string Example(const Field& field) {
  switch (field.kind) {
    case Kind::kStringList:
      return "a list, for example [a, b]";
    case Kind::kStructList:
      return "a list, each entry beginning with \"- \"";
    case Kind::kStruct:
    case Kind::kOptionalStruct:
      return "a map of keys";
    default:
      return "a single value";
  }
}

class Decoder {
 public:
  Decoded Run(const Node& root) {
    result_.locations.Add("", root.position);
    DecodeStruct(RootSchema(), &result_.config, root, "");
    return std::move(result_);
  }

 private:
  void Fail(const Position& position, std::string_view path, std::string message) {
    result_.problems.push_back({position, std::string(path), std::move(message)});
  }

  void DecodeStruct(const StructSchema& schema, void* object, const Node& node,
                    const std::string& path) {
    if (schema.set_position != nullptr) schema.set_position(object, node.position.ToString());
    if (node.type == Node::Type::kNull) return;
    if (node.type != Node::Type::kMap) {
      return Fail(node.position, path,
                  fmt::format("expected a map of keys, found {}", node.TypeName()));
    }
    std::map<std::string_view, const Entry*> seen;
    for (const Entry& entry : node.entries) {
      const std::string key_path = JoinKey(path, entry.key);
      const auto [first, inserted] = seen.emplace(entry.key, &entry);
      if (!inserted) {
        Fail(entry.position, key_path,
             fmt::format("is given twice, first at {}; remove one",
                         first->second->position.ToString()));
        continue;
      }
      const Field* field = schema.Find(entry.key);
      if (field == nullptr) {
        Fail(entry.position, key_path,
             fmt::format("unknown key; {}", AdviseKey(entry.key, path, schema)));
        continue;
      }
      const bool null = entry.value.type == Node::Type::kNull;
      result_.locations.Add(key_path, null ? entry.position : entry.value.position);
      DecodeField(*field, object, entry, key_path);
    }
  }

  void DecodeField(const Field& field, void* object, const Entry& entry, const std::string& path) {
    const Node& node = entry.value;
    const auto wrong_type = [&] {
      Fail(node.position, path,
           fmt::format("expected {}, found {}", Example(field), node.TypeName()));
    };
    if (field.IsScalar()) {
      if (node.type == Node::Type::kNull) {
        return Fail(
            entry.position, path,
            "has no value; remove the line for the default, or write \"\" for an empty text");
      }
      if (node.type != Node::Type::kScalar) return wrong_type();
      return DecodeScalar(field, object, node, path);
    }
    if (field.kind == Kind::kStruct || field.kind == Kind::kOptionalStruct) {
      if (node.type != Node::Type::kNull && node.type != Node::Type::kMap) return wrong_type();
      return DecodeStruct(*field.schema, field.emplace(object), node, path);
    }
    if (node.type != Node::Type::kNull && node.type != Node::Type::kList) return wrong_type();
    if (field.kind == Kind::kStringList) return DecodeStrings(field, object, node, path);
    field.clear(object);
    for (size_t i = 0; i < node.items.size(); ++i) {
      const std::string item_path = fmt::format("{}.{}", path, i);
      result_.locations.Add(item_path, node.items[i].position);
      DecodeStruct(*field.schema, field.append(object), node.items[i], item_path);
    }
  }

  void DecodeStrings(const Field& field, void* object, const Node& node, const std::string& path) {
    std::vector<std::string> values;
    for (size_t i = 0; i < node.items.size(); ++i) {
      const Node& item = node.items[i];
      const std::string item_path = fmt::format("{}.{}", path, i);
      result_.locations.Add(item_path, item.position);
      if (item.type != Node::Type::kScalar) {
        Fail(item.position, item_path,
             fmt::format("expected a single value, found {}", item.TypeName()));
      } else if (CheckText(item, item_path)) {
        values.push_back(item.text);
      }
    }
    field.set_strings(object, values);
  }

  bool CheckText(const Node& node, const std::string& path) {
    // Control characters may be meant ("\t" as a separator); a zero would end a file name early.
    if (node.text.find('\0') != std::string::npos) {
      Fail(node.position, path, "contains a zero character");
      return false;
    }
    const auto bad = FindBadCharacter(node.text);
    if (bad && bad->message.ends_with("UTF-8")) {
      Fail(node.position, path, bad->message);
      return false;
    }
    return true;
  }

  void DecodeScalar(const Field& field, void* object, const Node& node, const std::string& path) {
    if (!CheckText(node, path)) return;
    if (field.kind == Kind::kString) return field.set_text(object, node.text);
    if (field.kind == Kind::kChoice) return DecodeChoice(field, object, node, path);
    const Result<uint64_t> number = ParseNumber(field.kind, node.text);
    if (!number.ok()) return Fail(node.position, path, number.error().message());
    if (*number < field.min || *number > field.max) {
      return Fail(
          node.position, path,
          fmt::format("{} is out of range: at least {}, at most {}", node.text,
                      NumberText(field.kind, field.min), NumberText(field.kind, field.max)));
    }
    field.set_number(object, *number);
  }

  void DecodeChoice(const Field& field, void* object, const Node& node, const std::string& path) {
    const auto found =
        std::find_if(field.choices.begin(), field.choices.end(),
                     [&](std::string_view choice) { return EqualsIgnoreCase(choice, node.text); });
    if (found != field.choices.end()) return field.set_text(object, *found);
    const std::vector<std::string> names(field.choices.begin(), field.choices.end());
    std::string message = fmt::format("\"{}\" is not one of {}", node.text, JoinNames(names));
    if (const auto nearest = Nearest(node.text, names)) {
      message += fmt::format("; did you mean \"{}\"?", *nearest);
    }
    Fail(node.position, path, std::move(message));
  }

  Decoded result_;
};

}  // namespace

Position Locations::Find(std::string_view path) const {
  while (true) {
    const auto found = places_.find(path);
    if (found != places_.end()) return found->second;
    if (path.empty()) return {};
    const size_t dot = path.rfind('.');
    path = dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
  }
}

Decoded Decode(const Node& root) { return Decoder().Run(root); }

}  // namespace forebay::config::internal
