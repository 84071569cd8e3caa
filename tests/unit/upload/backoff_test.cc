#include <catch2/catch.hpp>
#include <vector>

#include "upload/sink_health.h"

namespace forebay::upload {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

Error Overload() { return Error(ErrorCode::kResourceExhausted, "429"); }

// So many successes as bring the sink to all of its workers.
void RampUp(SinkHealth& health) {
  for (int i = 0; i < 100; ++i) {
    REQUIRE(health.Admit(0).admitted);
    health.Succeeded(1, 1);
  }
}

// How many tries it gets at once; they are ended.
uint32_t AtOnce(SinkHealth& health) {
  uint32_t tries = 0;
  while (health.Admit(0).admitted) ++tries;
  for (uint32_t i = 0; i < tries; ++i) health.Withdrawn();
  return tries;
}

TEST_CASE("backoff: full jitter below a ceiling that doubles up to the maximum") {
  config::Upload config;
  config.retry_initial = milliseconds(500);
  config.retry_max = milliseconds(300'000);
  CHECK(Backoff(config, 1, 499) == milliseconds(500));
  CHECK(Backoff(config, 1, 500) == milliseconds(1));
  CHECK(Backoff(config, 4, 3999) == milliseconds(4000));
  CHECK(Backoff(config, 4, 4000) == milliseconds(1));
  CHECK(Backoff(config, 1000, 299'999) == milliseconds(300'000));
  CHECK(Backoff(config, 1000, 300'000) == milliseconds(1));
  CHECK(Backoff(config, 0, 0) == milliseconds(1));
  config.retry_initial = milliseconds(0);
  config.retry_max = milliseconds(0);
  CHECK(Backoff(config, 40, 77) == milliseconds(1));
}

TEST_CASE("sink health: one try at a time until the first success, then as many as there are") {
  ManualClock clock{UnixMillis{0}};
  SinkHealth health(clock, {});
  REQUIRE(health.Admit(0).admitted);
  const auto second = health.Admit(0);
  CHECK_FALSE(second.admitted);
  CHECK(second.ask_again == clock.Monotonic() + kProbeWait);
  CHECK_FALSE(second.closed_by);
  CHECK(health.Succeeded(1, 10));
  REQUIRE(health.Admit(0).admitted);
  REQUIRE(health.Admit(0).admitted);
  CHECK_FALSE(health.Succeeded(1, 5));
  health.Withdrawn();
  CHECK(health.status().delivered_rows == 15);
  CHECK(health.status().in_flight == 0);
}

TEST_CASE("sink health: closed after two failures in a row, opened by time, a flush or a success") {
  ManualClock clock{UnixMillis{0}};
  SinkHealth health(clock, {});
  REQUIRE(health.Admit(0).admitted);
  health.Succeeded(1, 1);
  REQUIRE(health.Admit(0).admitted);
  health.Failed(Error(ErrorCode::kUnavailable, "one"));
  REQUIRE(health.Admit(0).admitted);  // a single failure may be the batch's fault
  CHECK(health.status().healthy);
  health.Failed(Error(ErrorCode::kUnavailable, "two"));
  CHECK_FALSE(health.status().healthy);
  const auto closed = health.Admit(0);
  REQUIRE_FALSE(closed.admitted);
  CHECK(closed.ask_again > clock.Monotonic());
  REQUIRE(closed.closed_by);
  CHECK(closed.closed_by->message() == "two");
  SECTION("time: one probe") {
    clock.Advance(std::chrono::minutes(5));
    REQUIRE(health.Admit(0).admitted);
    CHECK_FALSE(health.Admit(0).admitted);
    CHECK(health.Succeeded(1, 1));
    CHECK(health.status().healthy);
    CHECK(health.status().last_error == "unavailable: two");
  }
  SECTION("a flush: one probe") {
    REQUIRE(health.Admit(1).admitted);
    CHECK_FALSE(health.Admit(1).admitted);
    health.Failed(Error(ErrorCode::kUnavailable, "three"));
    CHECK_FALSE(health.Admit(1).admitted);
  }
}

TEST_CASE("sink health: beside others a sink has all workers but one, half when it is slow") {
  ManualClock clock{UnixMillis{0}};
  config::Upload config;
  config.workers = 6;
  SinkHealth alone(clock, config);
  SinkHealth shared(clock, config, false);
  for (SinkHealth* health : {&alone, &shared}) {
    RampUp(*health);
    for (int i = 0; i < 5; ++i) REQUIRE(health->Admit(0).admitted);
  }
  CHECK(alone.HasRoom());
  CHECK(alone.Admit(0).admitted);
  CHECK_FALSE(shared.HasRoom());
  const auto refused = shared.Admit(0);
  CHECK_FALSE(refused.admitted);
  CHECK_FALSE(refused.closed_by);
  CHECK(refused.ask_again == clock.Monotonic() + kShareWait);
  shared.Succeeded(1, 1);
  CHECK(shared.HasRoom());
  CHECK(shared.Well());
  clock.Advance(kSlowTry + std::chrono::milliseconds(1));
  CHECK_FALSE(shared.Well());
  CHECK_FALSE(shared.HasRoom());  // four run, three are its half
  shared.Succeeded(1, 1);
  CHECK(shared.Well());  // it goes on
  CHECK(shared.HasRoom());
}

TEST_CASE("sink health: a single worker serves every sink") {
  ManualClock clock{UnixMillis{0}};
  config::Upload config;
  config.workers = 1;
  SinkHealth health(clock, config, false);
  REQUIRE(health.Admit(0).admitted);
  health.Succeeded(1, 1);
  CHECK(health.HasRoom());
  clock.Advance(std::chrono::hours(1));
  REQUIRE(health.Admit(0).admitted);
  CHECK_FALSE(health.HasRoom());
}

TEST_CASE("concurrency limit: one more with each round of successes, up to the most") {
  ConcurrencyLimit limit;
  std::vector<uint32_t> seen;
  for (int i = 0; i < 12; ++i) {
    CHECK_FALSE(limit.EndedStale());
    limit.Succeeded(4);
    seen.push_back(limit.value());
  }
  CHECK(seen == std::vector<uint32_t>{2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4});
  limit.Outage();
  CHECK(limit.value() == 1);
}

TEST_CASE("concurrency limit: an overload halves it once for all that were under way") {
  ConcurrencyLimit limit;
  for (int i = 0; i < 100; ++i) limit.Succeeded(8);
  REQUIRE(limit.value() == 8);
  limit.Overloaded(3);
  CHECK(limit.value() == 4);
  for (int i = 0; i < 3; ++i) CHECK(limit.EndedStale());
  CHECK_FALSE(limit.EndedStale());
  for (int i = 0; i < 5; ++i) limit.Overloaded(0);
  CHECK(limit.value() == 1);
}

TEST_CASE("sink health: after an outage the workers come back one by one") {
  ManualClock clock{UnixMillis{0}};
  config::Upload config;
  config.workers = 4;
  SinkHealth health(clock, config);
  RampUp(health);
  REQUIRE(AtOnce(health) == 4);
  for (int i = 0; i < 2; ++i) {
    REQUIRE(health.Admit(0).admitted);
    health.Failed(Error(ErrorCode::kUnavailable, "down"));
  }
  clock.Advance(minutes(5));
  std::vector<uint32_t> at_once;
  for (int i = 0; i < 7; ++i) {
    at_once.push_back(AtOnce(health));
    REQUIRE(health.Admit(0).admitted);
    health.Succeeded(1, 1);
  }
  CHECK(at_once == std::vector<uint32_t>{1, 2, 2, 3, 3, 3, 4});
  CHECK(health.status().concurrency_limit == 4);
}

TEST_CASE("sink health: overload halves the workers and closes nothing until there is one") {
  ManualClock clock{UnixMillis{0}};
  config::Upload config;
  config.workers = 8;
  SinkHealth health(clock, config);
  RampUp(health);
  for (int i = 0; i < 8; ++i) REQUIRE(health.Admit(0).admitted);
  for (int i = 0; i < 8; ++i) health.Failed(Overload());  // one answer to one load
  CHECK(health.status().healthy);
  CHECK(AtOnce(health) == 4);
  for (const uint32_t left : {2U, 1U}) {
    REQUIRE(health.Admit(0).admitted);
    health.Failed(Overload());
    CHECK(AtOnce(health) == left);
  }
  for (int i = 0; i < 2; ++i) {
    REQUIRE(health.Admit(0).admitted);
    health.Failed(Overload());
  }
  CHECK_FALSE(health.status().healthy);
  CHECK(AtOnce(health) == 0);  // the backoff
}

TEST_CASE("sink health: a wait that the sink asks for holds for all, and in a flush") {
  ManualClock clock{UnixMillis{0}};
  config::Upload config;
  config.workers = 4;
  SinkHealth health(clock, config);
  RampUp(health);
  REQUIRE(health.Admit(0).admitted);
  REQUIRE(health.Admit(0).admitted);
  health.Failed(Overload().WithRetryAfter(seconds(90)));
  health.Succeeded(1, 1);  // another try that was under way
  CHECK_FALSE(health.Well());
  clock.Advance(seconds(89));
  const auto quiet = health.Admit(1);
  REQUIRE_FALSE(quiet.admitted);
  REQUIRE(quiet.closed_by);
  CHECK(quiet.closed_by->message() == "429");
  CHECK(quiet.ask_again >= clock.Monotonic() + seconds(1));
  // The own jitter is on top, and is below the first backoff here.
  CHECK(quiet.ask_again <= clock.Monotonic() + seconds(1) + milliseconds(500));
  clock.Advance(std::chrono::ceil<milliseconds>(quiet.ask_again - clock.Monotonic()));
  CHECK(health.Admit(1).admitted);
}

TEST_CASE("sink health: a wait of days is cut to ten minutes") {
  ManualClock clock{UnixMillis{0}};
  SinkHealth health(clock, {});
  REQUIRE(health.Admit(0).admitted);
  health.Failed(Overload().WithRetryAfter(std::chrono::hours(48)));
  clock.Advance(minutes(10) - seconds(1));
  CHECK_FALSE(health.Admit(0).admitted);
  clock.Advance(seconds(2));
  CHECK(health.Admit(0).admitted);
}

TEST_CASE("sink health: tries go on without end while a sink is down, retry_max apart at most") {
  ManualClock clock{UnixMillis{0}};
  config::Upload config;
  SinkHealth health(clock, config);
  for (int i = 0; i < 2000; ++i) {
    REQUIRE(health.Admit(0).admitted);
    health.Failed(Error(ErrorCode::kUnavailable, "down"));
    const auto closed = health.Admit(0);
    REQUIRE_FALSE(closed.admitted);
    REQUIRE(closed.ask_again <= clock.Monotonic() + config.retry_max);
    clock.Advance(std::chrono::ceil<milliseconds>(closed.ask_again - clock.Monotonic()));
  }
}

}  // namespace
}  // namespace forebay::upload
