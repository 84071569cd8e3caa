// Which label sets are one series: the series table beside a map of texts, and the short texts that
// it compares.
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "table/csv_row.h"
#include "table/internal/short_text.h"
#include "table/series_table.h"

namespace forebay::table {
namespace {

// What a series is, in texts.
struct Identity {
  TableId table = 0;
  int64_t series_id = 0;
  std::map<std::string, std::string> labels;
  std::vector<std::string> lifted;
  auto operator<=>(const Identity&) const = default;
};

Result<SeriesRef> AddTo(SeriesTable& series, const Identity& identity, uint64_t key,
                        uint64_t generation) {
  std::vector<Label> labels;
  for (const auto& [name, value] : identity.labels) labels.push_back({name, value});
  const std::vector<std::string_view> lifted(identity.lifted.begin(), identity.lifted.end());
  NewSeries added;
  added.table = identity.table;
  added.series_id = identity.series_id;
  added.labels = labels;
  added.lifted = lifted;
  return series.Add({key, key << 32}, added, generation);
}

Identity Read(const SeriesTable& series, SeriesRef ref) {
  const SeriesView view = series.Get(ref);
  Identity identity;
  identity.table = view.table;
  identity.series_id = view.series_id;
  const auto names = series.ShapeNames(view.shape);
  REQUIRE(names.size() <= view.values.size());
  for (size_t i = 0; i < view.values.size(); ++i) {
    const std::string value(series.symbols().Text(view.values[i]));
    if (i < names.size()) {
      identity.labels[std::string(series.symbols().Text(names[i]))] = value;
    } else {
      identity.lifted.push_back(value);
    }
  }
  return identity;
}

size_t PrefixBytes(const Identity& identity) {
  std::vector<Label> labels;
  for (const auto& [name, value] : identity.labels) labels.push_back({name, value});
  const std::vector<std::string_view> lifted(identity.lifted.begin(), identity.lifted.end());
  return kMaxRfc3339Chars + RowFixedBytes(identity.series_id, labels, lifted);
}

TEST_CASE("series table: random series come and go as in a map of their texts") {
  std::mt19937 random(11);
  SeriesTable::Options options;
  options.hash_seed = 7;
  options.max_series = 400;
  SeriesTable series(options);
  const auto text = [&] {
    constexpr std::string_view kLetters = "ab\"\n";  // two are written as more bytes
    return std::string(random() % 12, kLetters[random() % kLetters.size()]);
  };
  std::map<Identity, SeriesRef> live;
  std::map<SeriesRef, Identity> known;  // hidden ones too, until they are released
  std::map<SeriesRef, uint64_t> used;
  uint64_t generation = 1;
  uint64_t key = 0;
  size_t refused = 0;
  series.SetOpenGeneration(generation);
  for (int step = 0; step < 40'000; ++step) {
    Identity identity;
    identity.table = static_cast<TableId>(random() % 3);
    identity.series_id = static_cast<int64_t>(random() % 2);
    for (size_t i = random() % 5; i > 0; --i) identity.labels["n" + text()] = text();
    for (size_t i = random() % 3; i > 0; --i) identity.lifted.push_back(text());
    const auto expected = live.find(identity);
    const auto ref = AddTo(series, identity, ++key, generation);
    if (expected == live.end() && live.size() == options.max_series) {
      REQUIRE_FALSE(ref.ok());
      ++refused;
    } else {
      REQUIRE(ref.ok());
      if (expected != live.end()) {
        REQUIRE(*ref == expected->second);
      } else {
        REQUIRE(known.emplace(*ref, identity).second);
        live.emplace(identity, *ref);
      }
      used[*ref] = generation;
      REQUIRE(Read(series, *ref) == identity);
      REQUIRE(series.Get(*ref).row_prefix_bytes == PrefixBytes(identity));
    }
    if (step % 500 != 499) continue;
    series.SetOpenGeneration(++generation);
    for (const auto& [kept, of] : known) REQUIRE(Read(series, kept) == of);
    uint64_t evicted = 0;
    for (auto it = live.begin(); it != live.end();) {
      const bool idle = used[it->second] < generation - 1;
      evicted += idle;
      it = idle ? live.erase(it) : std::next(it);
    }
    REQUIRE(series.EvictIdle(generation - 1) == evicted);
    series.ReleaseUpTo(generation);
    known.clear();
    for (const auto& [of, kept] : live) known.emplace(kept, of);
    REQUIRE(series.size() == live.size());
  }
  CHECK(refused > 1000);
}

TEST_CASE("series table: refused series and known ones under new keys leave no memory behind") {
  SeriesTable::Options options;
  options.hash_seed = 7;
  options.max_series = 1;
  SeriesTable series(options);
  const Identity known{1, 1, {{"a", "1"}, {"b", "2"}}, {"x"}};
  REQUIRE(AddTo(series, known, 1, 1).ok());
  const uint64_t bytes = series.bytes();
  const uint64_t symbols = series.symbols().size();
  for (uint64_t key = 2; key < 100; ++key) {
    CHECK(AddTo(series, known, key, 1).ok());
    CHECK_FALSE(
        AddTo(series, {1, 1, {{"c" + std::to_string(key), "3"}}, {"y"}}, 1000 + key, 1).ok());
  }
  CHECK(series.bytes() == bytes);
  CHECK(series.symbols().size() == symbols);
}

TEST_CASE("series table: a name with a zero byte is not two names") {
  SeriesTable series({.hash_seed = 7});
  const Identity one{1, 1, {{std::string("a\0b", 3), "1"}}, {}};
  const Identity two{1, 1, {{"a", "1"}, {"b", "2"}}, {}};
  const auto first = AddTo(series, one, 1, 1);
  const auto second = AddTo(series, two, 2, 1);
  REQUIRE(first.ok());
  REQUIRE(second.ok());
  CHECK(Read(series, *first) == one);
  CHECK(Read(series, *second) == two);
}

TEST_CASE("short texts: compared and copied as by memcmp and memcpy, at every size") {
  for (size_t size = 0; size <= 80; ++size) {
    std::string text(size, 'x');
    for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('0' + i);
    std::string copy(size + 1, '!');
    const char* const end = internal::CopyText(text, copy.data());
    CHECK(end == copy.data() + size);
    CHECK(copy == text + '!');
    CHECK(internal::Same(text, std::string_view(copy).substr(0, size)));
    CHECK_FALSE(internal::Same(text, copy));
    for (size_t i = 0; i < size; ++i) {
      std::string other = text;
      other[i] = static_cast<char>(other[i] ^ 1);
      if (internal::Same(text, other)) FAIL("size " << size << " at " << i);
    }
  }
}

TEST_CASE("symbol table: a symbol is taken by its id only while it lives and has the text") {
  SymbolTable symbols;
  const SymbolId id = symbols.Acquire("text");
  CHECK(symbols.AcquireIf(id, "text"));
  CHECK_FALSE(symbols.AcquireIf(id, "texts"));
  symbols.Release(id);
  CHECK(symbols.Text(id) == "text");
  symbols.Release(id);
  CHECK_FALSE(symbols.AcquireIf(id, "text"));
  CHECK_FALSE(symbols.AcquireIf(id, ""));
  CHECK(symbols.Acquire("") == id);
  CHECK(symbols.AcquireIf(id, ""));
}

}  // namespace
}  // namespace forebay::table
