// The parts of series as they stand in a decoded body, before anything is known of them, and the
// staging of their samples. Shared by both remote-write decoders and DecodeWorker.
// Limits: kGroupSeries series at a time, so that the cache misses of their look-ups overlap.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "receive/refusal.h"
#include "receive/staged_write.h"
#include "receive/wire_reader.h"
#include "table/labels.h"
#include "table/number_text.h"
#include "table/series_table.h"

namespace forebay::receive {

inline constexpr size_t kGroupSeries = 32;

// Most of what the parts of one request may come to in memory: a small message may ask for much.
struct DecodeLimits {
  size_t samples = SIZE_MAX;
  size_t items = SIZE_MAX;  // symbols; label refs, exemplars and histograms of a group of series
};
// Labels of a series or exemplar are read no further: none may have so many.
inline constexpr size_t kMaxLabelsRead = 65'536;

// An exemplar or a native histogram of a series, undecoded.
struct SideItem {
  enum class Kind : uint8_t { kExemplar, kHistogram } kind = Kind::kExemplar;
  std::string_view message;
};

// Samples of one series that were received but not staged.
struct LeftOut {
  uint64_t nan = 0;  // remote_write.drop_nan
  uint64_t too_far_ahead = 0;
  uint64_t too_old = 0;
  uint64_t total() const { return nan + too_far_ahead + too_old; }
};

// Inline metadata of a 2.0 series.
struct MetadataRefs {
  uint64_t type = 0;
  uint64_t help = 0;
  uint64_t unit = 0;
  bool ok = true;  // false: the bytes are no such message
};

struct PendingSeries {
  table::SeriesKey key;
  std::string_view labels;  // 1.0: the label fields, one after the other; 2.0: labels_refs, packed
  uint32_t index = 0;       // in the request
  size_t first_sample = 0;  // in the staged columns
  size_t sample_count = 0;
  size_t first_side = 0;  // in the group's side items
  size_t side_count = 0;
  LeftOut left_out;
  int64_t start_timestamp = 0;  // 2.0 before rc.4: of the whole series; 0: unset
  MetadataRefs metadata;        // 2.0
  bool has_metadata = false;
  bool skip = false;  // replay: was refused when it came
  std::optional<RefusalReason> problem;

  // Makes it the series of this index, for use again. What is left out here is set before it is
  // read: the key, the counts, metadata without has_metadata.
  void Begin(uint32_t series_index, size_t sample, size_t side) {
    labels = {};
    index = series_index;
    first_sample = sample;
    first_side = side;
    left_out = {};
    start_timestamp = 0;
    has_metadata = skip = false;
    problem.reset();
  }
};

// splitmix64's finaliser: each bit of x reaches all, and nothing is lost.
inline uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

struct SampleValue {
  int64_t timestamp = 0;
  uint64_t bits = 0;
  bool ok = true;
};

// A Sample message of either version: 1 value, 2 timestamp; 3, the start timestamp of 2.0, has no
// column and is passed over.
inline SampleValue ReadSample(std::string_view message) {
  SampleValue sample;
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 1:
        sample.bits = reader.Fixed64Field();
        break;
      case 2:
        sample.timestamp = static_cast<int64_t>(reader.VarintField());
        break;
      default:
        reader.Skip();
    }
  }
  sample.ok = !reader.failed();
  return sample;
}

// Which samples are left out. Times are Unix ms, both ends are taken.
struct SampleFilter {
  int64_t earliest = std::numeric_limits<int64_t>::min();
  int64_t latest = std::numeric_limits<int64_t>::max();
  bool drop_nan = false;
};

// Puts samples into the staged columns and counts special values. Threads: one at a time.
class SampleStager {
 public:
  SampleStager(StagedWrite& staged, const SampleFilter& filter, size_t most)
      : staged_(staged), filter_(filter), most_(most) {}

  void Add(const SampleValue& sample, LeftOut& left_out) {
    constexpr uint64_t kExponent = 0x7ff0'0000'0000'0000;
    if ((sample.bits & kExponent) == kExponent) [[unlikely]] {
      CountSpecial(sample.bits);
      if (filter_.drop_nan && table::IsNan(sample.bits)) {
        ++left_out.nan;
        return;
      }
    }
    if (sample.timestamp > filter_.latest) [[unlikely]] {
      ++left_out.too_far_ahead;
      return;
    }
    if (sample.timestamp < filter_.earliest) [[unlikely]] {
      ++left_out.too_old;
      return;
    }
    if (staged_.timestamps.size() == most_) [[unlikely]] {
      full_ = true;
      return;
    }
    staged_.timestamps.push_back(sample.timestamp);
    staged_.values.push_back(sample.bits);
  }
  size_t size() const { return staged_.timestamps.size(); }
  // A sample was left out since there were too many.
  bool full() const { return full_; }

 private:
  void CountSpecial(uint64_t bits) {
    if (table::IsStaleMarker(bits)) {
      ++staged_.stale_markers;
    } else if (table::IsNan(bits)) {
      ++staged_.nans;
    } else if ((bits >> 63) != 0) {
      ++staged_.negative_infinities;
    } else {
      ++staged_.positive_infinities;
    }
  }

  StagedWrite& staged_;
  const SampleFilter filter_;
  const size_t most_;
  bool full_ = false;
};

// A decoded Exemplar. Reused, so that it does not allocate in steady state.
struct ExemplarParts {
  std::vector<table::Label> labels;  // as sent
  uint64_t value_bits = 0;
  int64_t timestamp = 0;
  bool refs_ok = true;  // 2.0: labels_refs are even and in range

  void Clear() {
    labels.clear();
    value_bits = 0;
    timestamp = 0;
    refs_ok = true;
  }
};

// Metadata of a metric, of either version.
struct MetadataParts {
  uint64_t type = 0;
  std::string_view metric;
  std::string_view help;
  std::string_view unit;
  bool ok = true;  // false: the bytes are no such message
};

}  // namespace forebay::receive
