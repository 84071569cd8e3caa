// The series table: identity, limits, eviction that respects running requests, look-ups beside
// changes.
#include "table/series_table.h"

#include <catch2/catch.hpp>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace forebay::table {
namespace {

SeriesTable::Options Seeded() {
  SeriesTable::Options options;
  options.hash_seed = 7;
  return options;
}

// Views into `pod`.
std::vector<Label> Labels(const std::string& pod) { return {{"job", "node"}, {"pod", pod}}; }

// Adds a series named by pod under the key of `raw`.
SeriesRef Add(SeriesTable& table, const std::string& raw, const std::string& pod,
              uint64_t generation = 1) {
  const std::vector<Label> labels = Labels(pod);
  NewSeries series;
  series.table = 3;
  series.series_id = static_cast<int64_t>(std::hash<std::string>{}(pod));
  series.labels = labels;
  const Result<SeriesRef> ref = table.Add(table.HashKey(raw, 1), series, generation);
  REQUIRE(ref.ok());
  return *ref;
}

TEST_CASE("series table: an unknown key finds nothing, an added one its series") {
  SeriesTable table(Seeded());
  CHECK(table.Find(table.HashKey("a", 1)) == kUnknownSeries);
  const SeriesRef ref = Add(table, "a", "p1");
  CHECK(table.Find(table.HashKey("a", 1)) == ref);
  CHECK(table.Find(table.HashKey("a", 2)) == kUnknownSeries);
  const SeriesView view = table.Get(ref);
  CHECK(view.table == 3);
  REQUIRE(view.values.size() == 2);
  CHECK(table.symbols().Text(view.values[1]) == "p1");
  const auto names = table.ShapeNames(view.shape);
  REQUIRE(names.size() == 2);
  CHECK(table.symbols().Text(names[0]) == "job");
}

TEST_CASE("series table: different keys with the same labels lead to one series") {
  SeriesTable table(Seeded());
  const SeriesRef first = Add(table, "sorted", "p1");
  CHECK(Add(table, "shuffled", "p1") == first);
  CHECK(table.size() == 1);
  CHECK(Add(table, "other", "p2") != first);
  CHECK(table.size() == 2);
}

TEST_CASE("series table: a sender that shuffles labels does not grow the index without end") {
  SeriesTable table(Seeded());
  const SeriesRef ref = Add(table, "key0", "p1");
  const uint64_t bytes = table.bytes();
  for (int i = 1; i < 100'000; ++i) CHECK(Add(table, "key" + std::to_string(i), "p1") == ref);
  CHECK(table.bytes() == bytes);
}

TEST_CASE("series table: the limit refuses new series and keeps serving known ones") {
  SeriesTable::Options options = Seeded();
  options.max_series = 2;
  SeriesTable table(options);
  Add(table, "a", "p1");
  Add(table, "b", "p2");
  const std::string pod = "p3";
  const std::vector<Label> labels = Labels(pod);
  NewSeries series;
  series.table = 3;
  series.labels = labels;
  const Result<SeriesRef> refused = table.Add(table.HashKey("c", 1), series, 1);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code() == ErrorCode::kResourceExhausted);
  CHECK(table.Find(table.HashKey("a", 1)) != kUnknownSeries);
  Add(table, "a again", "p1");
}

TEST_CASE("series table: too many different sets of label names refuse series, not the process") {
  SeriesTable::Options options = Seeded();
  options.max_shapes = 2;
  SeriesTable table(options);
  table.SetOpenGeneration(1);
  const auto add = [&table](const std::string& name, const std::string& value) {
    const std::vector<Label> labels = {{name, value}};
    NewSeries series;
    series.labels = labels;
    return table.Add(table.HashKey(name + value, 1), series, 1);
  };
  REQUIRE(add("a", "1").ok());
  REQUIRE(add("b", "1").ok());
  const auto refused = add("c", "1");
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code() == ErrorCode::kResourceExhausted);
  CHECK(add("a", "2").ok());
  CHECK(add("b", "1").ok());
  CHECK(table.EvictIdle(2) == 3);
  table.ReleaseUpTo(1);
  CHECK(add("c", "1").ok());
}

TEST_CASE("series table: dropped keys are remembered until the keys are forgotten") {
  SeriesTable table(Seeded());
  table.AddDropped(table.HashKey("noise", 1));
  CHECK(table.Find(table.HashKey("noise", 1)) == kDroppedSeries);
  table.ForgetKeys();
  CHECK(table.Find(table.HashKey("noise", 1)) == kUnknownSeries);
}

TEST_CASE("series table: forgotten keys do not double the series that come again") {
  SeriesTable table(Seeded());
  const SeriesRef ref = Add(table, "a", "p1");
  table.ForgetKeys();
  CHECK(table.Find(table.HashKey("a", 1)) == kUnknownSeries);
  CHECK(Add(table, "a", "p1") == ref);
  CHECK(table.size() == 1);
}

TEST_CASE("series table: an evicted series keeps its texts until the open generation is sealed") {
  SeriesTable table(Seeded());
  table.SetOpenGeneration(1);
  const SeriesRef idle = Add(table, "a", "idle", 1);
  const SeriesRef busy = Add(table, "b", "busy", 1);
  table.SetOpenGeneration(5);
  table.MarkUsed(busy, 4);
  CHECK(table.EvictIdle(3) == 1);
  CHECK(table.Find(table.HashKey("a", 1)) == kUnknownSeries);
  CHECK(table.Find(table.HashKey("b", 1)) == busy);
  table.ReleaseUpTo(4);  // a request in generation 5 may still hold the ref
  CHECK(table.symbols().Text(table.Get(idle).values[1]) == "idle");
  table.ReleaseUpTo(5);
  const SeriesRef again = Add(table, "c", "new", 6);
  CHECK(again == idle);  // the ref is used again
  CHECK(table.symbols().Text(table.Get(again).values[1]) == "new");
}

TEST_CASE("series table: memory comes back when series go") {
  SeriesTable table(Seeded());
  table.SetOpenGeneration(1);
  Add(table, "warm", "warm", 100);
  for (int i = 0; i < 2000; ++i) Add(table, std::to_string(i), "pod" + std::to_string(i), 1);
  const uint64_t full = table.bytes();
  CHECK(table.EvictIdle(2) == 2000);
  table.ReleaseUpTo(1);
  CHECK(table.size() == 1);
  CHECK(table.bytes() < full / 2);
  CHECK(table.symbols().size() == 4);  // job, node, pod, warm
}

TEST_CASE("series table: look-ups beside insertions and evictions see a series or nothing") {
  SeriesTable table(Seeded());
  table.SetOpenGeneration(1);
  constexpr int kSeries = 20'000;
  std::vector<SeriesKey> keys;
  for (int i = 0; i < kSeries; ++i) keys.push_back(table.HashKey("k" + std::to_string(i), 1));
  std::atomic<bool> done{false};
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < 2; ++t) {
    readers.emplace_back([&] {
      while (!done.load()) {
        for (int i = 0; i < kSeries; i += 7) {
          const SeriesRef ref = table.Find(keys[static_cast<size_t>(i)]);
          if (ref != kUnknownSeries && table.Get(ref).series_id != i) ++wrong;
        }
      }
    });
  }
  for (int i = 0; i < kSeries; ++i) {
    const std::string pod = std::to_string(i);
    const std::vector<Label> labels = Labels(pod);
    NewSeries series;
    series.series_id = i;
    series.labels = labels;
    REQUIRE(table.Add(keys[static_cast<size_t>(i)], series, 1).ok());
    if (i % 5000 == 4999) table.ForgetKeys();
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  CHECK(wrong.load() == 0);
}

}  // namespace
}  // namespace forebay::table
