// What the cluster needs of Kubernetes' answers: pods of a list, events of a watch.
// Source: Kubernetes API v1, PodList and WatchEvent; API concepts, "Efficient detection of
// changes".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cluster/member_set.h"

namespace forebay::cluster {

// An operator asks a pod to hand over everything by the first, the pod says by the second (RFC 3339
// time) that it has. adx-mon's names.
inline constexpr std::string_view kShutdownRequested = "shutdown-requested";
inline constexpr std::string_view kShutdownCompleted = "shutdown-completed";

struct Pod {
  std::string name;
  std::string ip;            // empty: none yet
  std::string stateful_set;  // that owns it; empty: none
  bool ready = false;        // condition Ready, phase Running, not being deleted
  bool shutdown_requested = false;
};

struct PodPage {
  std::vector<Pod> pods;
  std::string resource_version;
  std::string continue_token;  // empty: the last page
};

struct WatchEvent {
  enum class Kind { kChanged, kDeleted, kBookmark, kGone, kError };
  Kind kind = Kind::kError;
  Pod pod;                       // kChanged, kDeleted
  std::string resource_version;  // kChanged, kDeleted, kBookmark
  std::string message;           // kGone, kError
};

// Shape: the JSON of a PodList. Errors: kInvalidArgument.
Result<PodPage> ParsePodList(std::string_view json);
// Shape: one line of a watch. Errors: kInvalidArgument.
Result<WatchEvent> ParseWatchEvent(std::string_view json);
// What a Status object of the API says: `reason: message`; the text itself when it is none.
std::string StatusText(std::string_view json);

// Nothing for a pod without an address. port: of the transfer service.
std::optional<Member> MemberOf(const Pod& pod, uint16_t port);

}  // namespace forebay::cluster
