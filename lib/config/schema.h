// The description of every configuration key: one Field per key, from which loading, printing,
// documentation, FOREBAY_* names, --set paths and reload checks all derive. Nothing else in the
// program knows a key by name; a new key is one member in config.h and one line in schema.cc.
// A Field reaches its member through type-erased functions, so that the walkers stay untemplated.
// Limits: every range of a key stands in schema.cc beside its description.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace forebay::config {

enum class Kind {
  kString,
  kChoice,  // one of Field::choices
  kBytes,
  kDuration,
  kBool,
  kUint,
  kStringList,
  kStruct,
  kOptionalStruct,  // present or not; Sink's kinds
  kStructList,
};

struct StructSchema;

// One key. `parent` in the functions is the struct that holds the member; only the functions of the
// field's kind are set.
struct Field {
  std::string_view name;
  std::string_view doc;  // One or more sentences for the operator.
  Kind kind = Kind::kString;
  bool secret = false;  // Never shown when secrets are masked.
  bool reloadable =
      false;         // Takes effect on reload; for structs and lists: with all that is below.
  uint64_t min = 0;  // kBytes: bytes; kDuration: ms; kUint: the number. Inclusive.
  uint64_t max = 0;
  bool bounded = false;  // The upper bound is a rule of this key, not only of its type.
  std::span<const std::string_view> choices;
  const StructSchema* schema = nullptr;  // Of a struct, or of the elements of a list.

  uint64_t (*get_number)(const void* parent) = nullptr;  // kBytes kDuration kBool kUint
  void (*set_number)(void* parent, uint64_t value) = nullptr;
  std::string (*get_text)(const void* parent) = nullptr;  // kString kChoice
  void (*set_text)(void* parent, std::string_view value) = nullptr;
  const std::vector<std::string>& (*strings)(const void* parent) = nullptr;  // kStringList
  void (*set_strings)(void* parent, const std::vector<std::string>& values) = nullptr;
  const void* (*child)(const void* parent) = nullptr;  // nullptr when the optional is absent
  void* (*emplace)(void* parent) = nullptr;            // kStruct, kOptionalStruct
  size_t (*size)(const void* parent) = nullptr;        // kStructList
  const void* (*at)(const void* parent, size_t index) = nullptr;
  void* (*append)(void* parent) = nullptr;
  void (*clear)(void* parent) = nullptr;
  // Assigns the whole member, with what is no key (where an element stands). Every kind has it.
  void (*copy)(void* to_parent, const void* from_parent) = nullptr;

  bool IsScalar() const { return kind <= Kind::kUint; }
};

struct StructSchema {
  std::span<const Field> fields;
  // Where an element of this type stands in its file; set for types that report errors at run time.
  void (*set_position)(void* object, std::string position) = nullptr;

  const Field* Find(std::string_view name) const;
};

// The schema of Config itself. Threads: any; immutable.
const StructSchema& RootSchema();

// "a" and "b" to "a.b"; "" and "b" to "b".
std::string JoinKey(std::string_view prefix, std::string_view name);

// Calls visit(dotted path, field) for every key in declaration order, structs and lists before what
// is below them. List elements have the path component `index`: "databases.<n>.name".
void ForEachKey(std::string_view index,
                const std::function<void(const std::string& path, const Field& field)>& visit);

// "listen.tls.cert_file" to "FOREBAY_LISTEN_TLS_CERT_FILE".
std::string EnvironmentName(std::string_view path);

// The text of a scalar as a user would write it: "10GiB", "5m", "true", "sync". Not quoted.
std::string ScalarText(const Field& field, const void* parent);
// A bound of a range in the unit of the field: "1MiB", "100ms", "64".
std::string NumberText(Kind kind, uint64_t number);

// Equality over every key; warnings and positions are left out.
bool SameConfig(const Config& a, const Config& b);
bool SameStruct(const StructSchema& schema, const void* a, const void* b);
bool SameField(const Field& field, const void* a, const void* b);

}  // namespace forebay::config
