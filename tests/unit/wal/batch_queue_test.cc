// Which batch comes next, and how many of a database.
#include "wal/batch_queue.h"

#include <catch2/catch.hpp>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace forebay::wal {
namespace {

using std::chrono::seconds;

std::string QueueId(int age) {
  return "00000000000000" + std::to_string(10 + age) + "-0000000000000000";
}

Batch QueueBatch(int age, const std::string& database = "Metrics") {
  Batch batch;
  batch.manifest.id = QueueId(age);
  batch.manifest.database = database;
  ManifestSink sink;
  sink.name = "a";
  batch.manifest.sinks.push_back(sink);
  return batch;
}

struct QueueFixture {
  ManualClock clock{UnixMillis{0}};

  std::string PopId(BatchQueue& queue, const BatchQueue::Takes& takes = nullptr) {
    const auto batch = queue.Pop(clock.Monotonic(), takes);
    return batch ? batch->manifest.id : "none";
  }
};

TEST_CASE_METHOD(QueueFixture, "batch queue: every fifth pick is the oldest, the others newest") {
  BatchQueue queue(clock, {});
  for (const int age : {3, 1, 8, 5, 2, 7, 4, 6}) REQUIRE(queue.Push(QueueBatch(age)));
  std::vector<std::string> order;
  for (int i = 0; i < 8; ++i) order.push_back(PopId(queue));
  std::vector<std::string> expected;
  for (const int age : {8, 7, 6, 5, 1, 4, 3, 2}) expected.push_back(QueueId(age));
  CHECK(order == expected);
  CHECK(PopId(queue) == "none");
}

TEST_CASE_METHOD(QueueFixture, "batch queue: without a share for the oldest it is last") {
  BatchQueue queue(clock, {.oldest_share_percent = 0});
  for (const int age : {1, 2, 3, 4, 5, 6}) REQUIRE(queue.Push(QueueBatch(age)));
  for (const int age : {6, 5, 4, 3, 2, 1}) CHECK(PopId(queue) == QueueId(age));
}

TEST_CASE_METHOD(QueueFixture, "batch queue: what has failed less often goes first, though older") {
  BatchQueue queue(clock, {.oldest_share_percent = 0});
  REQUIRE(queue.Push(QueueBatch(9)));
  auto sick = queue.Pop(clock.Monotonic());
  REQUIRE(sick);
  sick->failures = 1;
  const Error error(ErrorCode::kUnavailable, "no");
  queue.Defer(*std::move(sick), clock.Monotonic(), &error);
  REQUIRE(queue.Push(QueueBatch(1)));
  REQUIRE(queue.Push(QueueBatch(2)));
  for (const int age : {2, 1, 9}) CHECK(PopId(queue) == QueueId(age));
}

TEST_CASE_METHOD(QueueFixture, "batch queue: the oldest gets its share though it failed") {
  BatchQueue queue(clock, {.oldest_share_percent = 100});
  REQUIRE(queue.Push(QueueBatch(1)));
  auto sick = queue.Pop(clock.Monotonic());
  REQUIRE(sick);
  sick->failures = 7;
  queue.Defer(*std::move(sick), clock.Monotonic(), nullptr);
  REQUIRE(queue.Push(QueueBatch(2)));
  CHECK(PopId(queue) == QueueId(1));
}

TEST_CASE_METHOD(QueueFixture, "batch queue: a batch that is not due is not taken, however new") {
  BatchQueue queue(clock, {.oldest_share_percent = 0});
  REQUIRE(queue.Push(QueueBatch(5)));
  auto newest = queue.Pop(clock.Monotonic());
  REQUIRE(newest);
  queue.Defer(*std::move(newest), clock.Monotonic() + seconds(10), nullptr);
  REQUIRE(queue.Push(QueueBatch(1)));
  CHECK(PopId(queue) == QueueId(1));
  CHECK(PopId(queue) == "none");
  SECTION("time") { clock.Advance(seconds(10)); }
  SECTION("a wake") { queue.Wake("Metrics"); }
  CHECK(PopId(queue) == QueueId(5));
}

TEST_CASE_METHOD(QueueFixture, "batch queue: a database that has its workers leaves the others") {
  BatchQueue queue(clock, {.running_per_database = 2});
  for (const int age : {6, 7, 8}) REQUIRE(queue.Push(QueueBatch(age)));
  for (const int age : {1, 2}) REQUIRE(queue.Push(QueueBatch(age, "Other")));
  auto first = queue.Pop(clock.Monotonic());
  REQUIRE(first);
  CHECK(first->manifest.id == QueueId(8));
  CHECK(PopId(queue) == QueueId(7));
  CHECK(PopId(queue) == QueueId(2));
  CHECK(PopId(queue) == QueueId(1));  // the pick of the oldest
  CHECK(PopId(queue) == "none");
  SECTION("one that ends makes room") { queue.Finish(QueueId(7), BatchOutcome::kDelivered); }
  SECTION("so does one that waits again") {
    queue.Defer(*std::move(first), clock.Monotonic() + seconds(1), nullptr);
  }
  CHECK(PopId(queue) == QueueId(6));
}

TEST_CASE_METHOD(QueueFixture, "batch queue: what cannot be worked on now keeps nobody else") {
  BatchQueue queue(clock, {});
  REQUIRE(queue.Push(QueueBatch(1)));
  REQUIRE(queue.Push(QueueBatch(2)));
  CHECK(PopId(queue, [](const BatchManifest& manifest) { return manifest.id != QueueId(2); }) ==
        QueueId(1));
  CHECK(PopId(queue) == QueueId(2));
}

TEST_CASE_METHOD(QueueFixture, "batch queue: refused batches that wait do not stop the planning") {
  BatchQueue queue(clock, {.fresh_per_database = 1});
  REQUIRE(queue.Push(QueueBatch(1)));
  CHECK_FALSE(queue.HasRoom("Metrics"));
  auto batch = queue.Pop(clock.Monotonic());
  REQUIRE(batch);
  batch->manifest.sinks[0].state = DeliveryState::kFailed;
  queue.Defer(*std::move(batch), clock.Monotonic() + seconds(1), nullptr);
  CHECK(queue.HasRoom("Metrics"));
  CHECK(queue.Contains(QueueId(1)));
  CHECK_FALSE(queue.Contains(QueueId(2)));
}

}  // namespace
}  // namespace forebay::wal
