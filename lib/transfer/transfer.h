// What sender and receiver of segments share: outcomes and limits.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace forebay::transfer {

inline constexpr uint32_t kProtocol = 1;
inline constexpr size_t kChunkBytes = 256U << 10;        // of a segment in one message
inline constexpr size_t kMaxSegmentsPerStream = 4096;    // also of a Recall
inline constexpr std::chrono::minutes kMaxCallTime{10};  // calls with a later deadline are refused

// What became of one segment at a peer.
enum class Outcome {
  kAccepted,   // durable there
  kDuplicate,  // was durable there before
  kRefused,    // it is not there; the peer has no room, or was never reached
  kInvalid,    // it is not there, and the peer will never take it
  kUnknown,    // may be there: only the peer can say
};

// Label of metrics; the same on both sides.
constexpr std::string_view NameOf(Outcome outcome) {
  switch (outcome) {
    case Outcome::kAccepted:
      return "accepted";
    case Outcome::kDuplicate:
      return "duplicate";
    case Outcome::kRefused:
      return "overloaded";
    case Outcome::kInvalid:
      return "invalid";
    case Outcome::kUnknown:
      return "undecided";
  }
  return "";
}

struct Answer {
  Outcome outcome = Outcome::kUnknown;
  std::chrono::milliseconds retry_after{0};
  int32_t bad_block = -1;
  std::string reason;
};

}  // namespace forebay::transfer
