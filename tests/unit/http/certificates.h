// Certificates made on the spot: a CA and leaves for 127.0.0.1, as PEM files in a directory of
// their own that goes with the object.
#pragma once

#include <string>

namespace forebay::http::test {

class Certificates {
 public:
  Certificates();
  ~Certificates();
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;

  // Files <name>.crt and <name>.key below the directory, signed by this object's CA.
  void Issue(const std::string& name) const;
  std::string Cert(const std::string& name) const { return Path(name + ".crt"); }
  std::string Key(const std::string& name) const { return Path(name + ".key"); }
  std::string ca() const { return Path("ca.crt"); }
  std::string Path(const std::string& name) const { return directory_ + "/" + name; }
  // Writes a file of any kind.
  std::string Write(const std::string& name, const std::string& text) const;

 private:
  std::string directory_;
  void* ca_key_ = nullptr;   // EVP_PKEY
  void* ca_cert_ = nullptr;  // X509
};

}  // namespace forebay::http::test
