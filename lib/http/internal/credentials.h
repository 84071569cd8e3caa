// The users and tokens of one port. Passwords and tokens are kept as SHA-256 digests and compared
// in constant time; every entry is looked at on every check, so the time says nothing about which
// exist. Limits: kMaxCredentialFile bytes and kMaxCredentials entries per file. Immutable after
// Load().
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/config.h"

namespace forebay::http::internal {

inline constexpr size_t kMaxCredentialFile = 1 << 20;
inline constexpr size_t kMaxCredentials = 1000;

using Sha256Digest = std::array<unsigned char, 32>;

class Credentials {
 public:
  // Reads both files. Shape: one entry a line, `#` comments and blank lines apart; basic:
  // `user:password` or `user:{SHA256}<64 hex digits>`; bearer: `token` or `name:token`.
  // Errors: kNotFound, kPermissionDenied, kIo, kInvalidArgument with file and line. Threads: any.
  static Result<std::shared_ptr<const Credentials>> Load(const config::Auth& auth);

  // The user of an Authorization header, "" for tokens without a name; nothing: not let in.
  // Threads: any.
  std::optional<std::string_view> Check(std::string_view authorization) const;
  // The values of WWW-Authenticate, one per scheme that is set up.
  const std::vector<std::string>& challenges() const { return challenges_; }

 private:
  struct Entry {
    std::string name;
    Sha256Digest name_digest;
    Sha256Digest digest;  // of the password or token
  };
  std::optional<std::string_view> CheckBasic(std::string_view encoded) const;

  std::vector<Entry> basic_;
  std::vector<Entry> bearer_;
  std::vector<std::string> challenges_;
};

// Nothing when `text` is not padded or unpadded base64.
std::optional<std::string> DecodeBase64(std::string_view text);

}  // namespace forebay::http::internal
