// The messages of Prometheus remote write 2.0 (io.prometheus.write.v2.Request), read from wire
// bytes. Place: under DecodeWorker, as remote_write_1.h. Label texts are symbols of the request;
// each is hashed once, and a series' key is a hash of its symbols' hashes, made while its refs are
// read.
// Limits: those of WireReader; refs are checked against the symbols before use.
// Source: Prometheus remote write 2.0, "Protocol".
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "receive/series_parts.h"

namespace forebay::receive::remote_write_2 {

// Field numbers of Request.
inline constexpr uint32_t kSymbolsField = 4;
inline constexpr uint32_t kTimeSeriesField = 5;

// What the labels_refs of a series come to.
struct LabelRefs {
  enum class State : uint8_t {
    kGood,
    kBad,        // not in pairs, or beyond the symbols
    kMalformed,  // no varints
  } state = State::kGood;
  size_t count = 0;
  table::SeriesKey key;  // of kGood
};

// The symbols of one request, with their hashes. Reused. Threads: one at a time.
class Symbols {
 public:
  // So many refs are hashed as they are read; of more, which nobody sends, the hashes are gathered.
  static constexpr size_t kKeyedRefs = 128;

  // `series`: gives the hash function, seeded per process. `database_label` is noticed when seen.
  void Begin(const table::SeriesTable& series, std::string_view database_label);
  void Add(std::string_view text);

  size_t size() const { return hashes_.size(); }
  size_t held_bytes() const {
    return texts_.capacity() * sizeof(std::string_view) +
           (hashes_.capacity() + gathered_.capacity()) * sizeof(uint64_t);
  }
  std::string_view text(size_t ref) const { return texts_[ref]; }
  uint64_t hash(size_t ref) const { return hashes_[ref]; }
  bool IsMetricNameLabel(size_t ref) const { return texts_[ref] == table::kMetricNameLabel; }
  bool has_database_label() const { return has_database_label_; }

  // Reads packed refs and makes the series' key. Equal refs of equal texts have equal keys,
  // whatever the symbols' order and the varints' lengths; `domain`, well mixed, keeps protocols and
  // rules apart. Reads no more than `most`, of which there is no good key then.
  LabelRefs ReadRefs(std::string_view packed, uint64_t domain, size_t most);

 private:
  void MakeKeys();
  LabelRefs ReadOddRefs(std::string_view packed, uint64_t domain, size_t most);

  const table::SeriesTable* series_ = nullptr;
  std::string_view database_label_;
  bool has_database_label_ = false;
  std::vector<std::string_view> texts_;
  Column<uint64_t> hashes_;
  Column<uint64_t> gathered_;  // scratch
  std::array<uint64_t, kKeyedRefs> keys_{};
  bool has_keys_ = false;
};

// Reads a TimeSeries; its labels_refs, unchecked and packed, are series.labels, joined in `joined`
// when they are not one packed field. Returns: false when the bytes are no TimeSeries.
[[nodiscard]] bool ReadSeries(std::string_view message, PendingSeries& series,
                              std::vector<SideItem>& side_items, SampleStager& stager,
                              ByteBuffer& joined);

// Replaces `labels` by those that packed refs name. Refs that are out of range are left out, so
// that a refused series can still be described.
void ReadLabels(std::string_view packed, const Symbols& symbols, std::vector<table::Label>& labels);

// `joined`: scratch. Bad refs: exemplar.refs_ok is false.
[[nodiscard]] bool ReadExemplar(std::string_view message, const Symbols& symbols,
                                ByteBuffer& joined, ExemplarParts& exemplar);

// Ref 0 is the absent text, also when there is no symbol at all.
inline bool MetadataRefsAreValid(const MetadataRefs& metadata, const Symbols& symbols) {
  return (metadata.help == 0 || metadata.help < symbols.size()) &&
         (metadata.unit == 0 || metadata.unit < symbols.size());
}

}  // namespace forebay::receive::remote_write_2
