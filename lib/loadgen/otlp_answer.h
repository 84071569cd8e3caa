// What the answers of OTLP receivers say to a sender. Source: the OTLP specification, "Partial
// Success", "Failures" and "OTLP/gRPC Throttling"; google.rpc.RetryInfo.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "loadgen/connection.h"
#include "loadgen/options.h"

namespace forebay::loadgen {

struct PartialSuccess {
  uint64_t rejected = 0;
  std::string message;
};
// Shape: an Export*ServiceResponse in protobuf. Nothing: it is none.
std::optional<PartialSuccess> ParseExportResponse(std::string_view bytes);

// Shape: a google.rpc.Status in protobuf. Nothing: it holds no RetryInfo.
std::optional<std::chrono::milliseconds> ParseRetryInfo(std::string_view bytes);

}  // namespace forebay::loadgen
