// Answers and errors between our types and those of proto/transfer.proto.
#pragma once

#include <grpcpp/support/status.h>

#include <string>

#include "base/error.h"
#include "transfer.pb.h"
#include "transfer/transfer.h"

namespace forebay::transfer::internal {

void ToWire(const Answer& answer, uint32_t index, v1::Answer& out);
Answer FromWire(const v1::Answer& answer);
// What a failed call says, with its peer.
Error FromStatus(const grpc::Status& status, const std::string& peer);

// Of both sides: pings that find a peer which is gone or stopped.
inline constexpr int kKeepaliveMillis = 20'000;
inline constexpr int kKeepaliveTimeoutMillis = 10'000;

}  // namespace forebay::transfer::internal
