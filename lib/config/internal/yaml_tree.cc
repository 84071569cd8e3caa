#include "config/internal/yaml_tree.h"

#include <fmt/core.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include "config/internal/utf8.h"

namespace forebay::config::internal {
namespace {

size_t CountNodes(const Node& node) {
  size_t count = 1;
  for (const Node& item : node.items) count += CountNodes(item);
  for (const Entry& entry : node.entries) count += CountNodes(entry.value);
  return count;
}

// Builds the tree from yaml-cpp's events. What it refuses it throws as yaml-cpp does, so that there
// is one place that turns both into problems.
class TreeBuilder : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::shared_ptr<const std::string> origin) : origin_(std::move(origin)) {}

  Node TakeRoot() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Add(MakeNode(Node::Type::kNull, mark), mark, anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) throw YAML::ParserException(mark, "the alias contains itself");
    nodes_ += CountNodes(found->second);
    Node copy = found->second;
    Add(std::move(copy), mark, 0);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    CheckTag(mark, tag);
    Node node = MakeNode(Node::Type::kScalar, mark);
    node.text = value;
    Add(std::move(node), mark, anchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Push(MakeNode(Node::Type::kList, mark), mark, tag, anchor);
  }
  void OnSequenceEnd() override { Pop(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Push(MakeNode(Node::Type::kMap, mark), mark, tag, anchor);
  }
  void OnMapEnd() override { Pop(); }

 private:
  struct Frame {
    Node node;
    YAML::anchor_t anchor = 0;
    std::optional<Entry> entry;  // A key that waits for its value.
  };

  Position At(const YAML::Mark& mark) const { return {origin_, mark.line + 1, mark.column + 1}; }

  Node MakeNode(Node::Type type, const YAML::Mark& mark) const {
    Node node;
    node.type = type;
    node.position = At(mark);
    return node;
  }

  static void CheckTag(const YAML::Mark& mark, const std::string& tag) {
    if (tag.empty() || tag == "?" || tag == "!" || tag.starts_with("tag:yaml.org,2002:")) return;
    throw YAML::ParserException(mark,
                                fmt::format("the tag {} has no meaning here; remove it", tag));
  }

  bool ExpectsKey() const {
    return !stack_.empty() && stack_.back().node.type == Node::Type::kMap && !stack_.back().entry;
  }

  void Push(Node node, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    CheckTag(mark, tag);
    if (ExpectsKey()) {
      throw YAML::ParserException(mark, "a key must be a plain word, not a list or map");
    }
    if (stack_.size() >= kMaxDepth) {
      throw YAML::ParserException(mark, fmt::format("nested deeper than {} levels", kMaxDepth));
    }
    stack_.push_back({std::move(node), anchor, std::nullopt});
    last_mark_ = mark;
  }

  void Pop() {
    Frame frame = std::move(stack_.back());
    stack_.pop_back();
    Add(std::move(frame.node), last_mark_, frame.anchor);
  }

  void Add(Node node, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (++nodes_ > kMaxNodes) {
      throw YAML::ParserException(mark, fmt::format("more than {} values", kMaxNodes));
    }
    if (anchor != 0) anchors_[anchor] = node;
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& top = stack_.back();
    if (top.node.type == Node::Type::kList) {
      top.node.items.push_back(std::move(node));
    } else if (!top.entry) {
      if (node.type != Node::Type::kScalar) {
        throw YAML::ParserException(mark, "a key must be a plain word");
      }
      top.entry = Entry{std::move(node.text), node.position, {}};
    } else {
      top.entry->value = std::move(node);
      top.node.entries.push_back(std::move(*top.entry));
      top.entry.reset();
    }
  }

  std::shared_ptr<const std::string> origin_;
  std::vector<Frame> stack_;
  std::map<YAML::anchor_t, Node> anchors_;
  Node root_;
  YAML::Mark last_mark_;
  size_t nodes_ = 0;
};

std::string SyntaxMessage(const std::string& reason) {
  // yaml-cpp's texts are short; the common causes are worth a hint.
  std::string_view hint;
  if (reason.find("tab") != std::string::npos) {
    hint = "; indent with blanks";
  } else if (reason == YAML::ErrorMsg::MAP_VALUE || reason == YAML::ErrorMsg::MAP_KEY ||
             reason == YAML::ErrorMsg::END_OF_MAP || reason == YAML::ErrorMsg::END_OF_SEQ) {
    hint = "; check the indentation, and quote values that contain \": \"";
  } else if (reason == YAML::ErrorMsg::END_OF_MAP_FLOW) {
    hint = "; a } is missing";
  } else if (reason == YAML::ErrorMsg::END_OF_SEQ_FLOW) {
    hint = "; a ] is missing";
  } else if (reason == YAML::ErrorMsg::EOF_IN_SCALAR) {
    hint = "; a closing quote is missing";
  }
  return fmt::format("YAML: {}{}", reason, hint);
}

void ForgetLines(Node& node) {
  node.position.line = node.position.column = 0;
  for (Node& item : node.items) ForgetLines(item);
  for (Entry& entry : node.entries) {
    entry.position.line = entry.position.column = 0;
    ForgetLines(entry.value);
  }
}

}  // namespace

Node* Node::FindValue(std::string_view key) {
  for (Entry& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

std::string_view Node::TypeName() const {
  switch (type) {
    case Type::kNull:
      return "nothing";
    case Type::kScalar:
      return "a single value";
    case Type::kList:
      return "a list";
    case Type::kMap:
      return "a map";
  }
  return "nothing";
}

YamlResult ParseYaml(std::string_view text, std::string_view origin) {
  YamlResult result;
  const auto shared_origin = std::make_shared<const std::string>(origin);
  const auto fail = [&](int line, int column, std::string message) {
    result.problems.push_back({{shared_origin, line, column}, "", std::move(message)});
    return std::move(result);
  };
  if (text.size() > kMaxFileBytes) {
    return fail(1, 1, fmt::format("larger than {} MiB", kMaxFileBytes >> 20));
  }
  // yaml-cpp takes byte 4 for the end of input and passes broken UTF-8 on: such text is refused
  // first.
  if (const auto bad = FindBadCharacter(text)) return fail(bad->line, bad->column, bad->message);
  result.root.position = {shared_origin, 1, 1};
  try {
    // yaml-cpp takes the end of the text for the closing quote when a line end stands before it,
    // and a value would swallow the lines below its missing quote. A comment as last line has no
    // line end.
    std::string closed(text);
    closed += closed.ends_with('\n') ? "#" : "\n#";
    std::istringstream stream(closed);
    YAML::Parser parser(stream);
    TreeBuilder builder(shared_origin);
    if (parser.HandleNextDocument(builder)) {
      Node root = builder.TakeRoot();
      TreeBuilder second(shared_origin);
      if (parser.HandleNextDocument(second)) {
        const Position at = second.TakeRoot().position;
        return fail(at.line, at.column, "a second document; one file holds one configuration");
      }
      result.root = std::move(root);
    }
  } catch (const YAML::Exception& error) {
    result.root = Node{};
    const bool placed = !error.mark.is_null();
    return fail(placed ? error.mark.line + 1 : 1, placed ? error.mark.column + 1 : 1,
                SyntaxMessage(error.msg));
  } catch (const std::exception& error) {
    result.root = Node{};
    return fail(1, 1, fmt::format("YAML: {}", error.what()));
  }
  return result;
}

YamlResult ParseYamlValue(std::string_view text, std::string_view origin) {
  YamlResult result = ParseYaml(text, origin);
  ForgetLines(result.root);
  for (Problem& problem : result.problems) problem.position.line = problem.position.column = 0;
  return result;
}

}  // namespace forebay::config::internal
