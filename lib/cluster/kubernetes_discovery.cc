#include "cluster/kubernetes_discovery.h"

#include <random>
#include <utility>

#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"
#include "cluster/internal/pause.h"

namespace forebay::cluster {
namespace {

constexpr http::RetryPolicy kRetry{std::chrono::milliseconds(500), std::chrono::seconds(30)};

// What a watch ended with that a new list mends at once.
bool IsExpired(const Status& status) {
  return !status.ok() && status.error().code() == ErrorCode::kAborted;
}

}  // namespace

Result<std::unique_ptr<KubernetesDiscovery>> KubernetesDiscovery::Create(
    const config::ClusterKubernetes& options, Membership& membership, metrics::Registry& registry) {
  FOREBAY_ASSIGN_OR_RETURN(auto api, KubernetesApi::Create(options));
  metrics::Counter* errors = registry.AddCounter(
      "forebay_cluster_discovery_errors_total",
      "Times that the members could not be asked for; those known before stay.");
  return std::unique_ptr<KubernetesDiscovery>(
      new KubernetesDiscovery(options, std::move(api), membership, errors));
}

KubernetesDiscovery::KubernetesDiscovery(const config::ClusterKubernetes& options,
                                         std::unique_ptr<KubernetesApi> api, Membership& membership,
                                         metrics::Counter* errors)
    : options_(options), api_(std::move(api)), membership_(membership), errors_(errors) {}

KubernetesDiscovery::~KubernetesDiscovery() { Stop(); }

void KubernetesDiscovery::Start() {
  thread_ = StartThread("kubernetes", [this](const std::stop_token& stop) { Run(stop); });
}

void KubernetesDiscovery::Stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

void KubernetesDiscovery::Run(const std::stop_token& stop) {
  std::minstd_rand random(std::random_device{}());
  while (!stop.stop_requested()) {
    const Status ended = ListAndWatch(stop);
    if (stop.stop_requested()) return;
    if (ended.ok() || IsExpired(ended)) {
      // A list that always expires at once must not be asked for without a pause.
      internal::Pause(stop, kRetry.initial);
      continue;
    }
    errors_->Increment();
    const auto wait =
        kRetry.Delay(failures_++, std::uniform_real_distribution<double>(0, 1)(random));
    LogWarn("the cluster's pods cannot be watched; the members known before stay",
            {{"error", ended.error().ToString()}, {"retry_ms", wait.count()}});
    internal::Pause(stop, wait);
  }
}

Status KubernetesDiscovery::ListAndWatch(const std::stop_token& stop) {
  FOREBAY_ASSIGN_OR_RETURN(auto list, api_->List(stop));
  failures_ = 0;
  pods_.clear();
  for (Pod& pod : list.pods) {
    std::string name = pod.name;
    pods_.insert_or_assign(std::move(name), std::move(pod));
  }
  Publish();
  std::string version = std::move(list.resource_version);
  while (!stop.stop_requested()) {
    Status failed;
    bool any = false;
    const auto on_event = [&](const WatchEvent& event) {
      any = true;
      switch (event.kind) {
        case WatchEvent::Kind::kChanged:
          pods_.insert_or_assign(event.pod.name, event.pod);
          break;
        case WatchEvent::Kind::kDeleted:
          pods_.erase(event.pod.name);
          break;
        case WatchEvent::Kind::kBookmark:
          break;
        case WatchEvent::Kind::kGone:
          failed = Error(ErrorCode::kAborted, event.message);
          return false;
        case WatchEvent::Kind::kError:
          failed = Error(ErrorCode::kUnavailable, event.message);
          return false;
      }
      version = event.resource_version;
      if (event.kind != WatchEvent::Kind::kBookmark) Publish();
      return true;
    };
    Status watched = api_->Watch(version, on_event, stop);
    if (!failed.ok()) return failed;
    FOREBAY_RETURN_IF_ERROR(watched);
    // The server ends a watch now and then; one that ends at once must not turn in a circle.
    if (!any) internal::Pause(stop, kRetry.initial);
  }
  return {};
}

void KubernetesDiscovery::Publish() {
  const auto self = pods_.find(membership_.self());
  const std::string stateful_set = self == pods_.end() ? "" : self->second.stateful_set;
  std::vector<Member> members;
  for (const auto& [name, pod] : pods_) {
    if (!stateful_set.empty() && pod.stateful_set != stateful_set) continue;
    auto member = MemberOf(pod, static_cast<uint16_t>(options_.port));
    if (member) members.push_back(*std::move(member));
  }
  (void)membership_.Replace(MemberSet(std::move(members)));
  if (self == pods_.end() || !self->second.shutdown_requested || shutdown_seen_) return;
  shutdown_seen_ = true;
  LogInfo("this pod is asked to hand over and leave", {{"annotation", kShutdownRequested}});
  if (on_shutdown_) on_shutdown_();
}

Status KubernetesDiscovery::ReportShutdownCompleted(UnixMillis when) const {
  return api_->Annotate(membership_.self(), kShutdownCompleted, FormatRfc3339(when));
}

}  // namespace forebay::cluster
