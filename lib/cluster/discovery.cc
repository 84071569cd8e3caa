#include "cluster/discovery.h"

#include <utility>

#include "cluster/dns_discovery.h"
#include "cluster/kubernetes_discovery.h"
#include "cluster/static_discovery.h"

namespace forebay::cluster {

Result<std::unique_ptr<Discovery>> MakeDiscovery(const config::Cluster& options,
                                                 Membership& membership,
                                                 metrics::Registry& registry) {
  using Made = Result<std::unique_ptr<Discovery>>;
  if (options.discovery == "dns") {
    FOREBAY_ASSIGN_OR_RETURN(auto dns, DnsDiscovery::Create(options.dns, membership, registry));
    return Made(std::move(dns));
  }
  if (options.discovery == "kubernetes") {
    FOREBAY_ASSIGN_OR_RETURN(auto pods,
                             KubernetesDiscovery::Create(options.kubernetes, membership, registry));
    return Made(std::move(pods));
  }
  std::vector<Member> members;
  if (options.discovery == "static") {
    for (const auto& member : options.members) members.push_back({member.name, member.address});
  } else {
    members.push_back({membership.self(), ""});
  }
  return Made(std::make_unique<StaticDiscovery>(MemberSet(std::move(members)), membership));
}

}  // namespace forebay::cluster
