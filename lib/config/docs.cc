#include "config/docs.h"

#include <fmt/core.h>

#include "config/adxmon_flags.h"
#include "config/config.h"
#include "config/schema.h"

namespace forebay::config {
namespace {

constexpr std::string_view kHead =
    R"(<!-- Generated: forebay config docs > docs/configuration.md -->
# Configuration

One YAML file. Every key has a default, so the empty file is legal; `forebay config print
--comments` prints the effective configuration, `forebay config check FILE` says what is wrong with
a file, each mistake with line, column and the nearest valid key. A commented example is
[examples/forebay.yaml](examples/forebay.yaml).

## Sources

Later ones win: defaults, the file (`--config FILE`, else `FOREBAY_CONFIG`), `FOREBAY_*` variables,
flags (`--set key.path=value` and the adx-mon aliases below, in their order).

- **Lists** are addressed by index from 0: `--set databases.0.sinks.0.file.root=/out`,
  `FOREBAY_DATABASES_0_NAME=Metrics`. The index after the last appends. A list of words is set as a
  whole: `--set remote_write.paths=/api/v1/write,/receive`. A list or map may be given as YAML:
  `--set 'databases=[{name: M, sinks: [{file: {root: /out}}]}]'`.
- **Variables**: a `FOREBAY_*` variable that stands for no key is an error. Not ours, and ignored:
  `FOREBAY_FAILPOINT*`, `FOREBAY_TEST_*`, and what Kubernetes sets for Services named `forebay...`
  (`FOREBAY_SERVICE_HOST`, `FOREBAY_PORT=tcp://...`).
- **`${NAME}`** in a value of the file is the variable NAME, `${NAME:-text}` the text when it is
  unset or empty; an unset one without a text is an error. `$$` is a dollar. `$1` and `${1}` stay:
  they are for relabelling.

## Values

- **size**: a number and `B`, `KB`, `MB`, `GB`, `TB` (1000) or `KiB`, `MiB`, `GiB`, `TiB` (1024);
  without a unit, bytes.
- **duration**: numbers with `ms`, `s`, `m`, `h`, `d`: `90s`, `1h30m`.
- **bool**: `true` or `false`. **number**: a whole number.

"Reload" tells whether SIGHUP or `POST /-/reload` applies a change; other changes wait for a
restart, and the reload says so. A reload is all or nothing: with a mistake anywhere the old
configuration stays.
)";

constexpr std::string_view kAdxMonHead = R"(
## adx-mon's flags

`forebay serve` takes the flags of adx-mon's ingestor as aliases, with one dash or two, as `--flag
value` or `--flag=value`, in Go's syntax (sizes are integers of bytes).

)";

std::string TypeText(const Field& field) {
  switch (field.kind) {
    case Kind::kString:
      return "text";
    case Kind::kChoice: {
      std::string text;
      for (const std::string_view choice : field.choices) {
        text += fmt::format("{}`{}`", text.empty() ? "" : ", ", choice);
      }
      return text;
    }
    case Kind::kBool:
      return "bool";
    case Kind::kStringList:
      return "list of text";
    case Kind::kStruct:
    case Kind::kOptionalStruct:
      return "map";
    case Kind::kStructList:
      return "list of maps";
    case Kind::kBytes:
    case Kind::kDuration:
    case Kind::kUint:
      break;
  }
  const std::string_view name = field.kind == Kind::kBytes      ? "size"
                                : field.kind == Kind::kDuration ? "duration"
                                                                : "number";
  const std::string min = NumberText(field.kind, field.min);
  if (field.bounded)
    return fmt::format("{}, {} to {}", name, min, NumberText(field.kind, field.max));
  return field.min == 0 ? std::string(name) : fmt::format("{}, at least {}", name, min);
}

std::string DefaultText(const Field& field, const void* parent) {
  if (field.kind == Kind::kStringList) {
    std::string items;
    for (const std::string& item : field.strings(parent)) {
      items += (items.empty() ? "" : ", ") + item;
    }
    return fmt::format("`[{}]`", items);
  }
  if (!field.IsScalar()) return field.kind == Kind::kStructList ? "`[]`" : "";
  const std::string text = ScalarText(field, parent);
  return text.empty() ? "empty" : fmt::format("`{}`", text);
}

class Writer {
 public:
  std::string Run() {
    text_ = kHead;
    Config defaults;
    std::string own_rows;
    // Keys of the top that are single values come first, then a section per struct or list.
    for (const Field& field : RootSchema().fields) {
      if (field.schema == nullptr) own_rows += Row(field, &defaults, "");
    }
    text_ += fmt::format("\n## Top level\n\n{}{}", kTableHead, own_rows);
    for (const Field& field : RootSchema().fields) {
      if (field.schema == nullptr) continue;
      text_ += fmt::format("\n## {}\n\n{}\n\n{}", field.name, field.doc, kTableHead);
      Rows(field, &defaults, "");
    }
    text_ += kAdxMonHead;
    text_ += AdxMonFlagsMarkdown();
    return std::move(text_);
  }

 private:
  static constexpr std::string_view kTableHead =
      "| key | type | default | reload | meaning | variable |\n|---|---|---|---|---|---|\n";

  static std::string Row(const Field& field, const void* parent, const std::string& prefix,
                         bool inherited = false) {
    const std::string path = JoinKey(prefix, field.name);
    const bool live = field.reloadable || inherited;
    // Braces of a struct's keys have no own reload: their members say it.
    const bool is_map = field.kind == Kind::kStruct || field.kind == Kind::kOptionalStruct;
    return fmt::format("| `{}` | {} | {} | {} | {} | `{}` |\n", path, TypeText(field),
                       DefaultText(field, parent), is_map && !live ? "" : (live ? "yes" : "no"),
                       field.doc, EnvironmentName(path));
  }

  // Rows of everything below a struct or list; elements of lists are made to read their defaults.
  void Rows(const Field& field, void* parent, const std::string& prefix, bool inherited = false) {
    const bool list = field.kind == Kind::kStructList;
    std::string path = JoinKey(prefix, field.name);
    if (list) path = JoinKey(path, "<n>");
    void* object = list ? field.append(parent) : field.emplace(parent);
    const bool live = inherited || field.reloadable;
    for (const Field& member : field.schema->fields) {
      text_ += Row(member, object, path, live);
      if (member.schema != nullptr) Rows(member, object, path, live);
    }
  }

  std::string text_;
};

}  // namespace

std::string DocsMarkdown() { return Writer().Run(); }

}  // namespace forebay::config
