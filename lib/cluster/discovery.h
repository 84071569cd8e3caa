// Where the members come from: a list in the configuration, DNS, or the Kubernetes API.
#pragma once

#include <memory>

#include "base/result.h"
#include "cluster/membership.h"
#include "config/config.h"
#include "metrics/registry.h"

namespace forebay::cluster {

// A source of members. One of the seams of the program.
class Discovery {
 public:
  virtual ~Discovery() = default;
  // Begins to keep the Membership current that it was made with. An answer that cannot be had
  // leaves the members as they are: nobody is taken for gone because a server is away. Call once.
  virtual void Start() = 0;
  // Ends that. Idempotent.
  virtual void Stop() = 0;
};

// The one that `cluster.discovery` names; with `none` a set of this node alone.
// Errors: kInvalidArgument (a setting that the configuration cannot check), kNotFound (the service
// account's files), kInternal.
Result<std::unique_ptr<Discovery>> MakeDiscovery(const config::Cluster& options,
                                                 Membership& membership,
                                                 metrics::Registry& registry);

}  // namespace forebay::cluster
