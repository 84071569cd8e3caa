#include "http/certificate.h"

#include <fmt/core.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <cerrno>
#include <cstdio>
#include <memory>

#include "http/internal/tls.h"

namespace forebay::http {

Result<UnixMillis> CertificateEnd(const std::string& file) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream(std::fopen(file.c_str(), "re"),
                                                               std::fclose);
  if (stream == nullptr) return ErrnoError(errno, file);
  const std::unique_ptr<X509, void (*)(X509*)> certificate(
      ::PEM_read_X509(stream.get(), nullptr, nullptr, nullptr), ::X509_free);
  ::ERR_clear_error();
  const auto end = internal::EndOf(certificate.get());
  if (end) return *end;
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("{}: holds no certificate in PEM form", file));
}

}  // namespace forebay::http
