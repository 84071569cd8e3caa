#include "config/reload.h"

#include <fmt/core.h>

#include "config/schema.h"

namespace forebay::config {
namespace {

// Calls leaf(path, field, reloadable, a, b) where a and b differ and the walk cannot go deeper.
template <typename Leaf>
void WalkChanges(const StructSchema& schema, const void* a, const void* b, const std::string& path,
                 const Leaf& leaf) {
  for (const Field& field : schema.fields) {
    if (SameField(field, a, b)) continue;
    const std::string key = JoinKey(path, field.name);
    const bool list = field.kind == Kind::kStructList;
    const bool deeper = field.schema != nullptr && !field.reloadable;
    if (deeper && list && field.size(a) == field.size(b)) {
      for (size_t i = 0; i < field.size(a); ++i) {
        WalkChanges(*field.schema, field.at(a, i), field.at(b, i), fmt::format("{}.{}", key, i),
                    leaf);
      }
    } else if (deeper && !list && field.child(a) != nullptr && field.child(b) != nullptr) {
      WalkChanges(*field.schema, field.child(a), field.child(b), key, leaf);
    } else {
      leaf(key, field, a, b);
    }
  }
}

}  // namespace

ReloadPlan PlanReload(const Config& running, const Config& next) {
  ReloadPlan plan;
  WalkChanges(RootSchema(), &running, &next, "",
              [&plan](const std::string& key, const Field& field, const void*, const void*) {
                (field.reloadable ? plan.live : plan.restart).push_back(key);
              });
  return plan;
}

Config ApplyReload(const Config& running, const Config& next) {
  Config result = running;
  // The walk hands out const views; those of `result` are views of a local, mutable object.
  WalkChanges(RootSchema(), &result, &next, "",
              [](const std::string&, const Field& field, const void* to, const void* from) {
                if (field.reloadable) field.copy(const_cast<void*>(to), from);
              });
  result.warnings = next.warnings;
  return result;
}

}  // namespace forebay::config
