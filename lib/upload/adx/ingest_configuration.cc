#include "upload/adx/ingest_configuration.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/log.h"
#include "http/message.h"
#include "upload/adx/management.h"
#include "upload/adx/names.h"

namespace forebay::upload::adx {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr milliseconds kFetchPatience{300'000};
constexpr milliseconds kLeastAge{1000};
constexpr std::string_view kResourceDatabase = "NetDefaultDB";

const json* Member(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string Text(const json& object, const char* key) {
  const json* member = Member(object, key);
  return member != nullptr && member->is_string() ? member->get<std::string>() : std::string();
}

void ReadPaths(const json& settings, const char* key, std::vector<std::string>& paths) {
  const json* list = Member(settings, key);
  if (list == nullptr || !list->is_array()) return;
  for (const json& item : *list) {
    std::string path = Text(item, "path");
    if (!path.empty()) paths.push_back(std::move(path));
  }
}

// The service's own words must not send us data, or a signature, in the clear.
bool MayBeUsed(const std::string& text, UnixMillis now) {
  const auto url = ParseUrl(text);
  if (!url.ok() || (url->scheme != "https" && !IsLoopback(url->host))) return false;
  const auto expiry = SignatureExpiry(url->query);
  return !expiry || expiry->value > now.value;
}

}  // namespace

Result<IngestConfiguration> ReadIngestConfiguration(std::string_view body) {
  const json document = json::parse(body, nullptr, false);
  if (!document.is_object()) {
    return Error(ErrorCode::kCorruption, "ingestion configuration: not a JSON object")
        .WithRetryable(true);
  }
  IngestConfiguration configuration;
  if (const json* settings = Member(document, "containerSettings")) {
    ReadPaths(*settings, "containers", configuration.containers);
    ReadPaths(*settings, "lakeFolders", configuration.lakes);
    if (const auto refresh = ParseTimeSpan(Text(*settings, "refreshInterval"))) {
      configuration.refresh = std::clamp(*refresh, kLeastAge, kConfigurationAge);
    }
    configuration.prefer_lake =
        http::EqualsIgnoreCase(Text(*settings, "preferredUploadMethod"), "lake");
  }
  if (const json* settings = Member(document, "ingestionSettings")) {
    const json* blobs = Member(*settings, "maxBlobsPerBatch");
    if (blobs != nullptr && blobs->is_number_integer() && blobs->get<int64_t>() > 0) {
      configuration.max_blobs = static_cast<size_t>(blobs->get<int64_t>());
    }
  }
  return configuration;
}

ConfigurationCache::ConfigurationCache(const RestClient& management, IngestionPath path,
                                       const Network& network)
    : management_(management), wanted_(path), network_(network) {}

ConfigurationCache::Fetched ConfigurationCache::FetchRest(const std::stop_token& stop) const {
  Fetched fetched;
  fetched.path = IngestionPath::kRest;
  RestRequest request;
  request.path = "/v1/rest/ingestion/configuration";
  request.stop = stop;
  Reply reply = management_.CallWithRetry(request, {});
  if (!reply.ok()) {
    fetched.fault = std::move(reply.fault);
    return fetched;
  }
  auto configuration = ReadIngestConfiguration(reply.body);
  if (configuration.ok()) {
    fetched.configuration = *std::move(configuration);
  } else {
    fetched.fault = FaultOf(configuration.error());
  }
  return fetched;
}

ConfigurationCache::Fetched ConfigurationCache::FetchClassic(const std::stop_token& stop) const {
  Fetched fetched;
  fetched.path = IngestionPath::kClassic;
  const std::string database(kResourceDatabase);
  CommandReply resources = RunCommand(management_, database, ".get ingestion resources", {}, stop);
  if (!resources.ok()) {
    fetched.fault = std::move(resources.fault);
    return fetched;
  }
  for (size_t row = 0; row < resources.result.rows.size(); ++row) {
    const std::string_view type = resources.result.Cell(row, "ResourceTypeName");
    const std::string root(resources.result.Cell(row, "StorageRoot"));
    if (type == "TempStorage") fetched.configuration.containers.push_back(root);
    if (type == "SecuredReadyForAggregationQueue") fetched.configuration.queues.push_back(root);
  }
  CommandReply token = RunCommand(management_, database, ".get kusto identity token", {}, stop);
  if (!token.ok()) {
    fetched.fault = std::move(token.fault);
    return fetched;
  }
  if (!token.result.rows.empty()) {
    fetched.configuration.identity = token.result.Cell(0, "AuthorizationContext");
  }
  return fetched;
}

ConfigurationCache::Fetched ConfigurationCache::Fetch(const std::stop_token& stop) const {
  if (wanted_ == IngestionPath::kClassic) return FetchClassic(stop);
  Fetched fetched = FetchRest(stop);
  // 404: a cluster without the REST API.
  if (wanted_ == IngestionPath::kRest || !fetched.fault || fetched.fault->status != 404) {
    return fetched;
  }
  return FetchClassic(stop);
}

Result<ConfigurationCache::Snapshot> ConfigurationCache::Get(const std::stop_token& stop) {
  const MonotonicTime give_up = network_.clock.Monotonic() + kFetchPatience;
  {
    MutexLock lock(mutex_);
    while (true) {
      const MonotonicTime now = network_.clock.Monotonic();
      if (current_ != nullptr && (now < refresh_at_ || fetching_)) return current_;
      if (!fetching_) break;
      if (stop.stop_requested() || now > give_up) {
        return Error(ErrorCode::kDeadlineExceeded, "ingestion configuration: another fetch hangs");
      }
      (void)changed_.WaitUntil(lock, std::chrono::steady_clock::now() + std::chrono::seconds(1));
    }
    fetching_ = true;
  }
  Fetched fetched = Fetch(stop);
  MutexLock lock(mutex_);
  fetching_ = false;
  changed_.NotifyAll();
  const MonotonicTime now = network_.clock.Monotonic();
  if (!fetched.fault) {
    path_ = fetched.path;
    fetched_at_ = now;
    // Ahead of the end, so that it is met by one caller and not by all.
    refresh_at_ = now + fetched.configuration.refresh * 4 / 5;
    retry_ = kRefreshRetry;
    current_ = std::make_shared<const IngestConfiguration>(std::move(fetched.configuration));
    return current_;
  }
  const Error error = fetched.fault->ToError("ingestion configuration").WithRetryable(true);
  if (current_ == nullptr) return error;
  LogWarn("ingestion configuration cannot be fetched, the old one stays in use",
          {{"error", error.ToString()}});
  refresh_at_ = now + retry_;
  retry_ = std::min(retry_ * 2, kRefreshRetryMax);
  return current_;
}

void ConfigurationCache::Invalidate() {
  MutexLock lock(mutex_);
  refresh_at_ = std::min(refresh_at_, fetched_at_ + kLeastAge);
}

IngestionPath ConfigurationCache::path() const {
  MutexLock lock(mutex_);
  return path_;
}

Result<std::vector<Container>> ConfigurationCache::Containers(const std::stop_token& stop) {
  FOREBAY_ASSIGN_OR_RETURN(const Snapshot snapshot, Get(stop));
  const bool lake =
      snapshot->containers.empty() || (snapshot->prefer_lake && !snapshot->lakes.empty());
  const std::vector<std::string>& urls = lake ? snapshot->lakes : snapshot->containers;
  std::vector<Container> good;
  const uint64_t first = turn_.fetch_add(1, std::memory_order_relaxed);
  for (size_t i = 0; i < urls.size(); ++i) {
    const std::string& url = urls[(first + i) % urls.size()];
    if (MayBeUsed(url, network_.clock.Now())) good.push_back({url, lake});
  }
  if (!good.empty()) return good;
  Invalidate();
  return Error(ErrorCode::kUnavailable,
               fmt::format("none of the {} containers of the ingestion service can be used: "
                           "signatures have expired, or there are none",
                           urls.size()));
}

Result<std::vector<std::string>> ConfigurationCache::Queues(const std::stop_token& stop) {
  FOREBAY_ASSIGN_OR_RETURN(const Snapshot snapshot, Get(stop));
  std::vector<std::string> good;
  const uint64_t first = turn_.load(std::memory_order_relaxed);
  for (size_t i = 0; i < snapshot->queues.size(); ++i) {
    const std::string& url = snapshot->queues[(first + i) % snapshot->queues.size()];
    if (MayBeUsed(url, network_.clock.Now())) good.push_back(url);
  }
  if (!good.empty()) return good;
  Invalidate();
  return Error(ErrorCode::kUnavailable, "the ingestion service names no queue that can be used");
}

}  // namespace forebay::upload::adx
