// The series that senders use at the moment: what a series key (a hash of its label bytes as sent)
// leads to, and what the sealer must know of it.
//
// Find is on the hot path of every sample: lock-free, no allocation, one cache line as a rule. A
// series is added once, under a mutex. Several keys may lead to one series (remote write 1.0, 2.0,
// other label orders): identity is the canonical key, a hash of table, SeriesId, shape and symbols
// of the values, which are one as long as somebody holds them.
//
// Who keeps a ref alive: a request enters a WAL generation before its first Find and stays in it
// until its samples are in the generation's columns. EvictIdle hides a series (its keys are gone)
// and remembers the generation that is open afterwards; the ref itself, its symbols and old index
// arrays are freed by ReleaseUpTo(g), called when g is sealed, since every request that could have
// seen them is over.
//
// Limits: Options::max_series, max_bytes, max_shapes. Hash collisions: 96 bits of XXH3-128 under a
// seed that is random per process.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "table/labels.h"
#include "table/symbol_table.h"
#include "table/table_registry.h"

namespace forebay::table {

// Index of a series; dense, used again after the series is gone.
using SeriesRef = uint32_t;
inline constexpr SeriesRef kUnknownSeries = 0xffff'ffff;  // no such key
inline constexpr SeriesRef kDroppedSeries = 0xffff'fffe;  // a rule drops what has this key

// Label-name lists are shared by many series: a shape.
using ShapeId = uint32_t;

// Who brought a series, for limits of their own; kNoOwner: nobody is asked.
using SeriesOwner = uint32_t;
inline constexpr SeriesOwner kNoOwner = 0;

// Of XXH3, made from a seed.
using HashSecret = std::array<unsigned char, 192>;

struct SeriesKey {
  uint64_t low = 0;
  uint64_t high = 0;
};

// What a new series is. Views need to live for the call only.
struct NewSeries {
  TableId table = 0;
  int64_t series_id = 0;          // the SeriesId column
  std::span<const Label> labels;  // of the Labels column, sorted by name
  std::span<const std::string_view>
      lifted;  // values of the lifted columns, in schema order; "" absent
  SeriesOwner owner = kNoOwner;
  uint64_t owner_max = UINT64_MAX;  // series that the owner may have
};

// A known series. Views live as long as the ref.
struct SeriesView {
  TableId table = 0;
  int64_t series_id = 0;
  ShapeId shape = 0;
  std::span<const SymbolId> values;  // one per label of the shape, then one per lifted column
  uint32_t row_prefix_bytes = 0;     // upper bound of a row's bytes without its value
};

class SeriesTable {
 public:
  struct Options {
    uint64_t max_series = 2'000'000;
    uint64_t max_bytes = 1ULL << 30;
    uint32_t max_shapes = 1U << 20;  // different sets of label names; at most this
    uint64_t hash_seed = 0;          // 0: random
  };

  explicit SeriesTable(const Options& options);
  ~SeriesTable();

  // The key of a byte string under this process' seed. `domain`, well mixed or one of few, keeps
  // protocols apart. Threads: any.
  SeriesKey HashKey(std::string_view bytes, uint64_t domain) const;

  // Brings the key's cache line closer; call some keys ahead of Find.
  void Prefetch(SeriesKey key) const;
  // The series of the key, kDroppedSeries or kUnknownSeries. Threads: any; lock-free.
  SeriesRef Find(SeriesKey key) const;

  // Makes `key` lead to the series, which is added unless it is known by its canonical identity.
  // `generation`: the sequence number of the open generation (last use). Errors: kResourceExhausted
  // when a limit is reached, kOutOfRange when the owner has as many as it may; known series are
  // never refused, and stay with who brought them first. Threads: any.
  Result<SeriesRef> Add(SeriesKey key, const NewSeries& series, uint64_t generation)
      EXCLUDES(mutex_);
  // Makes `key` lead to kDroppedSeries until the next eviction. Threads: any.
  void AddDropped(SeriesKey key) EXCLUDES(mutex_);

  // Threads: any, for a live ref.
  SeriesView Get(SeriesRef ref) const;
  // For who goes through many: brings what Get reads closer, and then, once that is here, what
  // its view points at. Threads: any, for a live ref.
  void PrefetchSeries(SeriesRef ref) const;
  void PrefetchValues(SeriesRef ref) const;
  // The label-name symbols of a shape. Threads: any, for the shape of a live ref.
  std::span<const SymbolId> ShapeNames(ShapeId shape) const;
  const SymbolTable& symbols() const { return symbols_; }

  // Refs are below this. Threads: any.
  uint32_t capacity() const { return next_ref_.load(std::memory_order_acquire); }
  uint32_t shape_capacity() const { return next_shape_.load(std::memory_order_acquire); }

  // Notes that a sealed generation held samples of the series. Threads: the sealer.
  void MarkUsed(SeriesRef ref, uint64_t generation);
  // Hides series last used before `idle_before`, and with them every dropped key. Returns how many
  // series. Threads: the sealer.
  uint64_t EvictIdle(uint64_t idle_before) EXCLUDES(mutex_);
  // Hides all keys, so that new rules apply at once; series stay until idle. Threads: any.
  void ForgetKeys() EXCLUDES(mutex_);
  // The generation that requests enter from now on. Must be called before the first of them enters,
  // and a request must pass a sequentially consistent fence between entering and its first Find.
  // Threads: any.
  void SetOpenGeneration(uint64_t generation);
  // Frees what was hidden while `sealed_generation` or an older one was open. Threads: the sealer.
  void ReleaseUpTo(uint64_t sealed_generation) EXCLUDES(mutex_);

  // Live series of an owner. Threads: any.
  uint64_t OwnerSize(SeriesOwner owner) const EXCLUDES(mutex_);

  uint64_t size() const { return live_.load(std::memory_order_relaxed); }
  uint64_t bytes() const;

 private:
  struct Slot;
  struct Index;
  struct Entry;
  struct EntryChunk;
  struct Shape;
  struct ShapeChunk;
  struct Retired;
  struct RebuildOptions;

  static constexpr uint32_t kChunkEntries = 8192;
  static constexpr uint32_t kMaxEntryChunks = 8192;
  static constexpr uint32_t kChunkShapes = 1024;
  static constexpr uint32_t kMaxShapeChunks = 1024;

  Entry& At(SeriesRef ref) const;
  Shape& ShapeAt(ShapeId shape) const;
  void SetOwner(Entry& entry, SeriesOwner owner) REQUIRES(mutex_);
  void InsertKey(SeriesKey key, SeriesRef ref) REQUIRES(mutex_);
  void InsertAlias(SeriesKey key, SeriesRef ref) REQUIRES(mutex_);
  void RebuildIndex(size_t capacity, RebuildOptions options) REQUIRES(mutex_);
  void Publish(std::unique_ptr<Index> fresh, std::vector<SeriesRef> hidden) REQUIRES(mutex_);
  std::optional<Error> RefusalOf(const NewSeries& series) const REQUIRES(mutex_);
  SeriesRef AllocateRef() REQUIRES(mutex_);
  bool IsLastShape(std::span<const Label> labels) const REQUIRES(mutex_);
  void AppendShapeName(std::string_view name) REQUIRES(mutex_);
  std::optional<ShapeId> AcquireShape(std::span<const Label> labels) REQUIRES(mutex_);
  SeriesKey AcquireIdentity(const NewSeries& series, ShapeId shape) REQUIRES(mutex_);
  void ReleaseIdentity(ShapeId shape) REQUIRES(mutex_);
  void FillEntry(Entry& entry, const NewSeries& series, ShapeId shape) REQUIRES(mutex_);
  void ReleaseShape(ShapeId shape) REQUIRES(mutex_);
  void FreeEntry(SeriesRef ref) REQUIRES(mutex_);

  const Options options_;
  const HashSecret secret_;
  std::atomic<Index*> index_;
  std::atomic<uint64_t> index_bytes_;
  std::atomic<uint64_t> open_generation_{0};
  std::array<std::atomic<EntryChunk*>, kMaxEntryChunks> entries_{};
  std::array<std::atomic<ShapeChunk*>, kMaxShapeChunks> shapes_{};
  std::atomic<uint32_t> next_ref_{0};
  std::atomic<uint32_t> next_shape_{0};
  std::atomic<uint64_t> live_{0};
  std::atomic<uint64_t> entry_bytes_{0};
  SymbolTable symbols_;  // changed under mutex_

  mutable Mutex mutex_;
  std::vector<SeriesRef> free_refs_ GUARDED_BY(mutex_);
  std::vector<ShapeId> free_shapes_ GUARDED_BY(mutex_);
  std::unordered_map<std::string, ShapeId> shape_ids_ GUARDED_BY(mutex_);
  std::vector<Retired> retired_ GUARDED_BY(mutex_);
  std::vector<uint64_t> owner_series_ GUARDED_BY(mutex_);  // by owner
  uint64_t dropped_keys_ GUARDED_BY(mutex_) = 0;
  std::string scratch_ GUARDED_BY(mutex_);
  // What the series added last had, since the next one mostly has the same or nearly so: its place
  // in shape_ids_ (null: none), and its identity, of which the symbols may be gone by now.
  const std::pair<const std::string, ShapeId>* last_shape_ GUARDED_BY(mutex_) = nullptr;
  std::vector<uint32_t> identity_ GUARDED_BY(mutex_);
};

}  // namespace forebay::table
