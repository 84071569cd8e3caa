#include "cluster/membership.h"

#include <unistd.h>

#include <utility>

#include "base/log.h"

namespace forebay::cluster {
namespace {

// `name` or `name (not ready)`, comma-separated, for the log.
std::string Names(const MemberSet& set) {
  std::string names;
  for (const Member& member : set.members()) {
    if (!names.empty()) names += ", ";
    names += member.name;
    if (!member.ready) names += " (not ready)";
  }
  return names.empty() ? "none" : names;
}

}  // namespace

std::string SelfName(const config::Cluster& options) {
  if (!options.member.empty()) return options.member;
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 && name[0] != '\0' ? name : "localhost";
}

Membership::Membership(std::string self, metrics::Registry& registry)
    : self_(std::move(self)), members_(std::make_shared<const MemberSet>()) {
  using metrics::MetricType;
  callbacks_.push_back(registry.AddCallback(
      "forebay_cluster_members", "Members of the cluster as this node sees it.", MetricType::kGauge,
      [this]() -> std::vector<metrics::Sample> {
        const auto members = Snapshot();
        const auto ready = static_cast<double>(members->ready_count());
        return {{{{"state", "ready"}}, ready},
                {{{"state", "not_ready"}}, static_cast<double>(members->members().size()) - ready}};
      }));
  callbacks_.push_back(registry.AddCallback(
      "forebay_cluster_changes_total", "Times that the set of members changed.",
      MetricType::kCounter, [this] { return static_cast<double>(changes()); }));
  callbacks_.push_back(registry.AddCallback(
      "forebay_cluster_leader", "1 when this node is the leader: the least ready member.",
      MetricType::kGauge, [this] { return IsLeader() ? 1.0 : 0.0; }));
}

std::shared_ptr<const MemberSet> Membership::Snapshot() const {
  MutexLock lock(mutex_);
  return members_;
}

bool Membership::Replace(MemberSet members) {
  auto fresh = std::make_shared<const MemberSet>(std::move(members));
  bool alone = false;  // from the start on: nothing to tell
  {
    MutexLock lock(mutex_);
    known_.store(true, std::memory_order_relaxed);
    if (*fresh == *members_) return false;
    alone = members_->members().empty() && fresh->members().size() == 1 &&
            fresh->members().front().name == self_;
    members_ = fresh;
  }
  changes_.fetch_add(1, std::memory_order_relaxed);
  if (!alone) LogInfo("the cluster's members changed", {{"members", Names(*fresh)}});
  return true;
}

bool Membership::IsLeader() const {
  const auto members = Snapshot();
  const Member* leader = members->Leader();
  return leader != nullptr && leader->name == self_;
}

bool Membership::Owns(std::string_view key) const {
  const auto members = Snapshot();
  const Member* owner = members->OwnerOf(key);
  return owner == nullptr || owner->name == self_;
}

}  // namespace forebay::cluster
