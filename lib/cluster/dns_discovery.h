// Members by the SRV records of a headless service: `_transfer._tcp.<service>.<namespace>.svc.…`.
// Needs no permissions. Kubernetes lists the pods that are ready; a member's name is the first
// label of the target, which is the pod's name in a StatefulSet, and its address target:port.
#pragma once

#include <memory>
#include <thread>

#include "cluster/discovery.h"
#include "cluster/srv_lookup.h"
#include "metrics/registry.h"

namespace forebay::cluster {

// The member that a record names.
Member MemberOf(const SrvRecord& record);

// Threads: one of its own, "dns".
class DnsDiscovery final : public Discovery {
 public:
  // Errors: those of SrvLookup::Create. Metrics: forebay_cluster_discovery_errors_total.
  static Result<std::unique_ptr<DnsDiscovery>> Create(const config::ClusterDns& options,
                                                      Membership& membership,
                                                      metrics::Registry& registry);
  ~DnsDiscovery() override;

  void Start() override;
  void Stop() override;

  // Asks once. What Start does at intervals.
  Status Refresh();

 private:
  DnsDiscovery(const config::ClusterDns& options, std::unique_ptr<SrvLookup> lookup,
               Membership& membership, metrics::Counter* errors);

  const config::ClusterDns options_;
  const std::unique_ptr<SrvLookup> lookup_;
  Membership& membership_;
  metrics::Counter* const errors_;
  std::jthread thread_;
};

}  // namespace forebay::cluster
