#include "loadgen/report.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>

namespace forebay::loadgen {
namespace {

double Seconds(std::chrono::nanoseconds time) { return static_cast<double>(time.count()) / 1e9; }
double Millis(std::chrono::nanoseconds time) { return static_cast<double>(time.count()) / 1e6; }
double PerSecond(uint64_t count, std::chrono::nanoseconds elapsed) {
  return elapsed.count() <= 0 ? 0 : static_cast<double>(count) / Seconds(elapsed);
}
double Ratio(double a, uint64_t b) { return b == 0 ? 0 : a / static_cast<double>(b); }

// Samples and histograms: what a body's bytes and the sender's time are shared by.
uint64_t Points(const LoadReport& report) {
  return report.samples.offered() + report.histograms.offered();
}

std::string JsonString(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte >= 0x7F) {
      // Texts of servers may be no UTF-8; a byte stands for the code point of its number.
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string JsonAccount(const Account& account) {
  return fmt::format(R"({{"sent":{},"accepted":{},"refused":{},"unknown":{}}})", account.offered(),
                     account.accepted, account.refused, account.unknown);
}

void TextAccount(std::string_view name, const Account& account, std::string& out) {
  fmt::format_to(std::back_inserter(out), "{:<14}{:>16}{:>16}{:>16}{:>16}\n", name,
                 account.offered(), account.accepted, account.refused, account.unknown);
}

// "remote write 1.0" or "otlp-grpc logs".
std::string LoadName(const LoadOptions& options) {
  if (!IsOtlp(options.protocol))
    return fmt::format("remote write {}", ProtocolName(options.protocol));
  return fmt::format("{} {}", ProtocolName(options.protocol), SignalName(options.signal));
}

}  // namespace

void Account::Merge(const Account& other) {
  accepted += other.accepted;
  refused += other.refused;
  unknown += other.unknown;
}

bool LoadReport::complete() const {
  return samples.offered() == samples.accepted && histograms.offered() == histograms.accepted &&
         exemplars.offered() == exemplars.accepted && requests > 0;
}

void LoadReport::Merge(const LoadReport& worker) {
  samples.Merge(worker.samples);
  histograms.Merge(worker.histograms);
  exemplars.Merge(worker.exemplars);
  requests += worker.requests;
  retries += worker.retries;
  connects += worker.connects;
  network_errors += worker.network_errors;
  maybe_duplicated += worker.maybe_duplicated;
  for (const auto& [status, count] : worker.statuses) statuses[status] += count;
  raw_bytes += worker.raw_bytes;
  body_bytes += worker.body_bytes;
  client_cpu += worker.client_cpu;
  latency.Merge(worker.latency);
  max_behind = std::max(max_behind, worker.max_behind);
  if (first_error.empty()) first_error = worker.first_error;
}

std::string FormatText(const LoadReport& report) {
  const LoadOptions& o = report.options;
  std::string out;
  const auto add = std::back_inserter(out);
  fmt::format_to(add, "target        {}\n", o.url);
  const std::string_view items = ItemsName(o.signal);
  fmt::format_to(add,
                 "load          {}, {} series in {} tables, {} labels, {} x {} {} a request, "
                 "{} connections{}\n",
                 LoadName(o), o.series, o.tables, o.labels, o.series_per_request,
                 o.samples_per_series, items, o.connections,
                 o.churn_percent_per_minute > 0
                     ? fmt::format(", churn {} % a minute", o.churn_percent_per_minute)
                     : "");
  fmt::format_to(add, "elapsed       {:.3f} s{}\n\n", Seconds(report.elapsed),
                 report.interrupted ? " (interrupted)" : "");
  fmt::format_to(add, "{:<14}{:>16}{:>16}{:>16}{:>16}\n", "", "sent", "accepted", "refused",
                 "unknown");
  TextAccount(items, report.samples, out);
  if (report.histograms.offered() > 0) TextAccount("histograms", report.histograms, out);
  if (report.exemplars.offered() > 0) TextAccount("exemplars", report.exemplars, out);
  const uint64_t points = Points(report);
  const std::string_view item = items.substr(0, items.size() - 1);
  fmt::format_to(add, "\nrate          {:.0f} {}/s accepted, {:.2f} MB/s of bodies\n",
                 PerSecond(report.samples.accepted + report.histograms.accepted, report.elapsed),
                 items, PerSecond(report.body_bytes, report.elapsed) / 1e6);
  fmt::format_to(add, "size          {:.1f} B of protobuf and {:.1f} B on the wire a {}\n",
                 Ratio(static_cast<double>(report.raw_bytes), points),
                 Ratio(static_cast<double>(report.body_bytes), points), item);
  fmt::format_to(add, "sender        {:.0f} ns of CPU a {}\n",
                 Ratio(static_cast<double>(report.client_cpu.count()), points), item);
  fmt::format_to(
      add,
      "latency       p50 {:.2f} ms, p90 {:.2f} ms, p99 {:.2f} ms, p99.9 {:.2f} ms, max {:.2f} ms\n",
      Millis(report.latency.Percentile(50)), Millis(report.latency.Percentile(90)),
      Millis(report.latency.Percentile(99)), Millis(report.latency.Percentile(99.9)),
      Millis(report.latency.max()));
  if (o.rate > 0) {
    fmt::format_to(add, "schedule      {:.0f} {}/s asked for, at most {:.2f} ms behind\n", o.rate,
                   items, Millis(report.max_behind));
  }
  std::string statuses;
  for (const auto& [status, count] : report.statuses)
    statuses += fmt::format(", {} x {}", count, status);
  fmt::format_to(add, "requests      {}{}; {} retries, {} network errors, {} connects\n",
                 report.requests, statuses, report.retries, report.network_errors, report.connects);
  if (report.maybe_duplicated > 0) {
    fmt::format_to(
        add, "resent        {} {} after an attempt without an answer: they may be there twice\n",
        report.maybe_duplicated, items);
  }
  if (!report.first_error.empty()) fmt::format_to(add, "first error   {}\n", report.first_error);
  return out;
}

std::string FormatJson(const LoadReport& report) {
  const LoadOptions& o = report.options;
  std::string statuses;
  for (const auto& [status, count] : report.statuses) {
    fmt::format_to(std::back_inserter(statuses), "{}\"{}\":{}", statuses.empty() ? "" : ",", status,
                   count);
  }
  std::string out = fmt::format(
      R"({{"url":{},"protocol":"{}","signal":"{}","series":{},"tables":{},"labels":{},"samples_per_series":{},)"
      R"("series_per_request":{},"connections":{},"churn_percent_per_minute":{},"rate":{},)",
      JsonString(o.url), ProtocolName(o.protocol), SignalName(o.signal), o.series, o.tables,
      o.labels, o.samples_per_series, o.series_per_request, o.connections,
      o.churn_percent_per_minute, o.rate);
  out += fmt::format(
      R"("elapsed_seconds":{:.6f},"interrupted":{},"samples":{},"histograms":{},"exemplars":{},)",
      Seconds(report.elapsed), report.interrupted, JsonAccount(report.samples),
      JsonAccount(report.histograms), JsonAccount(report.exemplars));
  out += fmt::format(
      R"("requests":{},"statuses":{{{}}},"retries":{},"network_errors":{},"connects":{},"maybe_duplicated_samples":{},)",
      report.requests, statuses, report.retries, report.network_errors, report.connects,
      report.maybe_duplicated);
  const uint64_t points = Points(report);
  out += fmt::format(
      R"("samples_per_second":{:.1f},"raw_bytes":{},"body_bytes":{},"body_bytes_per_second":{:.1f},)"
      R"("raw_bytes_per_sample":{:.2f},"body_bytes_per_sample":{:.2f},"client_cpu_ns_per_sample":{:.1f},)",
      PerSecond(report.samples.accepted + report.histograms.accepted, report.elapsed),
      report.raw_bytes, report.body_bytes, PerSecond(report.body_bytes, report.elapsed),
      Ratio(static_cast<double>(report.raw_bytes), points),
      Ratio(static_cast<double>(report.body_bytes), points),
      Ratio(static_cast<double>(report.client_cpu.count()), points));
  out += fmt::format(
      R"("latency_ms":{{"count":{},"mean":{:.4f},"p50":{:.4f},"p90":{:.4f},"p99":{:.4f},"p99.9":{:.4f},"max":{:.4f}}},)"
      R"("max_behind_ms":{:.4f},"first_error":{}}})",
      report.latency.count(), Millis(report.latency.Mean()), Millis(report.latency.Percentile(50)),
      Millis(report.latency.Percentile(90)), Millis(report.latency.Percentile(99)),
      Millis(report.latency.Percentile(99.9)), Millis(report.latency.max()),
      Millis(report.max_behind), JsonString(report.first_error));
  return out + "\n";
}

}  // namespace forebay::loadgen
