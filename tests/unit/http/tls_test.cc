// TLS on both sides: the server by the client of this module, versions by OpenSSL itself.
#include <openssl/ssl.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "http/certificate.h"
#include "http/client.h"
#include "unit/http/certificates.h"
#include "unit/http/test_server.h"

namespace forebay::http::test {
namespace {

ServerOptions TlsOptions(const Certificates& files) {
  files.Issue("server");
  ServerOptions options = DefaultOptions();
  options.tls.cert_file = files.Cert("server");
  options.tls.key_file = files.Key("server");
  return options;
}

Result<ClientResponse> PostEcho(Client& client, uint16_t port, const std::string& body) {
  ClientRequest request;
  request.method = "POST";
  request.url = "https://127.0.0.1:" + std::to_string(port) + "/echo";
  request.body = body;
  return client.Do(request);
}

Result<ClientResponse> PostEcho(uint16_t port, ClientOptions options) {
  auto client = Client::Create(std::move(options));
  REQUIRE(client.ok());
  return PostEcho(**client, port, "x");
}

// The protocol that a client of at most `max_version` agrees on with the server; "" when none.
std::string Negotiate(uint16_t port, int max_version, std::string* alpn = nullptr) {
  SSL_CTX* const context = ::SSL_CTX_new(::TLS_client_method());
  ::SSL_CTX_set_security_level(context, 0);
  ::SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
  ::SSL_CTX_set_max_proto_version(context, max_version);
  static constexpr unsigned char kOffer[] = "\x02h2\x08http/1.1";
  ::SSL_CTX_set_alpn_protos(context, kOffer, sizeof(kOffer) - 1);
  BIO* const bio = ::BIO_new_ssl_connect(context);
  ::BIO_set_conn_hostname(bio, ("127.0.0.1:" + std::to_string(port)).c_str());
  std::string version;
  if (::BIO_do_handshake(bio) == 1) {
    SSL* ssl = nullptr;
    BIO_get_ssl(bio, &ssl);
    version = ::SSL_get_version(ssl);
    const unsigned char* chosen = nullptr;
    unsigned size = 0;
    ::SSL_get0_alpn_selected(ssl, &chosen, &size);
    if (alpn != nullptr) alpn->assign(reinterpret_cast<const char*>(chosen), size);
  }
  ::BIO_free_all(bio);
  ::SSL_CTX_free(context);
  return version;
}

}  // namespace

TEST_CASE("TLS: the end of the certificate in use is told, of a file by itself") {
  const Certificates files;
  TestServer t(TlsOptions(files));
  const auto end = t.server->stats().certificate_end;
  REQUIRE(end.has_value());
  const int64_t in_a_day = SystemClock().Now().value + 24 * 3600 * 1000;
  CHECK(std::abs(end->value - in_a_day) < 600 * 1000);
  CHECK(CertificateEnd(files.Cert("server")).value() == *end);
  CHECK(CertificateEnd(files.Key("server")).error().code() == ErrorCode::kInvalidArgument);
  CHECK(CertificateEnd(files.Path("none")).error().code() == ErrorCode::kNotFound);

  const auto plain = Server::LoadSecurity({}, {});
  REQUIRE(plain.ok());
  t.server->UseSecurity(*plain);
  CHECK_FALSE(t.server->stats().certificate_end.has_value());
}

TEST_CASE("TLS: requests of all sizes over one connection") {
  const Certificates files;
  TestServer t(TlsOptions(files));
  t.Start();
  ClientOptions options;
  options.ca_file = files.ca();
  const auto client = Client::Create(options);
  REQUIRE(client.ok());
  for (const size_t size : {size_t{0}, size_t{10}, size_t{100'000}, size_t{1} << 20}) {
    const std::string body(size, 'x');
    const auto response = PostEcho(**client, t.port(), body);
    REQUIRE(response.ok());
    CHECK(response->body == "POST /echo " + body);
  }
  CHECK(t.server->stats().connections_accepted == 1);
}

TEST_CASE(
    "TLS: 1.1 is refused, 1.2 and 1.3 are spoken, min_version 1.3 refuses 1.2, ALPN is http/1.1") {
  const Certificates files;
  ServerOptions options = TlsOptions(files);
  TestServer t(options);
  t.Start();
  std::string alpn;
  CHECK(Negotiate(t.port(), TLS1_1_VERSION) == "");
  CHECK(Negotiate(t.port(), TLS1_2_VERSION, &alpn) == "TLSv1.2");
  CHECK(alpn == "http/1.1");
  CHECK(Negotiate(t.port(), TLS1_3_VERSION) == "TLSv1.3");
  options.tls.min_version = "1.3";
  TestServer strict(options);
  strict.Start();
  CHECK(Negotiate(strict.port(), TLS1_2_VERSION) == "");
  CHECK(Negotiate(strict.port(), TLS1_3_VERSION) == "TLSv1.3");
  CHECK(strict.WaitFor([](const ServerStats& s) { return s.tls_handshake_failures == 1; }));
}

TEST_CASE("TLS: a client that does not know the CA gives up, insecure does not care") {
  const Certificates files;
  TestServer t(TlsOptions(files));
  t.Start();
  const auto refused = PostEcho(t.port(), {});
  REQUIRE(!refused.ok());
  CHECK(refused.error().code() == ErrorCode::kUnauthenticated);
  ClientOptions insecure;
  insecure.insecure = true;
  CHECK(PostEcho(t.port(), insecure).ok());
}

TEST_CASE("TLS: with a client CA only its certificates are served") {
  const Certificates files;
  const Certificates foreign;
  ServerOptions options = TlsOptions(files);
  options.tls.client_ca_file = files.ca();
  TestServer t(options);
  t.Start();
  files.Issue("client");
  foreign.Issue("client");
  ClientOptions client;
  client.ca_file = files.ca();
  CHECK(!PostEcho(t.port(), client).ok());
  client.cert_file = foreign.Cert("client");
  client.key_file = foreign.Key("client");
  CHECK(!PostEcho(t.port(), client).ok());
  CHECK(t.echo.handled == 0);
  client.cert_file = files.Cert("client");
  client.key_file = files.Key("client");
  const auto served = PostEcho(t.port(), client);
  REQUIRE(served.ok());
  CHECK(served->status == 200);
  CHECK(t.WaitFor([](const ServerStats& s) { return s.tls_handshake_failures == 2; }));
}

TEST_CASE(
    "TLS: a reload serves the new certificate to new connections, a bad one changes nothing") {
  const Certificates files;
  const Certificates other;
  const ServerOptions options = TlsOptions(files);
  TestServer t(options);
  t.Start();
  ClientOptions old_ca;
  old_ca.ca_file = files.ca();
  const auto open = Client::Create(old_ca);
  REQUIRE(open.ok());
  REQUIRE(PostEcho(**open, t.port(), "x").ok());

  files.Write("server.crt", "not a certificate");
  const Status bad = Reload(*t.server, options);
  REQUIRE(!bad.ok());
  CHECK(bad.error().message().find(files.Cert("server")) != std::string::npos);
  CHECK(PostEcho(t.port(), old_ca).ok());

  other.Issue("server");
  const auto overwrite = std::filesystem::copy_options::overwrite_existing;
  std::filesystem::copy_file(other.Cert("server"), files.Cert("server"), overwrite);
  CHECK(!Reload(*t.server, options).ok());  // the key is not this certificate's
  CHECK(PostEcho(t.port(), old_ca).ok());

  std::filesystem::copy_file(other.Key("server"), files.Key("server"), overwrite);
  REQUIRE(Reload(*t.server, options).ok());
  ClientOptions new_ca;
  new_ca.ca_file = other.ca();
  CHECK(PostEcho(t.port(), new_ca).ok());
  CHECK(!PostEcho(t.port(), old_ca).ok());
  // The connection from before goes on.
  CHECK(PostEcho(**open, t.port(), "x").ok());
}

TEST_CASE("TLS: missing files and unknown versions are errors that name them") {
  const Certificates files;
  ServerOptions options = TlsOptions(files);
  options.tls.key_file = files.Path("none.key");
  auto server = Server::Create(options);
  REQUIRE(!server.ok());
  CHECK(server.error().code() == ErrorCode::kNotFound);
  CHECK(server.error().message().find("none.key") != std::string::npos);
  options = TlsOptions(files);
  options.tls.min_version = "1.1";
  server = Server::Create(options);
  REQUIRE(!server.ok());
  CHECK(server.error().code() == ErrorCode::kInvalidArgument);
}

TEST_CASE("TLS: plain HTTP and silence on the TLS port cost one connection") {
  const Certificates files;
  ServerOptions options = TlsOptions(files);
  options.limits.header_timeout = milliseconds(80);
  TestServer t(options);
  t.Start();
  RawClient silent(t.port());
  RawClient plain(t.port());
  plain.Send("GET /echo HTTP/1.1\r\nHost: t\r\n\r\n");
  CHECK(plain.Receive().status == 0);
  CHECK(silent.ReceivesEnd());
  CHECK(t.WaitFor([](const ServerStats& s) { return s.connections_open == 0; }));
  CHECK(t.server->stats().tls_handshake_failures == 1);
}

}  // namespace forebay::http::test
