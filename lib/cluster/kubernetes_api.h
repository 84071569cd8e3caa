// The few calls to the Kubernetes API that the cluster needs: list and watch pods, annotate one.
// Token and CA of the service account are read again for every call: Kubernetes rotates them.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cluster/pods.h"
#include "config/config.h"

namespace forebay::cluster {

inline constexpr size_t kPodsPerPage = 500;
inline constexpr size_t kMaxPods = 10'000;
inline constexpr size_t kMaxWatchLine = 4U << 20;  // bytes of one event

// Threads: any; every call has its own connection.
class KubernetesApi {
 public:
  // Errors: kNotFound when a file of the service account is missing, which says that the program
  // does not run in a pod or its account's token is not mounted; kInvalidArgument.
  static Result<std::unique_ptr<KubernetesApi>> Create(const config::ClusterKubernetes& options);

  struct PodList {
    std::vector<Pod> pods;
    std::string resource_version;
  };
  // All pods that the selector matches, page by page. Errors: kUnauthenticated (401),
  // kPermissionDenied (403: the role lacks the verb), kAborted (410: the list expired while it was
  // read; begin again), kUnavailable, kDeadlineExceeded, kInvalidArgument (not the API's answer).
  Result<PodList> List(const std::stop_token& stop) const;

  // Hands over events from that version on until the server ends the watch (OK), `on_event` returns
  // false or `stop` (kCancelled). Errors: as List; events of kind kGone and kError are handed over.
  Status Watch(const std::string& resource_version,
               const std::function<bool(const WatchEvent&)>& on_event,
               const std::stop_token& stop) const;

  // Sets an annotation of a pod. Errors: as List, kNotFound (no such pod).
  Status Annotate(const std::string& pod, std::string_view key, std::string_view value) const;

  const std::string& kube_namespace() const { return namespace_; }

 private:
  KubernetesApi(const config::ClusterKubernetes& options, std::string kube_namespace)
      : options_(options), namespace_(std::move(kube_namespace)) {}
  std::string PodsUrl() const;

  const config::ClusterKubernetes options_;
  const std::string namespace_;
};

}  // namespace forebay::cluster
