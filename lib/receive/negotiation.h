// Content negotiation of remote write: which message a request holds, from its headers alone.
// Source: Prometheus remote write 1.0 and 2.0; RFC 9110 for media types.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"
#include "wal/journal_format.h"

namespace forebay::receive {

// The kind of the request's body. Content-Encoding: absent or snappy. Content-Type: absent, or
// application/x-protobuf, with the parameter proto= of either version; without it: 1.0. The
// version header is not looked at.
// Errors: kInvalidArgument (answered 415), saying what was expected. Threads: any.
Result<wal::RecordKind> Negotiate(const http::RequestHead& head);

// The two halves of it; empty: the header is absent.
Result<wal::RecordKind> ParseContentType(std::string_view content_type);
Status CheckContentEncoding(std::string_view content_encoding);

}  // namespace forebay::receive
