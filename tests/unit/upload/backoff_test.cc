#include <catch2/catch.hpp>

#include "upload/sink_health.h"

namespace forebay::upload {
namespace {

using std::chrono::milliseconds;

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
    REQUIRE(health->Admit(0).admitted);
    health->Succeeded(1, 1);
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

}  // namespace
}  // namespace forebay::upload
