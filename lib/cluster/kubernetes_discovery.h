// Members by the pods that a label selector matches, kept current by a watch. Where this node's own
// pod belongs to a StatefulSet only that set's pods count. Also reads the annotation by which an
// operator asks this pod to hand over everything and leave.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "base/clock.h"
#include "cluster/discovery.h"
#include "cluster/kubernetes_api.h"
#include "http/retry.h"

namespace forebay::cluster {

// Threads: one of its own, "kubernetes".
class KubernetesDiscovery final : public Discovery {
 public:
  // Errors: those of KubernetesApi::Create. Metrics: forebay_cluster_discovery_errors_total.
  static Result<std::unique_ptr<KubernetesDiscovery>> Create(
      const config::ClusterKubernetes& options, Membership& membership,
      metrics::Registry& registry);
  ~KubernetesDiscovery() override;

  // Called once, on the discovery's thread, when this pod is annotated with kShutdownRequested.
  // Set before Start().
  void OnShutdownRequested(const std::function<void()>& call) override { on_shutdown_ = call; }
  void Start() override;
  void Stop() override;

  // Annotates this pod with kShutdownCompleted. Errors: those of KubernetesApi::Annotate.
  Status ReportShutdownCompleted(UnixMillis when) const override;

 private:
  KubernetesDiscovery(const config::ClusterKubernetes& options, std::unique_ptr<KubernetesApi> api,
                      Membership& membership, metrics::Counter* errors);
  void Run(const std::stop_token& stop);
  // Lists, then watches until the watch cannot go on.
  Status ListAndWatch(const std::stop_token& stop);
  void Publish();

  const config::ClusterKubernetes options_;
  const std::unique_ptr<KubernetesApi> api_;
  Membership& membership_;
  metrics::Counter* const errors_;
  std::function<void()> on_shutdown_;
  // The thread's.
  std::map<std::string, Pod> pods_;
  bool shutdown_seen_ = false;
  uint32_t failures_ = 0;  // since a list was there
  std::jthread thread_;
};

}  // namespace forebay::cluster
