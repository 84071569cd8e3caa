// Who is in the cluster now: what a Discovery last published, for all who ask.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "cluster/member_set.h"
#include "config/config.h"
#include "metrics/registry.h"

namespace forebay::cluster {

// The name that this node goes by: cluster.member, or the host's, which in a pod is the pod's.
std::string SelfName(const config::Cluster& options);

// Threads: any. Snapshots stay good as long as they are held.
class Membership {
 public:
  // self: this node's member name. Metrics: forebay_cluster_members{state},
  // forebay_cluster_changes_total, forebay_cluster_leader.
  Membership(std::string self, metrics::Registry& registry);

  const std::string& self() const { return self_; }
  std::shared_ptr<const MemberSet> Snapshot() const EXCLUDES(mutex_);
  // Takes the set in place of the one before. Returns whether it differs; that is then logged.
  bool Replace(MemberSet members) EXCLUDES(mutex_);

  // Sets that differed from the one before, since start.
  uint64_t changes() const { return changes_.load(std::memory_order_relaxed); }
  // False until the first set came.
  bool known() const { return known_.load(std::memory_order_relaxed); }
  bool IsLeader() const;
  // Whether this node should keep the key's data and upload it: it is the owner, or nobody is.
  bool Owns(std::string_view key) const;

 private:
  const std::string self_;
  std::atomic<uint64_t> changes_{0};
  std::atomic<bool> known_{false};
  mutable Mutex mutex_;
  std::shared_ptr<const MemberSet> members_ GUARDED_BY(mutex_);
  std::vector<metrics::Registry::Callback> callbacks_;
};

}  // namespace forebay::cluster
