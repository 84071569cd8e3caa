#include <catch2/catch.hpp>

#include "cluster/dns_discovery.h"
#include "cluster/srv_lookup.h"

namespace forebay::cluster {

TEST_CASE("dns: a member has the first label of the target as name") {
  REQUIRE(
      MemberOf(SrvRecord{"forebay-0.forebay-headless.monitoring.svc.cluster.local", 9092}) ==
      Member{"forebay-0", "forebay-0.forebay-headless.monitoring.svc.cluster.local:9092", true});
  REQUIRE(MemberOf(SrvRecord{"host", 1}).name == "host");
}

TEST_CASE("dns: servers that are no addresses are refused with what to write") {
  const auto made = SrvLookup::Create({.servers = "not an address"});
  REQUIRE(made.error().code() == ErrorCode::kInvalidArgument);
  REQUIRE(made.error().message().find("10.0.0.10:53") != std::string::npos);
}

TEST_CASE("dns: a server that does not answer is an error, not an empty answer") {
  // Nothing listens on port 1 of the loopback: the kernel refuses at once.
  const auto made = SrvLookup::Create(
      {.servers = "127.0.0.1:1", .timeout = std::chrono::milliseconds(50), .tries = 1});
  REQUIRE(made.ok());
  const auto found = (*made)->Lookup("_transfer._tcp.forebay.test");
  REQUIRE_FALSE(found.ok());
  metrics::Registry registry;
  Membership membership("a", registry);
  membership.Replace(MemberSet({{"a", "1"}, {"b", "2"}}));
  config::ClusterDns options;
  options.service = "_transfer._tcp.forebay.test";
  options.servers = "127.0.0.1:1";
  options.timeout = std::chrono::milliseconds(50);
  const auto discovery = DnsDiscovery::Create(options, membership, registry);
  REQUIRE_FALSE((*discovery)->Refresh().ok());
  // Those known before stay.
  REQUIRE(membership.Snapshot()->members().size() == 2);
  REQUIRE(registry.Expose().find("forebay_cluster_discovery_errors_total 1") != std::string::npos);
}

}  // namespace forebay::cluster
