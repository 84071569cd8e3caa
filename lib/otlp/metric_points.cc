// Data points of each kind to the samples and rows that they come to.
#include <fmt/core.h>

#include <algorithm>
#include <bit>

#include "otlp/metric_decoder.h"
#include "receive/side_rows.h"
#include "receive/wire_reader.h"
#include "table/number_text.h"

namespace forebay::otlp {
namespace {

using receive::RefusalReason;
using receive::WireReader;
using receive::WireType;

constexpr int64_t kNanosPerMilli = 1'000'000;
constexpr uint64_t kNoRecordedValue = 1;
// What a threshold of zero means.
constexpr double kDefaultZeroThreshold = 1e-128;

int64_t ToMillis(uint64_t nanos) {
  return static_cast<int64_t>(nanos / static_cast<uint64_t>(kNanosPerMilli));
}

uint64_t DoubleBitsOf(uint64_t integer) {
  return std::bit_cast<uint64_t>(static_cast<double>(static_cast<int64_t>(integer)));
}

// Repeated fixed64 or double, packed or not.
void ReadFixed64s(WireReader& reader, std::vector<uint64_t>& out) {
  if (!reader.Is(WireType::kBytes)) {
    out.push_back(reader.Fixed64Field());
    return;
  }
  WireReader packed(reader.BytesField());
  while (!packed.AtEnd()) out.push_back(packed.Fixed64());
  if (packed.failed()) reader.Fail();
}

// Buckets: 1 offset, 2 counts. False: malformed.
bool ReadBuckets(std::string_view message, int64_t& offset, std::vector<uint64_t>& counts) {
  counts.clear();
  offset = 0;
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == 1) {
      offset = static_cast<int32_t>(receive::DecodeZigZag(reader.VarintField()));
    } else if (reader.field() == 2 && reader.Is(WireType::kBytes)) {
      WireReader packed(reader.BytesField());
      while (!packed.AtEnd()) counts.push_back(packed.Varint());
      if (packed.failed()) reader.Fail();
    } else if (reader.field() == 2) {
      counts.push_back(reader.VarintField());
    } else {
      reader.Skip();
    }
  }
  return !reader.failed();
}

// OTLP's bucket i is (base^i, base^(i+1)], which a native histogram numbers by its upper bound:
// i + 1. Halving the resolution merges pairs.
void ToNative(int64_t offset, const std::vector<uint64_t>& counts, int halvings,
              receive::HistogramBuckets& out) {
  out.spans.clear();
  out.deltas.clear();
  out.counts.clear();
  if (counts.empty()) return;
  const int64_t first = (offset >> halvings) + 1;
  int64_t before = 0;
  for (size_t i = 0; i < counts.size();) {
    const int64_t bucket = (offset + static_cast<int64_t>(i)) >> halvings;
    uint64_t merged = 0;
    for (; i < counts.size() && (offset + static_cast<int64_t>(i)) >> halvings == bucket; ++i) {
      merged += counts[i];
    }
    out.deltas.push_back(static_cast<int64_t>(merged) - before);
    before = static_cast<int64_t>(merged);
  }
  out.spans.push_back({static_cast<int32_t>(first), static_cast<uint32_t>(out.deltas.size())});
}

}  // namespace

void MetricDecoder::BeginPoint(uint32_t attribute_field) {
  point_ = {};
  point_.attribute_field = attribute_field;
  point_.time = input_->received.value;
  exemplars_.clear();
  attributes_end_ = nullptr;
  joined_.clear();
  ++staged_->points;
}

// An attribute field of the point: its bytes with the tag join those before.
void MetricDecoder::TakeAttributes(WireReader& reader) {
  const char* begin = reader.field_begin();
  (void)reader.BytesField();
  const char* end = reader.position();
  const std::string_view field(begin, static_cast<size_t>(end - begin));
  if (attributes_end_ == nullptr) {
    point_.attributes = field;
  } else if (attributes_end_ == begin && joined_.empty()) {
    point_.attributes = {point_.attributes.data(), point_.attributes.size() + field.size()};
  } else {
    if (joined_.empty()) joined_.Append(point_.attributes);
    joined_.Append(field);
    point_.attributes = joined_.view();
  }
  attributes_end_ = end;
}

// All of the point is read: what its series are known by.
void MetricDecoder::EndPoint() {
  point_.hash = state_.series().HashKey(point_.attributes, domain_).low;
  latest_ = std::max(latest_, point_.time);
  has_points_ = true;
}

void MetricDecoder::RefusePoint(std::string_view detail) {
  Refuse(RefusalReason::kBadPoint, detail);
  ++staged_->points_refused;
}

void MetricDecoder::TakeNumber(std::string_view message) {
  BeginPoint(7);
  uint64_t bits = 0;
  bool has_value = false;
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 3:
        point_.time = ToMillis(reader.Fixed64Field());
        break;
      case 4:
        bits = reader.Fixed64Field();
        has_value = true;
        break;
      case 5:
        exemplars_.push_back(reader.BytesField());
        break;
      case 6:
        bits = DoubleBitsOf(reader.Fixed64Field());
        has_value = true;
        break;
      case 7:
        TakeAttributes(reader);
        break;
      case 8:
        point_.stale = (reader.VarintField() & kNoRecordedValue) != 0;
        break;
      default:
        reader.Skip();
    }
  }
  if (reader.failed()) {
    malformed_ = true;
    return;
  }
  if (!has_value && !point_.stale) return RefusePoint("a data point has no value");
  EndPoint();
  Emit({Part::kValue, 0}, point_.stale ? table::kStaleMarkerBits : bits);
  TakeExemplars({Part::kValue, 0}, {});
  if (point_.bad) ++staged_->points_refused;
}

void MetricDecoder::TakeHistogram(std::string_view message) {
  BeginPoint(9);
  counts_.clear();
  bounds_.clear();
  uint64_t count = 0;
  uint64_t sum_bits = 0;
  bool has_sum = false;
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 3:
        point_.time = ToMillis(reader.Fixed64Field());
        break;
      case 4:
        count = reader.Fixed64Field();
        break;
      case 5:
        sum_bits = reader.Fixed64Field();
        has_sum = true;
        break;
      case 6:
        ReadFixed64s(reader, counts_);
        break;
      case 7:
        ReadFixed64s(reader, bounds_);
        break;
      case 8:
        exemplars_.push_back(reader.BytesField());
        break;
      case 9:
        TakeAttributes(reader);
        break;
      case 10:
        point_.stale = (reader.VarintField() & kNoRecordedValue) != 0;
        break;
      default:
        reader.Skip();
    }
  }
  if (reader.failed()) {
    malformed_ = true;
    return;
  }
  if (counts_.size() != bounds_.size() + 1 && !(counts_.empty() && bounds_.empty()) &&
      !point_.stale) {
    return RefusePoint(
        fmt::format("a histogram has {} buckets and {} bounds, which is not one "
                    "less",
                    counts_.size(), bounds_.size()));
  }
  EndPoint();
  const auto value = [&](uint64_t number) {
    return point_.stale ? table::kStaleMarkerBits
                        : std::bit_cast<uint64_t>(static_cast<double>(number));
  };
  uint64_t below = 0;
  for (size_t i = 0; i < bounds_.size(); ++i) {
    if (i < counts_.size()) below += counts_[i];
    Emit({Part::kBucket, bounds_[i]}, value(below));
  }
  const uint64_t infinity = std::bit_cast<uint64_t>(std::numeric_limits<double>::infinity());
  Emit({Part::kBucket, infinity}, value(count));
  if (has_sum || point_.stale) {
    Emit({Part::kSum, 0}, point_.stale ? table::kStaleMarkerBits : sum_bits);
  }
  Emit({Part::kCount, 0}, value(count));
  TakeExemplars({Part::kBucket, infinity}, bounds_);
  if (point_.bad) ++staged_->points_refused;
}

void MetricDecoder::TakeSummary(std::string_view message) {
  BeginPoint(7);
  counts_.clear();  // quantile and value, by turns
  uint64_t count = 0;
  uint64_t sum_bits = 0;
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 3:
        point_.time = ToMillis(reader.Fixed64Field());
        break;
      case 4:
        count = reader.Fixed64Field();
        break;
      case 5:
        sum_bits = reader.Fixed64Field();
        break;
      case 6: {
        uint64_t quantile = 0;
        uint64_t quantile_value = 0;
        WireReader pair(reader.BytesField());
        while (pair.Next()) {
          if (pair.field() == 1) {
            quantile = pair.Fixed64Field();
          } else if (pair.field() == 2) {
            quantile_value = pair.Fixed64Field();
          } else {
            pair.Skip();
          }
        }
        if (pair.failed()) reader.Fail();
        counts_.push_back(quantile);
        counts_.push_back(quantile_value);
        break;
      }
      case 7:
        TakeAttributes(reader);
        break;
      case 8:
        point_.stale = (reader.VarintField() & kNoRecordedValue) != 0;
        break;
      default:
        reader.Skip();
    }
  }
  if (reader.failed()) {
    malformed_ = true;
    return;
  }
  EndPoint();
  const auto value = [&](uint64_t bits) { return point_.stale ? table::kStaleMarkerBits : bits; };
  for (size_t i = 0; i + 1 < counts_.size(); i += 2) {
    Emit({Part::kQuantile, counts_[i]}, value(counts_[i + 1]));
  }
  Emit({Part::kSum, 0}, value(sum_bits));
  Emit({Part::kCount, 0}, value(std::bit_cast<uint64_t>(static_cast<double>(count))));
  if (point_.bad) ++staged_->points_refused;
}

void MetricDecoder::TakeExponential(std::string_view message) {
  BeginPoint(1);
  std::string_view positive;
  std::string_view negative;
  int64_t scale = 0;
  receive::NativeHistogram& out = histogram_;
  out.is_float = false;
  out.count = out.zero_count = out.sum_bits = 0;
  out.zero_threshold_bits = 0;
  out.reset_hint = receive::ResetHint::kUnknown;
  out.start_timestamp = 0;
  out.custom_values.clear();
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        TakeAttributes(reader);
        break;
      case 2:
        out.start_timestamp = ToMillis(reader.Fixed64Field());
        break;
      case 3:
        point_.time = ToMillis(reader.Fixed64Field());
        break;
      case 4:
        out.count = reader.Fixed64Field();
        break;
      case 5:
        out.sum_bits = reader.Fixed64Field();
        break;
      case 6:
        scale = receive::DecodeZigZag(reader.VarintField());
        break;
      case 7:
        out.zero_count = reader.Fixed64Field();
        break;
      case 8:
        positive = reader.BytesField();
        break;
      case 9:
        negative = reader.BytesField();
        break;
      case 10:
        point_.stale = (reader.VarintField() & kNoRecordedValue) != 0;
        break;
      case 11:
        exemplars_.push_back(reader.BytesField());
        break;
      case 14:
        out.zero_threshold_bits = reader.Fixed64Field();
        break;
      default:
        reader.Skip();
    }
  }
  int64_t positive_offset = 0;
  int64_t negative_offset = 0;
  if (reader.failed() || !ReadBuckets(positive, positive_offset, counts_) ||
      !ReadBuckets(negative, negative_offset, bounds_)) {
    malformed_ = true;
    return;
  }
  if (scale < receive::kMinExponentialSchema) {
    return RefusePoint(fmt::format("an exponential histogram has the scale {}, below {}", scale,
                                   receive::kMinExponentialSchema));
  }
  constexpr size_t kMost = receive::NativeHistogram::kMaxBuckets;
  constexpr int64_t kMaxHalvings = 40;
  if (counts_.size() > kMost || bounds_.size() > kMost ||
      scale > receive::kMaxExponentialSchema + kMaxHalvings) {
    return RefusePoint("an exponential histogram has too many buckets, or a scale beyond 48");
  }
  const auto halvings =
      static_cast<int>(std::max<int64_t>(0, scale - receive::kMaxExponentialSchema));
  out.schema = static_cast<int32_t>(scale) - halvings;
  ToNative(positive_offset, counts_, halvings, out.positive);
  ToNative(negative_offset, bounds_, halvings, out.negative);
  if (out.zero_threshold_bits == 0) {
    out.zero_threshold_bits = std::bit_cast<uint64_t>(kDefaultZeroThreshold);
  }
  if (point_.stale) {
    out.count = out.zero_count = 0;
    out.sum_bits = table::kStaleMarkerBits;
    ToNative(0, {}, 0, out.positive);
    ToNative(0, {}, 0, out.negative);
  }
  out.timestamp = point_.time;
  EndPoint();
  EmitHistogram();
  TakeExemplars({Part::kHistogram, 0}, {});
  if (point_.bad) ++staged_->points_refused;
}

void MetricDecoder::TakeExemplars(const SeriesPart& part, std::span<const uint64_t> bounds) {
  for (const std::string_view message : exemplars_) {
    if (malformed_) return;
    TakeExemplar(message, part, bounds);
  }
}

// Those of histograms belong to the bucket of their value.
void MetricDecoder::TakeExemplar(std::string_view message, SeriesPart part,
                                 std::span<const uint64_t> bounds) {
  receive::ItemCounts& counts = staged_->exemplars;
  ++counts.received;
  exemplar_.Clear();
  std::vector<std::pair<std::string, std::string>> labels;
  WireReader reader(message);
  while (reader.Next()) {
    const auto id = [&](const char* name) {
      const std::string_view bytes = reader.BytesField();
      if (std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == '\0'; })) return;
      value_text_.clear();
      AppendHex(bytes, value_text_);
      labels.emplace_back(name, std::string(value_text_.view()));
    };
    switch (reader.field()) {
      case 2:
        exemplar_.timestamp = ToMillis(reader.Fixed64Field());
        break;
      case 3:
        exemplar_.value_bits = reader.Fixed64Field();
        break;
      case 4:
        id("span_id");
        break;
      case 5:
        id("trace_id");
        break;
      case 6:
        exemplar_.value_bits = DoubleBitsOf(reader.Fixed64Field());
        break;
      case 7: {
        KeyValue attribute;
        if (!ReadKeyValue(reader.BytesField(), attribute)) malformed_ = true;
        labels.emplace_back(LabelName(attribute.key, naming_), TextOf(attribute.value));
        break;
      }
      default:
        reader.Skip();
    }
  }
  if (reader.failed()) malformed_ = true;
  if (malformed_) return;
  const double value = std::bit_cast<double>(exemplar_.value_bits);
  for (const uint64_t bound : bounds) {
    if (value > std::bit_cast<double>(bound)) continue;
    part.bits = bound;
    break;
  }
  std::sort(labels.begin(), labels.end());
  labels.erase(std::unique(labels.begin(), labels.end(),
                           [](const auto& a, const auto& b) { return a.first == b.first; }),
               labels.end());
  for (const auto& [name, text] : labels) {
    if (!name.empty() && !text.empty()) exemplar_.labels.push_back({name, text});
  }
  const table::SeriesKey key = KeyOf(part);
  const table::SeriesRef ref = state_.series().Find(key);
  if (ref == table::kDroppedSeries) {
    ++counts.dropped;
    return;
  }
  const Rendered* rendered = ref == table::kUnknownSeries ? nullptr : Render(part, key);
  receive::StagedRows* rows =
      rendered == nullptr ? nullptr : SideRows(rendered->database, receive::SideTable::kExemplars);
  if (rows == nullptr) {
    ++counts.refused;
    return Refuse(RefusalReason::kBadExemplar, "the series of an exemplar was refused");
  }
  const size_t begin = rows->text.size();
  receive::AppendExemplarRow(exemplar_.timestamp, rendered->fields.view(), exemplar_.labels,
                             exemplar_.value_bits, rows->text);
  if (!EndRow(*rows, begin)) {
    ++counts.refused;
    return Refuse(RefusalReason::kSideRowsTooLarge, "too much text of exemplars");
  }
  ++counts.stored;
}

}  // namespace forebay::otlp
