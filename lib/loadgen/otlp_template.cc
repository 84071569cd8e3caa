// Encoding of OTLP requests and the places in them that change; see otlp_template.h.
#include "loadgen/otlp_template.h"

#include <fmt/core.h>

#include <array>
#include <bit>
#include <cstring>

#include "base/check.h"

namespace forebay::loadgen {
namespace {

constexpr int64_t kNanosPerMilli = 1'000'000;
constexpr int64_t kSpanNanos = 25 * kNanosPerMilli;
constexpr uint64_t kLastDigits = 10'000'000'000'000'000;  // 10^kNumberDigits

// What OpenTelemetry calls the labels of a target. The other labels are attributes of the record.
struct OtlpResourceName {
  std::string_view label;
  std::string_view attribute;
};
constexpr std::array<OtlpResourceName, 15> kOtlpResourceNames{
    {{"pod", "service.instance.id"},
     {"namespace", "service.namespace"},
     {"instance", "server.address"},
     {"container", "k8s.container.name"},
     {"job", "service.name"},
     {"cluster", "k8s.cluster.name"},
     {"node", "k8s.node.name"},
     {"region", "cloud.region"},
     {"service", "k8s.service.name"},
     {"environment", "deployment.environment.name"},
     {"app", "k8s.deployment.name"},
     {"image", "container.image.name"},
     {"version", "service.version"},
     {"zone", "cloud.availability_zone"},
     {"team", "team"}}};

constexpr std::array<std::string_view, 12> kOtlpWords{
    "request", "served", "upstream", "timeout", "retrying", "order",
    "payment", "cache",  "missed",   "user",    "session",  "completed"};

std::string_view OtlpResourceAttribute(std::string_view label) {
  for (const OtlpResourceName& name : kOtlpResourceNames) {
    if (name.label == label) return name.attribute;
  }
  return {};
}

std::string OtlpFiller(uint64_t seed, size_t bytes) {
  std::string text;
  for (uint64_t i = 0; text.size() < bytes; ++i) {
    text += ' ';
    text += kOtlpWords[Mix(seed, i) % kOtlpWords.size()];
  }
  text.resize(bytes);
  return text;
}

// Eight bytes with the most significant first, as ids are written in hex.
void StoreId(uint64_t value, char* out) {
  for (size_t i = 0; i < sizeof value; ++i) out[i] = static_cast<char>(value >> (56 - 8 * i));
}
std::string OtlpTraceId(uint64_t seed) {
  std::string id(16, '\0');
  StoreId(Mix(seed, 7) | 1, id.data());
  StoreId(Mix(seed, 8), id.data() + 8);
  return id;
}

void StoreDigits(uint64_t number, char* out) {
  number %= kLastDigits;
  for (size_t i = kNumberDigits; i-- > 0; number /= 10)
    out[i] = static_cast<char>('0' + number % 10);
}

void StoreFixed64(uint64_t value, char* out) {
  for (size_t i = 0; i < sizeof value; ++i) out[i] = static_cast<char>(value >> (8 * i));
}

}  // namespace

void OtlpTemplate::PutVarint(uint64_t value) {
  while (value >= 0x80) {
    body_ += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  body_ += static_cast<char>(value);
}

void OtlpTemplate::PutUint(uint32_t field, uint64_t value) {
  PutVarint(uint64_t{field} << 3);
  PutVarint(value);
}

void OtlpTemplate::PutBytes(uint32_t field, std::string_view bytes) {
  PutVarint(uint64_t{field} << 3 | 2);
  PutVarint(bytes.size());
  body_ += bytes;
}

// Returns where the eight bytes stand.
uint32_t OtlpTemplate::PutFixed64(uint32_t field) {
  PutVarint(uint64_t{field} << 3 | 1);
  body_.append(sizeof(uint64_t), '\0');
  return static_cast<uint32_t>(body_.size() - sizeof(uint64_t));
}

OtlpTemplate::Open OtlpTemplate::Begin(uint32_t field) {
  PutVarint(uint64_t{field} << 3 | 2);
  return {body_.size(), slots_.size()};
}

// Puts the length in front of the message, whose slots move by that.
void OtlpTemplate::End(const Open& open) {
  const std::string message = body_.substr(open.at);
  body_.resize(open.at);
  PutVarint(message.size());
  const auto moved = static_cast<uint32_t>(body_.size() - open.at);
  body_ += message;
  for (size_t s = open.first_slot; s < slots_.size(); ++s) {
    slots_[s].time_at += moved;
    if (slots_[s].second_at > 0) slots_[s].second_at += moved;
    slots_[s].value_at += moved;
  }
}

void OtlpTemplate::PutAttribute(uint32_t field, std::string_view key, std::string_view value) {
  const Open attribute = Begin(field);
  PutBytes(1, key);
  const Open any = Begin(2);
  PutBytes(1, value);
  End(any);
  End(attribute);
}

void OtlpTemplate::PutPointAttributes(uint32_t field) {
  for (const Label& label : labels_) {
    if (label.name == "__name__" || !OtlpResourceAttribute(label.name).empty()) continue;
    PutAttribute(field, label.name, label.value);
  }
}

void OtlpTemplate::PutResource() {
  const Open resource = Begin(1);
  for (const Label& label : labels_) {
    const std::string_view attribute = OtlpResourceAttribute(label.name);
    if (!attribute.empty()) PutAttribute(1, attribute, label.value);
  }
  End(resource);
}

void OtlpTemplate::PutPoint(uint32_t index, uint32_t sample) {
  const Open point = Begin(1);
  slots_.push_back({PutFixed64(3), 0, PutFixed64(4), index, sample});
  PutPointAttributes(7);
  End(point);
}

// One metric with the points of the series from `first` to `end`, which differ in attributes alone.
void OtlpTemplate::PutMetric(uint32_t first, uint32_t end) {
  constexpr uint64_t kCumulative = 2;
  const uint32_t metric = model_.Metric(shape_.first_series + first);
  const Open message = Begin(2);
  PutBytes(1, model_.MetricName(metric));
  PutBytes(2, model_.Help(metric));
  const Open sum = Begin(7);
  for (uint32_t i = first; i < end; ++i) {
    const uint64_t series = shape_.first_series + i;
    const uint64_t target = model_.Target(series) - model_.Target(shape_.first_series);
    model_.Labels(series, generations_[target], labels_);
    for (uint32_t j = 0; j < shape_.samples_per_series; ++j) PutPoint(i, j);
  }
  PutUint(2, kCumulative);
  PutUint(3, 1);  // monotonic
  End(sum);
  End(message);
}

void OtlpTemplate::PutLog(uint32_t index, uint32_t sample) {
  constexpr uint64_t kInfo = 9;
  const uint64_t seed = Mix(shape_.first_series + index, 9);
  const Open record = Begin(2);
  const size_t begin = body_.size();
  Slot slot{PutFixed64(1), PutFixed64(11), 0, index, sample};
  PutUint(2, kInfo);
  PutBytes(3, "INFO");
  PutPointAttributes(6);
  PutBytes(9, OtlpTraceId(seed));
  PutBytes(10, OtlpTraceId(seed).substr(0, 8));
  // The record comes out up to two bytes longer, by the lengths of its body.
  const size_t used = body_.size() - begin + 4 + kNumberDigits;
  std::string text(kNumberDigits, '0');
  if (used < shape_.record_bytes) text += OtlpFiller(seed, shape_.record_bytes - used);
  const Open any = Begin(5);
  PutBytes(1, text);
  End(any);
  slot.value_at = static_cast<uint32_t>(body_.size() - text.size());
  slots_.push_back(slot);
  End(record);
}

void OtlpTemplate::PutSpan(uint32_t index, uint32_t sample) {
  constexpr uint64_t kServer = 2;
  constexpr uint64_t kOkStatus = 1;
  const uint64_t seed = Mix(shape_.first_series + index, 9);
  const Open span = Begin(2);
  const size_t begin = body_.size();
  PutBytes(1, OtlpTraceId(seed));
  PutBytes(2, "12345678");
  Slot slot{0, 0, static_cast<uint32_t>(body_.size() - 8), index, sample};
  PutBytes(4, OtlpTraceId(seed).substr(8));
  PutBytes(5, "GET /orders");
  PutUint(6, kServer);
  slot.time_at = PutFixed64(7);
  slot.second_at = PutFixed64(8);
  slots_.push_back(slot);
  PutPointAttributes(9);
  const Open status = Begin(15);
  PutUint(3, kOkStatus);
  End(status);
  constexpr std::string_view kPadding = "url.full";
  const size_t used = body_.size() - begin + 6 + 2 + kPadding.size();
  if (used < shape_.record_bytes)
    PutAttribute(9, kPadding, OtlpFiller(seed, shape_.record_bytes - used));
  End(span);
}

OtlpTemplate::OtlpTemplate(const SeriesModel& model, const Shape& shape)
    : model_(model), shape_(shape) {
  FOREBAY_CHECK(shape_.series > 0 && shape_.samples_per_series > 0);
  const uint64_t last = shape_.first_series + shape_.series - 1;
  FOREBAY_CHECK(last < model_.series());
  generations_.assign(model_.Target(last) - model_.Target(shape_.first_series) + 1, 0);
  contents_.samples = uint64_t{shape_.series} * shape_.samples_per_series;
  Encode();
}

void OtlpTemplate::Encode() {
  body_.clear();
  slots_.clear();
  slots_.reserve(contents_.samples);
  const auto target = [&](uint32_t i) { return model_.Target(shape_.first_series + i); };
  for (uint32_t i = 0; i < shape_.series;) {
    const Open resource = Begin(1);
    model_.Labels(shape_.first_series + i, generations_[target(i) - target(0)], labels_);
    PutResource();
    const Open scope = Begin(2);
    const Open library = Begin(1);
    PutBytes(1, "forebay.load");
    End(library);
    const uint32_t first = i;
    while (i < shape_.series && target(i) == target(first)) {
      uint32_t end = i + 1;
      if (shape_.signal == Signal::kMetrics) {
        const uint32_t metric = model_.Metric(shape_.first_series + i);
        while (end < shape_.series && target(end) == target(first) &&
               model_.Metric(shape_.first_series + end) == metric)
          ++end;
        PutMetric(i, end);
      } else {
        model_.Labels(shape_.first_series + i, generations_[target(i) - target(0)], labels_);
        for (uint32_t j = 0; j < shape_.samples_per_series; ++j)
          shape_.signal == Signal::kLogs ? PutLog(i, j) : PutSpan(i, j);
      }
      i = end;
    }
    End(scope);
    End(resource);
  }
}

std::string_view OtlpTemplate::Fill(uint64_t round, std::span<const int64_t> timestamps,
                                    std::chrono::milliseconds elapsed) {
  FOREBAY_CHECK(timestamps.size() == shape_.samples_per_series);
  if (model_.UpdateGenerations(model_.Target(shape_.first_series), elapsed, generations_)) Encode();
  char* const body = body_.data();
  for (const Slot& slot : slots_) {
    const uint64_t sample = round * shape_.samples_per_series + slot.sample;
    const uint64_t series = shape_.first_series + slot.series;
    const uint64_t number = sample * model_.series() + series;
    const int64_t nanos = timestamps[slot.sample] * kNanosPerMilli;
    StoreFixed64(static_cast<uint64_t>(nanos), body + slot.time_at);
    char* const value = body + slot.value_at;
    switch (shape_.signal) {
      case Signal::kMetrics:
        StoreFixed64(SampleValueBits(shape_.values, model_, series, sample), value);
        break;
      case Signal::kLogs:
        StoreFixed64(static_cast<uint64_t>(nanos), body + slot.second_at);
        StoreDigits(number, value);
        break;
      case Signal::kTraces:
        StoreFixed64(static_cast<uint64_t>(nanos + kSpanNanos), body + slot.second_at);
        StoreId(number + 1, value);
        break;
    }
  }
  return body_;
}

}  // namespace forebay::loadgen
