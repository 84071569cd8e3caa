// Interned texts: one id per text while it is referenced, ids used again afterwards, texts that do
// not move.
#include "table/symbol_table.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace forebay::table {
namespace {

TEST_CASE("symbol table: equal texts share an id, others do not") {
  SymbolTable table;
  const SymbolId a = table.Acquire("a");
  CHECK(table.Acquire("a") == a);
  const SymbolId b = table.Acquire("b");
  CHECK(b != a);
  CHECK(table.Text(a) == "a");
  CHECK(table.Text(b) == "b");
  CHECK(table.size() == 2);
  CHECK(table.capacity() == 2);
}

TEST_CASE("symbol table: empty texts and texts with zero bytes are texts like others") {
  SymbolTable table;
  const std::string zeros("a\0b", 3);
  const SymbolId empty = table.Acquire("");
  const SymbolId with_zero = table.Acquire(zeros);
  CHECK(table.Acquire("a") != with_zero);
  CHECK(table.Text(empty).empty());
  CHECK(table.Text(with_zero) == zeros);
}

TEST_CASE("symbol table: the last release frees the text and its id is used again") {
  SymbolTable table;
  const SymbolId kept = table.Acquire("kept");
  const uint64_t bytes = table.bytes();
  const SymbolId a = table.Acquire("a text of some length");
  table.Acquire("a text of some length");
  table.Release(a);
  CHECK(table.Text(a) == "a text of some length");
  table.Release(a);
  CHECK(table.bytes() == bytes);
  CHECK(table.size() == 1);
  CHECK(table.Acquire("another") == a);
  CHECK(table.Text(a) == "another");
  CHECK(table.Text(kept) == "kept");
}

TEST_CASE("symbol table: random acquires and releases agree with a map") {
  std::mt19937 random(1);
  SymbolTable table;
  struct Known {
    SymbolId id = 0;
    int references = 0;
  };
  std::map<std::string, Known> model;
  for (int step = 0; step < 200'000; ++step) {
    const std::string text = "t" + std::to_string(random() % 5000);
    Known& known = model[text];
    // Phases of growth and of shrinking, so that probes run over freed places.
    const bool grow = (step / 20'000) % 2 == 0;
    if (known.references == 0 || random() % 4 < (grow ? 3U : 1U)) {
      const SymbolId id = table.Acquire(text);
      if (known.references > 0) REQUIRE(id == known.id);
      known.id = id;
      ++known.references;
    } else {
      table.Release(known.id);
      --known.references;
    }
    REQUIRE((known.references == 0 || table.Text(known.id) == text));
  }
  uint64_t live = 0;
  std::map<SymbolId, std::string> by_id;
  for (const auto& [text, known] : model) {
    if (known.references == 0) continue;
    ++live;
    REQUIRE(by_id.emplace(known.id, text).second);
    REQUIRE(table.Text(known.id) == text);
    REQUIRE(table.Acquire(text) == known.id);
  }
  CHECK(table.size() == live);
  CHECK(table.capacity() <= 5000);
}

TEST_CASE("symbol table: texts do not move and can be read while others come and go") {
  SymbolTable table;
  constexpr uint32_t kKept = 100;
  std::vector<SymbolId> kept;
  std::vector<const char*> places;
  for (uint32_t i = 0; i < kKept; ++i) {
    kept.push_back(table.Acquire("kept" + std::to_string(i)));
    places.push_back(table.Text(kept.back()).data());
  }
  std::atomic<bool> done{false};
  std::atomic<uint64_t> wrong{0};
  std::thread reader([&] {
    for (uint32_t i = 0; !done.load(); i = (i + 1) % kKept) {
      if (table.Text(kept[i]) != "kept" + std::to_string(i)) wrong.fetch_add(1);
    }
  });
  for (int round = 0; round < 3; ++round) {
    std::vector<SymbolId> passing;
    for (int i = 0; i < 20'000; ++i) passing.push_back(table.Acquire(std::to_string(i)));
    for (const SymbolId id : passing) table.Release(id);
  }
  done.store(true);
  reader.join();
  CHECK(wrong.load() == 0);
  for (uint32_t i = 0; i < kKept; ++i) CHECK(table.Text(kept[i]).data() == places[i]);
  CHECK(table.size() == kKept);
}

}  // namespace
}  // namespace forebay::table
