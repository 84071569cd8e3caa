#include "http/internal/tls.h"

#include <fmt/core.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <string>

namespace forebay::http::internal {
namespace {

// The wire form of the one protocol that is spoken here.
constexpr unsigned char kAlpn[] = "\x08http/1.1";

Error OpenSslError(const std::string& file, const char* what) {
  const unsigned long code = ERR_get_error();
  char reason[256] = "unknown reason";
  if (code != 0) ERR_error_string_n(code, reason, sizeof(reason));
  ERR_clear_error();
  return Error(ErrorCode::kInvalidArgument, fmt::format("{}: {}: {}", file, what, reason));
}

Status CheckReadable(const std::string& file) {
  if (::access(file.c_str(), R_OK) != 0) return ErrnoError(errno, file);
  return OkStatus();
}

// A client that offers other protocols only is served http/1.1 all the same.
int SelectAlpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
               unsigned in_size, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kAlpn, sizeof(kAlpn) - 1, in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

Status RequireClientCertificates(SSL_CTX* context, const std::string& ca_file) {
  FOREBAY_RETURN_IF_ERROR(CheckReadable(ca_file));
  if (SSL_CTX_load_verify_locations(context, ca_file.c_str(), nullptr) != 1) {
    return OpenSslError(ca_file, "client CA");
  }
  STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(ca_file.c_str());
  if (names == nullptr) return OpenSslError(ca_file, "client CA");
  SSL_CTX_set_client_CA_list(context, names);  // takes the list over
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return OkStatus();
}

}  // namespace

Result<std::shared_ptr<boost::asio::ssl::context>> MakeServerContext(const config::Tls& tls) {
  int min_version = 0;
  if (tls.min_version == "1.2") {
    min_version = TLS1_2_VERSION;
  } else if (tls.min_version == "1.3") {
    min_version = TLS1_3_VERSION;
  } else {
    return Error(ErrorCode::kInvalidArgument,
                 fmt::format("TLS min_version \"{}\": expected 1.2 or 1.3", tls.min_version));
  }
  FOREBAY_RETURN_IF_ERROR(CheckReadable(tls.cert_file));
  FOREBAY_RETURN_IF_ERROR(CheckReadable(tls.key_file));
  try {
    auto made = std::make_shared<boost::asio::ssl::context>(boost::asio::ssl::context::tls_server);
    SSL_CTX* context = made->native_handle();
    ERR_clear_error();
    SSL_CTX_set_min_proto_version(context, min_version);
    SSL_CTX_set_options(
        context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(context, SelectAlpn, nullptr);
    // Without an id of its own a context that verifies clients refuses to resume sessions.
    static constexpr unsigned char kSessionId[] = "forebay";
    SSL_CTX_set_session_id_context(context, kSessionId, sizeof(kSessionId) - 1);
    if (SSL_CTX_use_certificate_chain_file(context, tls.cert_file.c_str()) != 1) {
      return OpenSslError(tls.cert_file, "certificate");
    }
    if (SSL_CTX_use_PrivateKey_file(context, tls.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
      return OpenSslError(tls.key_file, "private key");
    }
    if (SSL_CTX_check_private_key(context) != 1) {
      return OpenSslError(tls.key_file, "private key does not belong to the certificate");
    }
    if (!tls.client_ca_file.empty()) {
      FOREBAY_RETURN_IF_ERROR(RequireClientCertificates(context, tls.client_ca_file));
    }
    return made;
  } catch (const std::exception& failure) {
    return Error(ErrorCode::kInternal, fmt::format("TLS context: {}", failure.what()));
  }
}

std::optional<UnixMillis> EndOf(const X509* certificate) {
  std::tm end{};
  if (certificate == nullptr || ::ASN1_TIME_to_tm(::X509_get0_notAfter(certificate), &end) != 1) {
    return std::nullopt;
  }
  return UnixMillis{static_cast<int64_t>(::timegm(&end)) * 1000};
}

}  // namespace forebay::http::internal
