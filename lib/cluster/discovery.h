// Where the members come from: a list in the configuration, DNS, or the Kubernetes API.
#pragma once

#include <functional>
#include <memory>

#include "base/result.h"
#include "base/time.h"
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

  // Where an operator can ask this node through the source of members to hand over all it has and
  // leave (the annotation of its pod): `call` is called once, on the discovery's thread. Set before
  // Start.
  virtual void OnShutdownRequested(const std::function<void()>& call) { (void)call; }
  // Tells that operator that this is done. Errors: those of the call; try again.
  virtual Status ReportShutdownCompleted(UnixMillis when) const {
    (void)when;
    return OkStatus();
  }
};

// The one that `cluster.discovery` names; with `none` a set of this node alone.
// Errors: kInvalidArgument (a setting that the configuration cannot check), kNotFound (the service
// account's files), kInternal.
Result<std::unique_ptr<Discovery>> MakeDiscovery(const config::Cluster& options,
                                                 Membership& membership,
                                                 metrics::Registry& registry);

}  // namespace forebay::cluster
