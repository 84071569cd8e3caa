#include "otlp/worker.h"

#include <fmt/core.h>

#include <algorithm>

namespace forebay::otlp {
namespace {

// Of a replayed body, whatever the configuration says by now.
constexpr uint64_t kMaxReplayedBody = 1ULL << 30;
// Buffers that are kept for the next request.
constexpr size_t kKeptBuffer = 4U << 20;

}  // namespace

Result<std::string_view> Worker::Message(const WorkerInput& input) {
  const uint64_t most = input.replay ? kMaxReplayedBody : state_.max_decoded_body();
  const bool json = input.format.encoding == Encoding::kJson;
  if (!json && input.format.compression == Compression::kNone) {
    if (input.body.size() > most) {
      return Error(ErrorCode::kOutOfRange,
                   fmt::format("the body has {} bytes, at most {} are taken "
                               "(http.max_decoded_body); send less per request",
                               input.body.size(), most));
    }
    return std::string_view(input.body.data(), input.body.size());
  }
  FOREBAY_RETURN_IF_ERROR(inflater_.Run(input.format.compression, input.body, most, body_));
  if (!json) return body_.view();
  FOREBAY_RETURN_IF_ERROR(json_.ToProtobuf(input.format.signal, body_, message_));
  return message_.view();
}

Status Worker::Decode(const WorkerInput& input, receive::StagedWrite& staged) {
  staged.Clear();
  FOREBAY_ASSIGN_OR_RETURN(const std::string_view message, Message(input));
  if (input.format.signal == Signal::kMetrics) {
    const MetricInput metrics{input.tenant, input.received, input.generation,
                              input.replay, input.refused,  input.quota};
    Status decoded = metrics_.Decode(metrics, message, staged);
    Trim();
    return decoded;
  }
  RecordInput records;
  records.signal = input.format.signal;
  records.tenant = input.tenant;
  records.received = input.received;
  records.replay = input.replay;
  records.refused = input.refused;
  records.max_text = std::max(kLeastText, kMaxTextFactor * state_.max_decoded_body());
  Status status = records_.Decode(records, message, staged);
  Trim();
  return status;
}

void Worker::Trim() {
  if (body_.capacity() > kKeptBuffer) body_ = ByteBuffer();
  if (message_.capacity() > kKeptBuffer) message_ = ByteBuffer();
}

TextCounts Worker::counts(Signal signal) const {
  return signal == Signal::kMetrics ? TextCounts() : records_.counts();
}

std::span<const uint32_t> RefusedOf(Signal signal, const receive::StagedWrite& staged) {
  return signal == Signal::kMetrics ? staged.refused : staged.refused_records;
}

}  // namespace forebay::otlp
