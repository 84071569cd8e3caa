#include "table/series_table.h"

#define XXH_INLINE_ALL
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "base/check.h"
#include "table/csv_row.h"
#include "table/internal/short_text.h"
#include "table/internal/zeroed_array.h"
#include "table/json_text.h"

namespace forebay::table {
namespace {

constexpr size_t kInitialSlots = 4096;
// Keys that may lead to one series, besides its canonical one. A sender that shuffles its labels
// would otherwise grow the index for ever; beyond this its requests take the slow path.
constexpr uint8_t kMaxKeysPerSeries = 8;
// An eviction without an idle series still clears dropped keys when there are so many.
constexpr uint64_t kDroppedKeysKept = 100'000;
constexpr uint64_t kDomainFactor = 0x9e37'79b9'7f4a'7c15;  // odd
constexpr uint64_t kCanonicalDomain = 0x63616e6f6e69636c;
// Of what tells series apart: table, shape, and the halves of the SeriesId; then values follow.
constexpr size_t kIdentityHead = 4;

uint64_t MakeTag(SeriesKey key, SeriesRef ref) { return ((key.high >> 32) << 32) | (ref + 1); }

// A hash with a seed would make this from it for each key: a third of its time.
HashSecret SecretOf(uint64_t seed) {
  HashSecret secret;
  static_assert(sizeof secret == XXH3_SECRET_DEFAULT_SIZE);
  XXH3_generateSecret_fromSeed(secret.data(), seed);
  return secret;
}

uint64_t RandomSeed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

}  // namespace

// Sixteen bytes, so that four share a cache line. `tag` is zero in an empty slot; it is stored last
// and loaded first, so that a reader that sees it sees `low` as well.
struct SeriesTable::Slot {
  std::atomic<uint64_t> low{0};
  std::atomic<uint64_t> tag{
      0};  // upper half: 32 bits of the key; lower half: ref + 1 (dropped: 0xffffffff)
};

struct SeriesTable::Index {
  explicit Index(size_t capacity) : mask(capacity - 1), slots(capacity) {}
  const size_t mask;
  size_t used = 0;  // changed under the table's mutex
  internal::ZeroedArray<Slot> slots;

  // Readers may look on: the tag goes last.
  void Insert(uint64_t low, uint64_t tag) {
    size_t i = low & mask;
    while (slots[i].tag.load(std::memory_order_relaxed) != 0) i = (i + 1) & mask;
    slots[i].low.store(low, std::memory_order_relaxed);
    slots[i].tag.store(tag, std::memory_order_release);
    ++used;
  }
};

// One cache line: a seal reads every one that is in use.
struct alignas(64) SeriesTable::Entry {
  SeriesKey canonical;
  int64_t series_id = 0;
  std::unique_ptr<SymbolId[]> values;
  std::atomic<uint64_t> last_used{0};
  TableId table = 0;
  ShapeId shape = 0;
  uint32_t row_prefix_bytes = 0;
  SeriesOwner owner = kNoOwner;  // under the table's mutex
  uint32_t value_count = 0;
  enum class State : uint8_t { kFree, kLive, kHidden } state = State::kFree;
  uint8_t keys = 0;  // that lead here, without the canonical one
};

struct SeriesTable::RebuildOptions {
  bool keep_dropped = true;
  std::vector<SeriesRef> hidden = {};  // just hidden, to be freed with the old index
};

struct SeriesTable::EntryChunk {
  std::array<Entry, kChunkEntries> entries;
};

struct SeriesTable::Shape {
  std::unique_ptr<SymbolId[]> names;
  uint32_t name_count = 0;
  uint32_t labels_bytes = 0;  // of the Labels field, without its values
  uint64_t references = 0;
};

struct SeriesTable::ShapeChunk {
  std::array<Shape, kChunkShapes> shapes;
};

// Something hidden that requests of `generation` or older may still see.
struct SeriesTable::Retired {
  uint64_t generation = 0;
  std::unique_ptr<Index> index;
  std::vector<SeriesRef> refs;
};

SeriesTable::SeriesTable(const Options& options)
    : options_(options),
      secret_(SecretOf(options.hash_seed != 0 ? options.hash_seed : RandomSeed())),
      index_(new Index(kInitialSlots)),
      index_bytes_(kInitialSlots * sizeof(Slot)) {}

SeriesTable::~SeriesTable() {
  delete index_.load();
  for (auto& chunk : entries_) delete chunk.load();
  for (auto& chunk : shapes_) delete chunk.load();
}

SeriesTable::Entry& SeriesTable::At(SeriesRef ref) const {
  return entries_[ref / kChunkEntries]
      .load(std::memory_order_acquire)
      ->entries[ref % kChunkEntries];
}

SeriesTable::Shape& SeriesTable::ShapeAt(ShapeId shape) const {
  return shapes_[shape / kChunkShapes]
      .load(std::memory_order_acquire)
      ->shapes[shape % kChunkShapes];
}

SeriesKey SeriesTable::HashKey(std::string_view bytes, uint64_t domain) const {
  const XXH128_hash_t hash =
      XXH3_128bits_withSecret(bytes.data(), bytes.size(), secret_.data(), secret_.size());
  return {hash.low64 ^ domain, hash.high64 ^ domain * kDomainFactor};
}

void SeriesTable::Prefetch(SeriesKey key) const {
  const Index* index = index_.load(std::memory_order_acquire);
  __builtin_prefetch(&index->slots[key.low & index->mask]);
}

SeriesRef SeriesTable::Find(SeriesKey key) const {
  const Index* index = index_.load(std::memory_order_acquire);
  const uint64_t upper = key.high >> 32;
  for (size_t i = key.low & index->mask;; i = (i + 1) & index->mask) {
    const uint64_t tag = index->slots[i].tag.load(std::memory_order_acquire);
    if (tag == 0) return kUnknownSeries;
    if ((tag >> 32) == upper && index->slots[i].low.load(std::memory_order_relaxed) == key.low) {
      return static_cast<SeriesRef>(tag) - 1;
    }
  }
}

void SeriesTable::InsertKey(SeriesKey key, SeriesRef ref) {
  Index* index = index_.load(std::memory_order_relaxed);
  if ((index->used + 1) * 2 > index->mask + 1) {
    RebuildIndex((index->mask + 1) * 2, {.keep_dropped = true});
    index = index_.load(std::memory_order_relaxed);
  }
  index->Insert(key.low, MakeTag(key, ref));
}

void SeriesTable::InsertAlias(SeriesKey key, SeriesRef ref) {
  Entry& entry = At(ref);
  if (entry.keys >= kMaxKeysPerSeries) return;
  ++entry.keys;
  InsertKey(key, ref);
}

// Copies the keys of live series to a new array; readers go over to it at their next look-up.
void SeriesTable::RebuildIndex(size_t capacity, RebuildOptions options) {
  auto fresh = std::make_unique<Index>(capacity);
  Index* old = index_.load(std::memory_order_relaxed);
  for (size_t i = 0; i <= old->mask; ++i) {
    const uint64_t tag = old->slots[i].tag.load(std::memory_order_relaxed);
    if (tag == 0) continue;
    const auto ref = static_cast<SeriesRef>(tag) - 1;
    if (ref == kDroppedSeries ? !options.keep_dropped : At(ref).state != Entry::State::kLive)
      continue;
    fresh->Insert(old->slots[i].low.load(std::memory_order_relaxed), tag);
  }
  Publish(std::move(fresh), std::move(options.hidden));
}

// Replaces the index, and only then looks which generation is open: a request that still found the
// old index, or a hidden ref by it, had entered a generation that was open before (see
// SetOpenGeneration).
void SeriesTable::Publish(std::unique_ptr<Index> fresh, std::vector<SeriesRef> hidden) {
  Retired retired;
  retired.index.reset(index_.load(std::memory_order_relaxed));
  retired.refs = std::move(hidden);
  index_bytes_.store((fresh->mask + 1) * sizeof(Slot), std::memory_order_relaxed);
  index_.store(fresh.release(), std::memory_order_seq_cst);
  retired.generation = open_generation_.load(std::memory_order_seq_cst);
  retired_.push_back(std::move(retired));
}

SeriesRef SeriesTable::AllocateRef() {
  if (!free_refs_.empty()) {
    const SeriesRef ref = free_refs_.back();
    free_refs_.pop_back();
    return ref;
  }
  const SeriesRef ref = next_ref_.load(std::memory_order_relaxed);
  FOREBAY_CHECK(ref < kChunkEntries * kMaxEntryChunks);
  std::atomic<EntryChunk*>& chunk = entries_[ref / kChunkEntries];
  if (chunk.load(std::memory_order_relaxed) == nullptr) {
    chunk.store(new EntryChunk, std::memory_order_release);
  }
  next_ref_.store(ref + 1, std::memory_order_release);
  return ref;
}

// A name as it stands in the keys of shape_ids_: with its size before it.
void SeriesTable::AppendShapeName(std::string_view name) {
  const auto size = static_cast<uint32_t>(name.size());
  scratch_.append(reinterpret_cast<const char*>(&size), sizeof size);
  scratch_ += name;
}

bool SeriesTable::IsLastShape(std::span<const Label> labels) const {
  if (last_shape_ == nullptr) return false;
  const char* at = last_shape_->first.data();
  const char* const end = at + last_shape_->first.size();
  for (const Label& label : labels) {
    if (at == end) return false;
    const auto size = internal::LoadWord<uint32_t>(at);
    at += sizeof size;
    if (!internal::Same({at, size}, label.name)) return false;
    at += size;
  }
  return at == end;
}

// Nothing when there are as many as may be: shapes are numbered within fixed arrays, and how many
// there are is up to senders.
std::optional<ShapeId> SeriesTable::AcquireShape(std::span<const Label> labels) {
  if (IsLastShape(labels)) {
    ++ShapeAt(last_shape_->second).references;
    return last_shape_->second;
  }
  scratch_.clear();
  for (const Label& label : labels) AppendShapeName(label.name);
  const auto known = shape_ids_.find(scratch_);
  if (known != shape_ids_.end()) {
    last_shape_ = &*known;
    ++ShapeAt(known->second).references;
    return known->second;
  }
  const uint32_t max_shapes = std::min(options_.max_shapes, kChunkShapes * kMaxShapeChunks);
  if (free_shapes_.empty() && shape_capacity() >= max_shapes) return std::nullopt;
  ShapeId id = 0;
  if (!free_shapes_.empty()) {
    id = free_shapes_.back();
    free_shapes_.pop_back();
  } else {
    id = next_shape_.load(std::memory_order_relaxed);
    FOREBAY_CHECK(id < kChunkShapes * kMaxShapeChunks);
    std::atomic<ShapeChunk*>& chunk = shapes_[id / kChunkShapes];
    if (chunk.load(std::memory_order_relaxed) == nullptr) {
      chunk.store(new ShapeChunk, std::memory_order_release);
    }
    next_shape_.store(id + 1, std::memory_order_release);
  }
  last_shape_ = &*shape_ids_.emplace(scratch_, id).first;
  Shape& shape = ShapeAt(id);
  shape.name_count = static_cast<uint32_t>(labels.size());
  shape.names = std::make_unique<SymbolId[]>(labels.size());
  for (size_t i = 0; i < labels.size(); ++i) shape.names[i] = symbols_.Acquire(labels[i].name);
  std::vector<Label> without_values;
  for (const Label& label : labels) without_values.push_back({label.name, {}});
  shape.labels_bytes = static_cast<uint32_t>(LabelsJsonCsvBytes(without_values));
  shape.references = 1;
  entry_bytes_.fetch_add(sizeof(Shape) + 2 * scratch_.size(), std::memory_order_relaxed);
  return id;
}

void SeriesTable::ReleaseShape(ShapeId id) {
  Shape& shape = ShapeAt(id);
  if (--shape.references != 0) return;
  scratch_.clear();
  for (uint32_t i = 0; i < shape.name_count; ++i) AppendShapeName(symbols_.Text(shape.names[i]));
  last_shape_ = nullptr;
  shape_ids_.erase(scratch_);
  for (uint32_t i = 0; i < shape.name_count; ++i) symbols_.Release(shape.names[i]);
  entry_bytes_.fetch_sub(sizeof(Shape) + 2 * scratch_.size(), std::memory_order_relaxed);
  shape = Shape{};
  free_shapes_.push_back(id);
}

// Why there may be no series more.
std::optional<Error> SeriesTable::RefusalOf(const NewSeries& series) const {
  if (size() >= options_.max_series) {
    return Error(ErrorCode::kResourceExhausted, "limits.series_max is reached");
  }
  if (bytes() >= options_.max_bytes) {
    return Error(ErrorCode::kResourceExhausted, "limits.series_bytes is reached");
  }
  if (series.owner < owner_series_.size() && owner_series_[series.owner] >= series.owner_max) {
    return Error(ErrorCode::kOutOfRange, "the owner has as many series as it may");
  }
  if (free_refs_.empty() && capacity() >= kChunkEntries * kMaxEntryChunks) {
    return Error(ErrorCode::kResourceExhausted, "too many series");
  }
  return std::nullopt;
}

// Takes the symbols of the values. Returns the canonical key, which is good while they are held.
SeriesKey SeriesTable::AcquireIdentity(const NewSeries& series, ShapeId shape) {
  const size_t before = identity_.size();  // of the series added last
  identity_.resize(kIdentityHead + series.labels.size() + series.lifted.size());
  identity_[0] = series.table;
  identity_[1] = shape;
  std::memcpy(&identity_[2], &series.series_id, sizeof series.series_id);
  size_t next = kIdentityHead;
  SymbolId* const ids = identity_.data();
  const auto acquire = [&](std::string_view value) {
    if (next >= before || !symbols_.AcquireIf(ids[next], value)) {
      ids[next] = symbols_.Acquire(value);
    }
    ++next;
  };
  for (const Label& label : series.labels) acquire(label.value);
  for (const std::string_view value : series.lifted) acquire(value);
  return HashKey({reinterpret_cast<const char*>(identity_.data()),
                  identity_.size() * sizeof identity_.front()},
                 kCanonicalDomain);
}

void SeriesTable::ReleaseIdentity(ShapeId shape) {
  for (size_t i = kIdentityHead; i < identity_.size(); ++i) symbols_.Release(identity_[i]);
  ReleaseShape(shape);
}

Result<SeriesRef> SeriesTable::Add(SeriesKey key, const NewSeries& series, uint64_t generation) {
  MutexLock lock(mutex_);
  SeriesRef ref = Find(key);
  if (ref != kUnknownSeries && ref != kDroppedSeries) return ref;
  std::optional<Error> refusal = RefusalOf(series);  // before its symbols are counted
  const std::optional<ShapeId> shape = AcquireShape(series.labels);
  if (!shape) {
    if (refusal) return std::move(*refusal);
    return Error(ErrorCode::kResourceExhausted, "too many different sets of label names");
  }
  const SeriesKey canonical = AcquireIdentity(series, *shape);
  Prefetch(canonical);
  size_t labels_bytes = ShapeAt(*shape).labels_bytes;
  for (const Label& label : series.labels) labels_bytes += TextJsonCsvBytes(label.value);
  const size_t row_bytes = RowFixedBytes(series.series_id, labels_bytes, series.lifted);
  ref = Find(canonical);
  if (ref != kUnknownSeries) {
    ReleaseIdentity(*shape);
    InsertAlias(key, ref);
    MarkUsed(ref, generation);
    // From before there were limits, or from a journal.
    if (At(ref).owner == kNoOwner) SetOwner(At(ref), series.owner);
    return ref;
  }
  if (refusal) {
    ReleaseIdentity(*shape);
    return std::move(*refusal);
  }
  ref = AllocateRef();
  Entry& entry = At(ref);
  FillEntry(entry, series, *shape);
  entry.row_prefix_bytes = static_cast<uint32_t>(kMaxRfc3339Chars + row_bytes);
  entry.last_used.store(generation, std::memory_order_relaxed);
  entry.canonical = canonical;
  SetOwner(entry, series.owner);
  InsertKey(canonical, ref);
  InsertAlias(key, ref);
  return ref;
}

// The entry holds the symbols of identity_ and the shape from now on.
void SeriesTable::FillEntry(Entry& entry, const NewSeries& series, ShapeId shape) {
  entry.series_id = series.series_id;
  entry.table = series.table;
  entry.shape = shape;
  entry.value_count = static_cast<uint32_t>(identity_.size() - kIdentityHead);
  entry.values.reset(new SymbolId[entry.value_count]);
  std::copy(identity_.begin() + kIdentityHead, identity_.end(), entry.values.get());
  entry.state = Entry::State::kLive;
  entry.keys = 0;
  live_.fetch_add(1, std::memory_order_relaxed);
  entry_bytes_.fetch_add(sizeof(Entry) + entry.value_count * sizeof(SymbolId) + 16,
                         std::memory_order_relaxed);
}

void SeriesTable::SetOwner(Entry& entry, SeriesOwner owner) {
  if (entry.owner != kNoOwner) --owner_series_[entry.owner];
  entry.owner = owner;
  if (owner == kNoOwner) return;
  if (owner >= owner_series_.size()) owner_series_.resize(owner + 1, 0);
  ++owner_series_[owner];
}

uint64_t SeriesTable::OwnerSize(SeriesOwner owner) const {
  MutexLock lock(mutex_);
  return owner < owner_series_.size() ? owner_series_[owner] : 0;
}

void SeriesTable::AddDropped(SeriesKey key) {
  MutexLock lock(mutex_);
  if (dropped_keys_ >= options_.max_series || Find(key) != kUnknownSeries) return;
  InsertKey(key, kDroppedSeries);
  ++dropped_keys_;
}

SeriesView SeriesTable::Get(SeriesRef ref) const {
  const Entry& entry = At(ref);
  SeriesView view;
  view.table = entry.table;
  view.series_id = entry.series_id;
  view.shape = entry.shape;
  view.values = {entry.values.get(), entry.value_count};
  view.row_prefix_bytes = entry.row_prefix_bytes;
  return view;
}

std::span<const SymbolId> SeriesTable::ShapeNames(ShapeId shape) const {
  const Shape& found = ShapeAt(shape);
  return {found.names.get(), found.name_count};
}

void SeriesTable::PrefetchSeries(SeriesRef ref) const { __builtin_prefetch(&At(ref)); }

void SeriesTable::PrefetchValues(SeriesRef ref) const { __builtin_prefetch(At(ref).values.get()); }

void SeriesTable::MarkUsed(SeriesRef ref, uint64_t generation) {
  std::atomic<uint64_t>& last_used = At(ref).last_used;
  if (last_used.load(std::memory_order_relaxed) < generation) {
    last_used.store(generation, std::memory_order_relaxed);
  }
}

uint64_t SeriesTable::EvictIdle(uint64_t idle_before) {
  MutexLock lock(mutex_);
  std::vector<SeriesRef> hidden;
  const uint32_t count = capacity();
  for (SeriesRef ref = 0; ref < count; ++ref) {
    Entry& entry = At(ref);
    if (entry.state == Entry::State::kLive &&
        entry.last_used.load(std::memory_order_relaxed) < idle_before) {
      entry.state = Entry::State::kHidden;
      SetOwner(entry, kNoOwner);
      hidden.push_back(ref);
    }
  }
  if (hidden.empty() && dropped_keys_ < kDroppedKeysKept) return 0;
  const uint64_t evicted = hidden.size();
  live_.fetch_sub(evicted, std::memory_order_relaxed);
  dropped_keys_ = 0;
  RebuildIndex(index_.load(std::memory_order_relaxed)->mask + 1,
               {.keep_dropped = false, .hidden = std::move(hidden)});
  return evicted;
}

void SeriesTable::ForgetKeys() {
  MutexLock lock(mutex_);
  auto fresh = std::make_unique<Index>(index_.load(std::memory_order_relaxed)->mask + 1);
  const uint32_t count = capacity();
  for (SeriesRef ref = 0; ref < count; ++ref) {
    Entry& entry = At(ref);
    if (entry.state != Entry::State::kLive) continue;
    entry.keys = 0;
    fresh->Insert(entry.canonical.low, MakeTag(entry.canonical, ref));
  }
  dropped_keys_ = 0;
  Publish(std::move(fresh), {});
}

void SeriesTable::SetOpenGeneration(uint64_t generation) {
  open_generation_.store(generation, std::memory_order_seq_cst);
}

void SeriesTable::FreeEntry(SeriesRef ref) {
  Entry& entry = At(ref);
  for (uint32_t i = 0; i < entry.value_count; ++i) symbols_.Release(entry.values[i]);
  ReleaseShape(entry.shape);
  entry_bytes_.fetch_sub(sizeof(Entry) + entry.value_count * sizeof(SymbolId) + 16,
                         std::memory_order_relaxed);
  entry.values.reset();
  entry.value_count = 0;
  entry.state = Entry::State::kFree;
  free_refs_.push_back(ref);
}

void SeriesTable::ReleaseUpTo(uint64_t sealed_generation) {
  MutexLock lock(mutex_);
  const auto keep = std::stable_partition(
      retired_.begin(), retired_.end(),
      [&](const Retired& retired) { return retired.generation > sealed_generation; });
  for (auto it = keep; it != retired_.end(); ++it) {
    for (const SeriesRef ref : it->refs) FreeEntry(ref);
  }
  retired_.erase(keep, retired_.end());
}

uint64_t SeriesTable::bytes() const {
  return entry_bytes_.load(std::memory_order_relaxed) + symbols_.bytes() +
         index_bytes_.load(std::memory_order_relaxed);
}

}  // namespace forebay::table
