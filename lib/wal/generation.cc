#include "wal/generation.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace forebay::wal {

std::unique_ptr<SampleChunk> ChunkPool::Take() {
  MutexLock lock(mutex_);
  if (free_.empty()) return std::make_unique_for_overwrite<SampleChunk>();
  auto chunk = std::move(free_.back());
  free_.pop_back();
  return chunk;
}

void ChunkPool::Give(std::unique_ptr<SampleChunk> chunk) {
  chunk->used = 0;
  MutexLock lock(mutex_);
  if (free_.size() < max_free_) free_.push_back(std::move(chunk));
}

ByteBuffer ChunkPool::TakeText() {
  {
    MutexLock lock(mutex_);
    if (!free_texts_.empty()) {
      ByteBuffer text = std::move(free_texts_.back());
      free_texts_.pop_back();
      return text;
    }
  }
  return ByteBuffer(kTextChunkBytes);
}

void ChunkPool::GiveText(ByteBuffer text) {
  if (text.capacity() != kTextChunkBytes) return;
  text.clear();
  MutexLock lock(mutex_);
  if (free_texts_.size() < max_free_) free_texts_.push_back(std::move(text));
}

void ChunkPool::Trim(size_t keep, size_t keep_texts) {
  MutexLock lock(mutex_);
  if (free_.size() > keep) free_.resize(keep);
  if (free_texts_.size() > keep_texts) free_texts_.resize(keep_texts);
}

Generation::Generation(Identity identity, uint32_t shards, ChunkPool& pool,
                       std::function<void()> on_drained)
    : identity_(std::move(identity)), pool_(pool), on_drained_(std::move(on_drained)) {
  for (uint32_t i = 0; i < std::max(shards, 1U); ++i) shards_.push_back(std::make_unique<Shard>());
}

Generation::~Generation() { pool_.SubtractBytes(memory_bytes()); }

GenerationLease Generation::Enter(std::shared_ptr<Generation> self) {
  members_.fetch_add(1, std::memory_order_relaxed);
  return GenerationLease(std::move(self));
}

void Generation::Leave() {
  if (members_.fetch_sub(1, std::memory_order_acq_rel) == 1) on_drained_();
}

void Generation::CountMemory(uint64_t bytes) {
  memory_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  pool_.AddBytes(bytes);
}

void Generation::Append(uint32_t shard_number, const SampleColumns& samples) {
  FOREBAY_CHECK(samples.refs.size() == samples.timestamps.size() &&
                samples.refs.size() == samples.values.size());
  Shard& shard = *shards_[shard_number % shards_.size()];
  MutexLock lock(shard.mutex);
  for (size_t done = 0; done < samples.refs.size();) {
    if (shard.chunks.empty() || shard.chunks.back()->used == kChunkSamples) {
      shard.chunks.push_back(pool_.Take());
      CountMemory(sizeof(SampleChunk));
    }
    SampleChunk& chunk = *shard.chunks.back();
    const size_t count = std::min(samples.refs.size() - done, kChunkSamples - chunk.used);
    std::memcpy(chunk.refs + chunk.used, samples.refs.data() + done, count * sizeof chunk.refs[0]);
    std::memcpy(chunk.timestamps + chunk.used, samples.timestamps.data() + done,
                count * sizeof chunk.timestamps[0]);
    std::memcpy(chunk.values + chunk.used, samples.values.data() + done,
                count * sizeof chunk.values[0]);
    chunk.used += count;
    done += count;
  }
  samples_.fetch_add(samples.refs.size(), std::memory_order_relaxed);
}

void Generation::AppendText(uint32_t shard_number, const TextRows& rows) {
  Shard& shard = *shards_[shard_number % shards_.size()];
  MutexLock lock(shard.mutex);
  TextColumn& column = shard.texts[rows.table];
  const std::span<const uint32_t> ends = rows.row_ends;
  for (size_t row = 0; row < ends.size();) {
    const uint32_t begin = row == 0 ? 0 : ends[row - 1];
    TextChunk& chunk = ChunkFor(column, ends[row] - begin);
    // As many whole rows as there is room for, at least one.
    const size_t room = std::max<size_t>(
        kTextChunkBytes - std::min(kTextChunkBytes, chunk.text.size()), ends[row] - begin);
    const auto last =
        std::upper_bound(ends.begin() + static_cast<ptrdiff_t>(row), ends.end(), begin + room);
    const auto next = static_cast<size_t>(last - ends.begin());
    chunk.text.Append(rows.text.substr(begin, ends[next - 1] - begin));
    chunk.rows += static_cast<uint32_t>(next - row);
    row = next;
  }
  CountMemory(rows.text.size());
}

TextChunk& Generation::ChunkFor(TextColumn& column, size_t row) {
  if (!column.chunks.empty()) {
    const size_t used = column.chunks.back().text.size();
    if (used == 0 || used + row <= kTextChunkBytes) return column.chunks.back();
  }
  TextChunk chunk;
  if (!column.chunks.empty()) chunk.text = pool_.TakeText();
  return column.chunks.emplace_back(std::move(chunk));
}

void Generation::AppendPeerSegment(uint32_t shard_number, PeerSegment segment) {
  const uint64_t bytes = segment.bytes.capacity() + segment.blocks.capacity() * sizeof(PeerBlock);
  std::string key = SegmentKey(segment.name);
  {
    Shard& shard = *shards_[shard_number % shards_.size()];
    MutexLock lock(shard.mutex);
    PeerColumn& column = shard.peers[std::move(key)];
    if (column.segments.empty()) column.name = segment.name;
    column.segments.push_back(std::move(segment));
  }
  CountMemory(bytes);
}

GenerationContents Generation::Take() {
  FOREBAY_CHECK(drained());
  GenerationContents contents;
  for (const auto& shard : shards_) {
    MutexLock lock(shard->mutex);
    for (auto& chunk : shard->chunks) contents.chunks.push_back(std::move(chunk));
    shard->chunks.clear();
    for (auto& [table, column] : shard->texts) {
      std::move(column.chunks.begin(), column.chunks.end(),
                std::back_inserter(contents.texts[table].chunks));
    }
    shard->texts.clear();
    for (auto& [key, column] : shard->peers) {
      PeerColumn& merged = contents.peers[key];
      if (merged.segments.empty()) merged.name = column.name;
      std::move(column.segments.begin(), column.segments.end(),
                std::back_inserter(merged.segments));
    }
    shard->peers.clear();
  }
  return contents;
}

void Generation::Restore(GenerationContents contents) {
  Shard& shard = *shards_.front();
  MutexLock lock(shard.mutex);
  shard.chunks = std::move(contents.chunks);
  shard.texts = std::move(contents.texts);
  shard.peers = std::move(contents.peers);
}

void Generation::Discard() {
  for (const auto& shard : shards_) {
    MutexLock lock(shard->mutex);
    for (auto& chunk : shard->chunks) pool_.Give(std::move(chunk));
    shard->chunks.clear();
    shard->texts.clear();
    shard->peers.clear();
  }
  pool_.SubtractBytes(memory_bytes_.exchange(0));
  samples_.store(0);
}

GenerationLease::GenerationLease(std::shared_ptr<Generation> generation)
    : generation_(std::move(generation)) {}
GenerationLease::GenerationLease(GenerationLease&& other) noexcept = default;

GenerationLease& GenerationLease::operator=(GenerationLease&& other) noexcept {
  if (this != &other) {
    Release();
    generation_ = std::move(other.generation_);
  }
  return *this;
}

GenerationLease::~GenerationLease() { Release(); }

uint64_t GenerationLease::sequence() const { return generation_->identity().sequence; }

void GenerationLease::Append(uint32_t shard, const SampleColumns& samples) {
  generation_->Append(shard, samples);
}

void GenerationLease::AppendText(uint32_t shard, const TextRows& rows) {
  generation_->AppendText(shard, rows);
}

void GenerationLease::AppendPeerSegment(uint32_t shard, PeerSegment segment) {
  generation_->AppendPeerSegment(shard, std::move(segment));
}

void GenerationLease::Release() {
  if (generation_ == nullptr) return;
  // The generation must outlive the call that may end it.
  const std::shared_ptr<Generation> generation = std::move(generation_);
  generation_.reset();
  generation->Leave();
}

}  // namespace forebay::wal
