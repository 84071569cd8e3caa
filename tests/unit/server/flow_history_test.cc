#include "server/flow_history.h"

#include <catch2/catch.hpp>

#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>

namespace forebay::server {
namespace {

using nlohmann::json;
using std::chrono::seconds;

struct HistoryFixture {
  json Read(uint64_t from = 0) const { return json::parse(history.Json(from)); }
  void Sample(const FlowTotals& totals) {
    clock.Advance(FlowHistory::kInterval);
    history.Sample(totals);
  }
  ManualClock clock{UnixMillis{1'793'491'200'000}};
  FlowHistory history{clock};
};

TEST_CASE_METHOD(HistoryFixture, "flow history: points are rates since the one before") {
  CHECK(Read().at("points").at("time_ms").empty());
  FlowTotals totals;
  totals.received_rows = 500;
  totals.errors = 2;
  totals.pending_rows = 40;
  Sample(totals);
  totals.received_rows = 1500;
  totals.uploaded_rows = 50;
  totals.from_peers_rows = 5;
  totals.transferred_rows = 15;
  totals.refused_rows = 25;
  totals.errors = 5;
  totals.pending_rows = 7;
  Sample(totals);
  const json points = Read().at("points");
  CHECK(points.at("time_ms") == json::array({1'793'491'205'000, 1'793'491'210'000}));
  CHECK(points.at("seconds") == json::array({5.0, 5.0}));
  CHECK(points.at("received_rows_per_second") == json::array({100.0, 200.0}));
  CHECK(points.at("uploaded_rows_per_second") == json::array({0.0, 10.0}));
  CHECK(points.at("from_peers_rows_per_second")[1] == 1.0);
  CHECK(points.at("transferred_rows_per_second")[1] == 3.0);
  CHECK(points.at("refused_rows_per_second")[1] == 5.0);
  CHECK(points.at("errors") == json::array({2, 3}));
  CHECK(points.at("pending_rows") == json::array({40, 7}));
}

TEST_CASE_METHOD(HistoryFixture,
                 "flow history: a late point is a mean over the time it stands for") {
  clock.Advance(seconds(45));
  FlowTotals totals;
  totals.received_rows = 1000;
  Sample(totals);
  CHECK(Read().at("points").at("received_rows_per_second") == json::array({20.0}));
  history.Sample(totals);  // At the same moment: no point, and no division by nothing.
  CHECK(Read().at("next") == 1);
}

TEST_CASE_METHOD(HistoryFixture, "flow history: it keeps the last 180 points") {
  FlowTotals totals;
  for (uint64_t i = 0; i < 400; ++i) {
    totals.pending_rows = i;
    Sample(totals);
  }
  const json all = Read();
  CHECK(all.at("first") == 220);
  CHECK(all.at("next") == 400);
  CHECK(all.at("points").at("pending_rows").size() == FlowHistory::kPoints);
  CHECK(all.at("points").at("pending_rows").front() == 220);
  CHECK(all.at("points").at("pending_rows").back() == 399);
}

TEST_CASE_METHOD(HistoryFixture, "flow history: who asks again gets what is new") {
  for (int i = 0; i < 3; ++i) Sample({});
  CHECK(Read(2).at("points").at("time_ms").size() == 1);
  CHECK(Read(3).at("points").at("time_ms").empty());
  CHECK(Read(3).at("next") == 3);
  // Numbers of another run: everything.
  CHECK(Read(4).at("points").at("time_ms").size() == 3);
  CHECK(Read(std::numeric_limits<uint64_t>::max()).at("first") == 0);
}

TEST_CASE_METHOD(HistoryFixture, "flow history: counters that go back and huge ones do no harm") {
  FlowTotals totals;
  totals.received_rows = std::numeric_limits<uint64_t>::max();
  totals.errors = 9;
  Sample(totals);
  totals.received_rows = 5;
  totals.errors = 1;
  Sample(totals);
  const json points = Read().at("points");
  CHECK(points.at("received_rows_per_second")[0].get<double>() > 1e18);
  CHECK(points.at("received_rows_per_second")[1] == 0.0);
  CHECK(points.at("errors") == json::array({9, 0}));
}

}  // namespace
}  // namespace forebay::server
