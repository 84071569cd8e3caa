// The ledger of requests: a retry is told the first answer, within bounds, and after crashes.
#include "wal/request_ledger.h"

#include <catch2/catch.hpp>

#include "io/memory_file_system.h"
#include "support/doc_example.h"
#include "support/wal_harness.h"

namespace forebay::wal {
namespace {

using std::chrono::minutes;
using State = RequestLedger::State;
using testing::TestSample;
using testing::WalHarness;

const UnixMillis kStart{1'700'000'000'000};

RequestIdentity Id(uint64_t n) { return {n, ~n}; }

RequestIdentity IdentityOfText(std::string_view tenant, std::string_view key, uint8_t kind,
                               std::string_view body) {
  return IdentityOf({"test", tenant, key, kind, body});
}

struct Ledger {
  explicit Ledger(io::FileSystem& fs, uint64_t max_entries = 100,
                  std::chrono::milliseconds window = minutes(10))
      : ledger(fs, clock, {"data/ledger", window, max_entries}) {
    REQUIRE(ledger.Load().ok());
  }
  State StateOf(uint64_t n) {
    const State state = ledger.Begin(Id(n)).state;
    if (state == State::kNew) ledger.Abort(Id(n));
    return state;
  }
  void Store(uint64_t n, uint64_t sequence = 1) {
    REQUIRE(ledger.Begin(Id(n)).state == State::kNew);
    ledger.Finish({Id(n), clock.Now(), {static_cast<uint32_t>(n), 2, 3, 4}}, sequence);
  }

  ManualClock clock{kStart};
  RequestLedger ledger;
};

// As the ledger's generation being sealed: 7 in this process, 0xABC on disk.
const RequestLedger::Owner kOwner{7, 0xABC};
const char* const kFile = "data/ledger/abc.ids";

// A file system with a ledger file of request 1.
void WriteOne(io::MemoryFileSystem& fs) {
  Ledger first(fs);
  first.Store(1, kOwner.sequence);
  REQUIRE(first.ledger.Persist(kOwner).ok());
}

TEST_CASE("ledger: identities differ in every part and only there") {
  const RequestIdentity one = IdentityOfText("acme", "", 1, "body");
  CHECK(one);
  CHECK(one == IdentityOfText("acme", "", 1, "body"));
  CHECK_FALSE(one == IdentityOfText("acme2", "", 1, "body"));
  CHECK_FALSE(one == IdentityOfText("acme", "", 2, "body"));
  CHECK_FALSE(one == IdentityOfText("acme", "", 1, "body2"));
  CHECK_FALSE(one == IdentityOfText("acm", "e", 1, "body"));
  CHECK_FALSE(one == IdentityOf({"other", "acme", "", 1, std::string_view("body")}));
  // With a key the body does not count, the tenant does.
  const RequestIdentity key = IdentityOfText("acme", "k", 1, "body");
  CHECK(key == IdentityOfText("acme", "k", 2, "else"));
  CHECK_FALSE(key == IdentityOfText("", "k", 1, "body"));
  CHECK_FALSE(key == IdentityOfText("acme", "k2", 1, "body"));
}

TEST_CASE("ledger: a request is new, in flight, done; new again when nothing was stored") {
  io::MemoryFileSystem fs;
  Ledger test(fs);
  CHECK(test.ledger.Begin(Id(1)).state == State::kNew);
  CHECK(test.ledger.Begin(Id(1)).state == State::kInFlight);
  CHECK(test.ledger.Begin(Id(2)).state == State::kNew);
  test.ledger.Abort(Id(1));
  CHECK(test.ledger.Begin(Id(1)).state == State::kNew);
  const RequestOutcome outcome{10, 20, 30, 40};
  test.ledger.Finish({Id(1), kStart, outcome}, 1);
  const RequestLedger::Answer answer = test.ledger.Begin(Id(1));
  CHECK(answer.state == State::kDone);
  CHECK(answer.outcome == outcome);
  CHECK(test.ledger.Begin(Id(2)).state == State::kInFlight);
  CHECK(test.ledger.size() == 2);
}

TEST_CASE("ledger: above max_entries the oldest leave first, those in flight stay") {
  io::MemoryFileSystem fs;
  Ledger test(fs, 3);
  REQUIRE(test.ledger.Begin(Id(100)).state == State::kNew);
  for (uint64_t n = 1; n <= 5; ++n) test.Store(n);
  CHECK(test.ledger.size() == 4);
  CHECK(test.StateOf(1) == State::kNew);
  CHECK(test.StateOf(2) == State::kNew);
  for (uint64_t n = 3; n <= 5; ++n) CHECK(test.StateOf(n) == State::kDone);
  CHECK(test.StateOf(100) == State::kInFlight);
}

TEST_CASE("ledger: a request is forgotten when the window has passed, not before") {
  io::MemoryFileSystem fs;
  Ledger test(fs);
  test.Store(1);
  test.clock.Advance(minutes(5));
  test.Store(2);
  test.clock.Advance(minutes(5) - std::chrono::milliseconds(1));
  CHECK(test.StateOf(1) == State::kDone);
  test.clock.Advance(std::chrono::milliseconds(1));
  CHECK(test.StateOf(1) == State::kNew);
  CHECK(test.StateOf(2) == State::kDone);
  CHECK(test.ledger.size() == 1);
}

TEST_CASE("ledger: with a window of 0 it is off and makes no files") {
  io::MemoryFileSystem fs;
  Ledger test(fs, 100, std::chrono::milliseconds(0));
  CHECK_FALSE(test.ledger.enabled());
  CHECK(test.ledger.MayReplay({Id(1), kStart, {}}, kOwner));
  test.ledger.Recovered({Id(1), kStart, {}}, kOwner);
  CHECK(test.ledger.Persist(kOwner).ok());
  test.ledger.Committed(kOwner);
  CHECK(test.ledger.size() == 0);
  CHECK_FALSE(*fs.Exists("data/ledger"));
}

TEST_CASE("ledger: what was persisted is known after a power cut, with its outcome") {
  io::MemoryFileSystem fs;
  {
    Ledger first(fs);
    first.Store(1, 6);
    first.Store(2, 7);
    first.Store(3, 7);
    REQUIRE(first.ledger.Persist(kOwner).ok());
    REQUIRE(first.ledger.Persist({5, 0x123}).ok());  // it has none: no file
  }
  fs.Crash({.keep_probability = 0});
  CHECK(fs.List("data/ledger")->size() == 1);
  Ledger again(fs);
  CHECK(again.StateOf(1) == State::kNew);
  CHECK(again.StateOf(2) == State::kDone);
  CHECK(again.ledger.Begin(Id(3)).outcome == RequestOutcome{3, 2, 3, 4});
}

TEST_CASE("ledger: the rows of a generation are bounded too, the newest are kept") {
  io::MemoryFileSystem fs;
  {
    Ledger first(fs, 3);
    for (uint64_t n = 1; n <= 5; ++n) first.Store(n, 7);
    REQUIRE(first.ledger.Persist(kOwner).ok());
  }
  CHECK(fs.Contents(kFile)->size() == kLedgerHeaderBytes + 3 * kLedgerRowBytes);
  Ledger again(fs, 10);
  CHECK(again.ledger.size() == 3);
  CHECK(again.StateOf(2) == State::kNew);
  CHECK(again.StateOf(3) == State::kDone);
}

TEST_CASE("ledger: every damaged byte of a file is found; the file costs itself and no start") {
  io::MemoryFileSystem fs;
  WriteOne(fs);
  const std::string good = *fs.Contents(kFile);
  for (size_t at = 0; at <= good.size(); ++at) {
    INFO("at " << at);
    std::string bad = good;
    if (at < good.size()) {
      bad[at] = static_cast<char>(bad[at] ^ 0x40);
    } else {
      bad += '\0';
    }
    REQUIRE(io::WriteFileDurably(fs, kFile, bad).ok());
    Ledger again(fs);
    CHECK(again.ledger.size() == 0);
    REQUIRE(io::WriteFileDurably(fs, kFile, good.substr(0, at)).ok());
    Ledger cut(fs);
    CHECK(cut.ledger.size() == (at == good.size() ? 1 : 0));
  }
}

TEST_CASE("ledger: files go when their window has passed, also damaged and left-over ones") {
  io::MemoryFileSystem fs;
  WriteOne(fs);
  REQUIRE(io::WriteFileDurably(fs, "data/ledger/1.ids", "damaged").ok());
  REQUIRE(io::WriteFileDurably(fs, "data/ledger/2.ids.tmp", "half").ok());
  REQUIRE(io::WriteFileDurably(fs, "data/ledger/notes", "not ours").ok());
  Ledger test(fs);
  CHECK_FALSE(*fs.Exists("data/ledger/2.ids.tmp"));
  test.clock.Advance(minutes(9));
  test.Store(2, 8);
  REQUIRE(test.ledger.Persist({8, 0xDEF}).ok());
  test.ledger.Committed({8, 0xDEF});
  CHECK(*fs.Exists(kFile));
  test.clock.Advance(minutes(1));
  test.ledger.Committed({9, 0xEEE});
  CHECK_FALSE(*fs.Exists(kFile));
  CHECK_FALSE(*fs.Exists("data/ledger/1.ids"));
  CHECK(*fs.Exists("data/ledger/def.ids"));
  CHECK(*fs.Exists("data/ledger/notes"));
}

TEST_CASE("ledger: a generation whose ledger file and journal are both there is replayed") {
  io::MemoryFileSystem fs;
  WriteOne(fs);
  Ledger test(fs);
  const RequestLedger::Row row{Id(1), kStart, {1, 2, 3, 4}};
  const RequestLedger::Owner again{1, kOwner.id};
  test.ledger.Recovered(row, again);
  CHECK(test.ledger.MayReplay(row, again));
  CHECK(test.ledger.size() == 1);
  // The file is written again, with the request.
  REQUIRE(test.ledger.Persist(again).ok());
  Ledger third(fs);
  CHECK(third.StateOf(1) == State::kDone);
}

TEST_CASE("ledger: a request of another generation is not replayed, unless far apart in time") {
  io::MemoryFileSystem fs;
  Ledger test(fs);
  const RequestLedger::Row row{Id(1), kStart, {}};
  test.ledger.Recovered(row, {1, 0x10});
  test.ledger.Recovered(row, {2, 0x20});
  CHECK(test.ledger.MayReplay(row, {1, 0x10}));
  CHECK_FALSE(test.ledger.MayReplay(row, {2, 0x20}));
  RequestLedger::Row late = row;
  late.received.value += 600'001;
  CHECK(test.ledger.MayReplay(late, {2, 0x20}));
  CHECK(test.ledger.MayReplay({Id(2), kStart, {}}, {2, 0x20}));
  CHECK(test.ledger.MayReplay({{}, kStart, {}}, {2, 0x20}));
}

TEST_CASE("ledger: the example in the format page is what is written") {
  io::MemoryFileSystem fs;
  Ledger test(fs);
  REQUIRE(test.ledger.Begin({0x0807060504030201, 0x100F0E0D0C0B0A09}).state == State::kNew);
  test.ledger.Finish({{0x0807060504030201, 0x100F0E0D0C0B0A09}, kStart, {500, 1, 2, 0}}, 7);
  REQUIRE(test.ledger.Persist({7, 0x0123'4567'89AB'CDEF}).ok());
  const std::string bytes = *fs.Contents("data/ledger/123456789abcdef.ids");
  INFO("written:\n" << testing::HexDump(bytes));
  CHECK(testing::DocExample("A ledger file of one request") == bytes);
}

// The process dies; what it gave to the kernel is there.
void Kill(io::MemoryFileSystem& fs, std::unique_ptr<WalHarness>& harness) {
  fs.FailAlways(io::FileOperation::kAny, Error(ErrorCode::kIo, "killed"));
  harness.reset();
  fs.ClearFaults();
}

std::unique_ptr<WalHarness> OpenHarness(io::FileSystem& fs) {
  auto harness = std::make_unique<WalHarness>(fs);
  harness->set_ledger_window(minutes(10));
  REQUIRE(harness->Open().ok());
  return harness;
}

size_t RowsAfterFlush(WalHarness& harness) {
  REQUIRE(harness.Flush().ok());
  return harness.store().Totals().rows;
}

const std::vector<TestSample> kRequest = {{1, 1000, 1}, {2, 1000, 2}};

TEST_CASE("ledger and log: a retry after a kill or a power cut is stored once") {
  for (const bool sealed : {false, true}) {
    for (const bool power : {false, true}) {
      INFO("sealed " << sealed << ", power cut " << power);
      io::MemoryFileSystem fs;
      auto harness = OpenHarness(fs);
      REQUIRE(harness->WriteOnce(kRequest).ok());
      if (sealed) REQUIRE(harness->Flush().ok());
      Kill(fs, harness);
      if (power) fs.Crash({.keep_probability = 0});
      harness = OpenHarness(fs);
      REQUIRE(harness->ledger().size() == 1);
      REQUIRE(harness->WriteOnce(kRequest).ok());
      CHECK(RowsAfterFlush(*harness) == 2);
      // And once more, now from the ledger file that the replay's seal has written.
      Kill(fs, harness);
      if (power) fs.Crash({.keep_probability = 0});
      harness = OpenHarness(fs);
      REQUIRE(harness->WriteOnce(kRequest).ok());
      CHECK(RowsAfterFlush(*harness) == 2);
    }
  }
}

TEST_CASE("ledger and log: a failed commit that reached the disk and its retry are stored once") {
  io::MemoryFileSystem fs;
  auto harness = OpenHarness(fs);
  // No segment can be written and no journal removed: both journals stay.
  fs.AddFault({.operation = io::FileOperation::kOpen,
               .path_contains = "segments",
               .count = io::Fault::kForever});
  fs.AddFault({.operation = io::FileOperation::kRemove,
               .path_contains = "journal",
               .count = io::Fault::kForever});
  fs.AddFault({.operation = io::FileOperation::kTruncate,
               .path_contains = "journal",
               .count = io::Fault::kForever});
  fs.AddFault({.operation = io::FileOperation::kSyncData, .path_contains = "journal"});
  REQUIRE_FALSE(harness->WriteOnce(kRequest).ok());
  const MonotonicTime deadline = SystemClock().Monotonic() + std::chrono::seconds(20);
  Status written = harness->WriteOnce(kRequest);
  while (!written.ok() && SystemClock().Monotonic() < deadline) {
    written = harness->WriteOnce(kRequest);
  }
  REQUIRE(written.ok());
  Kill(fs, harness);
  const auto journals = fs.List("data/journal");
  REQUIRE(journals->size() == 2);
  // The second journal says where the first one ends; where that is lost the ledger tells.
  const bool says = GENERATE(true, false);
  if (!says) {
    REQUIRE(fs.Overwrite("data/journal/" + journals->back().name,
                         kJournalHeaderBytes + kRecordHeaderBytes, "XX")
                .ok());
  }
  harness = OpenHarness(fs);
  CHECK(RowsAfterFlush(*harness) == 2);
  CHECK(harness->wal().stats().replayed_records == 1);
  CHECK(harness->wal().stats().deduplicated_records == (says ? 0 : 1));
}

TEST_CASE("ledger and log: the journal stays until its identities are on disk") {
  io::MemoryFileSystem fs;
  auto harness = OpenHarness(fs);
  REQUIRE(harness->WriteOnce(kRequest).ok());
  fs.AddFault({.operation = io::FileOperation::kOpen, .path_contains = ".ids", .count = 2});
  REQUIRE(harness->Flush().ok());
  CHECK(harness->wal().stats().seal_errors == 2);
  CHECK(fs.List("data/ledger")->size() == 1);
  CHECK(harness->store().Totals().rows == 2);
}

TEST_CASE("ledger and log: a full volume costs the ledger file, not the commit") {
  io::MemoryFileSystem fs;
  auto harness = OpenHarness(fs);
  REQUIRE(harness->WriteOnce(kRequest).ok());
  fs.AddFault({.operation = io::FileOperation::kOpen,
               .path_contains = ".ids",
               .error = Error(ErrorCode::kNoSpace, "full")});
  REQUIRE(harness->Flush().ok());
  CHECK(harness->wal().stats().seal_errors == 0);
  CHECK(fs.List("data/ledger")->empty());
  // Known until the next start.
  REQUIRE(harness->WriteOnce(kRequest).ok());
  CHECK(RowsAfterFlush(*harness) == 2);
}

}  // namespace
}  // namespace forebay::wal
