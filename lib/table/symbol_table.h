// Interned label names and values. A symbol lives as long as somebody holds a reference to it; its
// id is then used again. Texts never move, so readers need no lock for ids that they know to be
// alive.
//
// Part of the series table, which serialises all changes; see series_table.h for who keeps ids
// alive.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

namespace forebay::table {

using SymbolId = uint32_t;

class SymbolTable {
 public:
  SymbolTable();
  ~SymbolTable();
  SymbolTable(const SymbolTable&) = delete;
  SymbolTable& operator=(const SymbolTable&) = delete;

  // The id of text, with one reference more. Threads: one at a time.
  SymbolId Acquire(std::string_view text);
  // Adds a reference to a symbol if it is alive and has this text. Shape: an id that Acquire once
  // gave. Threads: as Acquire.
  bool AcquireIf(SymbolId id, std::string_view text);
  // One reference less; the last one frees the text. Threads: one at a time, with Acquire.
  void Release(SymbolId id);
  // Threads: any, also beside Acquire, for an id that is alive.
  std::string_view Text(SymbolId id) const;

  // Ids are below this. Threads: any.
  uint32_t capacity() const { return next_id_.load(std::memory_order_acquire); }
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  uint64_t size() const { return live_.load(std::memory_order_relaxed); }

 private:
  static constexpr uint32_t kChunkSymbols = 16'384;
  static constexpr uint32_t kMaxChunks = 16'384;
  struct Symbol {
    char* text = nullptr;
    uint32_t size = 0;
    uint32_t references = 0;
    uint64_t hash = 0;
  };
  struct Chunk;

  Symbol& At(SymbolId id) const;
  void Grow();
  size_t Probe(std::string_view text, uint64_t hash) const;
  void EraseSlot(size_t slot);

  std::array<std::atomic<Chunk*>, kMaxChunks> chunks_{};
  std::atomic<uint32_t> next_id_{0};
  std::atomic<uint64_t> bytes_{0};
  std::atomic<uint64_t> live_{0};
  std::vector<SymbolId> free_ids_;
  std::vector<uint32_t> slots_;  // open addressing by hash; id + 1, 0 empty
};

}  // namespace forebay::table
