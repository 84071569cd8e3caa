// When a certificate ends, for those who watch that it is renewed.
// Place: the servers tell it of what they present; a file is asked by whoever has others read it,
// as the transfer service has gRPC.
#pragma once

#include <string>

#include "base/result.h"
#include "base/time.h"

namespace forebay::http {

// The end of the first certificate in a PEM file, which is the one that is presented.
// Errors: kNotFound, kPermissionDenied or kIo naming the file; kInvalidArgument when it holds no
// certificate. Threads: any.
Result<UnixMillis> CertificateEnd(const std::string& file);

}  // namespace forebay::http
