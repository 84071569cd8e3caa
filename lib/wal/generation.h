// One generation in memory: the samples of the requests that entered it, in arrival order, by io
// thread. What is appended has been committed to the generation's journal.
//
// Memory comes in chunks of kChunkSamples from a ChunkPool; no lock is contended as long as each io
// thread uses its own shard. Ordering by table and series is the sealer's work: on the way in a
// sample costs three copies.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/byte_buffer.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "wal/journal_writer.h"
#include "wal/wal.h"

namespace forebay::wal {

inline constexpr size_t kChunkSamples = 16'384;

struct SampleChunk {
  size_t used = 0;
  table::SeriesRef refs[kChunkSamples];
  int64_t timestamps[kChunkSamples];
  uint64_t values[kChunkSamples];
};

// Rows of text come in pieces of so many bytes, or of one longer row; each is a block of its
// segment.
inline constexpr size_t kTextChunkBytes = 256U << 10;

struct TextChunk {
  ByteBuffer text;
  uint32_t rows = 0;
};

// Keeps free chunks for reuse, so that steady state neither allocates nor faults pages in. Counts
// the bytes of all chunks and texts in use. Threads: any.
class ChunkPool {
 public:
  // At most `max_free` chunks are kept.
  explicit ChunkPool(size_t max_free) : max_free_(max_free) {}

  std::unique_ptr<SampleChunk> Take() EXCLUDES(mutex_);
  void Give(std::unique_ptr<SampleChunk> chunk) EXCLUDES(mutex_);
  // The same for memory of kTextChunkBytes.
  ByteBuffer TakeText() EXCLUDES(mutex_);
  void GiveText(ByteBuffer text) EXCLUDES(mutex_);
  // Frees all but `keep` of the free ones, and all but `keep_texts` of those of text.
  void Trim(size_t keep, size_t keep_texts) EXCLUDES(mutex_);

  void AddBytes(uint64_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  void SubtractBytes(uint64_t bytes) { bytes_.fetch_sub(bytes, std::memory_order_relaxed); }
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  const size_t max_free_;
  std::atomic<uint64_t> bytes_{0};
  Mutex mutex_;
  std::vector<std::unique_ptr<SampleChunk>> free_ GUARDED_BY(mutex_);
  std::vector<ByteBuffer> free_texts_ GUARDED_BY(mutex_);
};

// Text rows of one table. The first chunk grows as it is filled, so that a table of few rows takes
// little; the others are of the pool.
struct TextColumn {
  std::vector<TextChunk> chunks;
};

// What peers handed over of one table.
struct PeerColumn {
  SegmentName name;  // of the table; the id is the first segment's
  std::vector<PeerSegment> segments;
};

// What a generation held, taken out of it by the sealer.
struct GenerationContents {
  std::vector<std::unique_ptr<SampleChunk>> chunks;
  std::unordered_map<table::TableId, TextColumn> texts;
  std::map<std::string, PeerColumn> peers;  // by SegmentKey

  bool empty() const { return chunks.empty() && texts.empty() && peers.empty(); }
};

class Generation {
 public:
  struct Identity {
    uint64_t sequence = 0;  // counts up from 1 in this process
    uint64_t id = 0;        // flake: names the journal and the segments
    std::string journal_path;
    MonotonicTime opened;
  };

  // `on_drained` runs once, when the generation was closed and its last lease is gone; any thread.
  Generation(Identity identity, uint32_t shards, ChunkPool& pool, std::function<void()> on_drained);
  ~Generation();

  const Identity& identity() const { return identity_; }

  // The lease's side. Enter only while the generation is the open one (the Wal's mutex sees to it).
  GenerationLease Enter(std::shared_ptr<Generation> self);
  void Leave();
  // No Enter any more.
  void Close() { Leave(); }
  bool drained() const { return members_.load(std::memory_order_acquire) == 0; }

  void Append(uint32_t shard, const SampleColumns& samples);
  void AppendText(uint32_t shard, const TextRows& rows);
  void AppendPeerSegment(uint32_t shard, PeerSegment segment);
  uint64_t samples() const { return samples_.load(std::memory_order_relaxed); }
  uint64_t memory_bytes() const { return memory_bytes_.load(std::memory_order_relaxed); }

  // Everything appended; the generation is empty afterwards. Only when drained.
  GenerationContents Take();
  // Gives contents back after a failed seal.
  void Restore(GenerationContents contents);
  // Forgets what was appended, after a failed replay.
  void Discard();

  // Used by the journal thread alone until the generation is drained, then by the sealer.
  std::unique_ptr<JournalWriter> journal;
  std::atomic<uint64_t> journal_bytes{0};  // that its file takes on the disk
  // Used by the sealer thread alone.
  std::string recycled_to;    // the journal has this name now, which may not be durable yet
  bool replay_first = false;  // found at start: its samples are still in its journal
  bool recovered = false;     // found at start
  std::optional<std::vector<SegmentInfo>> sealed;  // durable, while its journal is being removed

 private:
  // So many chunks begin without taking memory for their list: 4 million samples, 2 KiB.
  static constexpr size_t kReservedChunks = 256;

  struct alignas(64) Shard {
    Shard() { chunks.reserve(kReservedChunks); }
    Mutex mutex;
    std::vector<std::unique_ptr<SampleChunk>> chunks GUARDED_BY(mutex);
    std::unordered_map<table::TableId, TextColumn> texts GUARDED_BY(mutex);
    std::map<std::string, PeerColumn> peers GUARDED_BY(mutex);
  };

  void CountMemory(uint64_t bytes);
  // The chunk of the column that has room for `row` bytes.
  TextChunk& ChunkFor(TextColumn& column, size_t row);

  const Identity identity_;
  ChunkPool& pool_;
  const std::function<void()> on_drained_;
  std::atomic<int64_t> members_{1};  // leases, and one while open
  std::atomic<uint64_t> samples_{0};
  std::atomic<uint64_t> memory_bytes_{0};
  std::vector<std::unique_ptr<Shard>> shards_;
};

}  // namespace forebay::wal
