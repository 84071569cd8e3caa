#include "server/flow_history.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace forebay::server {
namespace {

// Two samples that fall together, after a late one, are one.
constexpr std::chrono::milliseconds kLeastTime{100};

uint64_t Grown(uint64_t before, uint64_t now) { return now > before ? now - before : 0; }

// Three digits behind the point are enough, and cost less to send.
double Rate(uint64_t before, uint64_t now, double seconds) {
  return std::round(static_cast<double>(Grown(before, now)) / seconds * 1000) / 1000;
}

}  // namespace

FlowHistory::FlowHistory(const Clock& clock) : clock_(clock), last_time_(clock.Monotonic()) {}

void FlowHistory::Sample(const FlowTotals& totals) {
  MutexLock lock(mutex_);
  const MonotonicTime now = clock_.Monotonic();
  if (now - last_time_ < kLeastTime) return;
  Point& point = points_[next_ % kPoints];
  point.time = clock_.Now();
  point.seconds = std::chrono::duration<double>(now - last_time_).count();
  point.received = Rate(last_.received_rows, totals.received_rows, point.seconds);
  point.from_peers = Rate(last_.from_peers_rows, totals.from_peers_rows, point.seconds);
  point.uploaded = Rate(last_.uploaded_rows, totals.uploaded_rows, point.seconds);
  point.transferred = Rate(last_.transferred_rows, totals.transferred_rows, point.seconds);
  point.refused = Rate(last_.refused_rows, totals.refused_rows, point.seconds);
  point.errors = Grown(last_.errors, totals.errors);
  point.totals = totals;
  last_ = totals;
  last_time_ = now;
  ++next_;
}

std::string FlowHistory::Json(uint64_t from) const {
  nlohmann::json json;
  nlohmann::json& columns = json["points"];
  columns = nlohmann::json::object();
  MutexLock lock(mutex_);
  const uint64_t oldest = next_ > kPoints ? next_ - kPoints : 0;
  const uint64_t first = from > next_ ? oldest : std::max(from, oldest);
  const std::array<Point, kPoints>& points = points_;
  const uint64_t next = next_;
  json["interval_seconds"] = kInterval.count();
  json["max_points"] = kPoints;
  json["first"] = first;
  json["next"] = next;
  const auto column = [&](const char* name, auto value) {
    nlohmann::json& list = columns[name];
    list = nlohmann::json::array();
    for (uint64_t i = first; i < next; ++i) list.push_back(value(points[i % kPoints]));
  };
  column("time_ms", [](const Point& p) { return p.time.value; });
  column("seconds", [](const Point& p) { return std::round(p.seconds * 1000) / 1000; });
  column("received_rows_per_second", [](const Point& p) { return p.received; });
  column("from_peers_rows_per_second", [](const Point& p) { return p.from_peers; });
  column("uploaded_rows_per_second", [](const Point& p) { return p.uploaded; });
  column("transferred_rows_per_second", [](const Point& p) { return p.transferred; });
  column("refused_rows_per_second", [](const Point& p) { return p.refused; });
  column("errors", [](const Point& p) { return p.errors; });
  column("pending_rows", [](const Point& p) { return p.totals.pending_rows; });
  column("quarantine_bytes", [](const Point& p) { return p.totals.quarantine_bytes; });
  column("disk_bytes", [](const Point& p) { return p.totals.disk_bytes; });
  column("memory_bytes", [](const Point& p) { return p.totals.memory_bytes; });
  return json.dump();
}

}  // namespace forebay::server
