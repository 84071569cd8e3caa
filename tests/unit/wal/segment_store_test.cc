#include "wal/segment_store.h"

#include <catch2/catch.hpp>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <thread>

#include "io/memory_file_system.h"
#include "io/posix_file_system.h"
#include "wal/segment_writer.h"

namespace forebay::wal {
namespace {

// Everything that was not synced is gone.
const io::CrashOptions kLoseAll{1, 4096, 0.0};

std::string WriteSegment(io::FileSystem& fs, const std::string& table, uint64_t id, uint32_t rows,
                         bool summary = true, const std::string& hash = "2cawzsrvl4mw4") {
  const std::string name = *FormatSegmentName({"Metrics", table, hash, id});
  auto file = fs.Open(io::JoinPath("segments", name), io::OpenMode::kCreateOrTruncate);
  REQUIRE(file.ok());
  SegmentWriter writer;
  writer.Reset(**file, {1'793'491'200'000});
  BlockStats stats;
  stats.row_bytes = 100 * rows;
  stats.min_timestamp = 5;
  stats.max_timestamp = 9;
  const std::string value(10 * rows, 'x');
  REQUIRE(writer.Append({kBlockVersionRows, BlockType::kMetric, rows}, stats, value).ok());
  const uint64_t end = writer.file_bytes();
  REQUIRE(writer.Finish().ok());
  if (!summary) REQUIRE((*file)->Truncate(end).ok());
  REQUIRE((*file)->SyncData().ok());
  REQUIRE(fs.SyncDirectory("segments").ok());
  return name;
}

struct StoreFixture {
  StoreFixture() { REQUIRE(fs.CreateDirectories("segments").ok()); }
  io::MemoryFileSystem fs;
  ManualClock clock{UnixMillis{1'793'491'260'000}};
  SegmentStore store{fs, clock, "segments"};
};

TEST_CASE_METHOD(StoreFixture,
                 "segment store: loads by summary, scans what has none, leaves the rest") {
  WriteSegment(fs, "Cpu", 0x100, 3);
  WriteSegment(fs, "Cpu", 0x20, 4, false);
  REQUIRE(io::WriteFileDurably(fs, "segments/notes.txt", "x").ok());
  REQUIRE(io::WriteFileDurably(fs, "segments/Metrics_Bad_2cawzsrvl4mw4_1.wal", "not one").ok());
  REQUIRE(store.LoadExisting().ok());
  const auto backlog = store.Backlog();
  REQUIRE(backlog.size() == 1);
  CHECK(backlog[0].key == "Metrics_Cpu_2cawzsrvl4mw4");
  REQUIRE(backlog[0].segments.size() == 2);
  // By id, though "100" sorts before "20".
  CHECK(backlog[0].segments[0]->name.id == 0x20);
  CHECK(backlog[0].segments[0]->rows == 4);
  CHECK(backlog[0].segments[0]->row_bytes == 40);  // no summary: the length of the text
  CHECK(backlog[0].segments[1]->rows == 3);
  CHECK(backlog[0].segments[1]->row_bytes == 300);
  CHECK(backlog[0].segments[1]->min_timestamp == 5);
  CHECK(backlog[0].segments[1]->created.value == 1'793'491'200'000);
  CHECK(store.Totals().segments == 2);
  CHECK(store.Totals().unreadable == 1);
  CHECK(store.Totals().rows == 7);
  CHECK(store.PendingRows().at("Metrics") == 7);
  CHECK(*fs.Exists("segments/notes.txt"));
  CHECK(*fs.Exists("segments/Metrics_Bad_2cawzsrvl4mw4_1.wal"));
}

TEST_CASE_METHOD(StoreFixture,
                 "segment store: tables whose names interleave are kept apart and whole") {
  WriteSegment(fs, "Cpu", 0x10, 1, true, "");
  WriteSegment(fs, "Cpu", 0x90, 1, true, "");
  WriteSegment(fs, "Cpu", 0x50, 1, true, "5aaa");  // sorts between the two
  REQUIRE(store.LoadExisting().ok());
  const auto backlog = store.Backlog();
  REQUIRE(backlog.size() == 2);
  CHECK(backlog[0].key == "Metrics_Cpu");
  CHECK(backlog[0].segments.size() == 2);
  CHECK(backlog[1].key == "Metrics_Cpu_5aaa");
}

TEST_CASE_METHOD(StoreFixture, "segment store: a segment has one owner, who may give it back") {
  const std::string name = WriteSegment(fs, "Cpu", 1, 1);
  REQUIRE(store.LoadExisting().ok());
  const uint64_t before = store.version();
  {
    auto lease = store.Take(name);
    REQUIRE(lease.ok());
    CHECK(store.Backlog().empty());
    CHECK(store.Totals().segments == 1);
    CHECK(store.Take(name).error().code() == ErrorCode::kFailedPrecondition);
    SegmentLease moved = *std::move(lease);
    CHECK(moved);
    CHECK_FALSE(*lease);
    CHECK(moved.path() == "segments/" + name);
  }
  CHECK(store.version() > before);
  CHECK(store.Backlog().size() == 1);
  CHECK(store.Take("Metrics_No_2cawzsrvl4mw4_1.wal").error().code() == ErrorCode::kNotFound);
}

TEST_CASE_METHOD(StoreFixture, "segment store: deleted segments stay deleted after a crash") {
  const std::string name = WriteSegment(fs, "Cpu", 1, 1);
  const std::string other = WriteSegment(fs, "Cpu", 2, 1);
  REQUIRE(store.LoadExisting().ok());
  std::vector<SegmentLease> leases;
  leases.push_back(*store.Take(name));
  REQUIRE(store.DeleteSegments(leases).ok());
  CHECK_FALSE(leases[0]);
  fs.Crash(kLoseAll);
  CHECK_FALSE(*fs.Exists("segments/" + name));
  CHECK(*fs.Exists("segments/" + other));
  CHECK(store.Totals().segments == 1);
}

TEST_CASE_METHOD(StoreFixture,
                 "segment store: what cannot be removed stays with its owner, who tries again") {
  const std::string name = WriteSegment(fs, "Cpu", 1, 1);
  const std::string other = WriteSegment(fs, "Cpu", 2, 1);
  REQUIRE(store.LoadExisting().ok());
  std::vector<SegmentLease> leases;
  leases.push_back(*store.Take(name));
  leases.push_back(*store.Take(other));
  fs.FailNth(io::FileOperation::kRemove, 2, Error(ErrorCode::kIo, "injected"));
  CHECK_FALSE(store.DeleteSegments(leases).ok());
  CHECK_FALSE(leases[0]);
  CHECK(leases[1]);
  CHECK(store.Backlog().empty());  // never planned again while its batch is being finished
  // Removed but not durable: an error too, and the same call makes it good.
  fs.FailNth(io::FileOperation::kSyncDirectory, 1, Error(ErrorCode::kIo, "injected"));
  CHECK_FALSE(store.DeleteSegments(leases).ok());
  CHECK(store.DeleteSegments(leases).ok());
  fs.Crash(kLoseAll);
  CHECK(fs.List("segments")->empty());
}

TEST_CASE_METHOD(StoreFixture, "segment store: moved segments are in the new place after a crash") {
  const std::string name = WriteSegment(fs, "Cpu", 1, 1);
  REQUIRE(fs.CreateDirectories("dlq/x").ok());
  REQUIRE(store.LoadExisting().ok());
  std::vector<SegmentLease> leases;
  leases.push_back(*store.Take(name));
  REQUIRE(store.MoveSegments(leases, "dlq/x").ok());
  fs.Crash(kLoseAll);
  CHECK(*fs.Exists("dlq/x/" + name));
  CHECK_FALSE(*fs.Exists("segments/" + name));
  CHECK(store.Totals().segments == 0);
  CHECK(store.Totals().file_bytes == 0);
}

TEST_CASE_METHOD(StoreFixture,
                 "segment store: waiting ends at a change, and at the deadline without one") {
  const uint64_t seen = store.version();
  CHECK(store.WaitForChange(seen, std::chrono::steady_clock::now()) == seen);
  std::jthread other([&] { store.Notify(); });
  CHECK(store.WaitForChange(seen, std::chrono::steady_clock::now() + std::chrono::seconds(30)) >
        seen);
}

// Hidden: 100000 files take a while to make. Run with "[segment_store_load]".
TEST_CASE("segment store: loads 100000 segments in less than two seconds",
          "[.][segment_store_load]") {
  io::PosixFileSystem fs;
  const std::string directory =
      (std::filesystem::temp_directory_path() / "forebay_segment_store_load").string();
  REQUIRE(fs.CreateDirectories(directory).ok());
  SystemClock clock;
  for (uint64_t i = 0; i < 100'000; ++i) {
    const std::string name = *FormatSegmentName(
        {"Metrics", "Table" + std::to_string(i % 200), "2cawzsrvl4mw4", (1ULL << 60) + i});
    auto file = fs.Open(io::JoinPath(directory, name), io::OpenMode::kCreateOrTruncate);
    REQUIRE(file.ok());
    SegmentWriter writer;
    writer.Reset(**file, {1});
    REQUIRE(
        writer.Append({kBlockVersionRows, BlockType::kMetric, 1}, {}, std::string(100, 'x')).ok());
    REQUIRE(writer.Finish().ok());
  }
  SegmentStore store(fs, clock, directory);
  const auto cpu_seconds = [] { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; };
  const double begin = cpu_seconds();
  REQUIRE(store.LoadExisting().ok());
  const double loaded = cpu_seconds();
  CHECK(store.Backlog().size() == 200);
  WARN("CPU seconds: load " << loaded - begin << ", backlog " << cpu_seconds() - loaded);
  CHECK(loaded - begin < 2);
  const auto left = fs.List(directory);
  for (const auto& entry : *left) (void)fs.Remove(io::JoinPath(directory, entry.name));
  (void)fs.RemoveDirectory(directory);
}

}  // namespace
}  // namespace forebay::wal
