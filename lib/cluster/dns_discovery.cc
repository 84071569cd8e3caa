#include "cluster/dns_discovery.h"

#include <fmt/core.h>

#include <utility>

#include "base/log.h"
#include "base/thread.h"
#include "cluster/internal/pause.h"

namespace forebay::cluster {

Member MemberOf(const SrvRecord& record) {
  return {record.target.substr(0, record.target.find('.')),
          fmt::format("{}:{}", record.target, record.port), /*ready=*/true};
}

Result<std::unique_ptr<DnsDiscovery>> DnsDiscovery::Create(const config::ClusterDns& options,
                                                           Membership& membership,
                                                           metrics::Registry& registry) {
  SrvLookupOptions lookup_options;
  lookup_options.servers = options.servers;
  lookup_options.timeout = options.timeout;
  FOREBAY_ASSIGN_OR_RETURN(auto lookup, SrvLookup::Create(lookup_options));
  metrics::Counter* errors = registry.AddCounter(
      "forebay_cluster_discovery_errors_total",
      "Times that the members could not be asked for; those known before stay.");
  return std::unique_ptr<DnsDiscovery>(
      new DnsDiscovery(options, std::move(lookup), membership, errors));
}

DnsDiscovery::DnsDiscovery(const config::ClusterDns& options, std::unique_ptr<SrvLookup> lookup,
                           Membership& membership, metrics::Counter* errors)
    : options_(options), lookup_(std::move(lookup)), membership_(membership), errors_(errors) {}

DnsDiscovery::~DnsDiscovery() { Stop(); }

Status DnsDiscovery::Refresh() {
  Result<std::vector<SrvRecord>> records = lookup_->Lookup(options_.service);
  if (!records.ok()) {
    errors_->Increment();
    return Error(std::move(records.error()));
  }
  std::vector<Member> members;
  members.reserve(records->size());
  for (const SrvRecord& record : *records) members.push_back(MemberOf(record));
  const bool none = members.empty();
  if (membership_.Replace(MemberSet(std::move(members))) && none) {
    LogWarn("DNS has no members: every table is uploaded by the node that received it",
            {{"service", options_.service}});
  }
  return {};
}

void DnsDiscovery::Start() {
  thread_ = StartThread("dns", [this](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const Status refreshed = Refresh();
      if (!refreshed.ok()) {
        LogWarn("the cluster's members cannot be asked for; those known before stay",
                {{"error", refreshed.error().ToString()}});
      }
      internal::Pause(stop, options_.interval);
    }
  });
}

void DnsDiscovery::Stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

}  // namespace forebay::cluster
