// Encoding of remote-write requests and the places in them that change; see request_template.h.
#include "loadgen/request_template.h"

#include <fmt/core.h>
#include <snappy.h>

#include <bit>
#include <cstring>
#include <string>
#include <unordered_map>

#include "base/check.h"

namespace forebay::loadgen {
namespace {

constexpr uint32_t kVarint = 0;
constexpr uint32_t kFixed64 = 1;
constexpr uint32_t kBytes = 2;
constexpr size_t kMaxVarint = 10;
constexpr size_t kTimeBytes = 6;

void PutVarint(uint64_t value, ByteBuffer& out) {
  char* p = out.Ensure(kMaxVarint);
  while (value >= 0x80) {
    *p++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *p++ = static_cast<char>(value);
  out.SetEnd(p);
}

size_t VarintSize(uint64_t value) {
  return (static_cast<size_t>(std::bit_width(value | 1)) + 6) / 7;
}

void PutTag(uint32_t field, uint32_t wire, ByteBuffer& out) { PutVarint(field << 3 | wire, out); }

void PutBytes(uint32_t field, std::string_view bytes, ByteBuffer& out) {
  PutTag(field, kBytes, out);
  PutVarint(bytes.size(), out);
  out.Append(bytes);
}

void PutUint(uint32_t field, uint64_t value, ByteBuffer& out) {
  PutTag(field, kVarint, out);
  PutVarint(value, out);
}

uint64_t ZigZag(int64_t value) {
  return static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63);
}

void PutFixed64(uint32_t field, uint64_t bits, ByteBuffer& out) {
  PutTag(field, kFixed64, out);
  char* p = out.Ensure(sizeof bits);
  std::memcpy(p, &bits, sizeof bits);
  out.SetEnd(p + sizeof bits);
}

// A double and an int64 to be overwritten; returns where they stand.
uint32_t PutValueHole(uint32_t field, ByteBuffer& out) {
  PutFixed64(field, 0, out);
  return static_cast<uint32_t>(out.size() - sizeof(uint64_t));
}
uint32_t PutTimeHole(uint32_t field, ByteBuffer& out) {
  PutTag(field, kVarint, out);
  char* p = out.Ensure(kTimeBytes);
  WriteFixedVarint6(0, p);
  out.SetEnd(p + kTimeBytes);
  return static_cast<uint32_t>(out.size() - kTimeBytes);
}

// Deterministic choice of a share of the series.
bool IsChosen(uint64_t series, uint64_t salt, double share) {
  return static_cast<double>(Mix(series, salt) >> 11) < share * 0x1p53;
}

// Buckets of every histogram: counts 5, 6, 4, 6 as deltas; with the zero bucket 23 observations.
constexpr int64_t kBucketDeltas[] = {5, 1, -2, 2};
constexpr uint64_t kZeroCount = 2;
constexpr uint64_t kHistogramCount = 23;
constexpr uint32_t kHistogramSchema = 3;
constexpr size_t kValueFieldBytes = 9;
constexpr size_t kTimeFieldBytes = 1 + kTimeBytes;

// The Histogram message without its head. Field numbers are those of both protocol versions.
struct HistogramHoles {
  uint32_t sum_at = 0;
  uint32_t time_at = 0;
};
HistogramHoles PutHistogram(ByteBuffer& out) {
  HistogramHoles holes;
  PutUint(1, kHistogramCount, out);
  holes.sum_at = PutValueHole(3, out);
  PutUint(4, ZigZag(kHistogramSchema), out);
  PutFixed64(5, std::bit_cast<uint64_t>(0.001), out);
  PutUint(6, kZeroCount, out);
  ByteBuffer part;
  PutUint(1, ZigZag(0), part);
  PutUint(2, std::size(kBucketDeltas), part);
  PutBytes(11, part.view(), out);
  part.clear();
  for (const int64_t delta : kBucketDeltas) PutVarint(ZigZag(delta), part);
  PutBytes(12, part.view(), out);
  holes.time_at = PutTimeHole(15, out);
  return holes;
}

}  // namespace

void WriteFixedVarint6(uint64_t value, char* out) {
  for (size_t i = 0; i < kTimeBytes; ++i) {
    const uint64_t more = i + 1 < kTimeBytes ? 0x80 : 0;
    out[i] = static_cast<char>((value >> (7 * i) & 0x7F) | more);
  }
}

uint64_t SampleValueBits(ValueMode mode, const SeriesModel& model, uint64_t series,
                         uint64_t sample) {
  if (mode == ValueMode::kUnique) {
    return std::bit_cast<uint64_t>(static_cast<double>(sample * model.series() + series));
  }
  const uint64_t hash = Mix(series, 2);
  const uint64_t step = 1 + hash % 500;
  // The jitter is below the step, so the counter rises with every sample and no value comes twice.
  const uint64_t count = hash % 1'000'003 + sample * step + Mix(hash, sample) % step;
  const double value = static_cast<double>(count);
  return std::bit_cast<uint64_t>(series % 2 == 1 ? value / 1000 : value);
}

RequestTemplate::RequestTemplate(const SeriesModel& model, const Shape& shape)
    : model_(model), shape_(shape) {
  FOREBAY_CHECK(shape_.series > 0 && shape_.samples_per_series > 0);
  const uint64_t last = shape_.first_series + shape_.series - 1;
  FOREBAY_CHECK(last < model_.series());
  generations_.assign(model_.Target(last) - model_.Target(shape_.first_series) + 1, 0);
  Encode();
}

void RequestTemplate::EncodeLabels1(std::span<const Label> labels) {
  for (const Label& label : labels) {
    const size_t bytes = 2 + VarintSize(label.name.size()) + VarintSize(label.value.size()) +
                         label.name.size() + label.value.size();
    PutTag(1, kBytes, series_bytes_);
    PutVarint(bytes, series_bytes_);
    PutBytes(1, label.name, series_bytes_);
    PutBytes(2, label.value, series_bytes_);
  }
}

// Appends samples, histograms and exemplar to series_bytes_; slots are relative to it until Encode
// moves them.
void RequestTemplate::EncodeSeries(uint32_t index, bool histogram, bool exemplar) {
  const bool v2 = shape_.protocol == Protocol::kRemoteWrite2;
  for (uint32_t j = 0; j < shape_.samples_per_series; ++j) {
    if (histogram) {
      ByteBuffer message;
      const HistogramHoles holes = PutHistogram(message);
      PutBytes(v2 ? 3 : 4, message.view(), series_bytes_);
      const uint32_t base = static_cast<uint32_t>(series_bytes_.size() - message.size());
      slots_.push_back({base + holes.sum_at, base + holes.time_at, index, j});
      ++contents_.histograms;
    } else {
      PutTag(2, kBytes, series_bytes_);
      PutVarint(kValueFieldBytes + kTimeFieldBytes, series_bytes_);
      const uint32_t value_at = PutValueHole(1, series_bytes_);
      const uint32_t time_at = PutTimeHole(2, series_bytes_);
      slots_.push_back({value_at, time_at, index, j});
      ++contents_.samples;
    }
  }
  if (!exemplar) return;
  ByteBuffer message;
  if (v2) {
    // Symbols 1 and 2 of every request are the exemplars' label; see Encode.
    PutBytes(1, std::string_view("\x01\x02", 2), message);
  } else {
    ByteBuffer label;
    PutBytes(1, "trace_id", label);
    PutBytes(2, fmt::format("{:016x}{:016x}", Mix(shape_.first_series + index, 5), Mix(index, 6)),
             label);
    PutBytes(1, label.view(), message);
  }
  const uint32_t value_in = PutValueHole(2, message);
  const uint32_t time_in = PutTimeHole(3, message);
  PutBytes(v2 ? 4 : 3, message.view(), series_bytes_);
  const uint32_t base = static_cast<uint32_t>(series_bytes_.size() - message.size());
  slots_.push_back({base + value_in, base + time_in, index, shape_.samples_per_series - 1});
  ++contents_.exemplars;
}

void RequestTemplate::Encode() {
  ++encodings_;
  contents_ = {};
  slots_.clear();
  slots_.reserve(size_t{shape_.series} * shape_.samples_per_series);
  body_.clear();
  const bool v2 = shape_.protocol == Protocol::kRemoteWrite2;
  const uint32_t field = v2 ? 5 : 1;
  // The symbols of 2.0 come before the series in the body, so the series are gathered apart.
  ByteBuffer series_part;
  ByteBuffer refs_bytes;
  std::unordered_map<std::string, uint32_t> symbols;
  const auto intern = [&](const std::string& text) {
    const auto [at, added] = symbols.try_emplace(text, static_cast<uint32_t>(symbols.size()));
    if (added) PutBytes(4, text, body_);
    return at->second;
  };
  if (v2) {
    intern("");
    if (shape_.exemplar_share > 0) {
      intern("trace_id");
      intern(fmt::format("{:032x}", Mix(shape_.first_series, 5)));
    }
  }
  ByteBuffer& target = v2 ? series_part : body_;
  const uint64_t first_target = model_.Target(shape_.first_series);
  for (uint32_t i = 0; i < shape_.series; ++i) {
    const uint64_t series = shape_.first_series + i;
    model_.Labels(series, generations_[model_.Target(series) - first_target], labels_);
    series_bytes_.clear();
    if (v2) {
      refs_bytes.clear();
      for (const Label& label : labels_) {
        PutVarint(intern(label.name), refs_bytes);
        PutVarint(intern(label.value), refs_bytes);
      }
      PutBytes(1, refs_bytes.view(), series_bytes_);
    } else {
      EncodeLabels1(labels_);
    }
    const size_t first_slot = slots_.size();
    const bool histogram = IsChosen(series, 3, shape_.histogram_share);
    EncodeSeries(i, histogram, IsChosen(series, 4, shape_.exemplar_share));
    if (v2) {
      ByteBuffer metadata;
      constexpr uint64_t kCounterType = 1;
      constexpr uint64_t kHistogramType = 3;
      PutUint(1, histogram ? kHistogramType : kCounterType, metadata);
      PutUint(3, intern(model_.Help(model_.Metric(series))), metadata);
      PutBytes(5, metadata.view(), series_bytes_);
    }
    PutBytes(field, series_bytes_.view(), target);
    const uint32_t base = static_cast<uint32_t>(target.size() - series_bytes_.size());
    for (size_t s = first_slot; s < slots_.size(); ++s) {
      slots_[s].value_at += base;
      slots_[s].time_at += base;
    }
  }
  if (v2) {
    const uint32_t base = static_cast<uint32_t>(body_.size());
    for (Slot& slot : slots_) {
      slot.value_at += base;
      slot.time_at += base;
    }
    body_.Append(series_part.view());
  }
}

std::string_view RequestTemplate::Fill(uint64_t round, std::span<const int64_t> timestamps,
                                       std::chrono::milliseconds elapsed) {
  FOREBAY_CHECK(timestamps.size() == shape_.samples_per_series);
  if (model_.UpdateGenerations(model_.Target(shape_.first_series), elapsed, generations_)) Encode();
  char* const body = body_.data();
  const uint64_t first_sample = round * shape_.samples_per_series;
  for (const Slot& slot : slots_) {
    const uint64_t bits = SampleValueBits(shape_.values, model_, shape_.first_series + slot.series,
                                          first_sample + slot.sample);
    std::memcpy(body + slot.value_at, &bits, sizeof bits);
    WriteFixedVarint6(static_cast<uint64_t>(timestamps[slot.sample]), body + slot.time_at);
  }
  return body_.view();
}

void CompressSnappy(std::string_view raw, ByteBuffer& out) {
  out.clear();
  char* begin = out.Ensure(snappy::MaxCompressedLength(raw.size()));
  size_t size = 0;
  snappy::RawCompress(raw.data(), raw.size(), begin, &size);
  out.SetEnd(begin + size);
}

}  // namespace forebay::loadgen
