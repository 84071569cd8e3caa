#include "upload/adx/queued_client.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "config/print.h"
#include "http/message.h"
#include "upload/adx/names.h"

namespace forebay::upload::adx {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr milliseconds kFirstLook{250};
constexpr std::string_view kAlreadyThere = "IngestByTagAlreadyExists";
constexpr size_t kMaxDetails = 500;
constexpr std::string_view kQueueVersion = "2020-10-02";

std::string Dump(const json& document) {
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::vector<std::string> AllTags(const IngestProperties& properties) {
  std::vector<std::string> tags = properties.tags;
  for (const std::string& tag : properties.ingest_by_tags) tags.push_back("ingest-by:" + tag);
  for (const std::string& tag : properties.drop_by_tags) tags.push_back("drop-by:" + tag);
  return tags;
}

// The member of that name, whatever its case; nothing when it is null.
const json* Member(const json& object, std::string_view name) {
  if (!object.is_object()) return nullptr;
  for (const auto& [key, value] : object.items()) {
    if (http::EqualsIgnoreCase(key, name)) return value.is_null() ? nullptr : &value;
  }
  return nullptr;
}

std::string TextMember(const json& object, std::string_view name) {
  const json* member = Member(object, name);
  return member != nullptr && member->is_string() ? member->get<std::string>() : std::string();
}

uint64_t Count(const json& object, std::string_view name) {
  const json* member = Member(object, name);
  return member != nullptr && member->is_number_integer() && member->get<int64_t>() > 0
             ? static_cast<uint64_t>(member->get<int64_t>())
             : 0;
}

BlobState StateOf(std::string_view text) {
  constexpr std::pair<std::string_view, BlobState> kStates[] = {
      {"Queued", BlobState::kQueued},
      {"InProgress", BlobState::kInProgress},
      {"Succeeded", BlobState::kSucceeded},
      {"Failed", BlobState::kFailed},
      {"Canceled", BlobState::kCanceled}};
  for (const auto& [name, state] : kStates) {
    if (http::EqualsIgnoreCase(name, text)) return state;
  }
  return BlobState::kUnknown;
}

FailureKind FailureOf(std::string_view text) {
  if (http::EqualsIgnoreCase(text, "Permanent")) return FailureKind::kPermanent;
  if (http::EqualsIgnoreCase(text, "Transient")) return FailureKind::kTransient;
  if (http::EqualsIgnoreCase(text, "Exhausted")) return FailureKind::kExhausted;
  return FailureKind::kUnknown;
}

bool Contains(std::string_view text, std::string_view word) {
  return text.find(word) != std::string_view::npos;
}

// What a new table, mapping or grant cures: no row is to blame.
bool TargetMissing(std::string_view code) {
  for (const char* word : {"MappingReferenceWasNotFound", "TableNotExist", "DatabaseNotExist",
                           "EntityNotFound", "TableNotFound", "DatabaseNotFound"}) {
    if (Contains(code, word)) return true;
  }
  return false;
}

bool RetryAnyway(std::string_view code) {
  return TargetMissing(code) || Contains(code, "Download_") ||
         Contains(code, "InvalidKustoIdentityToken") || Contains(code, "AccessDenied");
}

}  // namespace

Status CheckProperties(const IngestProperties& properties) {
  if (properties.format.empty()) {
    return Error(ErrorCode::kInvalidArgument, "ingestion properties without a format");
  }
  if (!properties.mapping.empty() && !properties.inline_mapping.empty()) {
    return Error(ErrorCode::kInvalidArgument,
                 "ingestion properties with the name of a mapping and a mapping too; give one");
  }
  return OkStatus();
}

std::string QueuedBody(std::span<const Blob> blobs, const IngestProperties& properties,
                       UnixMillis now) {
  json body = {{"timestamp", FormatRfc3339(now)}, {"blobs", json::array()}};
  for (const Blob& blob : blobs) {
    body["blobs"].push_back(
        {{"url", blob.url}, {"sourceId", blob.source_id}, {"rawSize", blob.raw_size}});
  }
  json& out = body["properties"];
  out = {{"format", properties.format}, {"enableTracking", properties.tracking}};
  const auto put = [&out](const char* name, const std::string& value) {
    if (!value.empty()) out[name] = value;
  };
  put("ingestionMappingReference", properties.mapping);
  put("ingestionMapping", properties.inline_mapping);
  put("creationTime", properties.creation_time);
  put("validationPolicy", properties.validation_policy);
  if (const auto tags = AllTags(properties); !tags.empty()) out["tags"] = tags;
  if (!properties.ingest_if_not_exists.empty()) {
    out["ingestIfNotExists"] = properties.ingest_if_not_exists;
  }
  if (properties.skip_batching) out["skipBatching"] = true;
  if (properties.delete_after_download) out["deleteAfterDownload"] = true;
  if (properties.ignore_first_record) out["ignoreFirstRecord"] = true;
  return Dump(body);
}

std::string ClassicMessage(const Blob& blob, const std::string& database, const std::string& table,
                           const IngestProperties& properties, const std::string& identity,
                           UnixMillis now) {
  json additional = {{"authorizationContext", identity}, {"format", properties.format}};
  const auto put = [&additional](const char* name, const std::string& value) {
    if (!value.empty()) additional[name] = value;
  };
  put("ingestionMappingReference", properties.mapping);
  put("ingestionMapping", properties.inline_mapping);
  if (!properties.mapping.empty() || !properties.inline_mapping.empty()) {
    additional["ingestionMappingType"] = "Csv";
  }
  put("creationTime", properties.creation_time);
  put("validationPolicy", properties.validation_policy);
  if (const auto tags = AllTags(properties); !tags.empty()) additional["tags"] = Dump(tags);
  if (!properties.ingest_if_not_exists.empty()) {
    additional["ingestIfNotExists"] = Dump(properties.ingest_if_not_exists);
  }
  if (properties.ignore_first_record) additional["ignoreFirstRecord"] = true;
  return Dump({{"Id", blob.source_id},
               {"BlobPath", blob.url},
               {"DatabaseName", database},
               {"TableName", table},
               {"RawDataSize", blob.raw_size},
               {"RetainBlobOnSuccess", !properties.delete_after_download},
               {"FlushImmediately", properties.skip_batching},
               {"IgnoreSizeLimit", false},
               {"ReportLevel", 0},
               {"ReportMethod", 0},
               {"SourceMessageCreationTime", FormatRfc3339(now)},
               {"AdditionalProperties", additional},
               {"ApplicationForTracing", "Forebay"},
               {"ClientVersionForTracing", "Kusto.Forebay:{1}"}});
}

bool OperationStatus::Finished() const {
  if (!blobs.empty()) {
    return std::all_of(blobs.begin(), blobs.end(), [](const BlobStatus& blob) {
      return blob.state == BlobState::kSucceeded || blob.state == BlobState::kFailed ||
             blob.state == BlobState::kCanceled;
    });
  }
  return in_progress == 0 && succeeded + failed + canceled > 0;
}

Result<OperationStatus> ReadOperationStatus(std::string_view body) {
  const json document = json::parse(body, nullptr, false);
  if (!document.is_object()) {
    return Error(ErrorCode::kCorruption, "status of an operation: not a JSON object");
  }
  OperationStatus status;
  if (const json* counts = Member(document, "status")) {
    status.succeeded = Count(*counts, "succeeded");
    status.failed = Count(*counts, "failed");
    status.in_progress = Count(*counts, "inProgress");
    status.canceled = Count(*counts, "canceled");
  }
  const json* details = Member(document, "details");
  if (details == nullptr || !details->is_array()) return status;
  for (const json& item : *details) {
    BlobStatus& blob = status.blobs.emplace_back();
    blob.source_id = TextMember(item, "sourceId");
    blob.state = StateOf(TextMember(item, "status"));
    blob.error_code = TextMember(item, "errorCode");
    blob.failure = FailureOf(TextMember(item, "failureStatus"));
    blob.details = config::MaskSecrets(TextMember(item, "details").substr(0, kMaxDetails));
  }
  return status;
}

OperationResult Judge(const OperationStatus& status) {
  OperationResult result;
  size_t skipped = 0;
  const BlobStatus* worst = nullptr;
  bool permanent = false;
  for (const BlobStatus& blob : status.blobs) {
    if (blob.state == BlobState::kSucceeded) continue;
    if (Contains(blob.error_code, kAlreadyThere)) {
      ++skipped;
      continue;
    }
    ++result.failed;
    result.target_missing = result.target_missing || TargetMissing(blob.error_code);
    const bool lost = blob.state == BlobState::kFailed && blob.failure == FailureKind::kPermanent &&
                      !RetryAnyway(blob.error_code);
    if (worst == nullptr || (lost && !permanent)) worst = &blob;
    permanent = permanent || lost;
  }
  result.already_there = skipped > 0 && skipped == status.blobs.size();
  if (worst != nullptr) {
    result.error = Error(permanent ? ErrorCode::kInvalidArgument : ErrorCode::kAborted,
                         fmt::format("ingestion failed: {}: {}",
                                     worst->error_code.empty() ? "no code" : worst->error_code,
                                     worst->details))
                       .WithRetryable(!permanent);
  } else if (status.blobs.empty() && status.failed + status.canceled > 0) {
    result.failed = status.failed + status.canceled;
    result.error = Error(ErrorCode::kAborted, "ingestion failed, the service does not say why")
                       .WithRetryable(true);
  }
  return result;
}

QueuedClient::QueuedClient(const RestClient& management, ConfigurationCache& configuration,
                           const Network& network)
    : management_(management), configuration_(configuration), network_(network) {}

Result<std::string> QueuedClient::SubmitSome(const std::string& database, const std::string& table,
                                             std::span<const Blob> blobs,
                                             const IngestProperties& properties,
                                             const std::stop_token& stop) const {
  const std::string body = QueuedBody(blobs, properties, network_.clock.Now());
  RestRequest request;
  request.method = "POST";
  request.path =
      fmt::format("/v1/rest/ingestion/queued/{}/{}", EncodeSegment(database), EncodeSegment(table));
  request.body = body;
  request.stop = stop;
  const Reply reply = management_.CallWithRetry(request, {});
  if (!reply.ok()) {
    Error error = reply.fault->ToError(fmt::format("queued ingestion to {}.{}", database, table));
    return TargetMissing(reply.fault->code) ? std::move(error).WithRetryable(true) : error;
  }
  const json document = json::parse(reply.body, nullptr, false);
  std::string operation = TextMember(document, "ingestionOperationId");
  if (operation.empty() && properties.tracking) {
    return Error(ErrorCode::kInternal,
                 fmt::format("queued ingestion to {}.{}: the service gave no operation to ask for",
                             database, table))
        .WithRetryable(true);
  }
  return operation;
}

Result<std::vector<std::string>> QueuedClient::Submit(const std::string& database,
                                                      const std::string& table,
                                                      std::span<const Blob> blobs,
                                                      const IngestProperties& properties,
                                                      const std::stop_token& stop) {
  if (blobs.empty()) return Error(ErrorCode::kInvalidArgument, "no blobs to ingest");
  FOREBAY_RETURN_IF_ERROR(CheckProperties(properties));
  std::set<std::string> urls;
  for (const Blob& blob : blobs) {
    if (!urls.insert(WithoutQuery(blob.url)).second) {
      return Error(
          ErrorCode::kInvalidArgument,
          fmt::format("{} is there twice (source {})", WithoutQuery(blob.url), blob.source_id));
    }
  }
  FOREBAY_ASSIGN_OR_RETURN(const auto configuration, configuration_.Get(stop));
  std::vector<std::string> operations;
  while (!blobs.empty()) {
    const auto some = blobs.first(std::min(blobs.size(), configuration->max_blobs));
    FOREBAY_ASSIGN_OR_RETURN(std::string operation,
                             SubmitSome(database, table, some, properties, stop));
    operations.push_back(std::move(operation));
    blobs = blobs.subspan(some.size());
  }
  return operations;
}

QueuedClient::StatusReply QueuedClient::Status(const std::string& database,
                                               const std::string& table,
                                               const std::string& operation,
                                               const std::stop_token& stop) const {
  RestRequest request;
  request.path =
      fmt::format("/v1/rest/ingestion/queued/{}/{}/{}?details=true", EncodeSegment(database),
                  EncodeSegment(table), EncodeSegment(operation));
  request.stop = stop;
  Reply reply = management_.Call(request);
  StatusReply out;
  if (!reply.ok()) {
    out.fault = std::move(reply.fault);
    return out;
  }
  auto status = ReadOperationStatus(reply.body);
  if (status.ok()) {
    out.status = *std::move(status);
  } else {
    out.fault = FaultOf(status.error());
  }
  return out;
}

Result<OperationResult> QueuedClient::WaitUntilFinished(const std::string& database,
                                                        const std::string& table,
                                                        const std::string& operation,
                                                        const Polling& polling,
                                                        const std::stop_token& stop) const {
  const MonotonicTime begin = network_.clock.Monotonic();
  const std::string context = fmt::format("operation {} of {}.{}", operation, database, table);
  milliseconds pause = std::min(kFirstLook, polling.interval);
  std::string last = "it has not ended";
  while (true) {
    milliseconds wait = pause;
    const StatusReply reply = Status(database, table, operation, stop);
    const milliseconds age =
        std::chrono::duration_cast<milliseconds>(network_.clock.Monotonic() - begin);
    if (!reply.fault) {
      if (reply.status.Finished()) return Judge(reply.status);
    } else {
      const Fault& fault = *reply.fault;
      const bool unseen = fault.status == 404 && age < kOperationVisible;
      if (!fault.Transient() && !unseen) return fault.ToError(context).WithRetryable(true);
      last = fault.ToError("last look").message();
      if (fault.retry_after)
        wait = std::max(wait, std::min(*fault.retry_after, milliseconds(60'000)));
    }
    if (age >= polling.timeout) {
      return Error(ErrorCode::kDeadlineExceeded, fmt::format("{}: {}", context, last));
    }
    FOREBAY_RETURN_IF_ERROR(network_.wait(wait, stop));
    pause = std::min(pause * 2, polling.interval);
  }
}

Status QueuedClient::SubmitClassic(const std::string& database, const std::string& table,
                                   const Blob& blob, const IngestProperties& properties,
                                   const std::stop_token& stop) {
  FOREBAY_RETURN_IF_ERROR(CheckProperties(properties));
  FOREBAY_ASSIGN_OR_RETURN(const auto configuration, configuration_.Get(stop));
  FOREBAY_ASSIGN_OR_RETURN(const auto queues, configuration_.Queues(stop));
  const std::string message = Base64(ClassicMessage(blob, database, table, properties,
                                                    configuration->identity, network_.clock.Now()));
  if (message.size() > kMaxMessageBytes) {
    return Error(ErrorCode::kOutOfRange, fmt::format("a queue's message of {} bytes, above {}",
                                                     message.size(), kMaxMessageBytes));
  }
  const std::string body =
      fmt::format("<QueueMessage><MessageText>{}</MessageText></QueueMessage>", message);
  const RetryRule rule{milliseconds(1000), milliseconds(10'000), 4};
  for (int failed = 1;; ++failed) {
    const std::string& queue = queues[static_cast<size_t>(failed - 1) % queues.size()];
    const size_t query = std::min(queue.find('?'), queue.size());
    http::ClientRequest request;
    request.method = "POST";
    request.url = fmt::format("{}/messages{}", queue.substr(0, query), queue.substr(query));
    request.headers = {{"Content-Type", "application/xml"},
                       {"x-ms-version", std::string(kQueueVersion)},
                       {"x-ms-client-request-id", NewUuid()}};
    request.body = {body.data(), body.size()};
    request.stop = stop;
    const auto response = network_.send(request);
    if (response.ok() && response->status / 100 == 2) return OkStatus();
    const Fault fault =
        response.ok() ? FaultOf(*response, network_.clock.Now()) : FaultOf(response.error());
    if (fault.status != 0 && !fault.Transient()) configuration_.Invalidate();
    if (failed >= rule.tries || stop.stop_requested()) {
      return fault.ToError("queue " + WithoutQuery(queue)).WithRetryable(true);
    }
    FOREBAY_RETURN_IF_ERROR(
        network_.wait(rule.Delay(failed, network_.random(), fault.retry_after), stop));
  }
}

}  // namespace forebay::upload::adx
