#include "cluster/member_set.h"

#define XXH_STATIC_LINKING_ONLY  // the state on the stack
#include <xxhash.h>

#include <algorithm>
#include <utility>

namespace forebay::cluster {

MemberSet::MemberSet(std::vector<Member> members) : members_(std::move(members)) {
  const auto by_name = [](const Member& a, const Member& b) { return a.name < b.name; };
  std::stable_sort(members_.begin(), members_.end(), by_name);
  const auto same_name = [](const Member& a, const Member& b) { return a.name == b.name; };
  members_.erase(std::unique(members_.begin(), members_.end(), same_name), members_.end());
  if (members_.size() > kMaxMembers) members_.resize(kMaxMembers);
}

size_t MemberSet::ready_count() const {
  return static_cast<size_t>(std::count_if(members_.begin(), members_.end(),
                                           [](const Member& member) { return member.ready; }));
}

const Member* MemberSet::Find(std::string_view name) const {
  const auto found =
      std::lower_bound(members_.begin(), members_.end(), name,
                       [](const Member& member, std::string_view n) { return member.name < n; });
  return found != members_.end() && found->name == name ? &*found : nullptr;
}

const Member* MemberSet::Leader() const {
  const auto found = std::find_if(members_.begin(), members_.end(),
                                  [](const Member& member) { return member.ready; });
  return found == members_.end() ? nullptr : &*found;
}

const Member* MemberSet::OwnerOf(std::string_view key, std::span<const std::string> without) const {
  XXH64_state_t of_key;
  (void)XXH64_reset(&of_key, 0);
  (void)XXH64_update(&of_key, key.data(), key.size());
  const Member* owner = nullptr;
  uint64_t best = 0;
  for (const Member& member : members_) {
    if (!member.ready) continue;
    if (std::find(without.begin(), without.end(), member.name) != without.end()) continue;
    XXH64_state_t state = of_key;
    (void)XXH64_update(&state, member.name.data(), member.name.size());
    const uint64_t score = XXH64_digest(&state);
    // Members are in the order of their names: the first of equal scores has the lesser one.
    if (owner != nullptr && score <= best) continue;
    owner = &member;
    best = score;
  }
  return owner;
}

}  // namespace forebay::cluster
