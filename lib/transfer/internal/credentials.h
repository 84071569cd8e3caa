// gRPC credentials from the files of cluster.transfer_tls, read again when they change.
#pragma once

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "base/result.h"
#include "config/config.h"

namespace forebay::transfer::internal {

// How often the files are looked at.
inline constexpr unsigned kReadFilesSeconds = 5;

// Without certificates: plain text. Errors: kNotFound, kInvalidArgument naming the file: gRPC
// itself would only refuse every handshake.
Result<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(const config::TransferTls& tls);
Result<std::shared_ptr<grpc::ChannelCredentials>> ChannelCredentials(
    const config::TransferTls& tls);

}  // namespace forebay::transfer::internal
