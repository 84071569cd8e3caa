// A body as sent to what is stored of it: inflated, JSON turned into protobuf, decoded by signal.
// Place: one per io thread, some for gRPC, one for recovery; live requests and replay share it.
// Limits: http.max_decoded_body; text of rows kMaxTextFactor times that, at least kLeastText.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/byte_buffer.h"
#include "base/result.h"
#include "base/time.h"
#include "otlp/inflate.h"
#include "otlp/json_request.h"
#include "otlp/metric_decoder.h"
#include "otlp/record_decoder.h"
#include "otlp/request_format.h"
#include "receive/remote_write_state.h"
#include "receive/staged_write.h"

namespace forebay::otlp {

// The resource stands in every row, so that rows may be longer than what was sent.
inline constexpr uint64_t kMaxTextFactor = 4;
inline constexpr uint64_t kLeastText = 64U << 20;

struct WorkerInput {
  RequestFormat format;
  std::span<const char> body;  // as sent
  std::string_view tenant;
  UnixMillis received;
  uint64_t generation = 0;  // GenerationLease::sequence()
  bool replay = false;      // as RecordInput
  std::span<const uint32_t> refused = {};
  receive::TenantLimits::SeriesQuota quota;
};

// Threads: one at a time.
class Worker {
 public:
  explicit Worker(receive::RemoteWriteState& state)
      : state_(state), records_(state), metrics_(state) {}

  // Replaces the contents of `staged`. Errors: kInvalidArgument: not what it says it is;
  // kOutOfRange: too large; in replay kFailedPrecondition. Nothing may be stored then.
  Status Decode(const WorkerInput& input, receive::StagedWrite& staged);

  // Values cut and repaired in the last request.
  TextCounts counts(Signal signal) const;

 private:
  Result<std::string_view> Message(const WorkerInput& input);
  void Trim();

  receive::RemoteWriteState& state_;
  RecordDecoder records_;
  MetricDecoder metrics_;
  Inflater inflater_;
  JsonRequest json_;
  ByteBuffer body_;     // inflated
  ByteBuffer message_;  // of JSON
};

// Indexes of the records that were refused, for the journal.
std::span<const uint32_t> RefusedOf(Signal signal, const receive::StagedWrite& staged);

}  // namespace forebay::otlp
