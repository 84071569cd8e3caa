#include "cluster/kubernetes_api.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "http/client.h"

namespace forebay::cluster {
namespace {

constexpr std::chrono::seconds kCallTimeout{30};
// How long the server is asked to keep a watch open, and how long we wait for that at most.
constexpr std::chrono::seconds kWatchTime{300};
constexpr std::chrono::seconds kWatchGrace{30};

Result<std::string> ReadTrimmed(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    return Error(
        ErrorCode::kNotFound,
        fmt::format("{} cannot be read: discovery by Kubernetes needs the service account's "
                    "token in the pod (automountServiceAccountToken)",
                    path));
  }
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.pop_back();
  }
  return text;
}

std::string UrlEncoded(std::string_view text) {
  std::string encoded;
  for (const char byte : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(byte)) != 0 || byte == '-' ||
                       byte == '.' || byte == '_' || byte == '~';
    if (plain) {
      encoded += byte;
    } else {
      encoded += fmt::format("%{:02X}", static_cast<unsigned char>(byte));
    }
  }
  return encoded;
}

ErrorCode CodeOf(int status) {
  switch (status) {
    case 400:
    case 422:
      return ErrorCode::kInvalidArgument;
    case 401:
      return ErrorCode::kUnauthenticated;
    case 403:
      return ErrorCode::kPermissionDenied;
    case 404:
      return ErrorCode::kNotFound;
    case 410:
      return ErrorCode::kAborted;
    default:
      return ErrorCode::kUnavailable;
  }
}

Status CheckStatus(const http::ClientResponse& response, std::string_view what) {
  if (response.status / 100 == 2) return {};
  std::string_view hint;
  if (response.status == 403) hint = "; the pod's role needs get, list, watch and patch of pods";
  return Error(CodeOf(response.status),
               fmt::format("Kubernetes, {}: {} {}{}", what, response.status,
                           StatusText(response.body), hint));
}

Result<std::unique_ptr<http::Client>> Connect(const config::ClusterKubernetes& options,
                                              std::chrono::milliseconds timeout) {
  http::ClientOptions client;
  FOREBAY_ASSIGN_OR_RETURN(client.bearer_token, ReadTrimmed(options.token_file));
  client.ca_file = options.ca_file;
  client.total_timeout = timeout;
  return http::Client::Create(std::move(client));
}

// Cuts what a watch sends into lines.
class LineCutter {
 public:
  // False when a line is too long or `on_line` says so.
  bool Take(std::string_view piece, const std::function<bool(std::string_view)>& on_line) {
    while (true) {
      const size_t end = piece.find('\n');
      if (end == std::string_view::npos) break;
      rest_ += piece.substr(0, end);
      piece.remove_prefix(end + 1);
      const bool go_on = rest_.empty() || on_line(rest_);
      rest_.clear();
      if (!go_on) return false;
    }
    rest_ += piece;
    return rest_.size() <= kMaxWatchLine;
  }

 private:
  std::string rest_;
};

}  // namespace

Result<std::unique_ptr<KubernetesApi>> KubernetesApi::Create(
    const config::ClusterKubernetes& options) {
  std::string name = options.kube_namespace;
  if (name.empty()) {
    FOREBAY_ASSIGN_OR_RETURN(name, ReadTrimmed(options.namespace_file));
  }
  if (name.empty()) return Error(ErrorCode::kInvalidArgument, "Kubernetes: no namespace is set");
  FOREBAY_ASSIGN_OR_RETURN(const auto client, Connect(options, kCallTimeout));
  return std::unique_ptr<KubernetesApi>(new KubernetesApi(options, std::move(name)));
}

std::string KubernetesApi::PodsUrl() const {
  return fmt::format("{}/api/v1/namespaces/{}/pods", options_.api_server, UrlEncoded(namespace_));
}

Result<KubernetesApi::PodList> KubernetesApi::List(const std::stop_token& stop) const {
  FOREBAY_ASSIGN_OR_RETURN(const auto client, Connect(options_, kCallTimeout));
  PodList list;
  std::string continue_token;
  do {
    http::ClientRequest request;
    request.url = fmt::format("{}?labelSelector={}&limit={}", PodsUrl(),
                              UrlEncoded(options_.label_selector), kPodsPerPage);
    if (!continue_token.empty()) request.url += "&continue=" + UrlEncoded(continue_token);
    request.headers = {{"Accept", "application/json"}};
    request.stop = stop;
    FOREBAY_ASSIGN_OR_RETURN(const auto response, client->Do(request));
    FOREBAY_RETURN_IF_ERROR(CheckStatus(response, "list of pods"));
    FOREBAY_ASSIGN_OR_RETURN(auto page, ParsePodList(response.body));
    list.resource_version = std::move(page.resource_version);
    continue_token = std::move(page.continue_token);
    std::move(page.pods.begin(), page.pods.end(), std::back_inserter(list.pods));
    if (list.pods.size() > kMaxPods) {
      return Error(
          ErrorCode::kInvalidArgument,
          fmt::format("Kubernetes: more than {} pods match {}", kMaxPods, options_.label_selector));
    }
  } while (!continue_token.empty());
  return list;
}

Status KubernetesApi::Watch(const std::string& resource_version,
                            const std::function<bool(const WatchEvent&)>& on_event,
                            const std::stop_token& stop) const {
  FOREBAY_ASSIGN_OR_RETURN(const auto client, Connect(options_, kWatchTime + kWatchGrace));
  http::ClientRequest request;
  request.url = fmt::format(
      "{}?labelSelector={}&watch=1&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
      PodsUrl(), UrlEncoded(options_.label_selector), UrlEncoded(resource_version),
      kWatchTime.count());
  request.headers = {{"Accept", "application/json"}};
  request.stop = stop;
  LineCutter cutter;
  Status parsed;
  request.on_body = [&](std::string_view piece) {
    return cutter.Take(piece, [&](std::string_view line) {
      const auto event = ParseWatchEvent(line);
      if (!event.ok()) {
        parsed = event.error();
        return false;
      }
      return on_event(*event);
    });
  };
  const auto response = client->Do(request);
  FOREBAY_RETURN_IF_ERROR(parsed);
  if (!response.ok()) return response.error();
  return CheckStatus(*response, "watch of pods");
}

Status KubernetesApi::Annotate(const std::string& pod, std::string_view key,
                               std::string_view value) const {
  FOREBAY_ASSIGN_OR_RETURN(const auto client, Connect(options_, kCallTimeout));
  nlohmann::json patch;
  patch["metadata"]["annotations"][std::string(key)] = value;
  const std::string body = patch.dump();
  http::ClientRequest request;
  request.method = "PATCH";
  request.url = fmt::format("{}/{}", PodsUrl(), UrlEncoded(pod));
  request.headers = {{"Accept", "application/json"},
                     {"Content-Type", "application/strategic-merge-patch+json"}};
  request.body = body;
  FOREBAY_ASSIGN_OR_RETURN(const auto response, client->Do(request));
  return CheckStatus(response, fmt::format("annotation of pod {}", pod));
}

}  // namespace forebay::cluster
