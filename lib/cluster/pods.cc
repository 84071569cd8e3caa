#include "cluster/pods.h"

#include <fmt/core.h>
#include <simdjson.h>

#include <utility>

namespace forebay::cluster {
namespace {

using simdjson::dom::element;

constexpr size_t kMaxStatusText = 300;

std::string StringAt(const element& parent, std::string_view pointer) {
  std::string_view text;
  if (parent.at_pointer(pointer).get(text) != simdjson::SUCCESS) return {};
  return std::string(text);
}

bool IsReady(const element& pod) {
  if (!StringAt(pod, "/metadata/deletionTimestamp").empty()) return false;
  if (StringAt(pod, "/status/phase") != "Running") return false;
  simdjson::dom::array conditions;
  if (pod.at_pointer("/status/conditions").get(conditions) != simdjson::SUCCESS) return false;
  for (const element condition : conditions) {
    if (StringAt(condition, "/type") == "Ready") return StringAt(condition, "/status") == "True";
  }
  return false;
}

std::string StatefulSetOf(const element& pod) {
  simdjson::dom::array owners;
  if (pod.at_pointer("/metadata/ownerReferences").get(owners) != simdjson::SUCCESS) return {};
  for (const element owner : owners) {
    if (StringAt(owner, "/kind") == "StatefulSet") return StringAt(owner, "/name");
  }
  return {};
}

Result<Pod> PodOf(const element& json) {
  Pod pod;
  pod.name = StringAt(json, "/metadata/name");
  if (pod.name.empty()) return Error(ErrorCode::kInvalidArgument, "a pod without a name");
  pod.ip = StringAt(json, "/status/podIP");
  pod.ready = IsReady(json);
  pod.stateful_set = StatefulSetOf(json);
  simdjson::dom::object annotations;
  if (json.at_pointer("/metadata/annotations").get(annotations) == simdjson::SUCCESS) {
    pod.shutdown_requested = annotations.at_key(kShutdownRequested).error() == simdjson::SUCCESS;
  }
  return pod;
}

Error NotJson(std::string_view what, simdjson::error_code error) {
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("{}: {}", what, simdjson::error_message(error)));
}

// kGone when the resource version that the watch began with is no longer kept.
WatchEvent ErrorEvent(const element& status) {
  WatchEvent event;
  int64_t code = 0;
  if (status.at_pointer("/code").get(code) != simdjson::SUCCESS) code = 0;
  event.kind = code == 410 ? WatchEvent::Kind::kGone : WatchEvent::Kind::kError;
  event.message =
      fmt::format("{} {}: {}", code, StringAt(status, "/reason"), StringAt(status, "/message"));
  return event;
}

}  // namespace

Result<PodPage> ParsePodList(std::string_view json) {
  simdjson::dom::parser parser;
  element root;
  const auto error = parser.parse(simdjson::padded_string(json)).get(root);
  if (error != simdjson::SUCCESS) return NotJson("the list of pods", error);
  PodPage page;
  page.resource_version = StringAt(root, "/metadata/resourceVersion");
  page.continue_token = StringAt(root, "/metadata/continue");
  simdjson::dom::array items;
  if (StringAt(root, "/kind") != "PodList" || page.resource_version.empty()) {
    return Error(ErrorCode::kInvalidArgument, "the answer is not a list of pods");
  }
  // An empty list may come as null.
  if (root.at_pointer("/items").get(items) != simdjson::SUCCESS) return page;
  page.pods.reserve(items.size());
  for (const element item : items) {
    FOREBAY_ASSIGN_OR_RETURN(auto pod, PodOf(item));
    page.pods.push_back(std::move(pod));
  }
  return page;
}

Result<WatchEvent> ParseWatchEvent(std::string_view json) {
  simdjson::dom::parser parser;
  element root;
  const auto error = parser.parse(simdjson::padded_string(json)).get(root);
  if (error != simdjson::SUCCESS) return NotJson("an event of the watch", error);
  element object;
  const std::string type = StringAt(root, "/type");
  if (root.at_pointer("/object").get(object) != simdjson::SUCCESS) {
    return Error(ErrorCode::kInvalidArgument, fmt::format("the event {} has no object", type));
  }
  if (type == "ERROR") return ErrorEvent(object);
  WatchEvent event;
  event.resource_version = StringAt(object, "/metadata/resourceVersion");
  if (event.resource_version.empty()) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("the event {} has no resourceVersion", type));
  }
  if (type == "BOOKMARK") {
    event.kind = WatchEvent::Kind::kBookmark;
    return event;
  }
  if (type != "ADDED" && type != "MODIFIED" && type != "DELETED") {
    return Error(ErrorCode::kInvalidArgument, fmt::format("an event of unknown type {}", type));
  }
  event.kind = type == "DELETED" ? WatchEvent::Kind::kDeleted : WatchEvent::Kind::kChanged;
  FOREBAY_ASSIGN_OR_RETURN(event.pod, PodOf(object));
  return event;
}

std::string StatusText(std::string_view json) {
  simdjson::dom::parser parser;
  element root;
  if (parser.parse(simdjson::padded_string(json)).get(root) == simdjson::SUCCESS &&
      StringAt(root, "/kind") == "Status") {
    return fmt::format("{}: {}", StringAt(root, "/reason"), StringAt(root, "/message"));
  }
  return std::string(json.substr(0, kMaxStatusText));
}

std::optional<Member> MemberOf(const Pod& pod, uint16_t port) {
  if (pod.ip.empty()) return std::nullopt;
  const bool ipv6 = pod.ip.find(':') != std::string::npos;
  return Member{pod.name, fmt::format("{}{}{}:{}", ipv6 ? "[" : "", pod.ip, ipv6 ? "]" : "", port),
                pod.ready};
}

}  // namespace forebay::cluster
