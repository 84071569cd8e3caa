#include "batch/policy.h"

#include <catch2/catch.hpp>
#include <chrono>

namespace forebay::batch {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

wal::SegmentPointer Segment(uint64_t id, uint64_t row_bytes, std::chrono::seconds known_for,
                            MonotonicTime now) {
  wal::SegmentInfo info;
  info.name = {"Metrics", "Cpu", "2cawzsrvl4mw4", id};
  info.file_name = *FormatSegmentName(info.name);
  info.rows = row_bytes / 100;
  info.row_bytes = row_bytes;
  info.known_since = now - known_for;
  return std::make_shared<wal::SegmentInfo>(std::move(info));
}

const MonotonicTime kNow = MonotonicTime(std::chrono::hours(1));

PlanOptions Options(wal::BatchReason flush = wal::BatchReason::kSize) {
  PlanOptions options;
  options.now = kNow;
  options.flush = flush;
  options.limits.min_bytes = MB(100);
  options.limits.max_bytes = GB(1);
  options.limits.max_age = minutes(5);
  options.limits.max_segments = 10;
  return options;
}

wal::TableBacklog Backlog(const std::vector<std::pair<uint64_t, int>>& megabytes_and_seconds) {
  wal::TableBacklog backlog;
  uint64_t id = 1;
  for (const auto& [megabytes, age] : megabytes_and_seconds) {
    backlog.segments.push_back(Segment(id++, megabytes * 1'000'000, seconds(age), kNow));
  }
  return backlog;
}

// A segment of the backlog, to be changed.
wal::SegmentInfo& Change(wal::TableBacklog& backlog, size_t i) {
  auto changed = std::make_shared<wal::SegmentInfo>(*backlog.segments[i]);
  backlog.segments[i] = changed;
  return *changed;
}

TEST_CASE("policy: less than min_bytes and young waits") {
  const auto plan = Plan(Backlog({{30, 60}, {30, 10}}), Options());
  REQUIRE(plan.size() == 1);
  CHECK(plan[0].outcome == Outcome::kWait);
  CHECK(plan[0].segments.size() == 2);
}

TEST_CASE("policy: an empty backlog plans nothing") { CHECK(Plan({}, Options()).empty()); }

TEST_CASE("policy: exactly min_bytes goes, one byte less waits") {
  auto backlog = Backlog({{40, 0}, {60, 0}});
  auto plan = Plan(backlog, Options());
  REQUIRE(plan.size() == 1);
  CHECK(plan[0].outcome == Outcome::kUpload);
  CHECK(plan[0].reason == wal::BatchReason::kSize);
  CHECK(plan[0].row_bytes == 100'000'000);
  Change(backlog, 1).row_bytes -= 1;
  plan = Plan(backlog, Options());
  CHECK(plan[0].outcome == Outcome::kWait);
}

TEST_CASE("policy: the oldest segment's age takes all that waits, and not a millisecond earlier") {
  auto backlog = Backlog({{1, 300}, {1, 0}});
  auto plan = Plan(backlog, Options());
  REQUIRE(plan.size() == 1);
  CHECK(plan[0].outcome == Outcome::kUpload);
  CHECK(plan[0].reason == wal::BatchReason::kAge);
  CHECK(plan[0].segments.size() == 2);
  Change(backlog, 0).known_since += std::chrono::milliseconds(1);
  CHECK(Plan(backlog, Options())[0].outcome == Outcome::kWait);
}

TEST_CASE("policy: the rest after a full batch is judged by its own age") {
  const auto plan = Plan(Backlog({{600, 400}, {400, 400}, {20, 10}}), Options());
  REQUIRE(plan.size() == 2);
  CHECK(plan[0].outcome == Outcome::kUpload);
  CHECK(plan[0].row_bytes == 1'000'000'000);
  CHECK(plan[1].outcome == Outcome::kWait);
}

TEST_CASE("policy: a segment larger than max_bytes goes alone") {
  const auto plan = Plan(Backlog({{50, 0}, {1500, 0}, {60, 0}}), Options());
  REQUIRE(plan.size() == 3);
  CHECK(plan[0].segments.size() == 1);
  CHECK(plan[1].segments.size() == 1);
  CHECK(plan[1].row_bytes == 1'500'000'000);
  CHECK(plan[1].outcome == Outcome::kUpload);
  CHECK(plan[2].outcome == Outcome::kWait);
}

TEST_CASE("policy: max_segments ends a batch below min_bytes") {
  const auto plan = Plan(Backlog(std::vector<std::pair<uint64_t, int>>(23, {1, 0})), Options());
  REQUIRE(plan.size() == 3);
  CHECK(plan[0].segments.size() == 10);
  CHECK(plan[0].outcome == Outcome::kUpload);
  CHECK(plan[1].segments.size() == 10);
  CHECK(plan[2].segments.size() == 3);
  CHECK(plan[2].outcome == Outcome::kWait);
}

TEST_CASE("policy: a flush takes everything and says why") {
  const auto plan = Plan(Backlog({{1, 0}}), Options(wal::BatchReason::kDrain));
  REQUIRE(plan.size() == 1);
  CHECK(plan[0].outcome == Outcome::kUpload);
  CHECK(plan[0].reason == wal::BatchReason::kDrain);
}

PlanOptions WithOwner() {
  PlanOptions options = Options();
  options.transfer_max_age = minutes(3);
  options.transfer_max_segment = MiB(64);
  return options;
}

std::vector<uint64_t> Ids(const PlannedBatch& batch) {
  std::vector<uint64_t> ids;
  for (const auto& segment : batch.segments) ids.push_back(segment->name.id);
  return ids;
}

TEST_CASE("policy: what is small and young goes to the owner at once") {
  const auto plan = Plan(Backlog({{30, 60}, {30, 179}}), WithOwner());
  REQUIRE(plan.size() == 1);
  CHECK(plan[0].outcome == Outcome::kTransfer);
  CHECK(Ids(plan[0]) == std::vector<uint64_t>{1, 2});
  CHECK(plan[0].rows == 600'000);
}

TEST_CASE("policy: what is large enough is uploaded here, whoever owns the table") {
  const auto plan = Plan(Backlog({{60, 0}, {60, 0}}), WithOwner());
  REQUIRE(plan.size() == 1);
  CHECK(plan[0].outcome == Outcome::kUpload);
}

TEST_CASE("policy: what is too old, too large or came from a peer does not move") {
  auto backlog = Backlog({{1, 180}, {1, 0}, {1, 0}, {1, 0}, {1, 400}});
  Change(backlog, 1).file_bytes = (64 << 20) + 1;
  Change(backlog, 2).stays = true;
  auto plan = Plan(backlog, WithOwner());
  REQUIRE(plan.size() == 2);
  CHECK(plan[0].outcome == Outcome::kTransfer);
  CHECK(Ids(plan[0]) == std::vector<uint64_t>{4});
  // One of these is as old as that nothing may wait.
  CHECK(plan[1].outcome == Outcome::kUpload);
  CHECK(plan[1].reason == wal::BatchReason::kAge);
  CHECK(Ids(plan[1]) == std::vector<uint64_t>{1, 2, 3, 5});
  backlog.segments.pop_back();
  plan = Plan(backlog, WithOwner());
  REQUIRE(plan.size() == 2);
  CHECK(plan[1].outcome == Outcome::kWait);
}

TEST_CASE("policy: who drains gives what may move, and uploads the rest at once") {
  auto backlog = Backlog({{1, 0}, {1, 0}, {1, 0}});
  Change(backlog, 1).stays = true;
  PlanOptions options = WithOwner();
  options.flush = wal::BatchReason::kDrain;
  const auto plan = Plan(backlog, options);
  REQUIRE(plan.size() == 2);
  CHECK(plan[0].outcome == Outcome::kTransfer);
  CHECK(Ids(plan[0]) == std::vector<uint64_t>{1, 3});
  CHECK(plan[1].outcome == Outcome::kUpload);
  CHECK(plan[1].reason == wal::BatchReason::kDrain);
  CHECK(Ids(plan[1]) == std::vector<uint64_t>{2});
}

TEST_CASE("policy: a flush uploads here, whoever owns the table") {
  PlanOptions options = WithOwner();
  options.flush = wal::BatchReason::kFlush;
  const auto plan = Plan(Backlog({{1, 0}}), options);
  REQUIRE(plan.size() == 1);
  CHECK(plan[0].outcome == Outcome::kUpload);
}

TEST_CASE("policy: segments are in id order whatever order they come in") {
  auto backlog = Backlog({{50, 0}, {60, 0}, {70, 0}});
  std::swap(backlog.segments[0], backlog.segments[2]);
  const auto plan = Plan(backlog, Options());
  REQUIRE(plan.size() == 1);
  CHECK(plan[0].segments[0]->name.id == 1);
  CHECK(plan[0].segments[2]->name.id == 3);
}

TEST_CASE(
    "policy: random backlogs: nothing lost, never above the bounds, only the last one waits") {
  uint64_t state = 7;
  const auto random = [&](uint64_t below) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33) % below;
  };
  for (int round = 0; round < 500; ++round) {
    wal::TableBacklog backlog;
    const uint64_t count = random(40);
    for (uint64_t i = 0; i < count; ++i) {
      backlog.segments.push_back(Segment(i + 1,
                                         random(10) == 0 ? 1'200'000'000 : random(400) * 1'000'000,
                                         seconds(random(400)), kNow));
    }
    const auto plan = Plan(backlog, Options());
    uint64_t next_id = 1;
    for (size_t b = 0; b < plan.size(); ++b) {
      REQUIRE_FALSE(plan[b].segments.empty());
      REQUIRE(plan[b].segments.size() <= 10);
      if (plan[b].segments.size() > 1) REQUIRE(plan[b].row_bytes <= 1'000'000'000);
      if (plan[b].outcome == Outcome::kWait) {
        REQUIRE(b + 1 == plan.size());
        REQUIRE(plan[b].row_bytes < 100'000'000);
      }
      uint64_t bytes = 0;
      for (const auto& segment : plan[b].segments) {
        REQUIRE(segment->name.id == next_id++);
        bytes += segment->row_bytes;
      }
      REQUIRE(bytes == plan[b].row_bytes);
    }
    REQUIRE(next_id == count + 1);
  }
}

std::vector<PlannedBatch> Batches(size_t count) {
  std::vector<PlannedBatch> batches(count);
  for (size_t i = 0; i < count; ++i) {
    batches[i].segments.push_back(Segment(1000 + i, 1, seconds(0), kNow));
  }
  return batches;
}

TEST_CASE("pick order: newest first, every fifth pick the oldest at a share of 20 percent") {
  const auto order = PickOrder(Batches(10), 20, 0);
  CHECK(order == std::vector<size_t>{9, 8, 7, 6, 0, 5, 4, 3, 2, 1});
}

TEST_CASE("pick order: the share holds over plans of one batch") {
  int oldest = 0;
  for (uint64_t pick = 0; pick < 100; ++pick) {
    if (PickOrder(Batches(2), 20, pick).front() == 0) ++oldest;
  }
  CHECK(oldest == 20);
}

TEST_CASE("pick order: shares of 0 and 100 percent") {
  CHECK(PickOrder(Batches(3), 0, 0) == std::vector<size_t>{2, 1, 0});
  CHECK(PickOrder(Batches(3), 100, 0) == std::vector<size_t>{0, 1, 2});
  CHECK(PickOrder({}, 20, 0).empty());
}

}  // namespace
}  // namespace forebay::batch
