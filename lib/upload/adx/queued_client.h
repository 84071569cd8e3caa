// Queued ingestion: blobs are announced to the data management service, which ingests them in its
// own time, and asked for until they have ended. By its REST API; or the classic way, a message in
// a storage queue, which tells no end. Sources: "Queued ingestion via REST API HTTP request" and
// "... status HTTP request"; "Data ingestion via Kusto.Ingest REST".
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "upload/adx/blob.h"
#include "upload/adx/ingest_configuration.h"
#include "upload/adx/rest.h"

namespace forebay::upload::adx {

// So long an operation may be unknown to the service after it was accepted.
inline constexpr std::chrono::milliseconds kOperationVisible = std::chrono::minutes(5);
// Of a queue's message, in base64.
inline constexpr size_t kMaxMessageBytes = 65'536;

// What goes with blobs. Lists of tags without their prefixes.
struct IngestProperties {
  std::string format = "csv";
  std::string mapping;         // name of one that exists; empty: by position
  std::string inline_mapping;  // JSON; not together with `mapping`
  std::vector<std::string> tags;
  std::vector<std::string> ingest_by_tags;
  std::vector<std::string> drop_by_tags;
  std::vector<std::string> ingest_if_not_exists;  // among the table's ingest_by_tags
  bool tracking = true;
  bool skip_batching = false;
  bool delete_after_download = false;
  bool ignore_first_record = false;
  std::string creation_time;      // RFC 3339; empty: now
  std::string validation_policy;  // JSON
};

// Errors: kInvalidArgument: both mappings, or no format.
Status CheckProperties(const IngestProperties& properties);
// The body of a queued request. The blobs are of one format and none twice.
std::string QueuedBody(std::span<const Blob> blobs, const IngestProperties& properties,
                       UnixMillis now);
// A queue's message before base64.
std::string ClassicMessage(const Blob& blob, const std::string& database, const std::string& table,
                           const IngestProperties& properties, const std::string& identity,
                           UnixMillis now);

enum class BlobState { kQueued, kInProgress, kSucceeded, kFailed, kCanceled, kUnknown };
enum class FailureKind { kUnknown, kPermanent, kTransient, kExhausted };

struct BlobStatus {
  std::string source_id;
  BlobState state = BlobState::kUnknown;
  std::string error_code;
  FailureKind failure = FailureKind::kUnknown;
  std::string details;
};

struct OperationStatus {
  uint64_t succeeded = 0;
  uint64_t failed = 0;
  uint64_t in_progress = 0;
  uint64_t canceled = 0;
  std::vector<BlobStatus> blobs;

  // All have ended, and there is at least one.
  bool Finished() const;
};

// Either spelling of the members; unknown ones are passed over. Errors: kCorruption.
Result<OperationStatus> ReadOperationStatus(std::string_view body);

// How an operation ended, as a whole.
struct OperationResult {
  bool already_there = false;   // every blob was skipped, since its tag exists
  bool target_missing = false;  // the table or mapping is not known (yet)
  std::optional<Error> error;   // retryable(): the blobs may be sent again as new ones
  uint64_t failed = 0;
};
OperationResult Judge(const OperationStatus& status);

// Threads: any.
class QueuedClient {
 public:
  struct Polling {
    std::chrono::milliseconds interval{5'000};  // the longest; the first ones are shorter
    std::chrono::milliseconds timeout{1'800'000};
  };
  QueuedClient(const RestClient& management, ConfigurationCache& configuration,
               const Network& network);

  // Announces blobs, in requests of as many as the service takes. Returns the ids of the
  // operations. Errors: kInvalidArgument (none, one twice, properties); those of Fault::ToError. A
  // lost answer is repeated with the same body: the tags keep the rows from being there twice.
  Result<std::vector<std::string>> Submit(const std::string& database, const std::string& table,
                                          std::span<const Blob> blobs,
                                          const IngestProperties& properties,
                                          const std::stop_token& stop);
  // One look. A fault of 404 may mean: not visible yet.
  struct StatusReply {
    std::optional<Fault> fault;
    OperationStatus status;
  };
  StatusReply Status(const std::string& database, const std::string& table,
                     const std::string& operation, const std::stop_token& stop) const;
  // Looks until it has ended. Errors: kDeadlineExceeded (retryable), kCancelled; faults that do not
  // pass.
  Result<OperationResult> WaitUntilFinished(const std::string& database, const std::string& table,
                                            const std::string& operation, const Polling& polling,
                                            const std::stop_token& stop) const;
  // The classic way: one message. Errors: retryable, but for a message that is too large.
  forebay::Status SubmitClassic(const std::string& database, const std::string& table,
                                const Blob& blob, const IngestProperties& properties,
                                const std::stop_token& stop);

 private:
  Result<std::string> SubmitSome(const std::string& database, const std::string& table,
                                 std::span<const Blob> blobs, const IngestProperties& properties,
                                 const std::stop_token& stop) const;

  const RestClient& management_;
  ConfigurationCache& configuration_;
  const Network& network_;
};

}  // namespace forebay::upload::adx
