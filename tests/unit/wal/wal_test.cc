// The write-ahead log: what is acknowledged survives crashes, once; and a model test of journals,
// generations and segments under random crashes.
#include "wal/wal.h"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <random>

#include "support/wal_harness.h"

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
  // Segments are written and synced, but the journal cannot be removed: the commit does not happen.
  fs.FailAlways(io::FileOperation::kRemove, Error(ErrorCode::kIo, "cannot remove"));
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

  // Everything acknowledged is there or was uploaded; nothing twice; nothing that was never sent.
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
    if (harness_->Write(samples).ok()) {
      for (uint64_t value = first; value <= next_value_; ++value) acknowledged_.insert(value);
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
