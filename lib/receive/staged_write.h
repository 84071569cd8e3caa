// What one request comes to, decoded and looked up but not yet stored: sample columns, text rows of
// the side tables, refused series, and counts of everything. Place: filled by DecodeWorker; the
// handler appends it to a generation after the group commit, replay at once.
// Limits: samples by http.max_decoded_body; text by kMaxSideTextBytes; refused series by
// wal::kMaxRefusedPerRecord.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/byte_buffer.h"
#include "receive/refusal.h"
#include "receive/rules.h"
#include "table/series_table.h"
#include "table/table_registry.h"
#include "wal/wal.h"

namespace forebay::receive {

// A growable column that never zero-fills. Threads: one at a time.
template <typename T>
class Column {
 public:
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  const T& operator[](size_t i) const { return data_[i]; }
  T& operator[](size_t i) { return data_[i]; }
  std::span<const T> span() const { return {data_.get(), size_}; }
  void clear() { size_ = 0; }
  void Truncate(size_t size) { size_ = size; }
  void push_back(T value) {
    if (size_ == capacity_) [[unlikely]]
      Grow(size_ + 1);
    data_[size_++] = value;
  }
  // Makes the size `size`; what is new is uninitialised.
  void Resize(size_t size) {
    if (size > capacity_) Grow(size);
    size_ = size;
  }
  void Free() {
    data_.reset();
    size_ = capacity_ = 0;
  }

 private:
  void Grow(size_t least) {
    const size_t capacity = least > capacity_ * 2 ? least + 256 : capacity_ * 2;
    std::unique_ptr<T[]> data(new T[capacity]);
    if (size_ != 0) std::memcpy(data.get(), data_.get(), size_ * sizeof(T));
    data_ = std::move(data);
    capacity_ = capacity;
  }
  std::unique_ptr<T[]> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

// Text of side rows per request; items beyond it are refused. Labels are repeated in every row, so
// a small body could otherwise ask for any amount of text.
inline constexpr size_t kMaxSideTextBytes = 64U << 20;

// Memory of a staged sample: ref, timestamp, value.
inline constexpr size_t kStagedSampleBytes = 20;

enum class SideTable : uint8_t { kExemplars, kHistograms, kMetadata };
inline constexpr size_t kSideTables = 3;

struct StagedRows {
  table::TableId table = 0;
  ByteBuffer text;
  Column<uint32_t> row_ends;  // offset behind each row in text
  size_t rows() const { return row_ends.size(); }
};

// Log records or spans of one table. Which tables there are, senders say.
struct StagedRecords {
  DatabaseIndex database = 0;
  StagedRows rows;
};

// Items of one kind. received = stored + dropped + refused.
struct ItemCounts {
  uint64_t received = 0;
  uint64_t stored = 0;
  uint64_t dropped = 0;  // by a rule
  uint64_t refused = 0;
  // What the sender is told was written: stored, or left out as the operator wishes.
  uint64_t accepted() const { return stored + dropped; }
};

// Threads: one at a time.
struct StagedWrite {
  // Forgets the contents, keeps the memory unless it was unusually much.
  void Clear();
  bool nothing_to_store() const;
  bool anything_refused() const { return !refused.empty() || items_refused != 0; }
  wal::SampleColumns sample_columns() const {
    return {refs.span(), timestamps.span(), values.span()};
  }
  // Adds everything to the generation.
  void AppendTo(wal::GenerationLease& lease, uint32_t shard) const;

  StagedRows& rows(DatabaseIndex database, SideTable side) {
    return side_rows[database * kSideTables + static_cast<size_t>(side)];
  }
  size_t side_text_bytes() const;
  // Memory of what is staged, and of all that is held for the next request.
  size_t used_bytes() const;
  size_t held_bytes() const;
  // Text of the answer to a request that was refused in part or in whole; at most 4 KB.
  std::string RefusalText() const;

  std::shared_ptr<const Rules> rules_used;  // that the request was decoded with
  DatabaseIndex routed_database = 0;        // of the tenant, where nothing else decides
  Column<table::SeriesRef> refs;
  Column<int64_t> timestamps;          // Unix ms
  Column<uint64_t> values;             // IEEE 754 bits as sent
  std::vector<StagedRows> side_rows;   // per database and side table
  std::vector<StagedRecords> records;  // the first `record_tables` are in use
  size_t record_tables = 0;
  std::vector<uint32_t> refused;          // indexes of refused series in the request, ascending
  std::vector<uint32_t> refused_records;  // the same of log records and spans

  uint64_t series = 0;
  ItemCounts samples;
  ItemCounts histograms;
  ItemCounts exemplars;
  ItemCounts metadata;
  uint64_t points = 0;          // OTLP data points, of which several samples may be made
  uint64_t points_refused = 0;  // in part or in whole
  ItemCounts logs;
  ItemCounts spans;
  uint64_t metadata_unchanged = 0;   // of metadata.stored: known already, no row made
  uint64_t samples_dropped_nan = 0;  // of samples.dropped
  uint64_t stale_markers = 0;
  uint64_t nans = 0;  // without stale markers
  uint64_t positive_infinities = 0;
  uint64_t negative_infinities = 0;
  std::vector<uint64_t> database_samples;  // stored, by DatabaseIndex
  RefusalCounts refused_series{};          // by reason
  RefusalCounts refused_samples{};         // by reason; sums up to samples.refused
  uint64_t items_refused = 0;  // samples, histograms, exemplars, metadata of series that were kept
  RefusalCounts refused_items{};
  std::string first_refusal;
  std::vector<uint64_t> metadata_keys;  // to be forgotten when the commit fails
  size_t decoded_bytes = 0;
};

}  // namespace forebay::receive
