// The account of bytes, the watermarks and the reserve.
#include <catch2/catch.hpp>

#include "io/memory_file_system.h"
#include "support/wal_harness.h"
#include "wal/accounted_file_system.h"
#include "wal/batch_manifest.h"
#include "wal/disk_account.h"
#include "wal/disk_budget.h"
#include "wal/disk_reserve.h"

namespace forebay::wal {
namespace {

using testing::TestSample;
using testing::WalHarness;

DiskUsage Usage(const DiskAccount& account, DiskClass disk_class) {
  return account.usage()[static_cast<size_t>(disk_class)];
}

// A file system with the directories of a node.
struct Disk {
  Disk() {
    for (const char* folder : {"d/journal", "d/segments", "d/batches", "d/dlq/b", "d/out"}) {
      REQUIRE(below.CreateDirectories(folder).ok());
    }
  }
  void Put(const std::string& path, size_t bytes) {
    auto file = fs.Open(path, io::OpenMode::kCreateOrTruncate);
    REQUIRE(file.ok());
    REQUIRE((*file)->Write(std::string(bytes, 'x')).ok());
  }
  // What a new process counts.
  uint64_t Counted() {
    DiskAccount fresh(below, "d");
    fresh.Load();
    return fresh.used();
  }

  io::MemoryFileSystem below;
  DiskAccount account{below, "d/"};
  AccountedFileSystem fs{below, account};
};

TEST_CASE("disk account: what is written, moved and removed is what a walk of the disk finds") {
  Disk disk;
  disk.Put("d/segments/a.wal", 1);
  CHECK(disk.account.used() == kDiskBlock);
  disk.Put("d/segments/b.wal", kDiskBlock + 1);
  CHECK(Usage(disk.account, DiskClass::kSegments).bytes == 3 * kDiskBlock);
  CHECK(Usage(disk.account, DiskClass::kSegments).files == 2);
  // A move to the dead letters, a replaced file, a truncated one, one of another directory.
  REQUIRE(disk.fs.Rename("d/segments/b.wal", "d/dlq/b/b.wal").ok());
  CHECK(Usage(disk.account, DiskClass::kSegments).bytes == kDiskBlock);
  CHECK(Usage(disk.account, DiskClass::kDeadLetters).bytes == 2 * kDiskBlock);
  REQUIRE(io::WriteFileDurably(disk.fs, "d/batches/m.batch", std::string(5000, 'x')).ok());
  REQUIRE(io::WriteFileDurably(disk.fs, "d/batches/m.batch", "x").ok());
  CHECK(Usage(disk.account, DiskClass::kBatches).bytes == kDiskBlock);
  CHECK(Usage(disk.account, DiskClass::kBatches).files == 1);
  disk.Put("d/out/file.csv.gz", 100'000);
  CHECK(disk.account.used() == 4 * kDiskBlock);
  CHECK(disk.account.used() == disk.Counted());
  auto file = disk.fs.Open("d/dlq/b/b.wal", io::OpenMode::kReadWrite);
  REQUIRE(file.ok());
  REQUIRE((*file)->Truncate(0).ok());
  REQUIRE((*file)->WriteAt(2 * kDiskBlock, std::string_view("x")).ok());
  CHECK(Usage(disk.account, DiskClass::kDeadLetters).bytes == 3 * kDiskBlock);
  CHECK(disk.account.used() == disk.Counted());
  REQUIRE(disk.fs.Remove("d/dlq/b/b.wal").ok());
  REQUIRE(disk.fs.Remove("d/segments/a.wal").ok());
  CHECK(disk.account.used() == kDiskBlock);
  // Whoever has a removed file open may write to it: it is no file of the directory any more.
  REQUIRE((*file)->Write("more").ok());
  CHECK(disk.account.used() == disk.Counted());
}

TEST_CASE("disk account: what is reserved counts like what is written, also after a restart") {
  Disk disk;
  auto file = disk.fs.Open("d/journal/1.log", io::OpenMode::kCreate);
  REQUIRE(file.ok());
  REQUIRE((*file)->Allocate(8U << 20).ok());
  REQUIRE((*file)->Write("header").ok());
  CHECK(disk.account.used() == 8U << 20);
  CHECK(disk.Counted() == 8U << 20);
}

TEST_CASE("disk account: a failed write counts what it left") {
  Disk disk;
  io::Fault fault;
  fault.operation = io::FileOperation::kWrite;
  fault.short_write_bytes = 5000;
  disk.below.AddFault(fault);
  auto file = disk.fs.Open("d/segments/a.wal", io::OpenMode::kCreate);
  REQUIRE(file.ok());
  CHECK_FALSE((*file)->Write(std::string(100'000, 'x')).ok());
  CHECK(disk.account.used() == 2 * kDiskBlock);
}

TEST_CASE("disk account: an audit finds what others did, corrects it, and then finds nothing") {
  Disk disk;
  for (const char* name : {"d/segments/a.wal", "d/segments/b.wal", "d/segments/c.wal"}) {
    disk.Put(name, 10'000);
  }
  const auto clean = disk.account.Audit(std::chrono::milliseconds(0));
  REQUIRE(clean.ok());
  CHECK(clean->files == 3);
  CHECK(clean->differences == 0);
  REQUIRE(disk.below.Remove("d/segments/a.wal").ok());
  REQUIRE(io::WriteFileDurably(disk.below, "d/segments/b.wal", "short").ok());
  REQUIRE(io::WriteFileDurably(disk.below, "d/batches/notes.txt", std::string(9000, 'x')).ok());
  REQUIRE(io::WriteFileDurably(disk.below, "d/out/notes.txt", std::string(9000, 'x')).ok());
  const auto report = disk.account.Audit(std::chrono::milliseconds(0));
  REQUIRE(report.ok());
  CHECK(report->differences == 3);
  CHECK(report->corrected_bytes == (3 + 2 + 3) * kDiskBlock);
  CHECK(report->examples.size() == 3);
  CHECK(disk.account.used() == disk.Counted());
  CHECK(disk.account.Audit(std::chrono::milliseconds(0))->differences == 0);
}

TEST_CASE("disk account: after crashes, seals and uploads it is what a walk of the disk finds") {
  io::MemoryFileSystem fs;
  uint64_t value = 0;
  for (uint64_t round = 0; round < 6; ++round) {
    WalHarness harness(fs);
    REQUIRE(harness.Open().ok());
    for (int i = 0; i < 20; ++i) {
      REQUIRE(harness.Write({{static_cast<uint32_t>(i), 1000, ++value}}).ok());
    }
    REQUIRE(harness.Flush().ok());
    if (round % 2 == 1) harness.UploadAll();
    REQUIRE(harness.Write({{1, 1000, ++value}}).ok());
    DiskAccount walk(fs, "data");
    walk.Load();
    for (size_t i = 0; i < kDiskClasses; ++i) {
      const DiskUsage counted = harness.account().usage()[i];
      const DiskUsage found = walk.usage()[i];
      CHECK(counted.files == found.files);
      // What is reserved by less than 1 MiB a walk cannot tell from what volumes do by themselves.
      const bool reserves = static_cast<DiskClass>(i) == DiskClass::kJournal;
      CHECK((reserves ? counted.bytes >= found.bytes : counted.bytes == found.bytes));
    }
    io::CrashOptions options;
    options.seed = round + 1;
    fs.Crash(options);
  }
}

config::Storage Limits() {
  config::Storage limits;
  limits.dir = "d";
  limits.max_disk = {1000};
  limits.high_watermark = 90;
  limits.low_watermark = 70;
  limits.reserve = {100};
  limits.reserve_inodes = 10;
  return limits;
}

DiskFigures Figures(uint64_t used, uint64_t free, uint64_t inodes) {
  DiskFigures figures;
  figures.used_bytes = used;
  figures.space = {10'000, free, 1000, inodes};
  figures.space_known = true;
  return figures;
}

TEST_CASE("disk budget: each shortage begins at its high watermark and ends at its low one") {
  const config::Storage limits = Limits();
  const DiskShortage none;
  CHECK_FALSE(Judge(none, Figures(899, 100, 10), limits).any());
  const DiskShortage limit = Judge(none, Figures(900, 100, 10), limits);
  CHECK((limit.limit && !limit.volume && !limit.inodes));
  CHECK(Judge(limit, Figures(700, 100, 10), limits).limit);
  CHECK_FALSE(Judge(limit, Figures(699, 100, 10), limits).any());
  const DiskShortage volume = Judge(none, Figures(0, 99, 10), limits);
  CHECK((!volume.limit && volume.volume && !volume.inodes));
  CHECK(Judge(volume, Figures(0, 199, 10), limits).volume);
  CHECK_FALSE(Judge(volume, Figures(0, 200, 10), limits).any());
  const DiskShortage inodes = Judge(none, Figures(0, 100, 9), limits);
  CHECK((!inodes.limit && !inodes.volume && inodes.inodes));
  CHECK(Judge(inodes, Figures(0, 100, 19), limits).inodes);
  CHECK_FALSE(Judge(inodes, Figures(0, 100, 20), limits).any());
  // A volume of less than twice the reserve.
  DiskFigures small = Figures(0, 119, 1000);
  small.space.total_bytes = 180;
  CHECK(Judge(volume, small, limits).volume);
  small.space.available_bytes = 120;
  CHECK_FALSE(Judge(volume, small, limits).any());
  // A shortage of one kind does not raise the bar of another.
  CHECK(Judge(limit, Figures(900, 150, 15), limits) == limit);
}

TEST_CASE("disk budget: what peers hand over is refused at the limit itself") {
  const config::Storage limits = Limits();
  const config::Storage peers = LimitsForPeers(limits);
  const DiskShortage none;
  REQUIRE(Judge(none, Figures(999, 100, 10), limits).any());
  CHECK_FALSE(Judge(none, Figures(999, 100, 10), peers).any());
  const DiskShortage limit = Judge(none, Figures(1000, 100, 10), peers);
  CHECK(limit.limit);
  CHECK(Judge(limit, Figures(900, 100, 10), peers).limit);
  CHECK_FALSE(Judge(limit, Figures(899, 100, 10), peers).any());
  // What the volume is short of holds for all.
  CHECK(Judge(none, Figures(0, 99, 10), peers).volume);
  CHECK(Judge(none, Figures(0, 100, 9), peers).inodes);
}

TEST_CASE(
    "disk budget: a volume without a number of inodes, or that cannot be asked, is not short") {
  const config::Storage limits = Limits();
  DiskFigures figures = Figures(0, 500, 0);
  figures.space.total_files = 0;
  CHECK_FALSE(Judge({}, figures, limits).any());
  figures = Figures(0, 0, 0);
  figures.space_known = false;
  CHECK_FALSE(Judge({}, figures, limits).any());
  CHECK(Judge({false, true, false}, figures, limits).volume);
}

TEST_CASE("wal: between the watermarks a full disk stays full, below the low one it is not") {
  io::MemoryFileSystem fs;
  WalOptions options;
  options.storage.max_disk = {40 * kDiskBlock};
  options.storage.high_watermark = 80;
  options.storage.low_watermark = 40;
  WalHarness harness(fs, options);
  REQUIRE(harness.Open().ok());
  // Five tables a generation: 20 segments of a block each and the open journal.
  uint64_t value = 0;
  const auto generation = [&] {
    std::vector<TestSample> samples;
    for (uint32_t series = 0; series < 5; ++series) samples.push_back({series, 1000, ++value});
    const Status written = harness.Write(samples);
    if (written.ok()) REQUIRE(harness.Flush().ok());
    return written;
  };
  Status written;
  for (int i = 0; i < 20 && written.ok(); ++i) written = generation();
  REQUIRE_FALSE(written.ok());
  CHECK(harness.disk().full());
  const auto eventually = [&](bool full) {
    const MonotonicTime deadline = SystemClock().Monotonic() + std::chrono::seconds(10);
    while (harness.disk().full() != full && SystemClock().Monotonic() < deadline) {
    }
    return harness.disk().full() == full;
  };
  // Down to between the watermarks: nothing changes, however often it is looked.
  const auto upload = [&](uint64_t down_to) {
    for (const TableBacklog& table : harness.store().Backlog()) {
      for (const SegmentPointer& segment : table.segments) {
        if (harness.account().used() <= down_to) return;
        std::vector<SegmentLease> leases;
        leases.push_back(*harness.store().Take(segment->file_name));
        REQUIRE(harness.store().DeleteSegments(leases).ok());
      }
    }
  };
  upload(20 * kDiskBlock);
  REQUIRE(harness.account().used() > 16 * kDiskBlock);
  const uint64_t looks = fs.OperationCount(io::FileOperation::kVolumeSpace);
  const MonotonicTime deadline = SystemClock().Monotonic() + std::chrono::seconds(10);
  while (fs.OperationCount(io::FileOperation::kVolumeSpace) < looks + 3 &&
         SystemClock().Monotonic() < deadline) {
  }
  CHECK(harness.disk().full());
  upload(10 * kDiskBlock);
  CHECK(eventually(false));
  CHECK(harness.Write({{1, 1000, ++value}}).ok());
  CHECK(harness.disk().status().changes == 2);
}

TEST_CASE("disk reserve: a manifest is written on a full volume, once, and again when it is back") {
  io::MemoryFileSystem fs;
  REQUIRE(fs.CreateDirectories("d").ok());
  Quarantine quarantine(fs, "d/quarantine");
  REQUIRE(quarantine.Open().ok());
  DiskReserve reserve(fs, "d", 64 << 10);
  REQUIRE(reserve.Make().ok());
  ManifestStore store(fs, "d/batches", quarantine, &reserve);
  REQUIRE(store.Load().ok());
  const uint64_t full = 1U << 20;
  fs.SetCapacity(full);
  const auto fill = [&] {
    auto file = fs.Open("d/others", io::OpenMode::kCreateOrTruncate);
    REQUIRE(file.ok());
    while ((*file)->Write("0123456789").ok()) REQUIRE(fs.UsedBytes() <= full);
  };
  fill();
  BatchManifest manifest;
  manifest.database = "Db";
  manifest.table = "T";
  manifest.segments.push_back({"Db_T_1.wal", 1, 1});
  manifest.sinks.emplace_back().name = "s";
  manifest.id = BatchId(1, std::vector<std::string>{"Db_T_1.wal"});
  CHECK(store.Save(manifest).ok());
  CHECK_FALSE(reserve.ready());
  CHECK(reserve.given_up() == 1);
  // While others hold all of the volume there is no second one, and it cannot be made.
  REQUIRE(fs.Remove("d/others").ok());
  fill();
  CHECK(reserve.Make().error().code() == ErrorCode::kNoSpace);
  CHECK(store.Save(manifest).error().code() == ErrorCode::kNoSpace);
  REQUIRE(fs.Remove("d/others").ok());
  CHECK(reserve.Make().ok());
  CHECK(reserve.ready());
}

TEST_CASE("disk reserve: is taken over from an earlier run, and a file of another kind is let be") {
  io::MemoryFileSystem fs;
  REQUIRE(fs.CreateDirectories("d").ok());
  {
    DiskReserve reserve(fs, "d", 64 << 10);
    REQUIRE(reserve.Make().ok());
  }
  const uint64_t used = fs.UsedBytes();
  DiskReserve again(fs, "d", 64 << 10);
  CHECK(again.Make().ok());
  CHECK(fs.UsedBytes() == used);
  CHECK(again.GiveUp());
  CHECK_FALSE(again.GiveUp());
  CHECK(fs.UsedBytes() == 0);
  REQUIRE(io::WriteFileDurably(fs, "d/reserve.space", "notes").ok());
  CHECK(again.Make().error().code() == ErrorCode::kAlreadyExists);
  CHECK(*fs.Contents("d/reserve.space") == "notes");
}

TEST_CASE("quarantine: what people dropped makes room, and what has no room is counted") {
  io::MemoryFileSystem fs;
  Quarantine quarantine(fs, "q", 100);
  REQUIRE(quarantine.Open().ok());
  CHECK(*quarantine.Keep("a", std::string(60, 'x'), "bad crc"));
  const auto full = quarantine.Keep("b", std::string(60, 'x'), "bad crc");
  REQUIRE_FALSE(full.ok());
  CHECK(full.error().code() == ErrorCode::kResourceExhausted);
  CHECK(quarantine.dropped_items() == 1);
  CHECK(quarantine.dropped_bytes() == 60);
  REQUIRE(fs.Remove("q/a").ok());
  CHECK(*quarantine.Keep("b", std::string(60, 'x'), "bad crc"));
  CHECK(quarantine.bytes() == 60);
  CHECK(quarantine.dropped_items() == 1);
}

}  // namespace
}  // namespace forebay::wal
