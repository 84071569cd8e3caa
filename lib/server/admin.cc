#include "server/admin.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/units.h"
#include "config/print.h"
#include "server/node.h"
#include "server/status_page.h"

namespace forebay::server {
namespace {

constexpr std::chrono::milliseconds kFlushTimeout = std::chrono::minutes(5);
constexpr std::chrono::milliseconds kMaxFlushTimeout = std::chrono::hours(1);

http::Response Flush(Node& node, const http::RequestHead& head) {
  std::chrono::milliseconds timeout = kFlushTimeout;
  if (const auto asked = head.QueryParameter("timeout")) {
    const auto parsed = ParseDuration(*asked);
    if (!parsed.ok()) return http::Response::Text(400, parsed.error().message() + "\n");
    timeout = std::clamp(*parsed, std::chrono::milliseconds(0), kMaxFlushTimeout);
  }
  const bool upload = head.QueryParameter("upload").value_or("true") != "false";
  const FlushReport report = node.Flush({SystemClock().Monotonic() + timeout, upload});
  nlohmann::json json;
  json["ok"] = report.ok();
  json["sealed"] = report.sealed.ok();
  json["batches"] = {{"delivered", report.batches.delivered},
                     {"dead_lettered", report.batches.dead_lettered},
                     {"failed", report.batches.failed},
                     {"unfinished", report.batches.unfinished}};
  json["unplanned_segments"] = report.batches.unplanned_segments;
  json["in_transfer"] = report.in_transfer;
  json["errors"] = report.batches.errors;
  if (!report.sealed.ok()) json["errors"].push_back(report.sealed.error().ToString());
  return http::Response::Json(report.ok() ? 200 : 503, json.dump() + "\n");
}

http::Response Reload(Node& node) {
  const auto changes = node.Reload();
  if (!changes.ok()) return http::Response::Text(400, changes.error().message() + "\n");
  std::string text;
  for (const std::string& change : *changes) text += change + "\n";
  return http::Response::Text(200, text.empty() ? "nothing changed\n" : text);
}

http::Response DrainAnswer(const DrainReport& report) {
  return http::Response::Json(report.state == DrainState::kDrained ? 200 : 202,
                              report.Json() + "\n");
}

// With ?timeout= the answer waits so long for the end.
http::Response Drain(Node& node, const http::RequestHead& head) {
  std::chrono::milliseconds timeout{0};
  if (const auto asked = head.QueryParameter("timeout")) {
    const auto parsed = ParseDuration(*asked);
    if (!parsed.ok()) return http::Response::Text(400, parsed.error().message() + "\n");
    timeout = std::clamp(*parsed, std::chrono::milliseconds(0), kMaxFlushTimeout);
  }
  node.BeginDrain("POST /-/drain");
  return DrainAnswer(node.drainer().Wait({SystemClock().Monotonic() + timeout, {}}));
}

http::Response Undrain(Node& node) {
  if (!node.started()) return http::Response::Text(503, "starting\n");
  return http::Response::Text(200, node.drainer().Cancel() ? "in service again\n" : "in service\n");
}

http::Response Audit(Node& node) {
  const auto report = node.AuditDisk();
  if (!report.ok()) return http::Response::Text(503, report.error().ToString() + "\n");
  nlohmann::json json;
  json["files"] = report->files;
  json["differences"] = report->differences;
  json["corrected_bytes"] = report->corrected_bytes;
  json["examples"] = report->examples;
  return http::Response::Json(
      200, json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

// Answers of now are good for now.
http::Response Fresh(http::Response response) {
  response.headers.emplace_back("Cache-Control", "no-store");
  return response;
}

// Errors: kInvalidArgument when it is no number. nothing: fallback.
Result<uint64_t> NumberParameter(const http::RequestHead& head, const char* name,
                                 uint64_t fallback) {
  const auto text = head.QueryParameter(name);
  if (!text) return fallback;
  uint64_t number = 0;
  const char* end = text->data() + text->size();
  const auto parsed = std::from_chars(text->data(), end, number);
  if (text->empty() || parsed.ec != std::errc() || parsed.ptr != end) {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("{}={}: expected a number, as {}={}", name, *text, name, fallback));
  }
  return number;
}

http::Response BadParameter(const Error& error) {
  return http::Response::Text(400, error.message() + "\n");
}

http::Response StatusOf(const Node& node, const http::RequestHead& head) {
  StatusOptions options;
  const auto tables = NumberParameter(head, "tables", options.tables);
  if (!tables.ok()) return BadParameter(tables.error());
  const auto batches = NumberParameter(head, "batches", options.batches);
  if (!batches.ok()) return BadParameter(batches.error());
  options.tables = *tables;
  options.batches = *batches;
  options.config = head.QueryParameter("config").value_or("true") != "false";
  return Fresh(http::Response::Json(200, node.StatusJson(options) + "\n"));
}

http::Response TablesOf(const Node& node, const http::RequestHead& head) {
  TableQuery query;
  query.search = head.QueryParameter("search").value_or("");
  if (query.search.size() > TableBoard::kMaxSearchBytes) {
    return http::Response::Text(
        400, fmt::format("search: longer than {} bytes\n", TableBoard::kMaxSearchBytes));
  }
  const auto limit = NumberParameter(head, "limit", query.limit);
  if (!limit.ok()) return BadParameter(limit.error());
  query.limit = *limit;
  const auto order = TableBoard::ParseOrder(head.QueryParameter("sort").value_or("rate"));
  if (!order.ok()) return BadParameter(order.error());
  query.order = *order;
  return Fresh(http::Response::Json(200, node.table_board().Json(query) + "\n"));
}

http::Response HistoryOf(const Node& node, const http::RequestHead& head) {
  const auto from = NumberParameter(head, "from", 0);
  if (!from.ok()) return BadParameter(from.error());
  return Fresh(http::Response::Json(200, node.history().Json(*from) + "\n"));
}

http::Response ConfigOf(const Node& node) {
  return Fresh(http::Response::Text(200, config::PrintYaml(node.config())));
}

// Relative, so that a proxy may serve the port below a path of its own.
http::Response ToStatusPage() {
  http::Response response = http::Response::Text(302, "status\n");
  response.headers.emplace_back("Location", "status");
  return response;
}

http::Response Metrics(const Node& node) {
  http::Response response;
  response.headers.emplace_back("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
  response.body = node.MetricsText();
  return response;
}

http::Response Ready(const Node& node) {
  const std::string reason = node.NotReady();
  if (reason.empty()) return http::Response::Text(200, "ready\n");
  return http::Response::Text(503, "not ready: " + reason + "\n");
}

}  // namespace

// Answers at once, on the io thread.
class AdminHandlers::Simple final : public http::Handler {
 public:
  explicit Simple(std::function<http::Response(const http::RequestHead&)> answer)
      : answer_(std::move(answer)) {}
  void Handle(http::Exchange& exchange) override { exchange.Respond(answer_(exchange.head())); }

 private:
  const std::function<http::Response(const http::RequestHead&)> answer_;
};

// Answers from the job thread.
class AdminHandlers::Job final : public http::Handler {
 public:
  Job(JobThread& jobs, std::function<http::Response(const http::RequestHead&)> work)
      : jobs_(jobs), work_(std::move(work)) {}

  void Handle(http::Exchange& exchange) override {
    const bool queued = jobs_.Run([this, &exchange] {
      auto* answer = new Answer{&exchange, work_(exchange.head())};
      exchange.Resume(&Job::Finish, answer);
    });
    if (!queued) {
      exchange.Respond(
          http::Response::RetryAfter(503, std::chrono::seconds(1), "too many jobs wait\n"));
    }
  }

 private:
  struct Answer {
    http::Exchange* exchange;
    http::Response response;
  };
  static void Finish(void* argument) {
    const std::unique_ptr<Answer> answer(static_cast<Answer*>(argument));
    answer->exchange->Respond(std::move(answer->response));
  }

  JobThread& jobs_;
  const std::function<http::Response(const http::RequestHead&)> work_;
};

AdminHandlers::AdminHandlers(Node& node, JobThread& jobs) : node_(node), jobs_(jobs) {
  Get("/metrics", [this](const auto&) { return Metrics(node_); });
  Get("/livez", [](const auto&) { return http::Response::Text(200, "ok\n"); });
  Get("/readyz", [this](const auto&) { return Ready(node_); });
  Get("/startupz", [this](const auto&) {
    return node_.started() ? http::Response::Text(200, "started\n")
                           : http::Response::Text(503, "starting\n");
  });
  Get("/", [](const auto&) { return ToStatusPage(); });
  Get("/status", [](const auto& head) { return StatusPage(head); });
  Get("/api/v1/status", [this](const auto& head) { return StatusOf(node_, head); });
  Get("/api/v1/tables", [this](const auto& head) { return TablesOf(node_, head); });
  Get("/api/v1/history", [this](const auto& head) { return HistoryOf(node_, head); });
  Get("/api/v1/config", [this](const auto&) { return ConfigOf(node_); });
  PostJob("/-/flush", [this](const auto& head) { return Flush(node_, head); });
  PostJob("/-/drain", [this](const auto& head) { return Drain(node_, head); });
  Get("/-/drain", [this](const auto&) { return DrainAnswer(node_.drainer().report()); });
  routes_.push_back({"DELETE", "/-/drain",
                     std::make_unique<Simple>([this](const auto&) { return Undrain(node_); })});
  PostJob("/-/audit", [this](const auto&) { return Audit(node_); });
  PostJob("/-/reload", [this](const auto&) { return Reload(node_); });
}

AdminHandlers::~AdminHandlers() = default;

std::vector<std::string> AdminHandlers::OpenPaths() { return {"/livez", "/readyz", "/startupz"}; }

void AdminHandlers::Get(const std::string& path,
                        std::function<http::Response(const http::RequestHead&)> answer) {
  routes_.push_back({"GET", path, std::make_unique<Simple>(std::move(answer))});
}

void AdminHandlers::PostJob(const std::string& path,
                            std::function<http::Response(const http::RequestHead&)> job) {
  routes_.push_back({"POST", path, std::make_unique<Job>(jobs_, std::move(job))});
}

void AdminHandlers::RouteAll(http::Server& server) {
  for (const Route& route : routes_) server.Route(route.method, route.path, route.handler.get());
}

}  // namespace forebay::server
