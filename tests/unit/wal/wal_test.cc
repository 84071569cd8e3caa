// The write-ahead log: what is acknowledged survives crashes, once; and a model test of journals,
// generations and segments under random crashes.
#include "wal/wal.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "support/wal_harness.h"
#include "wal/journal_spares.h"

namespace forebay::wal {
namespace {

using testing::TestSample;
using testing::ValueCounts;
using testing::WalHarness;

std::vector<TestSample> Samples(uint64_t& next_value, size_t count, uint32_t series = 0) {
  std::vector<TestSample> samples;
  for (size_t i = 0; i < count; ++i) {
    samples.push_back(
        {series + static_cast<uint32_t>(i % 17), static_cast<int64_t>(1000 + i), ++next_value});
  }
  return samples;
}

// The machine stops: nothing that the dying process does reaches the disk any more.
void Crash(io::MemoryFileSystem& fs, std::unique_ptr<WalHarness>& harness,
           const io::CrashOptions& options) {
  fs.FailAlways(io::FileOperation::kAny, Error(ErrorCode::kIo, "power is off"));
  harness.reset();
  fs.Crash(options);
}

std::vector<std::string> JournalFiles(io::MemoryFileSystem& fs, std::string_view suffix) {
  std::vector<std::string> paths;
  const auto entries = fs.List("data/journal");
  REQUIRE(entries.ok());
  for (const io::DirectoryEntry& entry : *entries) {
    if (entry.name.ends_with(suffix)) paths.push_back("data/journal/" + entry.name);
  }
  return paths;
}

void RemoveSpares(io::MemoryFileSystem& fs) {
  for (const std::string& path : JournalFiles(fs, ".spare")) REQUIRE(fs.Remove(path).ok());
  REQUIRE(fs.SyncDirectory("data/journal").ok());
}

// Writes until it is taken: a new journal is tried each second.
Status WriteWhenTaken(WalHarness& harness, const std::vector<TestSample>& samples) {
  const MonotonicTime deadline = SystemClock().Monotonic() + std::chrono::seconds(20);
  Status written = harness.Write(samples);
  while (!written.ok() && SystemClock().Monotonic() < deadline) written = harness.Write(samples);
  return written;
}

TEST_CASE("wal: flushed samples are in segments, each once, ordered by table and series") {
  io::MemoryFileSystem fs;
  WalHarness harness(fs);
  REQUIRE(harness.Open().ok());
  uint64_t value = 0;
  REQUIRE(harness.Write(Samples(value, 100)).ok());
  REQUIRE(harness.Write(Samples(value, 50)).ok());
  REQUIRE(harness.Flush().ok());
  const ValueCounts stored = harness.StoredValues();
  CHECK(stored.size() == 150);
  for (const auto& [v, count] : stored) CHECK(count == 1);
  CHECK(harness.store().Totals().rows == 150);
  CHECK(harness.store().Backlog().size() == 5);
  CHECK(harness.wal().stats().sealed_rows == 150);
}

TEST_CASE(
    "wal: what was acknowledged is replayed after a power cut that keeps only what was synced") {
  io::MemoryFileSystem fs;
  auto harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  uint64_t value = 0;
  REQUIRE(harness->Write(Samples(value, 40)).ok());
  io::CrashOptions lose_all;
  lose_all.keep_probability = 0;
  Crash(fs, harness, lose_all);
  harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  REQUIRE(harness->Flush().ok());
  CHECK(harness->StoredValues().size() == 40);
  CHECK(harness->wal().stats().replayed_records == 1);
}

TEST_CASE("wal: a clean stop seals, and the next start replays nothing") {
  io::MemoryFileSystem fs;
  auto harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  uint64_t value = 0;
  REQUIRE(harness->Write(Samples(value, 30)).ok());
  REQUIRE(harness->wal().Stop(SystemClock().Monotonic() + std::chrono::seconds(20)).ok());
  CHECK_FALSE(harness->wal().Enter().ok());
  harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  REQUIRE(harness->Flush().ok());
  CHECK(harness->wal().stats().replayed_records == 0);
  CHECK(harness->StoredValues().size() == 30);
}

TEST_CASE(
    "wal: segments of a generation whose journal is still there are dropped, the journal is "
    "replayed") {
  io::MemoryFileSystem fs;
  auto harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  uint64_t value = 0;
  REQUIRE(harness->Write(Samples(value, 30)).ok());
  // Segments are written and synced, but the journal keeps its name: the commit does not happen.
  fs.FailAlways(io::FileOperation::kRemove, Error(ErrorCode::kIo, "cannot remove"));
  fs.FailAlways(io::FileOperation::kRename, Error(ErrorCode::kIo, "cannot rename"));
  CHECK_FALSE(
      harness->wal().Flush(SystemClock().Monotonic() + std::chrono::milliseconds(100)).ok());
  CHECK(harness->store().Totals().segments == 0);
  Crash(fs, harness, {});
  harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  REQUIRE(harness->Flush().ok());
  const ValueCounts stored = harness->StoredValues();
  CHECK(stored.size() == 30);
  for (const auto& [v, count] : stored) CHECK(count == 1);
}

TEST_CASE("wal: a failed sync refuses the request, and the next one gets a new journal") {
  io::MemoryFileSystem fs;
  auto harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  uint64_t value = 0;
  REQUIRE(harness->Write(Samples(value, 10)).ok());
  fs.FailNth(io::FileOperation::kSyncData, 1, Error(ErrorCode::kIo, "disk"));
  CHECK_FALSE(harness->Write(Samples(value, 10)).ok());
  Status again = Error(ErrorCode::kUnavailable, "not tried");
  const MonotonicTime deadline = SystemClock().Monotonic() + std::chrono::seconds(20);
  while (!again.ok() && SystemClock().Monotonic() < deadline) {
    again = harness->Write(Samples(value, 1));
  }
  CHECK(again.ok());
  REQUIRE(harness->Flush().ok());
  CHECK(harness->StoredValues().size() == 11);
  CHECK(harness->wal().stats().journal_errors == 1);
}

TEST_CASE("wal: a seal that fails is tried again and nothing is lost or doubled") {
  io::MemoryFileSystem fs;
  WalHarness harness(fs);
  REQUIRE(harness.Open().ok());
  uint64_t value = 0;
  REQUIRE(harness.Write(Samples(value, 60)).ok());
  io::Fault fault;
  fault.operation = io::FileOperation::kWrite;
  fault.path_contains = "segments/";
  fault.first = 3;
  fault.error = Error(ErrorCode::kNoSpace, "full");
  fs.AddFault(fault);
  REQUIRE(harness.Flush().ok());
  const ValueCounts stored = harness.StoredValues();
  CHECK(stored.size() == 60);
  for (const auto& [v, count] : stored) CHECK(count == 1);
  CHECK(harness.wal().stats().seal_errors == 1);
}

TEST_CASE("wal: a full disk refuses new requests and takes them again when there is room") {
  io::MemoryFileSystem fs;
  WalOptions options;
  options.storage.max_disk = {20'000};
  WalHarness harness(fs, options);
  REQUIRE(harness.Open().ok());
  uint64_t value = 0;
  Status written;
  for (int i = 0; i < 200'000 && written.ok(); ++i) written = harness.Write(Samples(value, 100));
  REQUIRE_FALSE(written.ok());
  CHECK(written.error().code() == ErrorCode::kUnavailable);
  REQUIRE(harness.Flush().ok());
  harness.UploadAll();
  const MonotonicTime deadline = SystemClock().Monotonic() + std::chrono::seconds(20);
  while (!written.ok() && SystemClock().Monotonic() < deadline) {
    written = harness.Write(Samples(value, 1));
  }
  CHECK(written.ok());
}

TEST_CASE("wal: a damaged record in the middle of a journal costs that record and is kept aside") {
  io::MemoryFileSystem fs;
  auto harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  uint64_t value = 0;
  for (int i = 0; i < 3; ++i) REQUIRE(harness->Write(Samples(value, 10)).ok());
  Crash(fs, harness, {});
  const auto journals = fs.List("data/journal");
  REQUIRE(journals.ok());
  REQUIRE(journals->size() == 1);
  const uint64_t record = kRecordHeaderBytes + 6 + 10 * sizeof(TestSample);
  REQUIRE(fs.Overwrite("data/journal/" + journals->front().name, kJournalHeaderBytes + record + 50,
                       "XX")
              .ok());
  harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  REQUIRE(harness->Flush().ok());
  const ValueCounts stored = harness->StoredValues();
  CHECK(stored.size() == 20);
  CHECK(stored.count(5) == 1);
  CHECK(stored.count(15) == 0);
  CHECK(stored.count(25) == 1);
  CHECK(harness->wal().stats().quarantined_records == 1);
  CHECK(harness->quarantine().files() >= 1);
}

TEST_CASE(
    "wal: a node on a full volume starts, takes nothing, and takes requests when there is room") {
  io::MemoryFileSystem fs;
  auto harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  uint64_t value = 0;
  REQUIRE(harness->Write(Samples(value, 30)).ok());
  REQUIRE(harness->Flush().ok());
  Crash(fs, harness, {});
  RemoveSpares(fs);
  fs.SetCapacity(fs.UsedBytes());
  harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  CHECK_FALSE(harness->Write(Samples(value, 1)).ok());
  CHECK(harness->UploadAll().size() == 30);
  fs.SetCapacity(1 << 20);
  const MonotonicTime deadline = SystemClock().Monotonic() + std::chrono::seconds(20);
  Status written = Error(ErrorCode::kUnavailable, "not tried");
  while (!written.ok() && SystemClock().Monotonic() < deadline) {
    written = harness->Write(Samples(value, 1));
  }
  CHECK(written.ok());
}

TEST_CASE("wal: durability none acknowledges without a journal and seals all the same") {
  io::MemoryFileSystem fs;
  WalOptions options;
  options.durability = config::Durability::kNone;
  WalHarness harness(fs, options);
  REQUIRE(harness.Open().ok());
  uint64_t value = 0;
  REQUIRE(harness.Write(Samples(value, 25)).ok());
  REQUIRE(harness.Flush().ok());
  CHECK(harness.StoredValues().size() == 25);
  CHECK(harness.wal().stats().journal_records == 0);
}

TEST_CASE(
    "wal: a removal of the journal that is not known to be durable never costs the segments") {
  io::MemoryFileSystem fs;
  auto harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  uint64_t value = 0;
  REQUIRE(harness->Write(Samples(value, 40)).ok());
  // The journal is removed, but whether that is durable is not known; later nothing can be written.
  io::Fault removal;
  removal.operation = io::FileOperation::kSyncDirectory;
  removal.path_contains = "journal";
  removal.first = 2;  // the first is that of the next generation's journal
  removal.count = io::Fault::kForever;
  fs.AddFault(removal);
  io::Fault full;
  full.operation = io::FileOperation::kWrite;
  full.path_contains = "segments/";
  full.first = 6;  // five tables are sealed
  full.count = io::Fault::kForever;
  fs.AddFault(full);
  CHECK_FALSE(
      harness->wal().Flush(SystemClock().Monotonic() + std::chrono::milliseconds(300)).ok());
  CHECK(harness->wal().stats().seal_errors >= 2);
  CHECK(harness->store().Totals().segments == 0);  // not seen before the commit
  io::CrashOptions keep_all;
  keep_all.keep_probability = 1;
  Crash(fs, harness, keep_all);
  harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  REQUIRE(harness->Flush().ok());
  CHECK(harness->StoredValues().size() == 40);
}

TEST_CASE("wal: a quarantine that is full does not keep good records from being replayed") {
  io::MemoryFileSystem fs;
  auto harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  uint64_t value = 0;
  for (int i = 0; i < 3; ++i) REQUIRE(harness->Write(Samples(value, 10)).ok());
  Crash(fs, harness, {});
  const auto journals = fs.List("data/journal");
  REQUIRE(journals.ok());
  REQUIRE(
      fs.Overwrite("data/journal/" + journals->front().name, kJournalHeaderBytes + 50, "XX").ok());
  harness = std::make_unique<WalHarness>(fs);
  harness->set_quarantine_bytes(10);
  REQUIRE(harness->Open().ok());
  REQUIRE(harness->Flush().ok());
  CHECK(harness->StoredValues().size() == 20);
  CHECK(harness->wal().stats().quarantined_records == 1);
  CHECK(harness->quarantine().bytes() == 0);
}

TEST_CASE("wal: a request that outlives the stop is refused, not left waiting") {
  io::MemoryFileSystem fs;
  WalHarness harness(fs);
  REQUIRE(harness.Open().ok());
  auto lease = harness.wal().Enter();
  REQUIRE(lease.ok());
  CHECK_FALSE(harness.wal().Stop(SystemClock().Monotonic()).ok());  // the lease is still held
  PendingRecord record;
  int calls = 0;
  record.context = &calls;
  record.done = [](PendingRecord* done) { ++*static_cast<int*>(done->context); };
  harness.wal().Commit(*lease, &record);
  CHECK(calls == 1);
  REQUIRE_FALSE(record.status.ok());
  CHECK(record.status.error().code() == ErrorCode::kUnavailable);
}

TEST_CASE("wal: while it is held nobody enters, and a flush waits for those that had entered") {
  io::MemoryFileSystem fs;
  WalHarness harness(fs);
  REQUIRE(harness.Open().ok());
  auto lease = harness.wal().Enter();
  REQUIRE(lease.ok());
  harness.wal().Hold("it drains");
  for (const auto& refused : {harness.wal().Enter(), harness.wal().EnterForPeer()}) {
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code() == ErrorCode::kUnavailable);
    CHECK(refused.error().message() == "it drains");
  }
  // Nothing was appended: only the lease tells that something may come.
  const Status early =
      harness.wal().Flush(SystemClock().Monotonic() + std::chrono::milliseconds(50));
  REQUIRE_FALSE(early.ok());
  CHECK(early.error().code() == ErrorCode::kDeadlineExceeded);
  lease->Release();
  CHECK(harness.wal().Flush(SystemClock().Monotonic() + std::chrono::seconds(20)).ok());
  harness.wal().Hold("");
  CHECK(harness.wal().Enter().ok());
}

TEST_CASE("wal: a journal of requests without samples is ended at its size all the same") {
  io::MemoryFileSystem fs;
  WalOptions options;
  options.generation.max_journal = {1000};
  WalHarness harness(fs, options);
  REQUIRE(harness.Open().ok());
  for (int i = 0; i < 200; ++i) REQUIRE(harness.Write({}).ok());
  const MonotonicTime deadline = SystemClock().Monotonic() + std::chrono::seconds(20);
  while (harness.wal().stats().generations_sealed == 0 && SystemClock().Monotonic() < deadline) {
    REQUIRE(harness.Write({}).ok());
  }
  CHECK(harness.wal().stats().generations_sealed > 0);
  CHECK(harness.store().Totals().segments == 0);
}

TEST_CASE("wal: what was answered with an error is not delivered, though it reached the disk") {
  // How often commits fail in a row, each in a journal of its own; and what the crash leaves.
  const int failures = GENERATE(1, 2, 3);
  const bool sync_fails = GENERATE(true, false);
  const double kept = GENERATE(0.0, 1.0);
  const bool cut = GENERATE(true, false);  // whether failed files can be cut
  io::MemoryFileSystem fs;
  auto harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  uint64_t value = 0;
  std::set<uint64_t> acknowledged;
  const auto acknowledge = [&](size_t count) {
    const uint64_t first = value;
    REQUIRE(WriteWhenTaken(*harness, Samples(value, count)).ok());
    for (uint64_t v = first + 1; v <= value; ++v) acknowledged.insert(v);
  };
  // Nothing is sealed: all that was written is in journals when the power goes.
  fs.AddFault({.operation = io::FileOperation::kOpen,
               .path_contains = "segments",
               .count = io::Fault::kForever});
  if (!cut) {
    fs.AddFault({.operation = io::FileOperation::kTruncate,
                 .path_contains = "journal",
                 .count = io::Fault::kForever});
  }
  acknowledge(10);
  for (int i = 0; i < failures; ++i) {
    io::Fault fault;
    fault.operation = sync_fails ? io::FileOperation::kSyncData : io::FileOperation::kWrite;
    fault.path_contains = "journal/";
    fault.short_write_bytes = i == 0 ? 1'000'000 : 200;  // all of it, or a part
    fs.AddFault(fault);
    CHECK_FALSE(harness->Write(Samples(value, 20)).ok());
    if (i % 2 == 0) acknowledge(5);
  }
  acknowledge(3);
  CHECK(harness->wal().stats().journal_errors == static_cast<uint64_t>(failures));
  // Seen by the kernel, whether the failed sync brought it to the disk or not.
  if (kept == 1.0) REQUIRE(fs.SyncVolume("data").ok());
  io::CrashOptions options;
  options.keep_probability = kept;
  Crash(fs, harness, options);
  harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  REQUIRE(harness->Flush().ok());
  const ValueCounts stored = harness->StoredValues();
  std::set<uint64_t> found;
  for (const auto& [v, count] : stored) {
    CHECK(count == 1);
    found.insert(v);
  }
  CHECK(found == acknowledged);
  CHECK(harness->wal().stats().quarantined_records == 0);
}

TEST_CASE("wal: a retry is not taken for stored while it is not known what was abandoned") {
  io::MemoryFileSystem fs;
  auto harness = std::make_unique<WalHarness>(fs);
  harness->set_ledger_window(std::chrono::hours(1));
  REQUIRE(harness->Open().ok());
  uint64_t value = 0;
  // Nothing is sealed, and failed files cannot be cut.
  for (const auto& [operation, path] : {std::pair{io::FileOperation::kOpen, "segments"},
                                        {io::FileOperation::kTruncate, "journal"}}) {
    fs.AddFault({.operation = operation, .path_contains = path, .count = io::Fault::kForever});
  }
  REQUIRE(harness->WriteOnce(Samples(value, 3)).ok());
  fs.AddFault({.operation = io::FileOperation::kSyncData,
               .path_contains = "journal/",
               .takes_effect = true});
  const std::vector<TestSample> failed = Samples(value, 5);
  CHECK_FALSE(harness->WriteOnce(failed).ok());
  CHECK_FALSE(harness->wal().stats().refused_may_return);
  const bool before = GENERATE(true, false);  // the crash
  if (before) REQUIRE(harness->WriteOnce(failed).ok());
  auto journals = JournalFiles(fs, ".log");
  std::sort(journals.begin(), journals.end());
  REQUIRE(journals.size() == 2);
  Crash(fs, harness, {.seed = 1, .granularity = 512, .keep_probability = 1});
  harness = std::make_unique<WalHarness>(fs);
  harness->set_ledger_window(std::chrono::hours(1));
  // The journal that says what failed cannot be read at once.
  fs.AddFault({.operation = io::FileOperation::kOpen, .path_contains = journals[1]});
  REQUIRE(harness->Open().ok());
  if (!before) REQUIRE(harness->WriteOnce(failed).ok());
  REQUIRE(harness->Flush().ok());
  const ValueCounts stored = harness->StoredValues();
  CHECK(stored.size() == 8);
  for (const auto& [v, count] : stored) CHECK(count == 1);
}

TEST_CASE("wal: what failed may return only until a journal could be begun") {
  io::MemoryFileSystem fs;
  WalHarness harness(fs);
  REQUIRE(harness.Open().ok());
  uint64_t value = 0;
  REQUIRE(harness.Write(Samples(value, 3)).ok());
  fs.AddFault({.operation = io::FileOperation::kSyncData,
               .path_contains = "journal/",
               .count = io::Fault::kForever});
  CHECK_FALSE(harness.wal().stats().refused_may_return);
  CHECK_FALSE(harness.Write(Samples(value, 3)).ok());
  CHECK(harness.wal().stats().refused_may_return);
  fs.ClearFaults();
  REQUIRE(WriteWhenTaken(harness, Samples(value, 3)).ok());
  CHECK_FALSE(harness.wal().stats().refused_may_return);
}

TEST_CASE("wal: a process that ends before a new journal can be begun leaves nothing refused") {
  io::MemoryFileSystem fs;
  auto harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  uint64_t value = 0;
  REQUIRE(harness->Write(Samples(value, 10)).ok());
  fs.FailAlways(io::FileOperation::kSyncData, Error(ErrorCode::kIo, "disk"));
  CHECK_FALSE(harness->Write(Samples(value, 20)).ok());
  CHECK_FALSE(harness->Write(Samples(value, 20)).ok());
  harness.reset();  // the kernel lives on: what it has seen stays
  fs.ClearFaults();
  harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  REQUIRE(harness->Flush().ok());
  CHECK(harness->StoredValues().size() == 10);
}

TEST_CASE("wal: journals are begun in the files of committed ones, and hold their own records") {
  io::MemoryFileSystem fs;
  auto harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  uint64_t value = 0;
  for (int i = 0; i < 10; ++i) {
    // Each is shorter than the one before, whose end stays behind it.
    REQUIRE(harness->Write(Samples(value, 200 - 10 * static_cast<size_t>(i))).ok());
    REQUIRE(harness->Flush().ok());
    CHECK(JournalFiles(fs, ".spare").size() <= JournalSpares::kMaxSpares);
  }
  CHECK(harness->wal().stats().journals_recycled >= 8);
  REQUIRE(harness->Write(Samples(value, 7)).ok());
  io::CrashOptions lose_all;
  lose_all.keep_probability = 0;
  Crash(fs, harness, lose_all);
  harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  CHECK(harness->wal().stats().journals_recycled == 1);  // spares outlive the process
  REQUIRE(harness->Flush().ok());
  CHECK(harness->wal().stats().replayed_records == 1);
  CHECK(harness->wal().stats().torn_tails == 0);
  CHECK(harness->wal().stats().quarantined_records == 0);
  const ValueCounts stored = harness->StoredValues();
  CHECK(stored.size() == value);
  for (const auto& [v, count] : stored) CHECK(count == 1);
}

TEST_CASE("wal: a journal's file is not written over while its old name may come back") {
  io::MemoryFileSystem fs;
  auto harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  uint64_t value = 0;
  REQUIRE(harness->Write(Samples(value, 40)).ok());
  SECTION("in the process that renamed it") {
    fs.AddFault({.operation = io::FileOperation::kSyncDirectory,
                 .path_contains = "journal",
                 .first = 2,  // the first is that of the next generation's journal
                 .count = io::Fault::kForever});
    CHECK_FALSE(
        harness->wal().Flush(SystemClock().Monotonic() + std::chrono::milliseconds(200)).ok());
    CHECK(JournalFiles(fs, ".spare").size() == 1);
    CHECK(harness->wal().stats().journal_spare_bytes == 0);
    CHECK(harness->store().Totals().segments == 0);
    Crash(fs, harness, {.seed = 1, .granularity = 512, .keep_probability = 0});
  }
  SECTION("in the next one, when the first was killed before the name was durable") {
    fs.AddFault({.operation = io::FileOperation::kSyncDirectory,
                 .path_contains = "journal",
                 .first = 2,
                 .count = io::Fault::kForever});
    (void)harness->wal().Flush(SystemClock().Monotonic() + std::chrono::milliseconds(200));
    fs.FailAlways(io::FileOperation::kAny, Error(ErrorCode::kIo, "killed"));
    harness.reset();
    fs.ClearFaults();
    harness = std::make_unique<WalHarness>(fs);
    // What the second process does before its first own sync of the directory must not count.
    fs.AddFault({.operation = io::FileOperation::kSyncDirectory,
                 .path_contains = "journal",
                 .count = io::Fault::kForever});
    CHECK_FALSE(harness->Open().ok());
    Crash(fs, harness, {.seed = 1, .granularity = 512, .keep_probability = 0});
  }
  harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  REQUIRE(harness->Flush().ok());
  const ValueCounts stored = harness->StoredValues();
  CHECK(stored.size() == 40);
  for (const auto& [v, count] : stored) CHECK(count == 1);
}

TEST_CASE("wal: spare journals go before space is short") {
  io::MemoryFileSystem fs;
  WalOptions options;
  options.storage.max_disk = {4 << 20};
  options.storage.low_watermark = 25;
  WalHarness harness(fs, options);
  REQUIRE(harness.Open().ok());
  uint64_t value = 0;
  REQUIRE(harness.Write(Samples(value, 100)).ok());
  REQUIRE(harness.Flush().ok());
  REQUIRE(JournalFiles(fs, ".spare").size() == 1);
  while (!harness.disk().nearly_full()) REQUIRE(harness.Write(Samples(value, 1000)).ok());
  CHECK_FALSE(harness.disk().full());
  const MonotonicTime deadline = SystemClock().Monotonic() + std::chrono::seconds(20);
  while (!JournalFiles(fs, ".spare").empty() && SystemClock().Monotonic() < deadline) {
    (void)harness.wal().stats();
  }
  CHECK(JournalFiles(fs, ".spare").empty());
  CHECK(harness.wal().stats().journal_spare_bytes == 0);
  REQUIRE(harness.Flush().ok());
  CHECK(JournalFiles(fs, ".spare").empty());  // none is kept
}

TEST_CASE("wal: a journal whose commit failed is not recycled") {
  io::MemoryFileSystem fs;
  WalHarness harness(fs);
  REQUIRE(harness.Open().ok());
  uint64_t value = 0;
  REQUIRE(harness.Write(Samples(value, 10)).ok());
  fs.AddFault({.operation = io::FileOperation::kSyncData, .path_contains = "journal/"});
  CHECK_FALSE(harness.Write(Samples(value, 10)).ok());
  REQUIRE(WriteWhenTaken(harness, {}).ok());
  const MonotonicTime deadline = SystemClock().Monotonic() + std::chrono::seconds(20);
  while (harness.wal().stats().generations_sealed == 0 && SystemClock().Monotonic() < deadline) {
  }
  CHECK(harness.wal().stats().generations_sealed == 1);
  CHECK(JournalFiles(fs, ".spare").empty());
}

TEST_CASE("wal: the bytes of journals are those on the disk, before and after they are sealed") {
  io::MemoryFileSystem fs;
  WalHarness harness(fs);
  REQUIRE(harness.Open().ok());
  uint64_t value = 0;
  // A request that began before the rotation commits to the journal that was rotated.
  auto lease = harness.wal().Enter();
  REQUIRE(lease.ok());
  REQUIRE(harness.Write(Samples(value, 1)).ok());
  (void)harness.wal().Flush(SystemClock().Monotonic());
  const MonotonicTime deadline = SystemClock().Monotonic() + std::chrono::seconds(20);
  while (harness.wal().stats().sealing_generations == 0 && SystemClock().Monotonic() < deadline) {
  }
  PendingRecord record;
  const std::string body(300'000, 'b');
  record.body = body;
  std::promise<void> committed;
  record.context = &committed;
  record.done = [](PendingRecord* done) {
    static_cast<std::promise<void>*>(done->context)->set_value();
  };
  harness.wal().Commit(*lease, &record);
  committed.get_future().wait();
  REQUIRE(record.status.ok());
  CHECK(harness.wal().stats().journal_bytes == fs.UsedBytes());
  lease->Release();
  REQUIRE(harness.Flush().ok());
  const WalStats stats = harness.wal().stats();
  CHECK(stats.journal_bytes == kJournalHeaderBytes + kJournalEndBytes);
  CHECK(stats.journal_bytes + stats.journal_spare_bytes + harness.store().Totals().file_bytes ==
        fs.UsedBytes());
}

TEST_CASE("wal: a replay that is tried again counts its records once") {
  io::MemoryFileSystem fs;
  auto harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  uint64_t value = 0;
  const auto large = Samples(value, 60'000);  // of several reads
  REQUIRE(harness->Write(large).ok());
  REQUIRE(harness->Write(Samples(value, 10)).ok());
  REQUIRE(harness->Write(Samples(value, 60'000)).ok());
  Crash(fs, harness, {});
  harness = std::make_unique<WalHarness>(fs);
  fs.AddFault({.operation = io::FileOperation::kRead, .path_contains = "journal", .first = 5});
  REQUIRE(harness->Open().ok());
  REQUIRE(harness->Flush().ok());
  CHECK(harness->wal().stats().seal_errors == 1);
  CHECK(harness->wal().stats().replayed_records == 3);
  CHECK(harness->StoredValues().size() == value);
}

TEST_CASE("wal: a journal with a damaged header is replayed by its name") {
  io::MemoryFileSystem fs;
  auto harness = std::make_unique<WalHarness>(fs);
  REQUIRE(harness->Open().ok());
  uint64_t value = 0;
  for (int i = 0; i < 3; ++i) REQUIRE(harness->Write(Samples(value, 10)).ok());
  Crash(fs, harness, {});
  const auto journals = JournalFiles(fs, ".log");
  REQUIRE(journals.size() == 1);
  const size_t size = fs.Contents(journals[0])->size();
  SECTION("one byte of it") {
    REQUIRE(fs.Overwrite(journals[0], 3, "x").ok());
    harness = std::make_unique<WalHarness>(fs);
    REQUIRE(harness->Open().ok());
    REQUIRE(harness->Flush().ok());
    CHECK(harness->StoredValues().size() == 30);
    CHECK(harness->wal().stats().quarantined_records == 1);
  }
  SECTION("nothing of it can be read: the file is kept") {
    REQUIRE(fs.Overwrite(journals[0], 0, std::string(size, 'x')).ok());
    harness = std::make_unique<WalHarness>(fs);
    REQUIRE(harness->Open().ok());
    REQUIRE(harness->Flush().ok());
    CHECK(harness->StoredValues().empty());
    CHECK(harness->wal().stats().quarantined_records == 1);
    CHECK(harness->quarantine().bytes() == size);
  }
}

// The model: what was acknowledged, what was refused without an answer that counts, what was
// uploaded.
class Model {
 public:
  explicit Model(uint64_t seed) : random_(seed), seed_(seed) { Reopen(); }

  void Step() {
    switch (random_() % 10) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        Write();
        break;
      case 5:
        (void)harness_->Flush();
        break;
      case 6:
        Upload();
        break;
      case 7:
        InjectFault();
        break;
      case 8:
        CrashAndReopen();
        break;
      case 9:
        StopAndReopen();
        break;
    }
  }

  // Everything acknowledged is there or was uploaded; nothing twice; nothing that was refused or
  // never sent.
  void Verify() {
    fs_.ClearFaults();
    INFO("seed " << seed_);
    REQUIRE(harness_->Flush().ok());
    ValueCounts found = harness_->StoredValues();
    for (const auto& [value, count] : uploaded_) found[value] += count;
    for (const auto& [value, count] : found) {
      INFO("value " << value);
      REQUIRE(count == 1);
      REQUIRE(value <= next_value_);
    }
    for (const uint64_t value : acknowledged_) {
      INFO("value " << value);
      REQUIRE(found.count(value) == 1);
    }
    for (const uint64_t value : refused_) {
      INFO("value " << value);
      REQUIRE(found.count(value) == 0);
    }
  }

 private:
  void Reopen() {
    WalOptions options;
    options.generation.max_memory = {3 * 2 * sizeof(uint32_t) * 200'000};
    harness_ = std::make_unique<WalHarness>(fs_, options);
    const Status opened = harness_->Open();
    INFO("seed " << seed_ << (opened.ok() ? "" : opened.error().ToString()));
    REQUIRE(opened.ok());
  }

  void Write() {
    const uint64_t first = next_value_ + 1;
    const auto samples =
        Samples(next_value_, 1 + random_() % 40, static_cast<uint32_t>(random_() % 30));
    const bool written = harness_->Write(samples).ok();
    // A journal that was begun since says what failed. Where none could be begun, a power cut may
    // bring it back.
    if (!written && !harness_->wal().Enter().ok()) return;
    for (uint64_t value = first; value <= next_value_; ++value) {
      (written ? acknowledged_ : refused_).insert(value);
    }
  }

  void Upload() {
    for (const auto& [value, count] : harness_->UploadAll()) uploaded_[value] += count;
  }

  void InjectFault() {
    io::Fault fault;
    constexpr io::FileOperation kOperations[] = {
        io::FileOperation::kWrite, io::FileOperation::kSyncData, io::FileOperation::kSyncDirectory,
        io::FileOperation::kOpen,  io::FileOperation::kRename,   io::FileOperation::kSyncVolume};
    fault.operation = kOperations[random_() % 6];
    fault.first = 1 + random_() % 6;
    fault.error = random_() % 2 == 0 ? Error(ErrorCode::kIo, "injected")
                                     : Error(ErrorCode::kNoSpace, "injected");
    fault.short_write_bytes = random_() % 64;
    fs_.AddFault(fault);
  }

  void CrashAndReopen() {
    io::CrashOptions options;
    options.seed = random_();
    options.granularity = random_() % 2 == 0 ? 512 : 4096;
    options.keep_probability = static_cast<double>(random_() % 5) / 4.0;
    Crash(fs_, harness_, options);
    Reopen();
  }

  void StopAndReopen() {
    fs_.ClearFaults();
    (void)harness_->wal().Stop(SystemClock().Monotonic() + std::chrono::seconds(20));
    harness_.reset();
    Reopen();
  }

  std::mt19937_64 random_;
  const uint64_t seed_;
  io::MemoryFileSystem fs_;
  std::unique_ptr<WalHarness> harness_;
  uint64_t next_value_ = 0;
  std::set<uint64_t> acknowledged_;
  std::set<uint64_t> refused_;
  ValueCounts uploaded_;
};

TEST_CASE("wal: random writes, faults, crashes, stops and uploads agree with a simple model") {
  const char* asked = std::getenv("FOREBAY_TEST_MODEL_SEQUENCES");
  const uint64_t sequences = asked != nullptr ? std::strtoull(asked, nullptr, 10) : 100;
  const char* only = std::getenv("FOREBAY_TEST_MODEL_SEED");
  const uint64_t first = only != nullptr ? std::strtoull(only, nullptr, 10) : 1;
  for (uint64_t seed = first; seed < first + (only != nullptr ? 1 : sequences); ++seed) {
    Model model(seed);
    for (int step = 0; step < 25; ++step) model.Step();
    model.Verify();
  }
}

}  // namespace
}  // namespace forebay::wal
