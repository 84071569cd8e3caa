#include "receive/staged_write.h"

#include <fmt/core.h>

namespace forebay::receive {
namespace {

constexpr size_t kKeptSamples = 256U << 10;
constexpr size_t kKeptText = 1U << 20;
constexpr size_t kKeptRecordTables = 16;
constexpr size_t kMaxRefusalText = 4096;

std::string ListCounts(const RefusalCounts& counts) {
  std::string list;
  for (size_t i = 0; i < kRefusalReasons; ++i) {
    if (counts[i] == 0) continue;
    if (!list.empty()) list += ", ";
    list += fmt::format("{} {}", counts[i], Name(static_cast<RefusalReason>(i)));
  }
  return list;
}

}  // namespace

void StagedWrite::Clear() {
  if (refs.capacity() > kKeptSamples) {
    refs.Free();
    timestamps.Free();
    values.Free();
  }
  refs.clear();
  timestamps.clear();
  values.clear();
  for (StagedRows& staged : side_rows) {
    staged.text.clear();
    staged.row_ends.clear();
    if (staged.text.capacity() > kKeptText) {
      staged.text = ByteBuffer();
      staged.row_ends.Free();
    }
  }
  for (StagedRecords& staged : records) {
    staged.rows.text.clear();
    staged.rows.row_ends.clear();
    if (staged.rows.text.capacity() > kKeptText) {
      staged.rows.text = ByteBuffer();
      staged.rows.row_ends.Free();
    }
  }
  if (records.size() > kKeptRecordTables) records.resize(kKeptRecordTables);
  record_tables = 0;
  points = points_refused = 0;
  refused_records.clear();
  refused.clear();
  if (refused.capacity() > kKeptSamples) refused.shrink_to_fit();
  rules_used.reset();
  series = 0;
  samples = histograms = exemplars = metadata = logs = spans = {};
  metadata_unchanged = samples_dropped_nan = 0;
  stale_markers = nans = positive_infinities = negative_infinities = 0;
  database_samples.clear();
  refused_series = refused_samples = refused_items = {};
  items_refused = 0;
  first_refusal.clear();
  metadata_keys.clear();
  if (metadata_keys.capacity() > kKeptSamples) metadata_keys.shrink_to_fit();
  decoded_bytes = 0;
}

bool StagedWrite::nothing_to_store() const {
  if (refs.size() != 0 || record_tables != 0) return false;
  for (const StagedRows& staged : side_rows) {
    if (staged.rows() != 0) return false;
  }
  return true;
}

size_t StagedWrite::side_text_bytes() const {
  size_t bytes = 0;
  for (const StagedRows& staged : side_rows) bytes += staged.text.size();
  return bytes;
}

size_t StagedWrite::used_bytes() const {
  size_t bytes = timestamps.size() * kStagedSampleBytes + refused.size() * sizeof(uint32_t) +
                 metadata_keys.size() * sizeof(uint64_t);
  for (size_t i = 0; i < record_tables; ++i) {
    bytes += records[i].rows.text.size() + records[i].rows.rows() * sizeof(uint32_t);
  }
  for (const StagedRows& staged : side_rows) {
    bytes += staged.text.size() + staged.rows() * sizeof(uint32_t);
  }
  return bytes;
}

size_t StagedWrite::held_bytes() const {
  size_t bytes = timestamps.capacity() * kStagedSampleBytes +
                 refused.capacity() * sizeof(uint32_t) +
                 metadata_keys.capacity() * sizeof(uint64_t);
  for (const StagedRecords& staged : records) {
    bytes += staged.rows.text.capacity() + staged.rows.row_ends.capacity() * sizeof(uint32_t);
  }
  for (const StagedRows& staged : side_rows) {
    bytes += staged.text.capacity() + staged.row_ends.capacity() * sizeof(uint32_t);
  }
  return bytes;
}

void StagedWrite::AppendTo(wal::GenerationLease& lease, uint32_t shard) const {
  if (refs.size() != 0) lease.Append(shard, sample_columns());
  for (const StagedRows& staged : side_rows) {
    if (staged.rows() == 0) continue;
    lease.AppendText(shard, {staged.table, staged.text.view(), staged.row_ends.span()});
  }
  for (size_t i = 0; i < record_tables; ++i) {
    const StagedRows& staged = records[i].rows;
    if (staged.rows() == 0) continue;
    lease.AppendText(shard, {staged.table, staged.text.view(), staged.row_ends.span()});
  }
}

std::string StagedWrite::RefusalText() const {
  std::string text;
  if (!refused.empty()) {
    text = fmt::format("{} of {} series refused: {}", refused.size(), series,
                       ListCounts(refused_series));
  }
  if (items_refused != 0) {
    if (!text.empty()) text += "; ";
    text += fmt::format("{} samples, histograms, exemplars or metadata refused: {}", items_refused,
                        ListCounts(refused_items));
  }
  const uint64_t kept =
      samples.accepted() + histograms.accepted() + exemplars.accepted() + metadata.accepted();
  text += fmt::format("; {}; first: {}\n", kept == 0 ? "nothing was kept" : "the rest was kept",
                      first_refusal);
  if (text.size() > kMaxRefusalText) text.resize(kMaxRefusalText);
  return text;
}

}  // namespace forebay::receive
