// From sealed segments to files, through batcher, queue, workers and sinks; and through crashes.
#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <thread>

#include "batch/batcher.h"
#include "io/memory_file_system.h"
#include "support/segments.h"
#include "upload/dead_letter_replay.h"
#include "upload/dead_letters.h"
#include "upload/file/file_sink.h"
#include "upload/rejected_rows.h"
#include "upload/worker.h"

namespace forebay::upload {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using testing::FilesBelow;
using testing::Gunzip;
using testing::kLoseAll;
using testing::SegmentMaker;

// A sink that does what the test says, and remembers what it was given.
class FakeSink final : public Sink {
 public:
  struct Script {
    std::function<Status(const BatchHeader&)> answer;  // empty: OK
    std::function<void()> during;                      // runs inside Upload
    RejectedRows rejected;                             // of each batch
    std::vector<bool> maybe_there;                     // of each upload
    std::vector<std::string> delivered;                // ids, in order
    uint64_t uploads = 0;
    uint64_t prepares = 0;
    Mutex mutex;
  };
  FakeSink(std::string name, std::shared_ptr<Script> script)
      : name_(std::move(name)), script_(std::move(script)) {}

  const std::string& name() const override { return name_; }
  Status Prepare(const TableTarget&) override {
    MutexLock lock(script_->mutex);
    ++script_->prepares;
    return OkStatus();
  }
  Result<Receipt> Upload(const BatchHeader& header, BatchReader& reader) override {
    if (script_->during) script_->during();
    while (true) {
      FOREBAY_ASSIGN_OR_RETURN(const RunKind kind, reader.Next());
      if (kind == RunKind::kEnd) break;
    }
    MutexLock lock(script_->mutex);
    ++script_->uploads;
    script_->maybe_there.push_back(header.maybe_there);
    if (script_->answer) FOREBAY_RETURN_IF_ERROR(script_->answer(header));
    script_->delivered.push_back(header.id);
    Receipt receipt;
    receipt.text = "fake";
    receipt.rejected = script_->rejected;
    receipt.rows = reader.stats().rows - receipt.rejected.rows;
    return receipt;
  }

 private:
  const std::string name_;
  std::shared_ptr<Script> script_;
};

Status Down(const BatchHeader&) { return Error(ErrorCode::kUnavailable, "down"); }
Status Refuse(const BatchHeader&) { return Error(ErrorCode::kInvalidArgument, "no such column"); }

// One run of the process over a file system that outlives it.
struct Process {
  Process(io::FileSystem& fs, const Clock& clock, SinkSet sinks, config::Batch limits = {},
          uint32_t workers = 2, uint64_t max_dead_letters = UINT64_MAX)
      : store(fs, clock, "segments"),
        quarantine(fs, "quarantine"),
        manifests(fs, "batches", quarantine),
        queue(clock, {}) {
    batch::BatcherOptions options;
    options.batch = limits;
    options.sinks = sinks.Names();
    config::Upload upload;
    upload.workers = workers;
    pool = std::make_unique<UploadPool>(
        upload, DeadLetterPlace{"dlq", max_dead_letters}, std::move(sinks),
        UploadParts{fs, clock, store, manifests, queue, quarantine, registry});
    batcher = std::make_unique<batch::Batcher>(options, clock, store, manifests, queue, registry);
  }

  Status Load() {
    FOREBAY_RETURN_IF_ERROR(quarantine.Open());
    FOREBAY_RETURN_IF_ERROR(store.LoadExisting());
    return batcher->Resume();
  }
  // Plans by `reason` and works until nothing is due.
  void Work(const Clock& clock, wal::BatchReason reason = wal::BatchReason::kSize) {
    for (int round = 0; round < 50; ++round) {
      const size_t planned = batcher->RunOnce(reason);
      bool worked = false;
      for (int n = 0; n < 50 && pool->RunOnce(clock.Monotonic()); ++n) worked = true;
      if (planned == 0 && !worked) return;
    }
  }

  metrics::Registry registry;
  wal::SegmentStore store;
  wal::Quarantine quarantine;
  wal::ManifestStore manifests;
  wal::BatchQueue queue;
  std::unique_ptr<UploadPool> pool;
  std::unique_ptr<batch::Batcher> batcher;
};

SinkSet FileSinks(io::FileSystem& fs) {
  config::Database database;
  database.name = "Metrics";
  database.sinks.push_back(
      {.name = "", .file = config::FileSink{.root = "out", .compression_level = 1}});
  static const SystemClock clock;
  static metrics::Registry registry;
  return *SinkSet::Create(std::span(&database, 1), {fs, clock, registry});
}

SinkSet Fakes(std::vector<std::pair<std::string, std::shared_ptr<FakeSink::Script>>> sinks) {
  SinkSet set;
  for (auto& [name, script] : sinks)
    REQUIRE(set.Add("Metrics", std::make_unique<FakeSink>(name, script)).ok());
  return set;
}

constexpr uint64_t kId = (1'793'577'600'000 - 1'388'534'400'000ULL) << 23;  // 2026-11-02T00:00:00Z

void MakeSegments(io::FileSystem& fs) {
  SegmentMaker maker(fs, "segments");
  maker.Write("Cpu", kId + 1, {{5, "a", {1, 2}, {1, 2}}, {6, "b", {1}, {3}}});
  maker.Write("Cpu", kId + 2, {{4, "c", {9}, {9}}, {5, "a", {3}, {3}}});
  maker.Write("Mem", kId + 1, {{7, "a", {1}, {1}}});
}

// All data lines of the files, sorted; each file's header checked.
std::vector<std::string> DeliveredLines(io::FileSystem& fs) {
  std::vector<std::string> lines;
  for (const auto& [path, bytes] : FilesBelow(fs, "out", ".csv.gz")) {
    const std::string csv = Gunzip(bytes);
    size_t begin = csv.find('\n') + 1;
    CHECK(csv.substr(0, begin) == "Timestamp,SeriesId,Labels,Value\n");
    while (begin < csv.size()) {
      const size_t end = csv.find('\n', begin);
      lines.push_back(csv.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

struct Fixture {
  io::MemoryFileSystem fs;
  ManualClock clock{UnixMillis{1'793'577'700'000}};
  Fixture() { MakeSegments(fs); }
};

TEST_CASE_METHOD(Fixture, "delivery: segments become one file per table, then go") {
  Process process(fs, clock, FileSinks(fs));
  REQUIRE(process.Load().ok());
  process.Work(clock);
  CHECK(FilesBelow(fs, "out", ".csv.gz").empty());  // small and young: they wait
  clock.Advance(minutes(5));
  process.Work(clock);
  fs.Crash(kLoseAll);
  const auto files = FilesBelow(fs, "out", ".csv.gz");
  REQUIRE(files.size() == 2);
  CHECK(files.begin()->first.starts_with("out/Metrics/Cpu/2026/11/02/"));
  CHECK(Gunzip(files.begin()->second) ==
        "Timestamp,SeriesId,Labels,Value\n"
        "1970-01-01T00:00:00.009Z,4,\"{\"\"host\"\":\"\"c\"\"}\",9\n"
        "1970-01-01T00:00:00.001Z,5,\"{\"\"host\"\":\"\"a\"\"}\",1\n"
        "1970-01-01T00:00:00.002Z,5,\"{\"\"host\"\":\"\"a\"\"}\",2\n"
        "1970-01-01T00:00:00.003Z,5,\"{\"\"host\"\":\"\"a\"\"}\",3\n"
        "1970-01-01T00:00:00.001Z,6,\"{\"\"host\"\":\"\"b\"\"}\",3\n");
  CHECK(fs.List("segments")->empty());
  CHECK(fs.List("batches")->empty());
  CHECK(process.queue.size() == 0);
  CHECK(process.store.Totals().segments == 0);
  const std::string metrics = process.registry.Expose();
  CHECK(metrics.find("forebay_upload_rows_total{database=\"Metrics\",sink=\"file\"} 6") !=
        std::string::npos);
  CHECK(metrics.find("forebay_batch_planned_total{reason=\"age\"} 2") != std::string::npos);
  CHECK(metrics.find("forebay_upload_row_mismatch_total 0") != std::string::npos);
  const auto statuses = process.pool->SinkStatuses();
  REQUIRE(statuses.size() == 1);
  CHECK(statuses[0].delivered_rows == 6);
  CHECK(statuses[0].in_flight == 0);
}

// The oracle of the two tests below: whatever happened before, one more run delivers each row once.
void CheckDeliveredOnce(io::MemoryFileSystem& fs, const std::vector<std::string>& expected) {
  ManualClock clock{UnixMillis{1'793'577'900'000}};
  {
    Process process(fs, clock, FileSinks(fs));
    REQUIRE(process.Load().ok());
    process.Work(clock, wal::BatchReason::kFlush);
    REQUIRE(process.queue.size() == 0);
  }
  REQUIRE(DeliveredLines(fs) == expected);
  REQUIRE(FilesBelow(fs, "out", ".csv.gz").size() == 2);
  REQUIRE(fs.List("segments")->empty());
  REQUIRE(fs.List("batches")->empty());
  REQUIRE(FilesBelow(fs, "quarantine", "").empty());
}

TEST_CASE("delivery: a crash at any operation is continued, and every row is delivered once") {
  std::vector<std::string> expected;
  {
    io::MemoryFileSystem fs;
    MakeSegments(fs);
    ManualClock clock{UnixMillis{1'793'577'700'000}};
    Process process(fs, clock, FileSinks(fs));
    REQUIRE(process.Load().ok());
    process.Work(clock, wal::BatchReason::kFlush);
    expected = DeliveredLines(fs);
    REQUIRE(expected.size() == 6);
  }
  uint64_t crashes = 0;
  for (uint64_t n = 1; n < 1000; ++n) {
    for (const double keep : {0.0, 0.5, 1.0}) {
      io::MemoryFileSystem fs;
      MakeSegments(fs);
      ManualClock clock{UnixMillis{1'793'577'700'000}};
      const uint64_t before = fs.OperationCount();
      {
        Process process(fs, clock, FileSinks(fs));
        // The process lives on and sees every operation fail, which a dead one does not; the disk
        // sees the same.
        io::Fault fault;
        fault.first = n;
        fault.count = io::Fault::kForever;
        fs.AddFault(fault);
        if (process.Load().ok()) process.Work(clock, wal::BatchReason::kFlush);
      }
      const bool crashed = fs.OperationCount() - before >= n;
      io::CrashOptions crash;
      crash.seed = n;
      crash.keep_probability = keep;
      fs.Crash(crash);
      CheckDeliveredOnce(fs, expected);
      if (!crashed) {
        CHECK(crashes > 60);
        return;
      }
    }
    ++crashes;
  }
  FAIL("the run does not end");
}

TEST_CASE("delivery: a single failing operation anywhere is tried again by the same process") {
  std::vector<std::string> expected;
  for (uint64_t n = 0; n < 1000; ++n) {
    io::MemoryFileSystem fs;
    MakeSegments(fs);
    ManualClock clock{UnixMillis{1'793'577'700'000}};
    Process process(fs, clock, FileSinks(fs));
    REQUIRE(process.Load().ok());
    const uint64_t before = fs.OperationCount();
    if (n > 0) fs.FailNth(io::FileOperation::kAny, n, Error(ErrorCode::kIo, "injected"));
    INFO("operation " << n);
    for (int tries = 0; tries < 4; ++tries) {
      process.Work(clock, wal::BatchReason::kFlush);
      clock.Advance(minutes(6));
    }
    const bool failed = fs.OperationCount() - before >= n;
    fs.ClearFaults();
    REQUIRE(process.queue.size() == 0);
    REQUIRE(fs.List("segments")->empty());
    REQUIRE(fs.List("batches")->empty());
    const auto lines = DeliveredLines(fs);
    if (n == 0) expected = lines;
    REQUIRE(lines == expected);
    if (!failed) {
      CHECK(n > 50);
      return;
    }
  }
  FAIL("the run does not end");
}

TEST_CASE_METHOD(Fixture,
                 "delivery: a restart keeps the batch's id though more segments have come") {
  auto script = std::make_shared<FakeSink::Script>();
  std::vector<std::string> tried;
  script->answer = [&](const BatchHeader& header) {
    tried.push_back(header.id);
    return Down(header);
  };
  {
    Process process(fs, clock, Fakes({{"a", script}}));
    REQUIRE(process.Load().ok());
    process.Work(clock, wal::BatchReason::kFlush);
  }
  REQUIRE(tried.size() == 1);
  REQUIRE(fs.List("batches")->size() == 2);
  SegmentMaker(fs, "segments").Write("Cpu", kId + 3, {{5, "a", {4}, {4}}});
  fs.Crash(kLoseAll);
  script->answer = nullptr;
  {
    Process process(fs, clock, Fakes({{"a", script}}));
    REQUIRE(process.Load().ok());
    process.Work(clock, wal::BatchReason::kFlush);
  }
  CHECK(script->delivered.size() == 3);
  CHECK(std::count(script->delivered.begin(), script->delivered.end(), tried[0]) == 1);
  CHECK(fs.List("segments")->empty());
}

TEST_CASE_METHOD(Fixture, "delivery: a damaged manifest's batch is found again under its id") {
  auto script = std::make_shared<FakeSink::Script>();
  script->answer = Down;
  {
    Process process(fs, clock, Fakes({{"a", script}}));
    REQUIRE(process.Load().ok());
    process.Work(clock, wal::BatchReason::kFlush);
  }
  std::set<std::string> ids;
  const auto batches = fs.List("batches");
  for (const auto& entry : *batches) {
    ids.insert(entry.name.substr(0, 33));
    REQUIRE(fs.Overwrite("batches/" + entry.name, 30, "X").ok());
  }
  SegmentMaker(fs, "segments").Write("Cpu", kId + 3, {{5, "a", {4}, {4}}});
  script->answer = nullptr;
  Process process(fs, clock, Fakes({{"a", script}}));
  REQUIRE(process.Load().ok());
  process.Work(clock, wal::BatchReason::kFlush);
  CHECK(process.quarantine.files() == 2);
  REQUIRE(script->delivered.size() == 3);
  for (const std::string& id : ids) {
    CHECK(std::count(script->delivered.begin(), script->delivered.end(), id) == 1);
  }
}

TEST_CASE_METHOD(Fixture,
                 "delivery: a refused batch goes to the dead letters whole, with the reason") {
  auto script = std::make_shared<FakeSink::Script>();
  script->answer = [](const BatchHeader& header) {
    return header.target.table == "Cpu" ? Refuse(header) : OkStatus();
  };
  Process process(fs, clock, Fakes({{"a", script}}));
  REQUIRE(process.Load().ok());
  process.Work(clock, wal::BatchReason::kFlush);
  fs.Crash(kLoseAll);
  CHECK(script->delivered.size() == 1);
  CHECK(FilesBelow(fs, "dlq", ".wal").size() == 2);
  const auto reasons = FilesBelow(fs, "dlq", "reason.json");
  REQUIRE(reasons.size() == 1);
  CHECK(reasons.begin()->second.find("no such column") != std::string::npos);
  CHECK(reasons.begin()->second.starts_with("{\"batch\":\""));
  const auto manifests = FilesBelow(fs, "dlq", "manifest.batch");
  REQUIRE(manifests.size() == 1);
  CHECK(wal::ParseManifest(manifests.begin()->second)->failed());
  CHECK(fs.List("segments")->empty());
  CHECK(fs.List("batches")->empty());
  const std::string metrics = process.registry.Expose();
  CHECK(metrics.find("forebay_upload_dead_letter_batches_total 1") != std::string::npos);
  CHECK(metrics.find("forebay_dead_letter_batches 1") != std::string::npos);
  // The clock stands 100 s after the first segment.
  CHECK(metrics.find("forebay_dead_letter_oldest_age_seconds 100") != std::string::npos);
  CHECK(metrics.find("forebay_dead_letter_bytes 0") == std::string::npos);
}

TEST_CASE_METHOD(Fixture, "delivery: a conflict of schemas is a refusal that counts as drift") {
  auto script = std::make_shared<FakeSink::Script>();
  script->answer = [](const BatchHeader& header) -> Status {
    if (header.target.table == "Cpu") return SchemaConflict("column Value is String");
    return Refuse(header);
  };
  Process process(fs, clock, Fakes({{"a", script}}));
  REQUIRE(process.Load().ok());
  process.Work(clock, wal::BatchReason::kFlush);
  const std::string metrics = process.registry.Expose();
  CHECK(metrics.find("forebay_upload_dead_letter_batches_total 2") != std::string::npos);
  CHECK(metrics.find("forebay_schema_drift_batches_total{database=\"Metrics\",sink=\"a\"} 1") !=
        std::string::npos);
}

TEST_CASE_METHOD(Fixture,
                 "dead letters: above their limit refused batches wait, and lose nothing") {
  auto script = std::make_shared<FakeSink::Script>();
  script->answer = Refuse;
  {
    // The first of the two has room whatever its size.
    Process process(fs, clock, Fakes({{"a", script}}), {}, 2, 1);
    REQUIRE(process.Load().ok());
    process.Work(clock, wal::BatchReason::kFlush);
    CHECK(script->uploads == 2);
    CHECK(fs.List("dlq")->size() == 1);
    CHECK(process.queue.size() == 1);
    const DeadLetterStatus status = process.pool->DeadLettersNow();
    CHECK(status.waiting_batches == 1);
    CHECK(status.max_bytes == 1);
    const std::string metrics = process.registry.Expose();
    CHECK(metrics.find("forebay_dead_letters_full 1") != std::string::npos);
    CHECK(metrics.find("forebay_dead_letter_waiting_batches 1") != std::string::npos);
    clock.Advance(minutes(1));
    process.Work(clock);
    CHECK(process.queue.size() == 1);
  }
  // What the sink said is known after a restart, and is not asked again.
  fs.Crash(kLoseAll);
  Process process(fs, clock, Fakes({{"a", script}}), {}, 2, 1);
  REQUIRE(process.Load().ok());
  process.Work(clock);
  CHECK(process.queue.size() == 1);
  // Somebody makes room.
  for (const auto& [path, bytes] : FilesBelow(fs, "dlq", "")) REQUIRE(fs.Remove(path).ok());
  clock.Advance(minutes(1));
  process.Work(clock);
  CHECK(process.queue.size() == 0);
  CHECK(script->uploads == 2);
  CHECK(process.pool->DeadLettersNow().waiting_batches == 0);
  CHECK(process.registry.Expose().find("forebay_dead_letters_full 0") != std::string::npos);
  CHECK(fs.List("segments")->empty());
}

TEST_CASE("dead letters: their limit is a tenth of the disk's unless it is set") {
  config::Storage storage;
  storage.dir = "data";
  CHECK(DeadLetterPlaceOf(storage).directory == "data/dlq");
  CHECK(DeadLetterPlaceOf(storage).max_bytes == storage.max_disk.value / 10);
  storage.dead_letters_max = ByteCount{77};
  CHECK(DeadLetterPlaceOf(storage).max_bytes == 77);
}

TEST_CASE("workers: those of one database leave one to the others, unless it is the only one") {
  config::Upload upload;
  upload.workers = 8;
  CHECK(BatchesPerDatabase(upload, 1) == 8);
  CHECK(BatchesPerDatabase(upload, 3) == 7);
  upload.per_database = 2;
  CHECK(BatchesPerDatabase(upload, 1) == 2);
  CHECK(BatchesPerDatabase(upload, 3) == 2);
  CHECK(BatchesPerDatabase({.workers = 1}, 3) == 1);
}

TEST_CASE_METHOD(
    Fixture,
    "delivery: each sink gets a batch once, though another is down and the process restarts") {
  auto up = std::make_shared<FakeSink::Script>();
  auto down = std::make_shared<FakeSink::Script>();
  down->answer = Down;
  {
    Process process(fs, clock, Fakes({{"down", down}, {"up", up}}));
    REQUIRE(process.Load().ok());
    process.Work(clock, wal::BatchReason::kFlush);
    CHECK(up->delivered.size() == 2);
    clock.Advance(minutes(6));
    process.Work(clock);
    CHECK(up->delivered.size() == 2);
    CHECK(process.store.Totals().segments == 3);
  }
  fs.Crash(kLoseAll);
  down->answer = nullptr;
  Process process(fs, clock, Fakes({{"down", down}, {"up", up}}));
  REQUIRE(process.Load().ok());
  process.Work(clock);
  CHECK(up->delivered.size() == 2);
  CHECK(down->delivered.size() == 2);
  CHECK(fs.List("segments")->empty());
}

TEST_CASE_METHOD(Fixture, "delivery: a database whose sink is down does not hold back another") {
  for (uint64_t i = 0; i < 60; ++i)
    SegmentMaker(fs, "segments").Write("T" + std::to_string(i), kId, {{1, "h", {1}, {1}}});
  // The same segments for a second database.
  const auto originals = fs.List("segments");
  for (const auto& entry : *originals) {
    const auto bytes = *fs.Contents("segments/" + entry.name);
    REQUIRE(io::WriteFileDurably(fs, "segments/Other" + entry.name.substr(7), bytes).ok());
  }
  auto up = std::make_shared<FakeSink::Script>();
  auto down = std::make_shared<FakeSink::Script>();
  down->answer = Down;
  SinkSet sinks;
  REQUIRE(sinks.Add("Metrics", std::make_unique<FakeSink>("a", down)).ok());
  REQUIRE(sinks.Add("Other", std::make_unique<FakeSink>("a", up)).ok());
  Process process(fs, clock, std::move(sinks));
  REQUIRE(process.Load().ok());
  process.Work(clock, wal::BatchReason::kFlush);
  CHECK(up->delivered.size() == 62);
  CHECK(down->uploads < 5);           // after the first failures it is left alone
  CHECK(process.queue.size() == 32);  // as many batches as a dead sink may hold
  const auto statuses = process.pool->SinkStatuses();
  REQUIRE(statuses.size() == 2);
  CHECK(statuses[0].database == "Metrics");
  CHECK(statuses[0].last_error == "unavailable: down");
  // It comes back: what waits goes at once, not after each batch's own backoff.
  down->answer = nullptr;
  clock.Advance(minutes(5));
  process.Work(clock, wal::BatchReason::kFlush);
  CHECK(down->delivered.size() == 62);
  CHECK(process.queue.size() == 0);
}

// Holds what calls Wait until Open.
class Latch {
 public:
  void Wait() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    ++waiting_;
    changed_.NotifyAll();
    while (!open_) changed_.Wait(lock);
  }
  void Open() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    open_ = true;
    changed_.NotifyAll();
  }
  // False when not so many wait after 20 s.
  bool WaitFor(int waiting) EXCLUDES(mutex_) {
    const MonotonicTime deadline = SystemClock().Monotonic() + seconds(20);
    MutexLock lock(mutex_);
    while (waiting_ < waiting) {
      if (!changed_.WaitUntil(lock, deadline)) return waiting_ >= waiting;
    }
    return true;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  int waiting_ GUARDED_BY(mutex_) = 0;
  bool open_ GUARDED_BY(mutex_) = false;
};

// Sinks by database and name; every database has 20 tables.
struct HangFixture {
  io::MemoryFileSystem fs;
  SystemClock clock;
  std::shared_ptr<FakeSink::Script> hanging = std::make_shared<FakeSink::Script>();
  std::shared_ptr<FakeSink::Script> well = std::make_shared<FakeSink::Script>();
  Latch latch;

  void MakeTables(const std::string& database) {
    SegmentMaker maker(fs, "segments");
    for (uint64_t i = 0; i < 20; ++i) {
      const std::string name = maker.Write("T" + std::to_string(i), kId, {{1, "h", {1}, {1}}});
      if (database == "Metrics") continue;
      const auto bytes = *fs.Contents("segments/" + name);
      REQUIRE(io::WriteFileDurably(fs, "segments/" + database + name.substr(7), bytes).ok());
    }
  }
  // The sink works once, and from then on never ends a try.
  void HangAfterFirst() {
    hanging->during = [this, first = std::make_shared<std::atomic<bool>>(true)] {
      if (!first->exchange(false)) latch.Wait();
    };
  }
  bool WaitFor(const std::shared_ptr<FakeSink::Script>& script, size_t delivered) {
    const MonotonicTime deadline = clock.Monotonic() + seconds(20);
    while (clock.Monotonic() < deadline) {
      {
        MutexLock lock(script->mutex);
        if (script->delivered.size() >= delivered) return true;
      }
      std::this_thread::yield();
    }
    return false;
  }
};

TEST_CASE_METHOD(HangFixture, "delivery: a sink that begins to hang leaves workers to the others") {
  MakeTables("Other");
  MakeTables("Metrics");
  HangAfterFirst();
  SinkSet sinks;
  REQUIRE(sinks.Add("Metrics", std::make_unique<FakeSink>("a", hanging)).ok());
  REQUIRE(sinks.Add("Other", std::make_unique<FakeSink>("a", well)).ok());
  Process process(fs, clock, std::move(sinks), {}, 3);
  REQUIRE(process.Load().ok());
  process.pool->Start();
  (void)process.batcher->RunOnce(wal::BatchReason::kFlush);
  CHECK(latch.WaitFor(2));  // all but one
  (void)process.batcher->RunOnce(wal::BatchReason::kFlush);
  (void)process.batcher->RunOnce(wal::BatchReason::kFlush);
  CHECK(WaitFor(well, 20));
  latch.Open();
  CHECK(WaitFor(hanging, 20));
  CHECK(process.pool->Stop(clock.Monotonic() + seconds(20)).ok());
}

TEST_CASE_METHOD(HangFixture,
                 "delivery: a sink that hangs does not keep batches from another one") {
  MakeTables("Metrics");
  HangAfterFirst();
  Process process(fs, clock, Fakes({{"hanging", hanging}, {"well", well}}), {}, 2);
  REQUIRE(process.Load().ok());
  process.pool->Start();
  (void)process.batcher->RunOnce(wal::BatchReason::kFlush);
  CHECK(latch.WaitFor(1));
  (void)process.batcher->RunOnce(wal::BatchReason::kFlush);
  // All but the one with which the other hangs.
  CHECK(WaitFor(well, 19));
  latch.Open();
  CHECK(WaitFor(hanging, 20));
  CHECK(WaitFor(well, 20));
  CHECK(process.pool->Stop(clock.Monotonic() + seconds(20)).ok());
}

TEST_CASE_METHOD(Fixture, "delivery: one sick table does not close its sink for the others") {
  for (uint64_t i = 0; i < 20; ++i)
    SegmentMaker(fs, "segments").Write("T" + std::to_string(i), kId, {{1, "h", {1}, {1}}});
  auto script = std::make_shared<FakeSink::Script>();
  script->answer = [](const BatchHeader& header) {
    return header.target.table == "Cpu" ? Down(header) : OkStatus();
  };
  Process process(fs, clock, Fakes({{"a", script}}));
  REQUIRE(process.Load().ok());
  process.Work(clock, wal::BatchReason::kFlush);
  clock.Advance(seconds(2));
  process.Work(clock, wal::BatchReason::kFlush);
  CHECK(script->delivered.size() == 21);
  CHECK(process.queue.size() == 1);
}

TEST_CASE_METHOD(Fixture,
                 "delivery: a batch without its sink in the configuration waits, with the reason") {
  auto script = std::make_shared<FakeSink::Script>();
  script->answer = Down;
  {
    Process process(fs, clock, Fakes({{"old", script}}));
    REQUIRE(process.Load().ok());
    process.Work(clock, wal::BatchReason::kFlush);
  }
  SECTION("no sink at all: kept") {
    Process process(fs, clock, SinkSet());
    REQUIRE(process.Load().ok());
    process.Work(clock);
    REQUIRE(process.queue.Snapshot(10).size() == 2);
    CHECK(process.queue.Snapshot(10)[0].last_error.find("no sink old") != std::string::npos);
    CHECK(process.store.Totals().segments == 3);
  }
  SECTION("another sink: it gets the batch under the same id") {
    auto fresh = std::make_shared<FakeSink::Script>();
    Process process(fs, clock, Fakes({{"new", fresh}}));
    REQUIRE(process.Load().ok());
    process.Work(clock);
    CHECK(fresh->delivered.size() == 2);
    CHECK(fs.List("segments")->empty());
  }
}

TEST_CASE_METHOD(
    Fixture, "delivery: damage in a segment costs its block, the rest is delivered and counted") {
  const std::string name = SegmentMaker(fs, "segments")
                               .Write("Bad", kId, {{1, "h", {1}, {1}}, {2, "h", {2}, {2}}}, "", 1);
  REQUIRE(fs.Overwrite("segments/" + name, 20, "XX").ok());
  Process process(fs, clock, FileSinks(fs));
  REQUIRE(process.Load().ok());
  process.Work(clock, wal::BatchReason::kFlush);
  CHECK(DeliveredLines(fs).size() == 7);
  CHECK(process.quarantine.files() == 1);
  const std::string metrics = process.registry.Expose();
  CHECK(metrics.find("forebay_wal_corrupt_blocks_total 1") != std::string::npos);
  CHECK(metrics.find("forebay_upload_row_mismatch_total 0") != std::string::npos);
  CHECK(fs.List("segments")->empty());
  const wal::RowCounts rows = process.store.rows().Snapshot().at("Metrics");
  CHECK(rows.recovered == 8);
  CHECK(rows.uploaded == 7);
  CHECK(rows.quarantined == 1);
  CHECK(rows.in() == rows.out());
}

TEST_CASE_METHOD(Fixture, "delivery: rows count as uploaded once every sink has them") {
  auto good = std::make_shared<FakeSink::Script>();
  auto other = std::make_shared<FakeSink::Script>();
  other->answer = Down;
  Process process(fs, clock, Fakes({{"good", good}, {"other", other}}));
  REQUIRE(process.Load().ok());
  process.Work(clock, wal::BatchReason::kFlush);
  const auto rows = [&] { return process.store.rows().Snapshot().at("Metrics"); };
  CHECK(good->delivered.size() == 2);
  CHECK(rows().uploaded == 0);
  CHECK(rows().pending() == 6);
  CHECK(rows().in() == rows().out());
  const auto work_on = [&] {
    clock.Advance(minutes(10));
    process.Work(clock, wal::BatchReason::kFlush);
  };
  SECTION("the other takes them later") {
    other->answer = nullptr;
    work_on();
    CHECK(rows().uploaded == 6);
  }
  SECTION("the other refuses them: dead letters, though one sink has them") {
    other->answer = Refuse;
    work_on();
    CHECK(rows().uploaded == 0);
    CHECK(rows().dead_lettered == 6);
  }
  CHECK(rows().pending() == 0);
  CHECK(rows().in() == rows().out());
}

// One run of the daemon, as far as dead letters go.
void ReplayAndWork(io::MemoryFileSystem& fs, const Clock& clock, SinkSet sinks) {
  {
    wal::Quarantine quarantine(fs, "quarantine");
    if (!quarantine.Open().ok()) return;
    wal::ManifestStore manifests(fs, "batches", quarantine);
    const ReplayOptions options{"dlq", "segments", {}, {}};
    if (!ReplayDeadLetters(fs, manifests, options).ok()) return;
  }
  Process process(fs, clock, std::move(sinks));
  if (process.Load().ok()) process.Work(clock, wal::BatchReason::kFlush);
}

TEST_CASE("dead letters: a replay goes once to the sink that refused, whatever breaks it off") {
  uint64_t crashes = 0;
  for (uint64_t n = 1; n < 1000; ++n) {
    io::MemoryFileSystem fs;
    MakeSegments(fs);
    ManualClock clock{UnixMillis{1'793'577'700'000}};
    auto good = std::make_shared<FakeSink::Script>();
    auto strict = std::make_shared<FakeSink::Script>();
    const auto sinks = [&] { return Fakes({{"good", good}, {"strict", strict}}); };
    strict->answer = Refuse;
    ReplayAndWork(fs, clock, sinks());
    REQUIRE(good->delivered.size() == 2);
    REQUIRE(FilesBelow(fs, "dlq", ".wal").size() == 3);
    for (const auto& [path, text] : FilesBelow(fs, "dlq", "reason.json")) {
      const std::string marker = path.substr(0, path.rfind('/')) + "/replay";
      REQUIRE(io::WriteFileDurably(fs, marker, "").ok());
    }
    strict->answer = nullptr;
    const uint64_t before = fs.OperationCount();
    {
      io::Fault fault;
      fault.first = n;
      fault.count = io::Fault::kForever;
      fs.AddFault(fault);
      ReplayAndWork(fs, clock, sinks());
    }
    const bool crashed = fs.OperationCount() - before >= n;
    io::CrashOptions crash;
    crash.seed = n;
    crash.keep_probability = static_cast<double>(n % 3) / 2;
    fs.Crash(crash);
    ReplayAndWork(fs, clock, sinks());
    // By id: the sink knows those that it has.
    CHECK(std::set<std::string>(strict->delivered.begin(), strict->delivered.end()).size() == 2);
    CHECK(good->delivered.size() == 2);
    REQUIRE(FilesBelow(fs, "dlq", "").empty());
    REQUIRE(fs.List("segments")->empty());
    REQUIRE(fs.List("batches")->empty());
    if (!crashed) {
      CHECK(crashes > 20);
      return;
    }
    ++crashes;
  }
  FAIL("the run does not end");
}

TEST_CASE_METHOD(Fixture,
                 "delivery: rows that a sink rejects alone are kept, the others are there") {
  auto script = std::make_shared<FakeSink::Script>();
  script->rejected.header = "Timestamp:datetime,Value:real\n";
  script->rejected.Add("1970-01-01T00:00:00.001Z,1", "no such \"day\"");
  Process process(fs, clock, Fakes({{"a", script}}));
  REQUIRE(process.Load().ok());
  process.Work(clock, wal::BatchReason::kFlush);
  fs.Crash(kLoseAll);
  CHECK(fs.List("segments")->empty());
  const auto kept = FilesBelow(fs, "dlq", "rejected.a.csv");
  REQUIRE(kept.size() == 2);
  CHECK(kept.begin()->second == "Timestamp:datetime,Value:real\n1970-01-01T00:00:00.001Z,1\n");
  const auto reasons = FilesBelow(fs, "dlq", "rejected.a.json");
  REQUIRE(reasons.size() == 2);
  CHECK(reasons.begin()->second.find("\"reason\":\"no such \\\"day\\\"\",\"rows\":1}") !=
        std::string::npos);
  const auto rows = process.store.rows().Snapshot().at("Metrics");
  CHECK(rows.uploaded == 4);
  CHECK(rows.dead_lettered == 2);
  CHECK(rows.in() == rows.out());
  const std::string metrics = process.registry.Expose();
  CHECK(metrics.find("forebay_upload_rejected_rows_total 2") != std::string::npos);
  CHECK(metrics.find("forebay_upload_row_mismatch_total 0") != std::string::npos);
}

// Rejects the row with 1 in it of every batch of more than one row, at first.
struct RejectFixture {
  io::MemoryFileSystem fs;
  ManualClock clock{UnixMillis{1'793'577'700'000}};
  std::shared_ptr<FakeSink::Script> picky = std::make_shared<FakeSink::Script>();
  std::shared_ptr<FakeSink::Script> other = std::make_shared<FakeSink::Script>();

  void Reject() {
    MakeSegments(fs);
    picky->rejected.header = table::DefaultMetricsSchema().header_line();
    picky->rejected.Add("1970-01-01T00:00:00.001Z,5,\"{\"\"a\"\":\"\"two\nlines\"\"}\",1", "no");
    ReplayAndWork(fs, clock, Sinks());
    REQUIRE(FilesBelow(fs, "dlq", "rejected.picky.csv").size() == 2);
    picky->rejected = RejectedRows();
  }
  SinkSet Sinks() const { return Fakes({{"picky", picky}, {"other", other}}); }
  void AskForAll() {
    for (const auto& [path, text] : FilesBelow(fs, "dlq", ".json")) {
      REQUIRE(io::WriteFileDurably(fs, io::JoinPath(io::DirectoryOf(path), "replay"), "").ok());
    }
  }
};

TEST_CASE(
    "dead letters: rejected rows go once to the sink that rejected them, whatever breaks in") {
  uint64_t crashes = 0;
  std::set<std::string> ids;
  for (uint64_t n = 1; n < 1000; ++n) {
    RejectFixture f;
    f.Reject();
    f.AskForAll();
    REQUIRE(f.picky->delivered.size() == 2);
    const uint64_t before = f.fs.OperationCount();
    io::Fault fault;
    fault.first = n;
    fault.count = io::Fault::kForever;
    f.fs.AddFault(fault);
    ReplayAndWork(f.fs, f.clock, f.Sinks());
    const bool crashed = f.fs.OperationCount() - before >= n;
    io::CrashOptions crash;
    crash.seed = n;
    crash.keep_probability = static_cast<double>(n % 3) / 2;
    f.fs.Crash(crash);
    for (int run = 0; run < 2; ++run) ReplayAndWork(f.fs, f.clock, f.Sinks());
    INFO("operation " << n);
    // The batches' own ids and two others, the same in every run: a sink knows those that it has.
    const std::set<std::string> delivered(f.picky->delivered.begin(), f.picky->delivered.end());
    REQUIRE(delivered.size() == 4);
    ids.insert(delivered.begin(), delivered.end());
    REQUIRE(ids.size() == 4);
    REQUIRE(f.other->delivered.size() == 2);
    REQUIRE(FilesBelow(f.fs, "dlq", "").empty());
    REQUIRE(f.fs.List("segments")->empty());
    REQUIRE(f.fs.List("batches")->empty());
    if (!crashed) {
      CHECK(crashes > 20);
      return;
    }
    ++crashes;
  }
  FAIL("the run does not end");
}

// As the server does it: beside the workers.
Status ReplayBeside(io::FileSystem& fs, Process& process) {
  ReplayOptions options{"dlq", "segments", {}, {}};
  options.is_live = [&](const std::string& id) { return process.queue.Contains(id); };
  options.returned = [&](wal::BatchManifest manifest) {
    CHECK(process.batcher->TakeBack(std::move(manifest)).ok());
  };
  return ReplayDeadLetters(fs, process.manifests, options);
}

TEST_CASE_METHOD(RejectFixture,
                 "dead letters: replayed beside the workers, every row is accounted") {
  Reject();
  other->answer = Refuse;
  MakeSegments(fs);
  SegmentMaker(fs, "segments").Write("Late", kId + 9, {{5, "a", {4}, {4}}});
  Process process(fs, clock, Sinks());
  REQUIRE(process.Load().ok());
  process.Work(clock, wal::BatchReason::kFlush);
  REQUIRE(process.queue.size() == 0);
  const auto rows = [&] { return process.store.rows().Snapshot().at("Metrics"); };
  REQUIRE(rows().dead_lettered == 7);
  REQUIRE(ReplayBeside(fs, process).ok());  // nothing is asked for
  CHECK(process.queue.size() == 0);

  AskForAll();
  other->answer = nullptr;
  other->delivered.clear();
  picky->delivered.clear();
  REQUIRE(ReplayBeside(fs, process).ok());
  CHECK(process.queue.size() == 5);  // three batches, rows of two others
  CHECK(rows().in() == rows().out());
  CHECK(rows().pending() == 9);
  AskForAll();
  process.Work(clock, wal::BatchReason::kFlush);
  CHECK(other->delivered.size() == 3);
  CHECK(picky->delivered.size() == 2);
  CHECK(rows().in() == rows().out());
  CHECK(rows().pending() == 0);
  CHECK(FilesBelow(fs, "dlq", "").empty());
  CHECK(fs.List("segments")->empty());
  CHECK(fs.List("batches")->empty());
  CHECK(process.registry.Expose().find("forebay_upload_row_mismatch_total 0") != std::string::npos);
}

TEST_CASE_METHOD(RejectFixture, "dead letters: those of a batch on its way wait for its end") {
  Reject();
  picky->answer = Refuse;
  // The same segments, so the same batches once more: the other sink is away.
  MakeSegments(fs);
  other->answer = Down;
  Process process(fs, clock, Sinks());
  REQUIRE(process.Load().ok());
  process.Work(clock, wal::BatchReason::kFlush);
  REQUIRE(process.queue.size() == 2);
  AskForAll();
  REQUIRE(ReplayBeside(fs, process).ok());
  CHECK(FilesBelow(fs, "dlq", "rejected.picky.csv").size() == 2);
  CHECK(process.queue.size() == 2);
}

TEST_CASE_METHOD(RejectFixture,
                 "dead letters: what cannot be replayed stays, and is not tried on") {
  Reject();
  AskForAll();
  const auto files = FilesBelow(fs, "dlq", "rejected.picky.csv");
  SECTION("rows without their columns") {
    for (const auto& [path, text] : files) {
      REQUIRE(io::WriteFileDurably(fs, path, "Name:string\nx\n").ok());
    }
  }
  SECTION("no reason beside them") {
    for (const auto& [path, text] : FilesBelow(fs, "dlq", ".json")) {
      REQUIRE(io::WriteFileDurably(fs, path, "nonsense").ok());
    }
  }
  ReplayAndWork(fs, clock, Sinks());
  CHECK(picky->delivered.size() == 2);
  CHECK(FilesBelow(fs, "dlq", "rejected.picky.csv").size() == 2);
  CHECK(FilesBelow(fs, "dlq", "replay").empty());
}

TEST_CASE_METHOD(RejectFixture,
                 "dead letters: rejected rows arrive as they were, whole rows a block") {
  std::string text;
  for (int i = 0; text.size() < 3 << 20; ++i) {
    text += "1970-01-01T00:00:00.001Z," + std::to_string(i) + ",\"{\"\"a\"\":\"\"two\n\"\"}\",1\n";
  }
  const std::string header = table::DefaultMetricsSchema().header_line();
  const std::string id = "2f273a6000000001-fed3b32a9177ee56";
  REQUIRE(fs.CreateDirectories("d").ok());
  REQUIRE(io::WriteFileDurably(fs, "d/rejected.a.csv", header + text).ok());
  const std::string json = R"({"database":"Metrics","table":"Cpu","schema_hash":"2cawzsrvl4mw4",)"
                           R"("sink":"a","reason":"no"})";
  REQUIRE(io::WriteFileDurably(fs, "d/rejected.a.json", json).ok());
  const auto letter = MakeRejectedLetter(fs, "d", id, "a");
  REQUIRE(letter.ok());
  const std::string name = letter->manifest.segments[0].file_name;
  REQUIRE(io::WriteFileDurably(fs, name, letter->segment).ok());
  wal::Quarantine quarantine(fs, "quarantine");
  metrics::Registry registry;
  const auto reader = BatchReader::Open(fs, {{name, name}}, true, quarantine,
                                        *registry.AddCounter("damage_total", "Damage."));
  REQUIRE(reader.ok());
  std::string got;
  uint64_t blocks = 0;
  while (*(*reader)->Next() == RunKind::kText) {
    got += (*reader)->text().text;
    ++blocks;
  }
  CHECK(got == text);
  CHECK(blocks == 4);
  CHECK((*reader)->stats().rows == letter->manifest.rows());
  CHECK((*reader)->stats().damaged_ranges == 0);

  // Of a table without a schema: its segments name no columns.
  const std::string logs = R"({"database":"Logs","table":"App","schema_hash":"","sink":"a"})";
  REQUIRE(io::WriteFileDurably(fs, "d/rejected.a.json", logs).ok());
  REQUIRE(
      io::WriteFileDurably(fs, "d/rejected.a.csv", "Timestamp:datetime,Body:dynamic\nx,1\n").ok());
  const auto plain = MakeRejectedLetter(fs, "d", id, "a");
  REQUIRE(plain.ok());
  CHECK(plain->manifest.schema_hash.empty());
  CHECK(plain->manifest.header_line.empty());
  REQUIRE(io::WriteFileDurably(fs, name, plain->segment).ok());
  const auto rows = BatchReader::Open(fs, {{name, name}}, false, quarantine,
                                      *registry.AddCounter("damage_total", "Damage."));
  REQUIRE(rows.ok());
  REQUIRE(*(*rows)->Next() == RunKind::kText);
  CHECK((*rows)->text().text == "x,1\n");
}

TEST_CASE_METHOD(Fixture, "delivery: a sink is told when an earlier try may have left something") {
  auto script = std::make_shared<FakeSink::Script>();
  script->answer = Down;
  const auto sinks = [&] { return Fakes({{"a", script}}); };
  {
    // Segments that are older than the process may have been tried by another one.
    Process process(fs, clock, sinks());
    REQUIRE(process.Load().ok());
    process.Work(clock, wal::BatchReason::kFlush);
    CHECK(script->maybe_there.at(0));
  }
  io::MemoryFileSystem young;
  ManualClock early{UnixMillis{1'793'577'500'000}};
  script->maybe_there.clear();
  {
    Process process(young, early, sinks());
    MakeSegments(young);
    REQUIRE(process.Load().ok());
    process.Work(early, wal::BatchReason::kFlush);
    REQUIRE_FALSE(script->maybe_there.empty());
    CHECK_FALSE(script->maybe_there.at(0));
    script->maybe_there.clear();
    for (int round = 0; round < 4; ++round) {
      early.Advance(minutes(10));
      process.Work(early, wal::BatchReason::kFlush);
    }
    // Of two batches one was tried before.
    CHECK(std::count(script->maybe_there.begin(), script->maybe_there.end(), true) >= 2);
    CHECK(std::count(script->maybe_there.begin(), script->maybe_there.end(), false) <= 1);
  }
  script->maybe_there.clear();
  Process next(young, early, sinks());
  REQUIRE(next.Load().ok());
  next.Work(early, wal::BatchReason::kFlush);
  REQUIRE_FALSE(script->maybe_there.empty());
  CHECK(script->maybe_there.at(0));
}

TEST_CASE_METHOD(Fixture,
                 "delivery: with the disk full nothing is lost, and it resumes with room") {
  Process process(fs, clock, FileSinks(fs));
  REQUIRE(process.Load().ok());
  fs.SetCapacity(fs.UsedBytes());
  process.Work(clock, wal::BatchReason::kFlush);
  CHECK(process.store.Totals().segments == 3);
  CHECK(FilesBelow(fs, "out", ".csv.gz").empty());
  fs.SetCapacity(1ULL << 40);
  clock.Advance(minutes(6));
  process.Work(clock, wal::BatchReason::kFlush);
  CHECK(DeliveredLines(fs).size() == 6);
}

TEST_CASE("flush: delivers all that is there and answers when it is done") {
  io::MemoryFileSystem fs;
  MakeSegments(fs);
  SystemClock clock;
  Process process(fs, clock, FileSinks(fs));
  REQUIRE(process.Load().ok());
  process.pool->Start();
  process.batcher->Start();
  const auto result = process.batcher->FlushNow(clock.Monotonic() + seconds(30));
  CHECK(result.ok());
  CHECK(result.delivered == 2);
  CHECK(DeliveredLines(fs).size() == 6);
  CHECK(process.batcher->FlushNow(clock.Monotonic() + seconds(30)).delivered == 0);
  process.batcher->Stop();
  CHECK(process.pool->Stop(clock.Monotonic() + seconds(30)).ok());
  CHECK(process.pool->Stop(clock.Monotonic()).ok());
}

TEST_CASE("flush: says what failed and does not wait for what cannot be") {
  io::MemoryFileSystem fs;
  MakeSegments(fs);
  SystemClock clock;
  auto script = std::make_shared<FakeSink::Script>();
  script->answer = Down;
  Process process(fs, clock, Fakes({{"a", script}}));
  REQUIRE(process.Load().ok());
  process.pool->Start();
  process.batcher->Start();
  const auto begin = clock.Monotonic();
  auto result = process.batcher->FlushNow(begin + seconds(60));
  CHECK_FALSE(result.ok());
  CHECK(result.failed == 2);
  CHECK(result.delivered == 0);
  REQUIRE(result.errors.size() == 2);
  CHECK(result.errors[0].find("unavailable: down") != std::string::npos);
  // Backoff does not hold a flush up.
  {
    MutexLock lock(script->mutex);
    script->answer = nullptr;
  }
  result = process.batcher->FlushNow(clock.Monotonic() + seconds(60));
  CHECK(result.ok());
  CHECK(result.delivered == 2);
  CHECK(clock.Monotonic() - begin < seconds(30));
  process.batcher->Stop();
}

TEST_CASE(
    "stop: an upload that does not end is cancelled at the deadline and stays for the next start") {
  io::MemoryFileSystem fs;
  MakeSegments(fs);
  SystemClock clock;
  auto script = std::make_shared<FakeSink::Script>();
  Mutex mutex;
  CondVar entered_or_left;
  int entered = 0;
  bool leave = false;
  script->during = [&] {
    MutexLock lock(mutex);
    ++entered;
    entered_or_left.NotifyAll();
    while (!leave) entered_or_left.Wait(lock);
  };
  Process process(fs, clock, Fakes({{"a", script}}));
  REQUIRE(process.Load().ok());
  process.pool->Start();
  REQUIRE(process.batcher->RunOnce(wal::BatchReason::kFlush) == 2);
  {
    MutexLock lock(mutex);
    while (entered == 0) entered_or_left.Wait(lock);
  }
  std::jthread release([&] {
    // Stop has given up waiting when the queue is closed and its deadline, which is now, has
    // passed.
    while (!process.queue.closed()) std::this_thread::yield();
    MutexLock lock(mutex);
    leave = true;
    entered_or_left.NotifyAll();
  });
  (void)process.pool->Stop(clock.Monotonic());
  release.join();
  // Delivered before the cancel or not: the segments of what is not are all there, with their
  // manifest.
  CHECK(fs.List("batches")->size() == 2 - script->delivered.size());
}

}  // namespace
}  // namespace forebay::upload
