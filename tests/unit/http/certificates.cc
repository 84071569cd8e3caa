#include "unit/http/certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace forebay::http::test {
namespace {

X509* MakeCertificate(EVP_PKEY* key, const std::string& name, X509* issuer, EVP_PKEY* issuer_key) {
  static std::atomic<long> serial{1};
  X509* const cert = ::X509_new();
  ::X509_set_version(cert, 2);
  ::ASN1_INTEGER_set(::X509_get_serialNumber(cert), serial++);
  ::X509_gmtime_adj(::X509_getm_notBefore(cert), -3600);
  ::X509_gmtime_adj(::X509_getm_notAfter(cert), 24 * 3600);
  ::X509_set_pubkey(cert, key);
  X509_NAME* const subject = ::X509_get_subject_name(cert);
  ::X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  ::X509_set_issuer_name(cert, issuer == nullptr ? subject : ::X509_get_subject_name(issuer));
  X509V3_CTX context;
  ::X509V3_set_ctx(&context, issuer == nullptr ? cert : issuer, cert, nullptr, nullptr, 0);
  const auto add = [&](int nid, const char* value) {
    X509_EXTENSION* const extension = ::X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    REQUIRE(extension != nullptr);
    ::X509_add_ext(cert, extension, -1);
    ::X509_EXTENSION_free(extension);
  };
  add(NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  if (issuer != nullptr) add(NID_subject_alt_name, "IP:127.0.0.1");
  REQUIRE(::X509_sign(cert, issuer_key, ::EVP_sha256()) > 0);
  return cert;
}

void WriteCertificate(const std::string& path, X509* cert) {
  std::FILE* const file = std::fopen(path.c_str(), "w");
  REQUIRE(file != nullptr);
  ::PEM_write_X509(file, cert);
  std::fclose(file);
}

}  // namespace

Certificates::Certificates() {
  std::string pattern = std::filesystem::temp_directory_path() / "forebay-http-XXXXXX";
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  directory_ = pattern;
  EVP_PKEY* const key = ::EVP_EC_gen("P-256");
  X509* const cert = MakeCertificate(key, "test CA", nullptr, key);
  WriteCertificate(ca(), cert);
  ca_key_ = key;
  ca_cert_ = cert;
}

Certificates::~Certificates() {
  ::X509_free(static_cast<X509*>(ca_cert_));
  ::EVP_PKEY_free(static_cast<EVP_PKEY*>(ca_key_));
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void Certificates::Issue(const std::string& name) const {
  EVP_PKEY* const key = ::EVP_EC_gen("P-256");
  X509* const cert =
      MakeCertificate(key, name, static_cast<X509*>(ca_cert_), static_cast<EVP_PKEY*>(ca_key_));
  WriteCertificate(Cert(name), cert);
  std::FILE* const file = std::fopen(Key(name).c_str(), "w");
  REQUIRE(file != nullptr);
  ::PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
  ::X509_free(cert);
  ::EVP_PKEY_free(key);
}

std::string Certificates::Write(const std::string& name, const std::string& text) const {
  std::ofstream(Path(name), std::ios::trunc) << text;
  return Path(name);
}

}  // namespace forebay::http::test
