// What the data management service says of how to ingest: containers, limits and preferences. One
// caller fetches at a time, ahead of the end; when that fails the old one stays in use and is
// fetched again after kRefreshRetry, doubled to kRefreshRetryMax. Containers are handed out in
// turn; one whose signature has expired is not. Sources: "Queued ingestion configuration HTTP
// request",
// ".get ingestion resources".
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "upload/adx/rest.h"

namespace forebay::upload::adx {

inline constexpr std::chrono::milliseconds kConfigurationAge = std::chrono::hours(1);
inline constexpr std::chrono::milliseconds kRefreshRetry = std::chrono::seconds(30);
inline constexpr std::chrono::milliseconds kRefreshRetryMax = std::chrono::minutes(5);
inline constexpr size_t kDefaultBlobsPerBatch = 20;  // the service's documented limit

struct IngestConfiguration {
  std::vector<std::string> containers;  // URLs with signatures: secret
  std::vector<std::string> lakes;       // URLs of folders
  std::vector<std::string> queues;      // of the classic path, with signatures: secret
  bool prefer_lake = false;
  size_t max_blobs = kDefaultBlobsPerBatch;
  std::chrono::milliseconds refresh = kConfigurationAge;
  std::string identity;  // authorization context of the classic path: secret
};

// Errors: kCorruption. Unknown members are passed over, missing ones have their defaults.
Result<IngestConfiguration> ReadIngestConfiguration(std::string_view body);

// A place for one blob.
struct Container {
  std::string url;
  bool lake = false;
};

enum class IngestionPath { kAuto, kRest, kClassic };

// Threads: any.
class ConfigurationCache {
 public:
  using Snapshot = std::shared_ptr<const IngestConfiguration>;
  ConfigurationCache(const RestClient& management, IngestionPath path, const Network& network);

  // Errors: of the first fetch; kUnavailable, kPermissionDenied ...
  Result<Snapshot> Get(const std::stop_token& stop) EXCLUDES(mutex_);
  // A container was refused: the next Get fetches anew, but not more often than every second.
  void Invalidate() EXCLUDES(mutex_);
  // The containers to try for one blob, in turn from the next one on. Errors: those of Get;
  // kUnavailable: none that is still good.
  Result<std::vector<Container>> Containers(const std::stop_token& stop) EXCLUDES(mutex_);
  // The queues in turn.
  Result<std::vector<std::string>> Queues(const std::stop_token& stop) EXCLUDES(mutex_);
  // Which path was found to work; kAuto before the first fetch.
  IngestionPath path() const EXCLUDES(mutex_);

 private:
  struct Fetched {
    std::optional<Fault> fault;
    IngestConfiguration configuration;
    IngestionPath path = IngestionPath::kAuto;
  };
  Fetched Fetch(const std::stop_token& stop) const;
  Fetched FetchRest(const std::stop_token& stop) const;
  Fetched FetchClassic(const std::stop_token& stop) const;

  const RestClient& management_;
  const IngestionPath wanted_;
  const Network& network_;
  std::atomic<uint64_t> turn_{0};
  mutable Mutex mutex_;
  CondVar changed_;
  Snapshot current_ GUARDED_BY(mutex_);
  IngestionPath path_ GUARDED_BY(mutex_) = IngestionPath::kAuto;
  MonotonicTime refresh_at_ GUARDED_BY(mutex_) = MonotonicTime::min();
  MonotonicTime fetched_at_ GUARDED_BY(mutex_) = MonotonicTime::min();
  std::chrono::milliseconds retry_ GUARDED_BY(mutex_) = kRefreshRetry;
  bool fetching_ GUARDED_BY(mutex_) = false;
};

}  // namespace forebay::upload::adx
