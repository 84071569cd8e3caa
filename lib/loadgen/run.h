// A load run: connections times a thread each, retries as Prometheus does them, and the account.
//
// With at least as many series groups as connections every connection has its own groups, so the
// samples of a series arrive in order (Prometheus' shards do the same). With fewer groups the
// connections share them and a series' samples may overtake each other. Threads: "load-<n>" per
// connection; they end at the last request, the duration or the stop token, and the drain time
// after it at the latest.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>

#include "base/result.h"
#include "io/file_system.h"
#include "loadgen/connection.h"
#include "loadgen/options.h"
#include "loadgen/report.h"

namespace forebay::loadgen {

// What becomes of a request after an answer.
enum class Verdict { kAccepted, kRefused, kRetry };
// By the status of HTTP. Source: Prometheus remote write 2.0, "Retries & Backoff".
Verdict Judge(int status);
// Source: for OTLP its specification, "Failures": only 429, 502, 503 and 504, or the codes of gRPC
// that may be tried again.
Verdict Judge(Protocol protocol, const Reply& reply);

// Time before attempt `attempt` (from 1): 30 ms doubled each time, 5 s at most; Retry-After comes
// first.
std::chrono::milliseconds Backoff(uint32_t attempt,
                                  std::optional<std::chrono::milliseconds> retry_after);

// Runs until done, interrupted or out of time. The report counts everything that was handed out.
// Errors: kInvalidArgument for options; what the network does is in the report.
Result<LoadReport> RunLoad(const LoadOptions& options, const std::stop_token& stop);

// Writes the bodies that a run would send to <directory>/<number, 6 digits>.<rw1|rw2>.snappy, or
// .<signal>.pb of OTLP: those
// of options.samples, or one round. Returns how many. The same options with `start` and `step` give
// the same bytes. Errors: kInvalidArgument, io.
Result<uint64_t> DumpBodies(const LoadOptions& options, io::FileSystem& fs,
                            const std::string& directory);

}  // namespace forebay::loadgen
