#include "transfer/internal/credentials.h"

#include <fmt/core.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <fstream>
#include <iterator>
#include <string>

namespace forebay::transfer::internal {
namespace {

namespace experimental = grpc::experimental;

Status CheckPem(const std::string& path, std::string_view kind) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return Error(ErrorCode::kNotFound,
                 fmt::format("cluster.transfer_tls: {}: cannot be read", path));
  }
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (text.find("-----BEGIN ") != std::string::npos && text.find(kind) != std::string::npos) {
    return {};
  }
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("cluster.transfer_tls: {}: holds no {} in PEM form", path, kind));
}

Status CheckFiles(const config::TransferTls& tls) {
  FOREBAY_RETURN_IF_ERROR(CheckPem(tls.cert_file, "CERTIFICATE"));
  FOREBAY_RETURN_IF_ERROR(CheckPem(tls.key_file, "PRIVATE KEY"));
  return CheckPem(tls.ca_file, "CERTIFICATE");
}

std::shared_ptr<experimental::CertificateProviderInterface> Provider(
    const config::TransferTls& tls) {
  return std::make_shared<experimental::FileWatcherCertificateProvider>(
      tls.key_file, tls.cert_file, tls.ca_file, kReadFilesSeconds);
}

}  // namespace

Result<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(const config::TransferTls& tls) {
  if (!tls.enabled()) return grpc::InsecureServerCredentials();
  FOREBAY_RETURN_IF_ERROR(CheckFiles(tls));
  experimental::TlsServerCredentialsOptions options(Provider(tls));
  options.watch_identity_key_cert_pairs();
  options.watch_root_certs();
  options.set_cert_request_type(tls.require_client_certificate
                                    ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                    : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE);
  // Who it is is said by the authority; the name of a peer's host proves nothing more.
  options.set_check_call_host(false);
  return experimental::TlsServerCredentials(options);
}

Result<std::shared_ptr<grpc::ChannelCredentials>> ChannelCredentials(
    const config::TransferTls& tls) {
  if (!tls.enabled()) return grpc::InsecureChannelCredentials();
  FOREBAY_RETURN_IF_ERROR(CheckFiles(tls));
  experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(Provider(tls));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  return experimental::TlsCredentials(options);
}

}  // namespace forebay::transfer::internal
