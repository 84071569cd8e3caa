#include "upload/adx/streaming.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "upload/adx/names.h"

namespace forebay::upload::adx {
namespace {

using std::chrono::milliseconds;

bool NamesAny(const Fault& fault, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(),
                     [&fault](std::string_view word) { return fault.Names(word); });
}

std::string StreamingPath(const StreamingBody& body) {
  std::string path =
      fmt::format("/v1/rest/ingest/{}/{}?streamFormat={}", EncodeSegment(body.database),
                  EncodeSegment(body.table), EncodeSegment(body.format));
  if (!body.mapping.empty()) path += "&mappingName=" + EncodeSegment(body.mapping);
  return path;
}

// An error in the body of a success is one.
Reply CallStreaming(const RestClient& engine, const RestRequest& request) {
  Reply reply = engine.Call(request);
  if (reply.ok() && reply.body.find("\"error\"") != std::string::npos) {
    Fault fault = FaultOf(http::ClientResponse{reply.status, {}, reply.body}, UnixMillis{});
    if (!fault.code.empty() || fault.permanent) {
      fault.status = fault.permanent.value_or(false) ? 400 : 500;
      reply.fault = std::move(fault);
    }
  }
  return reply;
}

}  // namespace

std::string_view Name(StreamingFault fault) {
  switch (fault) {
    case StreamingFault::kTooLarge:
      return "too_large";
    case StreamingFault::kThrottled:
      return "throttled";
    case StreamingFault::kOff:
      return "off";
    case StreamingFault::kTableRefuses:
      return "table_refuses";
    case StreamingFault::kNotThere:
      return "not_there";
    case StreamingFault::kRefused:
      return "refused";
    case StreamingFault::kBad:
      return "bad";
    case StreamingFault::kBroken:
      return "broken";
    case StreamingFault::kNoAnswer:
      return "no_answer";
  }
  return "unknown";
}

StreamingFault Classify(const Fault& fault) {
  if (fault.status == 0) return StreamingFault::kNoAnswer;
  if (fault.status == 413 || NamesAny(fault, {"FileTooLarge", "InputStreamTooLarge",
                                              "KustoRequestPayloadTooLargeException"})) {
    return StreamingFault::kTooLarge;
  }
  if (fault.status == 429 ||
      NamesAny(fault, {"General_ThrottledIngestion", "KustoRequestThrottledException"})) {
    return StreamingFault::kThrottled;
  }
  if (NamesAny(fault, {"StreamingIngestionPolicyNotEnabled", "StreamingIngestionDisabled",
                       "ServiceUnavailable_StreamingIngestion"})) {
    return StreamingFault::kOff;
  }
  if (NamesAny(fault, {"UpdatePolicyIncompatible", "QuerySchemaDoesNotMatchTableSchema"})) {
    return StreamingFault::kTableRefuses;
  }
  if (fault.status == 404 || NamesAny(fault, {"TableNotExist", "DatabaseNotExist", "EntityNotFound",
                                              "MappingReferenceWasNotFound"})) {
    return StreamingFault::kNotThere;
  }
  if (fault.status == 401 || fault.status == 403 || fault.Names("AccessDenied")) {
    return StreamingFault::kRefused;
  }
  if (fault.permanent.has_value()) {
    return *fault.permanent ? StreamingFault::kBad : StreamingFault::kBroken;
  }
  return fault.status == 408 || fault.status >= 500 ? StreamingFault::kBroken
                                                    : StreamingFault::kBad;
}

StreamingVerdict Decide(StreamingFault kind, const Fault& fault, bool queue_when_off) {
  switch (kind) {
    case StreamingFault::kTooLarge:
      return {.try_again = false, .queue = true, .cool = milliseconds(0)};
    case StreamingFault::kThrottled:
      return {.try_again = false,
              .queue = true,
              .cool = std::max(kThrottledFor, fault.retry_after.value_or(milliseconds(0)))};
    case StreamingFault::kOff:
      return {.try_again = false, .queue = queue_when_off, .cool = kOffFor};
    case StreamingFault::kTableRefuses:
      return {.try_again = false, .queue = true, .cool = kOffFor};
    case StreamingFault::kNotThere:
      return {.try_again = false, .queue = true, .cool = kMissingFor};
    case StreamingFault::kRefused:
    case StreamingFault::kBad:
      return {};
    case StreamingFault::kBroken:
    case StreamingFault::kNoAnswer:
      return {.try_again = true, .queue = true, .cool = milliseconds(0)};
  }
  return {};
}

Reply Stream(const RestClient& engine, const StreamingBody& body, std::stop_token stop) {
  RestRequest request;
  request.method = "POST";
  request.path = StreamingPath(body);
  request.body = body.bytes;
  request.content_type = "application/octet-stream";
  if (body.gzip) request.content_encoding = "gzip";
  request.stop = std::move(stop);
  return CallStreaming(engine, request);
}

Reply StreamBlob(const RestClient& engine, const StreamingBody& body, const std::string& blob_url,
                 std::stop_token stop) {
  const std::string json = nlohmann::json({{"SourceUri", blob_url}}).dump();
  RestRequest request;
  request.method = "POST";
  request.path = StreamingPath(body) + "&sourceKind=uri";
  request.body = json;
  request.stop = std::move(stop);
  return CallStreaming(engine, request);
}

ManagedStreaming::ManagedStreaming(const RestClient& engine, const Network& network,
                                   bool queue_when_off)
    : engine_(engine), network_(network), queue_when_off_(queue_when_off) {}

bool ManagedStreaming::PrefersQueue(const std::string& database, const std::string& table) {
  MutexLock lock(mutex_);
  const auto found = queued_until_.find({database, table});
  if (found == queued_until_.end()) return false;
  if (network_.clock.Monotonic() < found->second) return true;
  queued_until_.erase(found);
  return false;
}

StreamingEnd ManagedStreaming::Send(const StreamingBody& body, const std::stop_token& stop) {
  StreamingEnd end;
  for (int failed = 1;; ++failed) {
    const Reply reply = Stream(engine_, body, stop);
    if (reply.ok()) {
      end.delivered = true;
      return end;
    }
    const Fault& fault = *reply.fault;
    end.error = fault.ToError(fmt::format("streaming to {}.{}", body.database, body.table));
    if (stop.stop_requested()) return end;
    end.fault = Classify(fault);
    const StreamingVerdict verdict = Decide(*end.fault, fault, queue_when_off_);
    end.queue = verdict.queue;
    if (verdict.cool > milliseconds(0) && verdict.queue) {
      MutexLock lock(mutex_);
      if (queued_until_.size() >= kMaxStates) queued_until_.clear();
      queued_until_[{body.database, body.table}] = network_.clock.Monotonic() + verdict.cool;
    }
    if (!verdict.try_again || failed >= kStreamingTries) return end;
    // 1 s, then 2 s, and up to another one on top.
    const milliseconds wait(int64_t{1000} * failed +
                            static_cast<int64_t>(network_.random() * 1000));
    if (const Status waited = network_.wait(wait, stop); !waited.ok()) {
      end.error = waited.error();
      end.queue = false;
      return end;
    }
  }
}

}  // namespace forebay::upload::adx
