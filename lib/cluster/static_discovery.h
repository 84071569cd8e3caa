// Members that the configuration lists. They are always taken for ready: whether one answers is
// the transfer client's to find out.
#pragma once

#include "cluster/discovery.h"

namespace forebay::cluster {

// Threads: any.
class StaticDiscovery final : public Discovery {
 public:
  StaticDiscovery(MemberSet members, Membership& membership)
      : members_(std::move(members)), membership_(membership) {}

  void Start() override { (void)membership_.Replace(members_); }
  void Stop() override {}

 private:
  const MemberSet members_;
  Membership& membership_;
};

}  // namespace forebay::cluster
