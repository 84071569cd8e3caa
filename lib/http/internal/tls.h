// Server-side TLS contexts from files. Limits: TLS 1.2 at least, no renegotiation, ALPN http/1.1.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <optional>

#include "base/result.h"
#include "base/time.h"
#include "config/config.h"

namespace forebay::http::internal {

// Errors: kInvalidArgument, kNotFound, kPermissionDenied or kIo naming the file and what OpenSSL
// says. Threads: any; the context is not changed afterwards, so connections of all threads may
// share it.
Result<std::shared_ptr<boost::asio::ssl::context>> MakeServerContext(const config::Tls& tls);

// When the certificate ends; none without one. Threads: any.
std::optional<UnixMillis> EndOf(const X509* certificate);

}  // namespace forebay::http::internal
