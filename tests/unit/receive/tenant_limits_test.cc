// Token buckets, and tenants with their limits.
#include "receive/tenant_limits.h"

#include <catch2/catch.hpp>
#include <thread>

using namespace forebay;           // NOLINT
using namespace forebay::receive;  // NOLINT
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

MonotonicTime At(milliseconds time) { return MonotonicTime{} + seconds(1000) + time; }

struct Limited {
  explicit Limited(const config::TenantLimits& limits, uint64_t max = 1000) {
    config.tenants.limits = limits;
    config.tenants.max = max;
    Apply();
  }
  void Apply() { tenants.Configure(config); }
  // Whether a request of so many bytes gets in.
  bool Ask(std::string_view tenant, milliseconds time, uint64_t bytes = 0) {
    last = tenants.Admit(tenant, bytes, At(time));
    return !last.has_value();
  }
  bool Exposes(const std::string& line) const {
    return ("\n" + registry.Expose()).find("\n" + line + "\n") != std::string::npos;
  }

  config::Config config;
  metrics::Registry registry;
  table::SeriesTable series{{.hash_seed = 3}};
  TenantLimits tenants{series, registry};
  std::optional<TenantRefusal> last;
};

}  // namespace

TEST_CASE("token bucket: gives its burst at once and its rate afterwards") {
  TokenBucket bucket;
  const TokenRate rate{.per_second = 10, .burst = 3};
  const MonotonicTime start = At(milliseconds(0));
  for (int i = 0; i < 3; ++i) {
    CHECK(bucket.Wait(rate, 1, start).count() == 0);
    bucket.Take(rate, 1, start);
  }
  CHECK(bucket.Wait(rate, 1, start) == milliseconds(100));
  CHECK(bucket.Wait(rate, 2, start) == milliseconds(200));
  CHECK(bucket.Wait(rate, 1, start + milliseconds(99)) == milliseconds(1));
  CHECK(bucket.Wait(rate, 1, start + milliseconds(100)).count() == 0);
  // An hour of rest is no more than the burst.
  const MonotonicTime later = start + std::chrono::hours(1);
  CHECK(bucket.IsFull(later));
  bucket.Take(rate, 3, later);
  CHECK(bucket.Wait(rate, 1, later) == milliseconds(100));
}

TEST_CASE("token bucket: more than the burst is let in when it is full, and paid for afterwards") {
  TokenBucket bucket;
  const TokenRate rate{.per_second = 100, .burst = 50};
  const MonotonicTime start = At(milliseconds(0));
  CHECK(bucket.Wait(rate, 1000, start).count() == 0);
  bucket.Take(rate, 1000, start);
  CHECK(bucket.Wait(rate, 1, start) == milliseconds(9510));
  CHECK(bucket.Wait(rate, 1000, start + seconds(9)) == seconds(1));
  CHECK(bucket.Wait(rate, 1000, start + seconds(10)).count() == 0);
}

TEST_CASE("token bucket: no numbers overflow") {
  const TokenRate slow{.per_second = 1, .burst = 1};
  const TokenRate fast{.per_second = 1'000'000'000'000, .burst = 1'000'000'000'000};
  TokenBucket bucket;
  bucket.Take(slow, UINT64_MAX, At(milliseconds(0)));
  CHECK(bucket.Wait(slow, 1, At(milliseconds(0))) > std::chrono::hours(24 * 365));
  TokenBucket other;
  other.Take(fast, UINT64_MAX, At(milliseconds(0)));
  CHECK(other.Wait(fast, UINT64_MAX, At(milliseconds(0))) > seconds(18'000'000));
  CHECK(other.Wait({}, 1, At(milliseconds(0))).count() == 0);
}

TEST_CASE("tenant limits: without any there is nothing to ask") {
  Limited limited({});
  CHECK_FALSE(limited.tenants.enabled());
  CHECK(limited.Ask("a", milliseconds(0), 1U << 30));
  CHECK(limited.tenants.size() == 0);
}

TEST_CASE("tenant limits: requests, bytes and samples each have their bucket, per tenant") {
  config::TenantLimits limits;
  limits.requests_per_second = 2;
  limits.bytes_per_second = {1000};
  limits.samples_per_second = 100;
  Limited limited(limits);
  REQUIRE(limited.tenants.enabled());
  CHECK(limited.tenants.header() == "X-Scope-OrgID");
  SECTION("requests") {
    CHECK(limited.Ask("a", milliseconds(0)));
    CHECK(limited.Ask("a", milliseconds(0)));
    CHECK_FALSE(limited.Ask("a", milliseconds(0)));
    CHECK(limited.last->retry_after == milliseconds(500));
    CHECK_THAT(limited.last->text, Catch::Contains("requests_per_second") && Catch::Contains("a"));
    CHECK(limited.Ask("b", milliseconds(0)));
    CHECK(limited.Ask("", milliseconds(0)));
    CHECK(limited.Ask("a", milliseconds(500)));
    CHECK(
        limited.Exposes("forebay_receive_tenant_refused_requests_total{limit=\"requests\","
                        "tenant=\"a\"} 1"));
  }
  SECTION("bytes, by Content-Length before the body and chunked after it") {
    CHECK(limited.Ask("a", milliseconds(0), 900));
    CHECK_FALSE(limited.Ask("a", milliseconds(0), 200));
    CHECK(limited.last->retry_after == milliseconds(100));
    // What was refused costs nothing.
    CHECK(limited.Ask("a", milliseconds(0), 100));
    limited.tenants.Charge("b", 0, 3000, At(milliseconds(0)));
    CHECK_FALSE(limited.Ask("b", milliseconds(1900), 1));
    CHECK(limited.Ask("b", milliseconds(2001), 1));
  }
  SECTION("samples, known after decoding: the next request waits for the debt") {
    CHECK(limited.Ask("a", milliseconds(0)));
    limited.tenants.Charge("a", 400, 0, At(milliseconds(0)));
    CHECK_FALSE(limited.Ask("a", milliseconds(2900)));
    CHECK_THAT(limited.last->text, Catch::Contains("samples_per_second"));
    CHECK(limited.Ask("a", milliseconds(3010)));
  }
}

TEST_CASE("tenant limits: an override replaces all limits, and a reload applies to known tenants") {
  config::TenantLimits one;
  one.requests_per_second = 1;
  Limited limited(one);
  CHECK(limited.Ask("a", milliseconds(0)));
  CHECK_FALSE(limited.Ask("a", milliseconds(0)));
  config::TenantLimits bytes;
  bytes.bytes_per_second = {10};
  limited.config.tenants.overrides = {{"a", bytes}};
  limited.Apply();
  for (int i = 0; i < 5; ++i) CHECK(limited.Ask("a", milliseconds(0), 2));
  CHECK_FALSE(limited.Ask("a", milliseconds(0), 2));
  CHECK(limited.Ask("b", milliseconds(0)));
  CHECK_FALSE(limited.Ask("b", milliseconds(0)));
  limited.config.tenants = {};
  limited.Apply();
  CHECK_FALSE(limited.tenants.enabled());
  CHECK(limited.Ask("b", milliseconds(0)));
}

TEST_CASE("tenant limits: tenants are bounded, busy ones stay, others share one limit") {
  config::TenantLimits limits;
  limits.requests_per_second = 1;
  Limited limited(limits, 3);
  for (const char* tenant : {"a", "b", "c"}) CHECK(limited.Ask(tenant, milliseconds(0)));
  CHECK(limited.tenants.size() == 3);
  CHECK(limited.Ask("d", milliseconds(10)));
  CHECK_FALSE(limited.Ask("e", milliseconds(10)));  // d's and its own in one
  CHECK_FALSE(limited.Ask("a", milliseconds(10)));
  CHECK(limited.tenants.size() == 3);
  CHECK(limited.Exposes("forebay_receive_tenant_overflow_requests_total 2"));
  // A hundred thousand names later: still three, and the metrics are bounded too.
  for (int i = 0; i < 100'000; ++i) (void)limited.Ask(std::to_string(i), seconds(5));
  CHECK(limited.tenants.size() <= 3);
  const std::string text = limited.registry.Expose();
  size_t lines = 0;
  for (size_t at = 0; (at = text.find("forebay_receive_tenant_refused", at)) != std::string::npos;
       ++at) {
    ++lines;
  }
  CHECK(lines <= 3 * (TenantLimits::kMaxTenantLabels + 1) + 2);
}

TEST_CASE("tenant limits: many threads get what the rate allows in sum, no more and no less") {
  config::TenantLimits limits;
  limits.requests_per_second = 1000;
  limits.requests_burst = 500;
  Limited limited(limits);
  std::atomic<uint64_t> admitted{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        // The same two seconds for each thread.
        for (int i = 0; i <= 2000; ++i) {
          if (!limited.tenants.Admit("a", 0, At(milliseconds(i)))) ++admitted;
        }
      });
    }
  }
  // Threads see time run differently, so that the last one may find a bucket that is full again.
  CHECK(admitted >= 500);
  CHECK(admitted <= 2500);
  std::atomic<uint64_t> at_once{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 5000; ++i) {
          if (!limited.tenants.Admit("b", 0, At(milliseconds(0)))) ++at_once;
        }
      });
    }
  }
  CHECK(at_once == 500);
}

TEST_CASE("tenant limits: a series counts for the tenant that brought it, until it is evicted") {
  config::TenantLimits limits;
  limits.series_max = 2;
  Limited limited(limits);
  table::SeriesTable& series = limited.series;
  const auto add = [&](const char* tenant, int64_t id) {
    const auto quota = limited.tenants.QuotaOf(tenant, At(milliseconds(0)));
    REQUIRE(quota.owner != table::kNoOwner);
    const std::string text = std::to_string(id);
    return series
        .Add(series.HashKey(std::string(tenant) + text, 1),
             {.table = 1,
              .series_id = id,
              .labels = {},
              .lifted = {},
              .owner = quota.owner,
              .owner_max = quota.max},
             1)
        .ok();
  };
  CHECK(add("a", 1));
  CHECK(add("a", 2));
  CHECK_FALSE(add("a", 3));
  CHECK(add("a", 2));  // known
  CHECK(add("b", 1));  // brought by a
  CHECK(add("b", 3));
  CHECK(add("b", 4));
  CHECK_FALSE(add("b", 5));
  CHECK(add("a", 4));
  const auto owner = limited.tenants.QuotaOf("a", At(milliseconds(0))).owner;
  CHECK(series.OwnerSize(owner) == 2);
  CHECK(series.EvictIdle(2) == 4);
  CHECK(series.OwnerSize(owner) == 0);
  CHECK(add("a", 3));
}
