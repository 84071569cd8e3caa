// Makes a Field from a pointer to member: Key<&Storage::dir>("dir", "...", {...}). The kind and the
// access functions follow from the member's type, so a key cannot be described with the wrong one.
// Used by schema.cc only.
#pragma once

#include <limits>
#include <optional>
#include <type_traits>

#include "base/check.h"
#include "config/schema.h"

namespace forebay::config::internal {

inline constexpr uint64_t kMaxBytes = 1ULL << 60;
inline constexpr uint64_t kMaxMillis = 3650ULL * 86'400'000;  // Ten years.

struct KeyOptions {
  uint64_t min = 0;
  uint64_t max = std::numeric_limits<uint64_t>::max();  // Lowered to what the type can hold.
  std::span<const std::string_view> choices = {};
  const StructSchema* schema = nullptr;
  bool reloadable = false;
  bool secret = false;
};

template <typename T>
struct MemberOf;
template <typename C, typename T>
struct MemberOf<T C::*> {
  using Class = C;
  using Type = T;
};

template <typename T>
inline constexpr bool kIsOptional = false;
template <typename T>
inline constexpr bool kIsOptional<std::optional<T>> = true;
template <typename T>
inline constexpr bool kIsVector = false;
template <typename T>
inline constexpr bool kIsVector<std::vector<T>> = true;

template <auto M>
auto& Member(void* parent) {
  return static_cast<typename MemberOf<decltype(M)>::Class*>(parent)->*M;
}
template <auto M>
const auto& Member(const void* parent) {
  return static_cast<const typename MemberOf<decltype(M)>::Class*>(parent)->*M;
}

// The choices of Durability in the order of its enumerators.
inline constexpr std::string_view kDurabilityNames[] = {"sync", "write", "none"};

template <auto M>
constexpr void SetNumberAccess(Field& field, uint64_t type_max) {
  using T = typename MemberOf<decltype(M)>::Type;
  if (field.max > type_max) field.max = type_max;
  field.get_number = [](const void* parent) -> uint64_t {
    if constexpr (std::is_same_v<T, ByteCount>) {
      return Member<M>(parent).value;
    } else if constexpr (std::is_same_v<T, milliseconds>) {
      return static_cast<uint64_t>(Member<M>(parent).count());
    } else {
      return static_cast<uint64_t>(Member<M>(parent));
    }
  };
  field.set_number = [](void* parent, uint64_t value) {
    if constexpr (std::is_same_v<T, ByteCount>) {
      Member<M>(parent) = ByteCount{value};
    } else if constexpr (std::is_same_v<T, milliseconds>) {
      Member<M>(parent) = milliseconds(static_cast<int64_t>(value));
    } else {
      Member<M>(parent) = static_cast<T>(value);
    }
  };
}

template <auto M>
constexpr void SetTextAccess(Field& field) {
  using T = typename MemberOf<decltype(M)>::Type;
  field.get_text = [](const void* parent) -> std::string {
    if constexpr (std::is_same_v<T, Durability>) {
      return std::string(kDurabilityNames[static_cast<size_t>(Member<M>(parent))]);
    } else {
      return Member<M>(parent);
    }
  };
  field.set_text = [](void* parent, std::string_view value) {
    if constexpr (std::is_same_v<T, Durability>) {
      size_t index = 0;
      while (index < std::size(kDurabilityNames) && kDurabilityNames[index] != value) ++index;
      FOREBAY_CHECK(index < std::size(kDurabilityNames));  // The loader offers listed names only.
      Member<M>(parent) = static_cast<Durability>(index);
    } else {
      Member<M>(parent) = std::string(value);
    }
  };
}

template <auto M>
constexpr void SetStructAccess(Field& field) {
  using T = typename MemberOf<decltype(M)>::Type;
  if constexpr (kIsOptional<T>) {
    field.kind = Kind::kOptionalStruct;
    field.child = [](const void* parent) -> const void* {
      const auto& member = Member<M>(parent);
      return member.has_value() ? &*member : nullptr;
    };
    field.emplace = [](void* parent) -> void* { return &Member<M>(parent).emplace(); };
  } else {
    field.kind = Kind::kStruct;
    field.child = [](const void* parent) -> const void* { return &Member<M>(parent); };
    field.emplace = [](void* parent) -> void* { return &Member<M>(parent); };
  }
}

template <auto M>
constexpr void SetListAccess(Field& field) {
  field.kind = Kind::kStructList;
  field.size = [](const void* parent) { return Member<M>(parent).size(); };
  field.at = [](const void* parent, size_t index) -> const void* {
    return &Member<M>(parent)[index];
  };
  field.append = [](void* parent) -> void* { return &Member<M>(parent).emplace_back(); };
  field.clear = [](void* parent) { Member<M>(parent).clear(); };
}

template <auto M>
constexpr Field Key(std::string_view name, std::string_view doc, KeyOptions options = {}) {
  using T = typename MemberOf<decltype(M)>::Type;
  Field field;
  field.name = name;
  field.doc = doc;
  field.min = options.min;
  field.max = options.max;
  field.bounded = options.max != KeyOptions{}.max;
  field.choices = options.choices;
  field.schema = options.schema;
  field.reloadable = options.reloadable;
  field.secret = options.secret;
  field.copy = [](void* to, const void* from) { Member<M>(to) = Member<M>(from); };
  if constexpr (std::is_same_v<T, std::string>) {
    field.kind = options.choices.empty() ? Kind::kString : Kind::kChoice;
    SetTextAccess<M>(field);
  } else if constexpr (std::is_same_v<T, Durability>) {
    field.kind = Kind::kChoice;
    field.choices = kDurabilityNames;
    SetTextAccess<M>(field);
  } else if constexpr (std::is_same_v<T, ByteCount>) {
    field.kind = Kind::kBytes;
    SetNumberAccess<M>(field, kMaxBytes);
  } else if constexpr (std::is_same_v<T, milliseconds>) {
    field.kind = Kind::kDuration;
    SetNumberAccess<M>(field, kMaxMillis);
  } else if constexpr (std::is_same_v<T, bool>) {
    field.kind = Kind::kBool;
    SetNumberAccess<M>(field, 1);
  } else if constexpr (std::is_integral_v<T>) {
    field.kind = Kind::kUint;
    SetNumberAccess<M>(field, static_cast<uint64_t>(std::numeric_limits<T>::max()));
  } else if constexpr (std::is_same_v<T, std::vector<std::string>>) {
    field.kind = Kind::kStringList;
    field.strings = [](const void* parent) -> const std::vector<std::string>& {
      return Member<M>(parent);
    };
    field.set_strings = [](void* parent, const std::vector<std::string>& values) {
      Member<M>(parent) = values;
    };
  } else if constexpr (kIsVector<T>) {
    SetListAccess<M>(field);
  } else {
    SetStructAccess<M>(field);
  }
  return field;
}

}  // namespace forebay::config::internal
