// The outcome of a load run: the account of samples, rates and latencies, as a table or as JSON.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "loadgen/latency_histogram.h"
#include "loadgen/options.h"

namespace forebay::loadgen {

// Every item that was handed out is in exactly one of the three.
struct Account {
  uint64_t accepted = 0;
  uint64_t refused = 0;
  uint64_t unknown = 0;  // no answer, or one that does not say how many were taken

  uint64_t offered() const { return accepted + refused + unknown; }
  void Merge(const Account& other);
};

struct LoadReport {
  LoadOptions options;  // as resolved
  std::chrono::nanoseconds elapsed{0};
  bool interrupted = false;

  Account samples;  // data points, records or spans of OTLP
  Account histograms;
  Account exemplars;
  uint64_t requests = 0;  // bodies handed out
  uint64_t retries = 0;   // attempts beyond the first
  uint64_t connects = 0;
  uint64_t network_errors = 0;
  // Of `samples` what was sent once more after an attempt without an answer: the receiver may hold
  // them twice.
  uint64_t maybe_duplicated = 0;
  std::map<int, uint64_t> statuses;  // answers by status, retries included
  uint64_t raw_bytes = 0;            // of bodies before compression
  uint64_t body_bytes = 0;           // of bodies as sent, each once
  std::chrono::nanoseconds client_cpu{0};
  // From the intended time of sending (with a rate) or the first attempt to the last answer.
  LatencyHistogram latency;
  std::chrono::nanoseconds max_behind{0};  // how late the first attempt was at most, with a rate
  std::string first_error;                 // of the network, or the body of the first refusal

  // Everything was accepted.
  bool complete() const;
  void Merge(const LoadReport& worker);
};

std::string FormatText(const LoadReport& report);
// One JSON object, with LF.
std::string FormatJson(const LoadReport& report);

}  // namespace forebay::loadgen
