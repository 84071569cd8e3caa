#include "table/symbol_table.h"

#include <xxhash.h>

#include <cstring>

#include "base/check.h"
#include "table/internal/short_text.h"

namespace forebay::table {
namespace {
constexpr size_t kFirstSlots = 1024;
}  // namespace

struct SymbolTable::Chunk {
  std::array<Symbol, kChunkSymbols> symbols;
};

SymbolTable::SymbolTable() : slots_(kFirstSlots, 0) {}

SymbolTable::~SymbolTable() {
  const uint32_t count = capacity();
  for (SymbolId id = 0; id < count; ++id) delete[] At(id).text;
  for (auto& chunk : chunks_) delete chunk.load();
}

SymbolTable::Symbol& SymbolTable::At(SymbolId id) const {
  return chunks_[id / kChunkSymbols].load(std::memory_order_acquire)->symbols[id % kChunkSymbols];
}

// The slot that holds text, or the empty one where it would go.
size_t SymbolTable::Probe(std::string_view text, uint64_t hash) const {
  const size_t mask = slots_.size() - 1;
  size_t slot = hash & mask;
  while (slots_[slot] != 0) {
    const Symbol& symbol = At(slots_[slot] - 1);
    if (symbol.hash == hash && internal::Same({symbol.text, symbol.size}, text)) return slot;
    slot = (slot + 1) & mask;
  }
  return slot;
}

void SymbolTable::Grow() {
  std::vector<uint32_t> old(slots_.size() * 2, 0);
  old.swap(slots_);
  const size_t mask = slots_.size() - 1;
  for (const uint32_t entry : old) {
    if (entry == 0) continue;
    size_t slot = At(entry - 1).hash & mask;
    while (slots_[slot] != 0) slot = (slot + 1) & mask;
    slots_[slot] = entry;
  }
}

SymbolId SymbolTable::Acquire(std::string_view text) {
  const uint64_t hash = XXH3_64bits(text.data(), text.size());
  size_t slot = Probe(text, hash);
  if (slots_[slot] != 0) {
    const SymbolId id = slots_[slot] - 1;
    ++At(id).references;
    return id;
  }
  if ((live_.load(std::memory_order_relaxed) + 1) * 2 > slots_.size()) {
    Grow();
    slot = Probe(text, hash);
  }
  SymbolId id = 0;
  if (!free_ids_.empty()) {
    id = free_ids_.back();
    free_ids_.pop_back();
  } else {
    id = next_id_.load(std::memory_order_relaxed);
    FOREBAY_CHECK(id < kChunkSymbols * kMaxChunks);
    std::atomic<Chunk*>& chunk = chunks_[id / kChunkSymbols];
    if (chunk.load(std::memory_order_relaxed) == nullptr) {
      chunk.store(new Chunk, std::memory_order_release);
    }
    next_id_.store(id + 1, std::memory_order_release);
  }
  Symbol& symbol = At(id);
  symbol.text = new char[text.size() + 1];
  if (!text.empty()) std::memcpy(symbol.text, text.data(), text.size());
  symbol.size = static_cast<uint32_t>(text.size());
  symbol.references = 1;
  symbol.hash = hash;
  slots_[slot] = id + 1;
  live_.fetch_add(1, std::memory_order_relaxed);
  bytes_.fetch_add(text.size() + sizeof(Symbol) + 2 * sizeof(uint32_t), std::memory_order_relaxed);
  return id;
}

bool SymbolTable::AcquireIf(SymbolId id, std::string_view text) {
  Symbol& symbol = At(id);
  if (symbol.references == 0 || !internal::Same({symbol.text, symbol.size}, text)) return false;
  ++symbol.references;
  return true;
}

// Backward-shift deletion: no tombstones, so probes stay short for ever.
void SymbolTable::EraseSlot(size_t slot) {
  const size_t mask = slots_.size() - 1;
  size_t hole = slot;
  size_t next = (hole + 1) & mask;
  while (slots_[next] != 0) {
    const size_t home = At(slots_[next] - 1).hash & mask;
    if (((next - home) & mask) >= ((next - hole) & mask)) {
      slots_[hole] = slots_[next];
      hole = next;
    }
    next = (next + 1) & mask;
  }
  slots_[hole] = 0;
}

void SymbolTable::Release(SymbolId id) {
  Symbol& symbol = At(id);
  FOREBAY_CHECK(symbol.references > 0);
  if (--symbol.references != 0) return;
  EraseSlot(Probe(std::string_view(symbol.text, symbol.size), symbol.hash));
  bytes_.fetch_sub(symbol.size + sizeof(Symbol) + 2 * sizeof(uint32_t), std::memory_order_relaxed);
  live_.fetch_sub(1, std::memory_order_relaxed);
  delete[] symbol.text;
  symbol = Symbol{};
  free_ids_.push_back(id);
}

std::string_view SymbolTable::Text(SymbolId id) const {
  const Symbol& symbol = At(id);
  return {symbol.text, symbol.size};
}

}  // namespace forebay::table
