// The messages of Prometheus remote write 2.0 (io.prometheus.write.v2.Request), read from wire
// bytes. Place: under DecodeWorker, as remote_write_1.h. Label texts are symbols of the request;
// each is hashed once, and a series' key is a hash of its symbols' hashes.
// Limits: those of WireReader; refs are checked against the symbols before use.
// Source: Prometheus remote write 2.0, "Protocol".
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "receive/series_parts.h"

namespace forebay::receive::remote_write_2 {

// Field numbers of Request.
inline constexpr uint32_t kSymbolsField = 4;
inline constexpr uint32_t kTimeSeriesField = 5;

// The symbols of one request, with their hashes. Reused. Threads: one at a time.
class Symbols {
 public:
  // `series`: gives the hash function, seeded per process. `database_label` is noticed when seen.
  void Begin(const table::SeriesTable& series, std::string_view database_label);
  void Add(std::string_view text);

  size_t size() const { return hashes_.size(); }
  size_t held_bytes() const {
    return texts_.capacity() * sizeof(std::string_view) + hashes_.capacity() * sizeof(uint64_t);
  }
  std::string_view text(size_t ref) const { return texts_[ref]; }
  uint64_t hash(size_t ref) const { return hashes_[ref]; }
  bool IsMetricNameLabel(size_t ref) const { return texts_[ref] == table::kMetricNameLabel; }
  bool has_database_label() const { return has_database_label_; }

 private:
  const table::SeriesTable* series_ = nullptr;
  std::string_view database_label_;
  bool has_database_label_ = false;
  std::vector<std::string_view> texts_;
  Column<uint64_t> hashes_;
};

// Reads a TimeSeries; its labels_refs are added to `refs`, unchecked (beyond 32 bits: as the
// greatest), as long as there are less than most_refs in all. Returns: false when the bytes are no
// TimeSeries.
[[nodiscard]] bool ReadSeries(std::string_view message, PendingSeries& series,
                              Column<uint32_t>& refs, std::vector<SideItem>& side_items,
                              SampleStager& stager, size_t most_refs);

// True when the number of refs is even and all are in range.
bool RefsAreValid(std::span<const uint32_t> refs, const Symbols& symbols);

// Replaces `labels` by those that the refs name. Refs that are out of range are left out, so that a
// refused series can still be described.
void ReadLabels(std::span<const uint32_t> refs, const Symbols& symbols,
                std::vector<table::Label>& labels);

// `refs`: scratch. Bad refs: exemplar.refs_ok is false.
[[nodiscard]] bool ReadExemplar(std::string_view message, const Symbols& symbols,
                                Column<uint32_t>& refs, ExemplarParts& exemplar);

// Ref 0 is the absent text, also when there is no symbol at all.
inline bool MetadataRefsAreValid(const MetadataRefs& metadata, const Symbols& symbols) {
  return (metadata.help == 0 || metadata.help < symbols.size()) &&
         (metadata.unit == 0 || metadata.unit < symbols.size());
}

}  // namespace forebay::receive::remote_write_2
