// The labels_refs of remote write 2.0 and the key that is made of them, beside a plain reader.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "receive/remote_write_2.h"

using namespace forebay;           // NOLINT
using namespace forebay::receive;  // NOLINT

namespace {

using remote_write_2::LabelRefs;
using remote_write_2::Symbols;
using State = LabelRefs::State;
using Texts = std::vector<std::string>;
using Key = std::tuple<uint64_t, uint64_t>;

constexpr uint64_t kDomain = 0x1234'5678'9abc'def1;

struct Table {
  table::SeriesTable series{{.hash_seed = 7}};
  Symbols symbols;
  Texts texts;

  explicit Table(Texts of) : texts(std::move(of)) {
    symbols.Begin(series, "");
    for (const std::string& text : texts) symbols.Add(text);
  }
  LabelRefs Read(std::string_view packed, uint64_t domain = kDomain, size_t most = SIZE_MAX) {
    return symbols.ReadRefs(packed, domain, most);
  }
};

Key Of(const LabelRefs& refs) {
  CHECK(refs.state == State::kGood);
  return {refs.key.low, refs.key.high};
}

// A varint of at least `bytes` bytes.
void PutVarintOf(std::string& out, uint64_t value, size_t bytes) {
  for (size_t i = 1; value >= 0x80 || i < bytes; ++i, value >>= 7) {
    out += static_cast<char>(value | 0x80);
  }
  out += static_cast<char>(value);
}

std::string Pack(const std::vector<uint64_t>& refs, size_t bytes = 1) {
  std::string out;
  for (const uint64_t ref : refs) PutVarintOf(out, ref, bytes);
  return out;
}

Texts Numbered(size_t count) {
  Texts texts;
  for (size_t i = 0; i < count; ++i) texts.push_back("text " + std::to_string(i));
  return texts;
}

// What protobuf says of the bytes, one varint after the other.
LabelRefs Plain(std::string_view packed, size_t symbols) {
  LabelRefs refs;
  WireReader reader(packed);
  bool bad = false;
  for (; !reader.AtEnd(); ++refs.count) bad |= reader.Varint() >= symbols;
  if (bad || refs.count % 2 != 0) refs.state = State::kBad;
  if (reader.failed()) refs.state = State::kMalformed;
  return refs;
}

}  // namespace

TEST_CASE(
    "label refs: the key is that of the texts, whatever their numbers and the varints' lengths") {
  std::mt19937 random(1);
  Texts texts = Numbered(20'000);
  Table first(texts);
  std::shuffle(texts.begin(), texts.end(), random);
  Table second(texts);
  std::map<std::string, uint64_t> numbers;
  for (size_t i = 0; i < texts.size(); ++i) numbers[texts[i]] = i;
  for (size_t count = 0; count <= 2 * Symbols::kKeyedRefs; count += 2) {
    std::vector<uint64_t> refs;
    std::vector<uint64_t> others;
    for (size_t i = 0; i < count; ++i) {
      const uint64_t bound = uint64_t{1} << (4 + random() % 11);
      refs.push_back(random() % std::min<uint64_t>(bound, texts.size()));
      others.push_back(numbers.at(first.texts[refs.back()]));
    }
    const LabelRefs key = first.Read(Pack(refs));
    CHECK(key.count == count);
    CHECK(Of(key) == Of(second.Read(Pack(others))));
    for (const size_t bytes : std::vector<size_t>{2, 3, 5, 9, 10})
      CHECK(Of(first.Read(Pack(refs, bytes))) == Of(key));
    CHECK(Of(first.Read(Pack(refs), kDomain + 1)) != Of(key));
  }
}

TEST_CASE("label refs: other texts, another order or number of labels make another key") {
  Table table(Numbered(300));
  std::mt19937 random(2);
  std::set<Key> seen;
  size_t lists = 0;
  const auto add = [&](const std::vector<uint64_t>& refs) {
    ++lists;
    seen.insert(Of(table.Read(Pack(refs))));
  };
  add({});
  for (size_t count = 2; count <= Symbols::kKeyedRefs + 4; count += 2) {
    std::vector<uint64_t> refs(300);
    for (size_t i = 0; i < refs.size(); ++i) refs[i] = i;
    std::shuffle(refs.begin(), refs.end(), random);
    refs.resize(count);
    add(refs);
    for (size_t i = 1; i < count; ++i) {
      std::vector<uint64_t> swapped = refs;
      std::swap(swapped[i - 1], swapped[i]);
      add(swapped);
      if (i < 2) continue;
      swapped = refs;
      std::swap(swapped[i - 2], swapped[i]);
      add(swapped);
      if (i % 2 == 0) continue;
      std::swap(swapped[i - 3], swapped[i - 1]);
      add(swapped);
    }
    refs.insert(refs.end(), refs.end() - 2, refs.end());
    add(refs);
  }
  CHECK(seen.size() == lists);
}

TEST_CASE("label refs: series that differ in one label differ in all parts of their keys") {
  Table table(Numbered(5000));
  std::set<uint64_t> low;
  std::set<uint64_t> high;
  std::vector<size_t> buckets(64);
  for (uint64_t value = 0; value < 4096; ++value) {
    const LabelRefs refs = table.Read(Pack({1, 2, 3, value, 5, 6}));
    low.insert(refs.key.low & 0xffff'ffff);
    high.insert(refs.key.high >> 32);
    ++buckets[refs.key.low % buckets.size()];
  }
  // Two of 4096 meet in 32 bits in one of 500 runs; this is one run.
  CHECK(low.size() == 4096);
  CHECK(high.size() == 4096);
  CHECK(*std::max_element(buckets.begin(), buckets.end()) < 112);  // 64 are meant, six sigma more
  CHECK(*std::min_element(buckets.begin(), buckets.end()) > 16);
}

TEST_CASE("label refs: what is good, bad or malformed is what a plain reader says") {
  std::mt19937 random(3);
  for (const size_t symbols : std::vector<size_t>{0, 1, 100, 300, 20'000}) {
    Table table(Numbered(symbols));
    for (int round = 0; round < 4000; ++round) {
      std::string packed;
      const size_t count = random() % 24;
      for (size_t i = 0; i < count; ++i) {
        uint64_t ref = random() % (symbols + (random() % 64 == 0 ? 3 : 0) + (symbols == 0));
        if (random() % 256 == 0) ref = (uint64_t{random()} << 32) | random();
        PutVarintOf(packed, ref, random() % 16 == 0 ? 1 + random() % 12 : 1);
      }
      if (random() % 8 == 0 && !packed.empty()) packed.resize(random() % packed.size());
      if (random() % 32 == 0) packed += static_cast<char>(0x80);
      const LabelRefs expected = Plain(packed, symbols);
      const LabelRefs refs = table.Read(packed);
      REQUIRE(refs.state == expected.state);
      if (refs.state != State::kMalformed) REQUIRE(refs.count == expected.count);
    }
  }
}

TEST_CASE("label refs: no more are read than may be") {
  Table table(Numbered(2));
  CHECK(table.Read(std::string(100'000, '\1'), kDomain, 70'000).count == 70'000);
  CHECK(table.symbols.held_bytes() < (2U << 20));
}
