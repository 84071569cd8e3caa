// The envelope of metrics: resources, scopes, metrics, and the request as a whole. Their data
// points: metric_points.cc; series, labels and side rows: metric_series.cc.
#include "otlp/metric_decoder.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "receive/wire_reader.h"
#include "wal/journal_format.h"

namespace forebay::otlp {
namespace {

using receive::WireReader;

// As DecodeWorker's: staged samples may take so many times http.max_decoded_body.
constexpr uint64_t kMaxExpansion = 3;
constexpr uint64_t kDomain = 0x6f746c706d657472;
constexpr size_t kKeptScratch = 1U << 20;

// Saturating.
int64_t Add(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
}

// The one message of a field; the last one of several.
std::string_view FindMessage(std::string_view message, uint32_t field, bool& malformed) {
  std::string_view found;
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == field) {
      found = reader.BytesField();
    } else {
      reader.Skip();
    }
  }
  malformed = malformed || reader.failed();
  return found;
}

}  // namespace

MetricDecoder::MetricDecoder(receive::RemoteWriteState& state)
    : state_(state), rendered_(kRendered), known_metadata_(kMetadataFilter) {}

void MetricDecoder::Begin(const MetricInput& input, receive::StagedWrite& staged) {
  if (rules_ == nullptr || rules_->version() != state_.rules_version()) {
    rules_ = state_.rules();
    naming_ = ParseNaming(rules_->otlp().metrics.naming);
    table_databases_.clear();
    for (Rendered& rendered : rendered_) rendered.used = false;
    std::fill(known_metadata_.begin(), known_metadata_.end(), 0);
  }
  input_ = &input;
  staged_ = &staged;
  staged.Clear();
  staged.rules_used = rules_;
  staged.side_rows.resize(rules_->databases().size() * receive::kSideTables);
  staged.database_samples.assign(rules_->databases().size(), 0);
  routed_database_ = rules_->Route(input.tenant);
  staged.routed_database = routed_database_;
  const std::array<uint64_t, 2> domain = {rules_->version(), routed_database_};
  domain_ = state_.series()
                .HashKey({reinterpret_cast<const char*>(domain.data()), sizeof domain}, kDomain)
                .low;
  const config::RemoteWrite& config = rules_->remote_write();
  filter_ = {};
  filter_.drop_nan = config.drop_nan;
  if (config.max_future.count() > 0) {
    filter_.latest = Add(input.received.value, config.max_future.count());
  }
  if (config.max_past.count() > 0) {
    filter_.earliest = Add(input.received.value, -config.max_past.count());
  }
  size_t most = SIZE_MAX;
  if (!input.replay) {
    most = static_cast<size_t>(kMaxExpansion * state_.max_decoded_body() /
                               receive::kStagedSampleBytes);
  }
  stager_.emplace(staged, filter_, most);
  const uint64_t epoch = state_.metadata().epoch();
  const int64_t hour = input.received.value / receive::MetadataCache::kRefresh.count();
  if (epoch != metadata_epoch_ || hour != metadata_hour_) {
    std::fill(known_metadata_.begin(), known_metadata_.end(), 0);
    metadata_epoch_ = epoch;
    metadata_hour_ = hour;
  }
  index_ = 0;
  next_refused_ = 0;
  side_text_ = 0;
  malformed_ = false;
  refused_in_replay_.clear();
}

Status MetricDecoder::Decode(const MetricInput& input, std::string_view message,
                             receive::StagedWrite& staged) {
  Begin(input, staged);
  WalkRequest(message);
  Status status = End(message);
  if (!status.ok()) {
    // What was noted as stored will not be.
    state_.metadata().Forget(staged.metadata_keys);
    staged.Clear();
  }
  if (joined_.capacity() > kKeptScratch) joined_ = ByteBuffer();
  if (value_text_.capacity() > kKeptScratch) value_text_ = ByteBuffer();
  if (counts_.capacity() * sizeof(uint64_t) > kKeptScratch) std::vector<uint64_t>().swap(counts_);
  if (bounds_.capacity() * sizeof(uint64_t) > kKeptScratch) std::vector<uint64_t>().swap(bounds_);
  return status;
}

Status MetricDecoder::End(std::string_view message) {
  receive::StagedWrite& staged = *staged_;
  if (malformed_ || values_.malformed()) {
    values_.ResetMalformed();
    return Error(ErrorCode::kInvalidArgument,
                 "the body is no ExportMetricsServiceRequest protobuf message");
  }
  if (stager_->full()) {
    return Error(ErrorCode::kOutOfRange,
                 "the body's data points come to more samples than http.max_decoded_body has room "
                 "for; send less per request");
  }
  staged.decoded_bytes = message.size();
  staged.samples.stored = staged.refs.size();
  if (!refused_in_replay_.empty()) {
    return Error(ErrorCode::kFailedPrecondition,
                 fmt::format("a series that was accepted is refused now: {}", refused_in_replay_));
  }
  if (staged.refused.size() > wal::kMaxRefusedPerRecord) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{} series refused, nothing is kept; first: {}", staged.refused.size(),
                             staged.first_refusal));
  }
  return OkStatus();
}

void MetricDecoder::WalkRequest(std::string_view message) {
  WireReader reader(message);
  while (reader.Next() && !malformed_ && !stager_->full()) {
    if (reader.field() == 1) {
      WalkResource(reader.BytesField());
    } else {
      reader.Skip();
    }
  }
  if (reader.failed()) malformed_ = true;
}

// A ResourceMetrics. Its resource may stand behind its metrics.
void MetricDecoder::WalkResource(std::string_view message) {
  resource_ = FindMessage(message, 1, malformed_);
  if (malformed_) return;
  resource_hash_ = state_.series().HashKey(resource_, domain_).low;
  has_points_ = false;
  latest_ = std::numeric_limits<int64_t>::min();
  WireReader reader(message);
  while (reader.Next() && !malformed_ && !stager_->full()) {
    if (reader.field() == 2) {
      WalkScope(reader.BytesField());
    } else {
      reader.Skip();
    }
  }
  if (has_points_ && !malformed_ && !stager_->full()) EmitTargetInfo();
}

// A ScopeMetrics.
void MetricDecoder::WalkScope(std::string_view message) {
  scope_ = FindMessage(message, 1, malformed_);
  if (malformed_) return;
  scope_hash_ = state_.series().HashKey(scope_, domain_).low;
  WireReader reader(message);
  while (reader.Next() && !malformed_ && !stager_->full()) {
    if (reader.field() == 2) {
      WalkMetric(reader.BytesField());
    } else {
      reader.Skip();
    }
  }
}

void MetricDecoder::WalkMetric(std::string_view message) {
  metric_ = {};
  WireReader reader(message);
  while (reader.Next()) {
    const auto data = [&](Type type) {
      metric_.type = type;
      metric_.data = reader.BytesField();
    };
    switch (reader.field()) {
      case 1:
        metric_.name = reader.BytesField();
        break;
      case 2:
        metric_.description = reader.BytesField();
        break;
      case 3:
        metric_.unit = reader.BytesField();
        break;
      case 5:
        data(Type::kGauge);
        break;
      case 7:
        data(Type::kSum);
        break;
      case 9:
        data(Type::kHistogram);
        break;
      case 10:
        data(Type::kExponential);
        break;
      case 11:
        data(Type::kSummary);
        break;
      default:
        reader.Skip();
    }
  }
  if (reader.failed()) malformed_ = true;
  if (malformed_ || metric_.type == Type::kNone) return;
  WireReader of_data(metric_.data);
  while (of_data.Next()) {
    if (of_data.field() == 2 && metric_.type != Type::kGauge && metric_.type != Type::kSummary) {
      metric_.temporality = of_data.VarintField();
    } else if (of_data.field() == 3 && metric_.type == Type::kSum) {
      metric_.monotonic = of_data.VarintField() != 0;
    } else {
      of_data.Skip();
    }
  }
  if (of_data.failed()) {
    malformed_ = true;
    return;
  }
  const std::array<uint64_t, 3> parts = {state_.series().HashKey(metric_.name, domain_).low,
                                         state_.series().HashKey(metric_.unit, domain_).low,
                                         static_cast<uint64_t>(metric_.type) |
                                             metric_.temporality << 8 |
                                             uint64_t{metric_.monotonic} << 7};
  metric_.hash = state_.series()
                     .HashKey({reinterpret_cast<const char*>(parts.data()), sizeof parts}, domain_)
                     .low;
  StoreMetadata();
  switch (metric_.type) {
    case Type::kGauge:
    case Type::kSum:
      return WalkPoints(&MetricDecoder::TakeNumber);
    case Type::kHistogram:
      return WalkPoints(&MetricDecoder::TakeHistogram);
    case Type::kExponential:
      return WalkPoints(&MetricDecoder::TakeExponential);
    case Type::kSummary:
      return WalkPoints(&MetricDecoder::TakeSummary);
    case Type::kNone:
      return;
  }
}

void MetricDecoder::WalkPoints(void (MetricDecoder::*take)(std::string_view)) {
  WireReader reader(metric_.data);
  while (reader.Next() && !malformed_ && !stager_->full()) {
    if (reader.field() == 1) {
      (this->*take)(reader.BytesField());
    } else {
      reader.Skip();
    }
  }
}

}  // namespace forebay::otlp
