#include "wal/row_account.h"

#include <catch2/catch.hpp>

#include "io/memory_file_system.h"
#include "support/wal_harness.h"

namespace forebay::wal {
namespace {

using testing::TestSample;
using testing::WalHarness;

TEST_CASE("row account: every way of a row keeps both sides equal") {
  RowAccount account;
  account.Arrived("A",
                  {.received = 10, .stored = 4, .deduplicated = 3, .dropped = 2, .refused = 1});
  account.Arrived("B", {.received = 1, .refused = 1});
  account.Entered("A", RowOrigin::kSealed, 3);
  account.Entered("A", RowOrigin::kRecovered, 5);
  account.Left("A", RowFate::kUploaded, 6);
  account.Left("A", RowFate::kDeadLettered, 1);
  const auto counts = account.Snapshot();
  REQUIRE(counts.size() == 2);
  const RowCounts& a = counts.at("A");
  CHECK(a.in() == 15);
  CHECK(a.out() == 15);
  CHECK(a.unsealed == 1);
  CHECK(a.sealed == 1);
  CHECK(a.pending() == 2);
  CHECK(a.uploaded == 6);
  CHECK(a.dead_lettered == 1);
  CHECK(counts.at("B").in() == 1);
  CHECK(counts.at("B").out() == 1);
}

TEST_CASE("row account: a request whose parts are not its whole shows") {
  RowAccount account;
  account.Arrived("A", {.received = 10, .stored = 9});
  CHECK(account.Snapshot().at("A").in() != account.Snapshot().at("A").out());
}

TEST_CASE("row account: what sinks got less than segments say is quarantined, or missing for all") {
  RowAccount account;
  account.Entered("A", RowOrigin::kRecovered, 10);
  account.Left("A", RowFate::kUploaded, 10);
  SECTION("damaged: quarantined") {
    account.Correct("A", {.expected = 10, .delivered = 7, .damaged = true});
    const RowCounts counts = account.Snapshot().at("A");
    CHECK(counts.uploaded == 7);
    CHECK(counts.quarantined == 3);
    CHECK(counts.in() == counts.out());
  }
  SECTION("not damaged: the sides differ") {
    account.Correct("A", {.expected = 10, .delivered = 7, .damaged = false});
    const RowCounts counts = account.Snapshot().at("A");
    CHECK(counts.uploaded == 7);
    CHECK(counts.in() == counts.out() + 3);
  }
  SECTION("more than the segments told: recovered now") {
    account.Correct("A", {.expected = 10, .delivered = 12, .damaged = false});
    const RowCounts counts = account.Snapshot().at("A");
    CHECK(counts.uploaded == 12);
    CHECK(counts.recovered == 12);
    CHECK(counts.in() == counts.out());
  }
}

// The harness has no receiver: it says itself what it stored.
TEST_CASE(
    "row account: a live generation is sealed out of the unsealed, a replayed one recovered") {
  io::MemoryFileSystem fs;
  {
    WalHarness harness(fs);
    REQUIRE(harness.Open().ok());
    REQUIRE(harness.Write({{1, 1, 1}, {2, 1, 2}, {3, 1, 3}}).ok());
    harness.store().rows().Arrived("Db", {.received = 3, .stored = 3});
    CHECK(harness.store().rows().Snapshot().at("Db").unsealed == 3);
    REQUIRE(harness.Flush().ok());
    const RowCounts sealed = harness.store().rows().Snapshot().at("Db");
    CHECK(sealed.unsealed == 0);
    CHECK(sealed.sealed == 3);
    CHECK(sealed.recovered == 0);
    (void)harness.UploadAll();
    CHECK(harness.store().rows().Snapshot().at("Db").uploaded == 3);
    // These stay in the journal.
    REQUIRE(harness.Write({{1, 2, 4}, {2, 2, 5}}).ok());
    fs.FailAlways(io::FileOperation::kAny, Error(ErrorCode::kIo, "power is off"));
  }
  fs.Crash({1, 4096, 0.0});
  WalHarness harness(fs);
  REQUIRE(harness.Open().ok());
  REQUIRE(harness.Flush().ok());
  const RowCounts recovered = harness.store().rows().Snapshot().at("Db");
  CHECK(recovered.recovered == 2);
  CHECK(recovered.sealed == 2);
  CHECK(recovered.unsealed == 0);
  CHECK(recovered.in() == recovered.out());
}

}  // namespace
}  // namespace forebay::wal
