// Order, layout and clocks that misbehave.
#include "wal/flake_id.h"

#include <catch2/catch.hpp>
#include <set>
#include <thread>
#include <vector>

namespace forebay::wal {
namespace {

constexpr int64_t kNow = 1793491200123;  // 2026-11-01T00:00:00.123Z

}  // namespace

TEST_CASE("flake id: milliseconds, host and sequence are where the reference has them") {
  ManualClock clock(UnixMillis{kNow});
  FlakeIds ids(5, clock, 0);
  const uint64_t first = ids.Next();
  CHECK(first >> 23 == static_cast<uint64_t>(kNow - kFlakeEpochMillis));
  CHECK((first >> 13 & 1023) == 5);
  CHECK((first & 8191) == 0);
  CHECK(ids.Next() == first + 1);
  CHECK(MillisOf(first).value == kNow);
  // An id from a file name of the reference's collector.
  CHECK(FormatRfc3339(MillisOf(0x2f24a73200006000)).substr(0, 10) == "2026-11-01");
}

TEST_CASE("flake id: a clock that jumps back or stands still never repeats or lowers an id") {
  ManualClock clock(UnixMillis{kNow});
  FlakeIds ids(1023, clock, 0);
  uint64_t last = 0;
  for (int i = 0; i < 30000; ++i) {
    if (i % 10000 == 5000) clock.JumpWall(std::chrono::hours(-1));
    const uint64_t id = ids.Next();
    REQUIRE(id > last);
    REQUIRE((id >> 13 & 1023) == 1023);
    last = id;
  }
  clock.Advance(std::chrono::hours(5));
  CHECK(MillisOf(ids.Next()) == clock.Now());
}

TEST_CASE("flake id: goes on after the last id of an earlier run, whichever host made it") {
  ManualClock clock(UnixMillis{kNow});
  FlakeIds high(900, clock, 0);
  const uint64_t last = high.Next();
  clock.JumpWall(std::chrono::minutes(-1));
  for (const uint32_t host : {0u, 899u, 900u, 901u}) {
    FlakeIds ids(host, clock, last);
    const uint64_t id = ids.Next();
    CHECK(id > last);
    CHECK((id >> 13 & 1023) == host);
    CHECK(MillisOf(id).value - MillisOf(last).value <= 1);
  }
}

TEST_CASE("flake id: rubbish found on disk and clocks out of range do not end the ids") {
  ManualClock clock(UnixMillis{kNow});
  FlakeIds after_rubbish(0, clock, UINT64_MAX);
  CHECK(MillisOf(after_rubbish.Next()).value == kNow);
  ManualClock early(UnixMillis{-5});
  FlakeIds ids(0, early, 0);
  CHECK(ids.Next() == 1);  // 0 is "none"
  ManualClock late(UnixMillis{INT64_MAX});
  FlakeIds late_ids(0, late, 0);
  const uint64_t id = late_ids.Next();
  CHECK(late_ids.Next() > id);
}

TEST_CASE("flake id: threads never get the same id") {
  ManualClock clock(UnixMillis{kNow});
  FlakeIds ids(1, clock, 0);
  std::vector<std::vector<uint64_t>> made(4);
  std::vector<std::thread> threads;
  for (auto& mine : made) {
    threads.emplace_back([&ids, &mine] {
      for (int i = 0; i < 5000; ++i) mine.push_back(ids.Next());
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<uint64_t> all;
  for (const auto& mine : made) all.insert(mine.begin(), mine.end());
  CHECK(all.size() == 20000);
}

}  // namespace forebay::wal
