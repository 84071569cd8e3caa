// The receiving side without gRPC.
#include "transfer/intake.h"

#include <thread>

#include "transfer_harness.h"

namespace forebay::transfer {
namespace {

using testing::Doubles;
using testing::Receiver;
using testing::Sender;

wal::PeerSegment Load(Sender& sender, const OutgoingSegment& segment) {
  wal::PeerSegment loaded;
  loaded.origin = "node-1";
  loaded.name = *wal::ParseSegmentName(segment.file_name);
  loaded.bytes = *io::ReadFile(sender.fs, segment.path, 1 << 30);
  loaded.min_timestamp = segment.min_timestamp;
  loaded.max_timestamp = segment.max_timestamp;
  return loaded;
}

Answer Give(Receiver& receiver, Sender& sender, const OutgoingSegment& segment) {
  return receiver.intake->Settle(
      receiver.intake->Begin(Load(sender, segment), {segment.rows, {}}, Intake::Room()));
}

SegmentKey KeyOf(const OutgoingSegment& segment) {
  return {"node-1", segment.file_name, segment.bytes, segment.rows, {}, {}};
}

TEST_CASE("intake: a segment is taken once, and known when it comes again") {
  io::MemoryFileSystem fs;
  Sender sender;
  Receiver receiver(fs);
  const auto segment = sender.Make("T", 5, 0);
  CHECK(Give(receiver, sender, segment).outcome == Outcome::kAccepted);
  CHECK(Give(receiver, sender, segment).outcome == Outcome::kDuplicate);
  const auto other = sender.Make("T", 6, 10);
  CHECK(Give(receiver, sender, other).outcome == Outcome::kAccepted);
  CHECK(receiver.Values() == Doubles(0, 20));
  CHECK(Give(receiver, sender, segment).outcome == Outcome::kDuplicate);
  const auto rows = receiver.harness.store().rows().Snapshot().at("Metrics");
  CHECK(rows.from_peers == 20);
  CHECK(rows.in() == rows.out());
}

TEST_CASE("intake: what it may not or cannot take is refused with the reason, and comes in later") {
  io::MemoryFileSystem fs;
  Sender sender;
  Receiver receiver(fs);
  const auto segment = sender.Make("T", 5, 0);
  SECTION("a full disk") {
    receiver.wal->full = true;
    const Answer answer = Give(receiver, sender, segment);
    CHECK(answer.outcome == Outcome::kRefused);
    CHECK(answer.retry_after.count() > 0);
    CHECK_THAT(answer.reason, Catch::Contains("full"));
    receiver.wal->full = false;
  }
  SECTION("a commit that fails") {
    receiver.wal->fail = true;
    CHECK(Give(receiver, sender, segment).outcome == Outcome::kRefused);
    receiver.wal->fail = false;
    CHECK(receiver.harness.store().rows().Snapshot().empty());
  }
  SECTION("a damaged block") {
    wal::PeerSegment damaged = Load(sender, segment);
    damaged.bytes[damaged.bytes.size() / 2] ^= 1;
    const Answer answer = receiver.intake->Settle(
        receiver.intake->Begin(std::move(damaged), {segment.rows, {}}, Intake::Room()));
    CHECK(answer.outcome == Outcome::kInvalid);
    CHECK(answer.bad_block == 1);
  }
  SECTION("fewer rows than announced") {
    const Answer answer = receiver.intake->Settle(
        receiver.intake->Begin(Load(sender, segment), {segment.rows + 1, {}}, Intake::Room()));
    CHECK(answer.outcome == Outcome::kInvalid);
    CHECK(answer.bad_block == -1);
  }
  SECTION("a database without a sink") {
    wal::PeerSegment foreign = Load(sender, segment);
    foreign.name.database = "Other";
    const Answer answer = receiver.intake->Settle(
        receiver.intake->Begin(std::move(foreign), {segment.rows, {}}, Intake::Room()));
    CHECK(answer.outcome == Outcome::kInvalid);
    CHECK_THAT(answer.reason, Catch::Contains("Other"));
  }
  CHECK(Give(receiver, sender, segment).outcome == Outcome::kAccepted);
  CHECK(receiver.Values() == Doubles(0, 10));
}

TEST_CASE("intake: a recalled segment is not taken any more, one that is here stays") {
  io::MemoryFileSystem fs;
  Sender sender;
  Receiver receiver(fs);
  const auto here = sender.Make("T", 5, 0);
  const auto never = sender.Make("T", 6, 10);
  const auto on_its_way = sender.Make("T", 7, 20);
  CHECK(Give(receiver, sender, here).outcome == Outcome::kAccepted);
  CHECK(receiver.intake->Recall(KeyOf(here)).outcome == Outcome::kDuplicate);
  CHECK(receiver.intake->Recall(KeyOf(never)).outcome == Outcome::kRefused);
  CHECK(receiver.intake->Recall(KeyOf(never)).outcome == Outcome::kRefused);
  CHECK(Give(receiver, sender, never).outcome == Outcome::kRefused);

  receiver.wal->hold = true;
  auto offer =
      receiver.intake->Begin(Load(sender, on_its_way), {on_its_way.rows, {}}, Intake::Room());
  CHECK_FALSE(Intake::Decided(*offer));
  CHECK(receiver.intake->Recall(KeyOf(on_its_way)).outcome == Outcome::kUnknown);
  CHECK(Give(receiver, sender, on_its_way).outcome == Outcome::kUnknown);
  receiver.wal->LetGo();
  CHECK(receiver.intake->Settle(std::move(offer)).outcome == Outcome::kAccepted);
  CHECK(receiver.intake->Recall(KeyOf(on_its_way)).outcome == Outcome::kDuplicate);
  auto values = Doubles(0, 10);
  values.merge(Doubles(20, 10));
  CHECK(receiver.Values() == values);
}

TEST_CASE("intake: an offer that nobody has settled yet does not keep its generation open") {
  io::MemoryFileSystem fs;
  Sender sender;
  Receiver receiver(fs);
  const auto segment = sender.Make("T", 5, 0);
  auto offer = receiver.intake->Begin(Load(sender, segment), {segment.rows, {}}, Intake::Room());
  while (!Intake::Decided(*offer)) std::this_thread::yield();
  CHECK(receiver.Values() == Doubles(0, 10));
  CHECK(receiver.intake->Settle(std::move(offer)).outcome == Outcome::kAccepted);
}

TEST_CASE("intake: room is bounded in all and for each peer, and one segment is always let in") {
  io::MemoryFileSystem fs;
  Receiver receiver(fs, 100);
  {
    const auto a = receiver.intake->Reserve("a", 40);
    CHECK(a);
    CHECK_FALSE(receiver.intake->Reserve("a", 11));  // half of all
    CHECK(receiver.intake->Reserve("a", 10));
    const auto b = receiver.intake->Reserve("b", 60);
    CHECK(b);
    CHECK_FALSE(receiver.intake->Reserve("c", 1));
  }
  const auto large = receiver.intake->Reserve("a", 1000);
  CHECK(large);
  CHECK_FALSE(receiver.intake->Reserve("b", 1));
}

}  // namespace
}  // namespace forebay::transfer
