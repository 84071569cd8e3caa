#include <pthread.h>

#include <atomic>
#include <chrono>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include "base/bounded_queue.h"
#include "base/gate.h"
#include "base/thread.h"
#include "support/death.h"

namespace forebay {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

MonotonicTime Past() { return steady_clock::now() - milliseconds(1); }
// Far enough that only a lost wake-up lets a test wait so long.
MonotonicTime Far() { return steady_clock::now() + std::chrono::seconds(60); }

TEST_CASE("bounded queue: first in, first out, and full at its capacity") {
  BoundedQueue<int> queue(2);
  CHECK(queue.TryPush(1));
  CHECK(queue.TryPush(2));
  CHECK_FALSE(queue.TryPush(3));
  CHECK(queue.size() == 2);
  CHECK(queue.Pop() == 1);
  CHECK(queue.TryPush(3));
  CHECK(queue.Pop() == 2);
  CHECK(queue.Pop() == 3);
}

TEST_CASE("bounded queue: an item that did not fit is untouched") {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  REQUIRE(queue.TryPush(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  CHECK_FALSE(queue.TryPush(std::move(second)));
  REQUIRE(second != nullptr);
  CHECK_FALSE(queue.PushUntil(std::move(second), Past()));
  REQUIRE(second != nullptr);
  CHECK(*second == 2);
}

TEST_CASE("bounded queue: waiting ends at the deadline") {
  BoundedQueue<int> queue(1);
  CHECK_FALSE(queue.PopUntil(Past()).has_value());
  REQUIRE(queue.TryPush(1));
  CHECK_FALSE(queue.PushUntil(2, Past()));
  CHECK(queue.PopUntil(Past()) == 1);
}

TEST_CASE("bounded queue: after Close nothing enters and what is inside comes out") {
  BoundedQueue<int> queue(4);
  REQUIRE(queue.TryPush(1));
  queue.Close();
  CHECK_FALSE(queue.TryPush(2));
  CHECK_FALSE(queue.PushUntil(2, Far()));
  CHECK(queue.Pop() == 1);
  CHECK_FALSE(queue.Pop().has_value());
  CHECK_FALSE(queue.PopUntil(Far()).has_value());
}

TEST_CASE("bounded queue: Close wakes a waiting consumer and a waiting producer") {
  BoundedQueue<int> empty(1);
  BoundedQueue<int> full(1);
  REQUIRE(full.TryPush(1));
  std::atomic<bool> popped{true};
  std::atomic<bool> pushed{true};
  {
    const std::jthread consumer([&] { popped = empty.Pop().has_value(); });
    const std::jthread producer([&] { pushed = full.PushUntil(2, Far()); });
    empty.Close();
    full.Close();
  }
  CHECK_FALSE(popped);
  CHECK_FALSE(pushed);
}

TEST_CASE("bounded queue: many producers and consumers hand over every item once") {
  constexpr int kThreads = 4;
  constexpr int kItems = 2000;
  BoundedQueue<int> queue(8);
  std::atomic<int64_t> sum{0};
  std::atomic<int> count{0};
  {
    std::vector<std::jthread> consumers;
    for (int t = 0; t < kThreads; ++t) {
      consumers.emplace_back([&] {
        while (const std::optional<int> item = queue.Pop()) {
          sum += *item;
          ++count;
        }
      });
    }
    {
      std::vector<std::jthread> producers;
      for (int t = 0; t < kThreads; ++t) {
        producers.emplace_back([&] {
          for (int i = 1; i <= kItems; ++i) {
            if (!queue.PushUntil(int{i}, Far())) return;
          }
        });
      }
    }
    queue.Close();
  }
  CHECK(count == kThreads * kItems);
  CHECK(sum == int64_t{kThreads} * kItems * (kItems + 1) / 2);
}

TEST_CASE("gate: what enters before Close is waited for, what comes after is refused") {
  Gate gate;
  REQUIRE(gate.Enter());
  CHECK_FALSE(gate.closed());
  CHECK_FALSE(gate.Close(Past()));
  CHECK(gate.closed());
  CHECK_FALSE(gate.Enter());
  CHECK_FALSE(gate.Hold());
  CHECK(gate.inside() == 1);
  gate.Leave();
  CHECK(gate.Close(Past()));
}

TEST_CASE("gate: Close of an empty gate returns at once, also a second time") {
  Gate gate;
  CHECK(gate.Close(Past()));
  CHECK(gate.Close(Past()));
}

TEST_CASE("gate: a holder leaves once, when released, assigned over or destroyed") {
  Gate gate;
  {
    Gate::Holder first = gate.Hold();
    REQUIRE(first);
    Gate::Holder moved = std::move(first);
    CHECK(gate.inside() == 1);
    Gate::Holder second = gate.Hold();
    CHECK(gate.inside() == 2);
    second = std::move(moved);
    CHECK(gate.inside() == 1);
    second.Release();
    second.Release();
    CHECK_FALSE(second);
    CHECK(gate.inside() == 0);
    const Gate::Holder third = gate.Hold();
    CHECK(gate.inside() == 1);
  }
  CHECK(gate.inside() == 0);
}

TEST_CASE("gate: the last to leave wakes the closer") {
  Gate gate;
  std::latch entered(4);
  std::atomic<int> left{0};
  std::vector<std::jthread> workers;
  for (int i = 0; i < 4; ++i) {
    workers.emplace_back([&] {
      const Gate::Holder holder = gate.Hold();
      entered.count_down();
      while (!gate.closed()) std::this_thread::yield();
      ++left;
    });
  }
  entered.wait();
  CHECK(gate.Close(Far()));
  CHECK(left == 4);
}

TEST_CASE("gate: it may be destroyed as soon as Close returned true") {
  for (int i = 0; i < 500; ++i) {
    auto gate = std::make_unique<Gate>();
    Gate::Holder holder = gate->Hold();
    const std::jthread worker([moved = std::move(holder)]() mutable { moved.Release(); });
    REQUIRE(gate->Close(Far()));
    gate.reset();
  }
}

TEST_CASE("gate: leaving more often than entered, or dying with work inside, ends the process") {
  CHECK(test::Dies([] {
    Gate gate;
    gate.Leave();
  }));
  CHECK(test::Dies([] {
    Gate gate;
    (void)gate.Enter();
  }));
}

std::string NameInside(const std::string& name) {
  char read[16] = {};
  {
    const std::jthread thread = StartThread(name, [&read](const std::stop_token&) {
      pthread_getname_np(pthread_self(), read, sizeof(read));
    });
  }
  return read;
}

TEST_CASE("thread: has its name, cut at 15 characters, and is told to stop when destroyed") {
  CHECK(NameInside("journal") == "journal");
  CHECK(NameInside("a-name-of-more-than-15") == "a-name-of-more-");
  std::atomic<bool> stopped{false};
  {
    const std::jthread thread = StartThread("waits", [&stopped](const std::stop_token& stop) {
      while (!stop.stop_requested()) std::this_thread::yield();
      stopped = true;
    });
  }
  CHECK(stopped);
}

}  // namespace
}  // namespace forebay
