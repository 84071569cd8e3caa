#include "wal/table_activity.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>

#include "io/memory_file_system.h"
#include "wal/segment_store.h"

namespace forebay::wal {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

SegmentInfo SegmentOf(const std::string& table, uint64_t id, uint64_t rows) {
  SegmentInfo info;
  info.name = {"Metrics", table, "hash", id};
  info.file_name = *FormatSegmentName(info.name);
  info.rows = rows;
  info.row_bytes = 100 * rows;
  info.file_bytes = 10 * rows;
  return info;
}

struct ActivityFixture {
  void Add(const std::string& table, uint64_t rows) {
    const SegmentInfo segment = SegmentOf(table, 1, rows);
    activity.Add({&segment, 1});
  }
  double Rate(const std::string& table) {
    for (const TableRate& rate : activity.Rates()) {
      if (rate.key == "Metrics_" + table + "_hash") return rate.rows_per_second;
    }
    return -1;
  }
  ManualClock clock{UnixMillis{1'793'491'200'000}};
  TableActivity activity{{seconds(10), 3}, clock};
};

TEST_CASE_METHOD(ActivityFixture,
                 "table activity: a rate is a mean over what of the window is over") {
  clock.Advance(seconds(30));
  Add("Cpu", 300);
  CHECK(Rate("Cpu") == Approx(10));
  CHECK(activity.Rates().front().row_bytes_per_second == Approx(1000));
  Add("Cpu", 300);
  CHECK(Rate("Cpu") == Approx(20));
  clock.Advance(seconds(30));
  CHECK(Rate("Cpu") == Approx(10));
}

TEST_CASE_METHOD(ActivityFixture, "table activity: what is older than the window does not count") {
  Add("Cpu", 600'000);
  clock.Advance(minutes(5) + seconds(59));
  CHECK(Rate("Cpu") > 0);
  clock.Advance(seconds(1));
  CHECK(Rate("Cpu") == 0);
  Add("Cpu", 300);
  CHECK(activity.window() == minutes(5));
  CHECK(Rate("Cpu") == Approx(1));
  // Long after, not even a place that the old counts were in.
  clock.Advance(minutes(600));
  Add("Cpu", 600);
  CHECK(Rate("Cpu") == Approx(2));
}

TEST_CASE_METHOD(ActivityFixture, "table activity: steady rows have the same rate at each moment") {
  clock.Advance(minutes(20));
  for (int minute = 0; minute < 12; ++minute) {
    for (int step = 0; step < 6; ++step) {
      clock.Advance(seconds(10));
      Add("Cpu", 100);
      if (minute >= 6) CHECK(Rate("Cpu") == Approx(10).margin(1));
    }
  }
}

TEST_CASE("table activity: a window holds several generations, however long they live") {
  ManualClock clock{UnixMillis{0}};
  TableActivity activity({minutes(10), 10}, clock);
  clock.Advance(minutes(100));
  const SegmentInfo segment = SegmentOf("Cpu", 1, 6000);
  activity.Add({&segment, 1});
  clock.Advance(minutes(9));
  CHECK(activity.window() > minutes(50));
  CHECK(activity.Rates().front().rows_per_second > 0);
}

TEST_CASE_METHOD(ActivityFixture,
                 "table activity: further tables are let in when idle ones leave") {
  for (const char* table : {"A", "B", "C", "D"}) Add(table, 10);
  CHECK(activity.Rates().size() == 3);
  CHECK(Rate("D") == -1);
  clock.Advance(minutes(5));
  Add("A", 10);
  clock.Advance(minutes(2));
  Add("D", 10);
  CHECK(Rate("D") > 0);
  CHECK(Rate("A") > 0);
  CHECK(Rate("B") == -1);
}

TEST_CASE_METHOD(ActivityFixture, "table activity: a store tells it of sealed segments alone") {
  io::MemoryFileSystem fs;
  REQUIRE(fs.CreateDirectories("segments").ok());
  SegmentStore store(fs, clock, "segments", &activity);
  clock.Advance(seconds(10));
  store.Add({SegmentOf("Cpu", 1, 100)});
  store.Add({SegmentOf("Cpu", 2, 100)}, RowOrigin::kRecovered);
  CHECK(Rate("Cpu") == Approx(10));
}

TEST_CASE_METHOD(ActivityFixture, "segment store: tables are summed up, leased segments too") {
  io::MemoryFileSystem fs;
  REQUIRE(fs.CreateDirectories("segments").ok());
  SegmentStore store(fs, clock, "segments");
  SegmentInfo old = SegmentOf("Cpu", 2, 5);
  old.created = UnixMillis{50};
  SegmentInfo young = SegmentOf("Cpu", 0x10, 7);
  young.created = UnixMillis{60};
  SegmentInfo bare = SegmentOf("Cpu", 3, 1);
  bare.name.schema_hash = "";
  bare.file_name = *FormatSegmentName(bare.name);
  store.Add({young, old, bare, SegmentOf("Mem", 4, 2)});
  const auto lease = store.Take(old.file_name);
  const auto sum = [&](const std::string& key) {
    TableTotals all{key, 0, 0, 0, 0, {INT64_MAX}};
    for (const TableTotals& part : store.Tables()) {
      if (part.key != key) continue;
      all.segments += part.segments;
      all.rows += part.rows;
      all.row_bytes += part.row_bytes;
      all.file_bytes += part.file_bytes;
      all.oldest = std::min(all.oldest, part.oldest);
    }
    return all;
  };
  const TableTotals cpu = sum("Metrics_Cpu_hash");
  CHECK(cpu.segments == 2);
  CHECK(cpu.rows == 12);
  CHECK(cpu.row_bytes == 1200);
  CHECK(cpu.file_bytes == 120);
  CHECK(cpu.oldest == UnixMillis{50});
  CHECK(sum("Metrics_Cpu").rows == 1);
  CHECK(sum("Metrics_Mem_hash").rows == 2);
}

}  // namespace
}  // namespace forebay::wal
