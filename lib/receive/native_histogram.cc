#include "receive/native_histogram.h"

#include <bit>
#include <cmath>

#include "receive/wire_reader.h"

namespace forebay::receive {
namespace {

// One more than may be: that there are too many is found afterwards.
template <typename T>
void Add(std::vector<T>& list, T value) {
  if (list.size() <= NativeHistogram::kMaxBuckets) list.push_back(value);
}

BucketSpan ReadSpan(std::string_view message, WireReader& parent) {
  BucketSpan span;
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        span.offset =
            static_cast<int32_t>(DecodeZigZag(static_cast<uint32_t>(reader.VarintField())));
        break;
      case 2:
        span.length = static_cast<uint32_t>(reader.VarintField());
        break;
      default:
        reader.Skip();
    }
  }
  if (reader.failed()) parent.Fail();
  return span;
}

// Repeated numbers come packed or one by one.
void ReadDeltas(WireReader& reader, std::vector<int64_t>& deltas) {
  if (!reader.Is(WireType::kBytes)) {
    Add(deltas, DecodeZigZag(reader.VarintField()));
    return;
  }
  WireReader packed(reader.BytesField());
  while (!packed.AtEnd()) Add(deltas, DecodeZigZag(packed.Varint()));
  if (packed.failed()) reader.Fail();
}

void ReadDoubles(WireReader& reader, std::vector<uint64_t>& doubles) {
  if (!reader.Is(WireType::kBytes)) {
    Add(doubles, reader.Fixed64Field());
    return;
  }
  WireReader packed(reader.BytesField());
  while (!packed.AtEnd()) Add(doubles, packed.Fixed64());
  if (packed.failed()) reader.Fail();
}

void Clear(HistogramBuckets& buckets) {
  buckets.spans.clear();
  buckets.deltas.clear();
  buckets.counts.clear();
}

// Sum of the running sums. Nothing when one is negative or the sum leaves 64 bits.
std::optional<uint64_t> SumOfDeltas(const std::vector<int64_t>& deltas) {
  int64_t running = 0;
  uint64_t total = 0;
  for (const int64_t delta : deltas) {
    if (__builtin_add_overflow(running, delta, &running) || running < 0) return std::nullopt;
    if (__builtin_add_overflow(total, static_cast<uint64_t>(running), &total)) return std::nullopt;
  }
  return total;
}

bool AnyNegative(const std::vector<uint64_t>& counts) {
  for (const uint64_t bits : counts) {
    if (std::bit_cast<double>(bits) < 0) return true;
  }
  return false;
}

}  // namespace

void NativeHistogram::Clear() {
  is_float = false;
  count = zero_count = sum_bits = zero_threshold_bits = 0;
  schema = 0;
  reset_hint = ResetHint::kUnknown;
  timestamp = start_timestamp = 0;
  receive::Clear(positive);
  receive::Clear(negative);
  custom_values.clear();
}

bool NativeHistogram::Decode(std::string_view message) {
  Clear();
  uint64_t zero_int = 0;
  uint64_t zero_float = 0;
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        count = reader.VarintField();
        is_float = false;
        break;
      case 2:
        count = reader.Fixed64Field();
        is_float = true;
        break;
      case 3:
        sum_bits = reader.Fixed64Field();
        break;
      case 4:
        schema = static_cast<int32_t>(DecodeZigZag(static_cast<uint32_t>(reader.VarintField())));
        break;
      case 5:
        zero_threshold_bits = reader.Fixed64Field();
        break;
      case 6:
        zero_int = reader.VarintField();
        zero_float = 0;
        break;
      case 7:
        zero_float = reader.Fixed64Field();
        zero_int = 0;
        break;
      case 8:
        Add(negative.spans, ReadSpan(reader.BytesField(), reader));
        break;
      case 9:
        ReadDeltas(reader, negative.deltas);
        break;
      case 10:
        ReadDoubles(reader, negative.counts);
        break;
      case 11:
        Add(positive.spans, ReadSpan(reader.BytesField(), reader));
        break;
      case 12:
        ReadDeltas(reader, positive.deltas);
        break;
      case 13:
        ReadDoubles(reader, positive.counts);
        break;
      case 14: {
        const uint64_t hint = reader.VarintField();
        reset_hint = hint <= 3 ? static_cast<ResetHint>(hint) : ResetHint::kUnknown;
        break;
      }
      case 15:
        timestamp = static_cast<int64_t>(reader.VarintField());
        break;
      case 16:
        ReadDoubles(reader, custom_values);
        break;
      case 17:
        start_timestamp = static_cast<int64_t>(reader.VarintField());
        break;
      default:
        reader.Skip();
    }
  }
  zero_count = is_float ? zero_float : zero_int;
  return !reader.failed();
}

std::optional<std::string_view> NativeHistogram::FindSpanProblem(
    const HistogramBuckets& buckets) const {
  if (is_float ? !buckets.deltas.empty() : !buckets.counts.empty()) {
    return "integer and float buckets are mixed";
  }
  const size_t sent = is_float ? buckets.counts.size() : buckets.deltas.size();
  uint64_t extent = 0;  // no overflow: each span has at least two bytes in a bounded request
  uint64_t length = 0;
  for (size_t i = 0; i < buckets.spans.size(); ++i) {
    const BucketSpan& span = buckets.spans[i];
    if (span.offset < 0 && (i > 0 || schema == kCustomBucketsSchema)) {
      return "a span has a negative offset";
    }
    length += span.length;
    if (span.offset > 0) extent += static_cast<uint64_t>(span.offset);
    extent += span.length;
  }
  if (length != sent) return "the spans' lengths differ from the number of buckets";
  if (schema == kCustomBucketsSchema && extent > custom_values.size() + 1) {
    return "there are more buckets than custom bounds";
  }
  return std::nullopt;
}

std::optional<std::string_view> NativeHistogram::FindCustomProblem() const {
  if (schema != kCustomBucketsSchema) {
    if (!custom_values.empty()) return "an exponential schema has custom bounds";
    return std::nullopt;
  }
  const bool zero_counted = is_float ? std::bit_cast<double>(zero_count) != 0 : zero_count != 0;
  if (zero_counted) return "custom buckets have a zero count";
  if (std::bit_cast<double>(zero_threshold_bits) != 0)
    return "custom buckets have a zero threshold";
  if (!negative.spans.empty() || !negative.deltas.empty() || !negative.counts.empty()) {
    return "custom buckets have negative buckets";
  }
  for (size_t i = 0; i < custom_values.size(); ++i) {
    const double bound = std::bit_cast<double>(custom_values[i]);
    if (!std::isfinite(bound)) return "a custom bound is not finite";
    if (i > 0 && !(std::bit_cast<double>(custom_values[i - 1]) < bound)) {
      return "the custom bounds do not increase";
    }
  }
  return std::nullopt;
}

std::optional<std::string_view> NativeHistogram::FindIntegerProblem() const {
  const auto positives = SumOfDeltas(positive.deltas);
  const auto negatives = SumOfDeltas(negative.deltas);
  if (!positives || !negatives) return "a bucket's count is negative or too large";
  uint64_t total = zero_count;
  if (__builtin_add_overflow(total, *positives, &total) ||
      __builtin_add_overflow(total, *negatives, &total)) {
    return "the buckets' sum is too large";
  }
  // Observations that are NaN are counted, but in no bucket; then the sum is NaN.
  if (std::isnan(std::bit_cast<double>(sum_bits))) {
    if (total > count) return "the count is less than the sum of the buckets";
  } else if (total != count) {
    return "the count differs from the sum of the buckets";
  }
  return std::nullopt;
}

std::optional<std::string_view> NativeHistogram::FindFloatProblem() const {
  if (AnyNegative(positive.counts) || AnyNegative(negative.counts)) {
    return "a bucket's count is negative";
  }
  if (std::bit_cast<double>(zero_count) < 0) return "the zero count is negative";
  if (std::bit_cast<double>(count) < 0) return "the count is negative";
  return std::nullopt;
}

std::optional<std::string_view> NativeHistogram::FindProblem() const {
  for (const HistogramBuckets* buckets : {&positive, &negative}) {
    if (buckets->spans.size() > kMaxBuckets || buckets->deltas.size() > kMaxBuckets ||
        buckets->counts.size() > kMaxBuckets) {
      return "it has more than 65536 buckets or spans";
    }
  }
  if (custom_values.size() > kMaxBuckets) return "it has more than 65536 custom bounds";
  if (schema != kCustomBucketsSchema &&
      (schema < kMinExponentialSchema || schema > kMaxExponentialSchema)) {
    return "the schema is none of -4 to 8 and -53";
  }
  if (auto problem = FindCustomProblem()) return problem;
  if (auto problem = FindSpanProblem(positive)) return problem;
  if (auto problem = FindSpanProblem(negative)) return problem;
  return is_float ? FindFloatProblem() : FindIntegerProblem();
}

}  // namespace forebay::receive
