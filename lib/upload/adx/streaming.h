// Streaming ingestion, and the decision between it and the queue: what failed how, what is tried
// again, and how long a table is left to the queue. Rows that were streamed have no tags: an answer
// that was lost may leave them twice. Source: "Streaming ingestion HTTP request"; the classes of
// faults stand in this module's README.
#pragma once

#include <array>
#include <chrono>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "upload/adx/network.h"
#include "upload/adx/rest.h"

namespace forebay::upload::adx {

inline constexpr int kStreamingTries = 3;
inline constexpr std::chrono::milliseconds kThrottledFor{10'000};
inline constexpr std::chrono::milliseconds kOffFor = std::chrono::minutes(15);
inline constexpr std::chrono::milliseconds kMissingFor = std::chrono::minutes(5);
// Tables with a state are forgotten when it ends; more than these start afresh.
inline constexpr size_t kMaxStates = 50'000;

enum class StreamingFault {
  kTooLarge,      // of this request
  kThrottled,     // the cluster has too much to do
  kOff,           // streaming is switched off
  kTableRefuses,  // an update policy or the like does
  kNotThere,      // table or mapping, perhaps only not yet
  kRefused,       // who may not
  kBad,           // the data
  kBroken,        // an answer that the server is to blame for
  kNoAnswer,
};
inline constexpr std::array kStreamingFaults = {
    StreamingFault::kTooLarge,     StreamingFault::kThrottled, StreamingFault::kOff,
    StreamingFault::kTableRefuses, StreamingFault::kNotThere,  StreamingFault::kRefused,
    StreamingFault::kBad,          StreamingFault::kBroken,    StreamingFault::kNoAnswer};
std::string_view Name(StreamingFault fault);  // "too_large": for metrics

// By status and code alone, never by free text: that holds the names of tables.
StreamingFault Classify(const Fault& fault);

// What follows of a fault.
struct StreamingVerdict {
  bool try_again = false;             // streaming
  bool queue = false;                 // when not, or when tries are used up
  std::chrono::milliseconds cool{0};  // so long the table is queued only
};
// queue_when_off: a cluster without streaming is no error.
StreamingVerdict Decide(StreamingFault kind, const Fault& fault, bool queue_when_off);

struct StreamingBody {
  std::string database;
  std::string table;
  std::string format = "Csv";
  std::string mapping;  // empty: columns by position
  std::string_view bytes;
  bool gzip = false;
};

// One request, without retries. Threads: any.
Reply Stream(const RestClient& engine, const StreamingBody& body, std::stop_token stop);
// The cluster reads the blob itself.
Reply StreamBlob(const RestClient& engine, const StreamingBody& body, const std::string& blob_url,
                 std::stop_token stop);

struct StreamingEnd {
  bool delivered = false;
  bool queue = false;                   // to be queued; else, when not delivered: failed
  std::optional<Error> error;           // of a failure; retryable() as Sink::Upload wants it
  std::optional<StreamingFault> fault;  // the last one
};

// For the tables of one cluster. Threads: any.
class ManagedStreaming {
 public:
  ManagedStreaming(const RestClient& engine, const Network& network, bool queue_when_off);

  // The table is left to the queue for now.
  bool PrefersQueue(const std::string& database, const std::string& table) EXCLUDES(mutex_);
  // Tries to stream, kStreamingTries times at most.
  StreamingEnd Send(const StreamingBody& body, const std::stop_token& stop) EXCLUDES(mutex_);

 private:
  using Key = std::pair<std::string, std::string>;

  const RestClient& engine_;
  const Network& network_;
  const bool queue_when_off_;
  Mutex mutex_;
  std::map<Key, MonotonicTime> queued_until_ GUARDED_BY(mutex_);
};

}  // namespace forebay::upload::adx
