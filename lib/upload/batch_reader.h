// The rows of a batch, ordered by series, in memory that does not depend on the batch's size.
//
// The segments' series blocks are merged by SeriesId; within one SeriesId by segment, which is time
// order. Text blocks come as they stand, in segment order, after the series (series that follow
// text in one segment come after it; the sealer does not write such). Memory: one frame and one
// decoded block per segment, about 1 MB each at most in our own segments, config batch.max_segments
// of them.
//
// Damage never fails a batch: damaged bytes are copied to the quarantine, counted, logged once per
// file, and the good blocks delivered. Failing to read (not: to understand) a file is an error, and
// so is a full disk for the quarantine.
#pragma once

#include <atomic>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "io/file_system.h"
#include "metrics/registry.h"
#include "table/labels.h"
#include "table/schema.h"
#include "wal/quarantine.h"

namespace forebay::upload {

// Some rows of one series, oldest first within a segment. Views live until the next call of Next.
struct SeriesRun {
  int64_t series_id = 0;
  std::span<const table::Label> labels;      // of the Labels column, sorted by name
  std::span<const std::string_view> lifted;  // values of the lifted columns in column order
  std::span<const int64_t> timestamps;       // Unix ms
  std::span<const uint64_t> values;          // IEEE 754 bits; as many as timestamps
  bool same_series = false;                  // for sure that of the run before; false says nothing
};

// Rows that are text already: CSV without a header line, each row with its LF.
struct TextRun {
  std::string_view text;
  uint32_t rows = 0;
};

enum class RunKind { kSeries, kText, kEnd };

struct BatchReadStats {
  uint64_t rows = 0;            // handed out so far
  uint64_t blocks = 0;          // read so far
  uint64_t file_bytes = 0;      // of these blocks, in their files
  uint64_t damaged_ranges = 0;  // met so far
  uint64_t damaged_bytes = 0;
};

// What readers of batches hold of their segments, kept from one to the next so that it is not taken
// from the system and cleared each time. Limits: between readers kBatchMemoryKept, counted roughly.
// Threads: one reader at a time.
class BatchReaderMemory {
 public:
  BatchReaderMemory();
  ~BatchReaderMemory();

 private:
  friend class BatchReader;
  struct OfSegment;
  // Of the segment with this index, in the state it was left in.
  OfSegment& Of(size_t segment);
  void DropWhatIsTooMuch();

  std::vector<std::unique_ptr<OfSegment>> segments_;
};

inline constexpr size_t kBatchMemoryKept = 8U << 20;

// Threads: one at a time.
class BatchReader {
 public:
  struct Source {
    std::string file_name;
    std::string path;
  };

  // Opens every segment. A file that is not a segment any more is damage. `sources` are in id
  // order; the rest outlives the reader. memory: may be null. has_schema: the segments' names carry
  // a schema, so text blocks begin with a header line. Errors: those of opening and reading;
  // kNotFound when a file is gone.
  static Result<std::unique_ptr<BatchReader>> Open(io::FileSystem& fs, std::vector<Source> sources,
                                                   bool has_schema, wal::Quarantine& quarantine,
                                                   metrics::Counter& damage,
                                                   BatchReaderMemory* memory = nullptr);
  ~BatchReader();

  // Goes back to the first run, for a sink that must send the rows again within one try. The
  // statistics begin anew. Errors: as Open (source_error() is then true).
  Status Rewind();

  // The next run. Errors: io of a segment or of the quarantine (source_error() is then true).
  Result<RunKind> Next();
  // After kSeries.
  const SeriesRun& series() const { return series_; }
  // After kText.
  const TextRun& text() const { return text_; }

  const BatchReadStats& stats() const { return stats_; }
  // True when Next failed: the sink is not to blame.
  bool source_error() const { return source_error_; }
  // From now on Next fails with kCancelled once a stop was asked for.
  void set_stop(std::stop_token stop) { stop_ = std::move(stop); }
  // stats().file_bytes is kept there, for other threads. It outlives the reader.
  void set_progress(std::atomic<uint64_t>& file_bytes) {
    progress_ = &file_bytes;
    ShowProgress();
  }
  // For what a sink waits for beside rows: it gives up when this asks for it.
  const std::stop_token& stop() const { return stop_; }

 private:
  class Cursor;
  static constexpr size_t kNoCursor = SIZE_MAX;
  // A group of cursors at a series; ordered by series, then by segment.
  struct Head {
    int64_t series_id = 0;
    size_t leader = 0;
    auto operator<=>(const Head&) const = default;
  };

  BatchReader(io::FileSystem& fs, std::vector<Source> sources, bool has_schema,
              wal::Quarantine& quarantine, metrics::Counter& damage, BatchReaderMemory* memory);
  Status Start();
  Status GoToNextBlocks(size_t begin, size_t end);
  Status AdvanceLast();
  void SiftDown();
  bool IsShown(Cursor& cursor) const;
  void ShowSeries(size_t index);
  void ShowRows(size_t member);
  void ShowProgress() {
    if (progress_ != nullptr) progress_->store(stats_.file_bytes, std::memory_order_relaxed);
  }

  io::FileSystem& fs_;
  const std::vector<Source> sources_;
  const bool has_schema_;
  wal::Quarantine& quarantine_;
  metrics::Counter& damage_;  // damaged ranges that are new
  BatchReaderMemory own_memory_;
  BatchReaderMemory& memory_;  // own_memory_ when none was given
  std::vector<std::unique_ptr<Cursor>> cursors_;
  std::vector<size_t> group_ends_;        // by leader: one behind its last member
  std::vector<Head> heap_;                // groups of cursors at a series, least first
  size_t advance_ = kNoCursor;            // the cursor, or leader, that was handed out last
  size_t member_ = kNoCursor;             // of a group: whose rows were handed out last
  size_t shown_ = kNoCursor;              // the cursor whose block labels_ and lifted_ are of
  size_t next_text_ = 0;                  // the first cursor that may still hold text
  uint64_t blocks_epoch_ = 0;             // counts the blocks that cursors went to
  std::vector<table::Label> labels_;      // of series_
  std::vector<std::string_view> lifted_;  // of series_
  SeriesRun series_;
  TextRun text_;
  BatchReadStats stats_;
  bool source_error_ = false;
  std::stop_token stop_;
  std::atomic<uint64_t>* progress_ = nullptr;
};

// The schema that the first block of the segment names; nothing when it names none. Errors: those
// of opening and reading. Threads: any.
Result<std::optional<table::Schema>> ReadSegmentSchema(io::FileSystem& fs, const std::string& path);

}  // namespace forebay::upload
