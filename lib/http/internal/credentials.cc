#include "http/internal/credentials.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <cerrno>

#include "http/message.h"

namespace forebay::http::internal {
namespace {

constexpr std::string_view kSha256Prefix = "{SHA256}";

Sha256Digest Digest(std::string_view text) {
  Sha256Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

Result<std::string> ReadSmallFile(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoError(errno, path);
  std::string text;
  char piece[4096];
  for (;;) {
    const ssize_t got = ::read(fd, piece, sizeof(piece));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      Error error = ErrnoError(errno, path);
      ::close(fd);
      return error;
    }
    if (got == 0) break;
    text.append(piece, static_cast<size_t>(got));
    if (text.size() > kMaxCredentialFile) {
      ::close(fd);
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("{}: larger than {} bytes", path, kMaxCredentialFile));
    }
  }
  ::close(fd);
  return text;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) {
    text.remove_suffix(1);
  }
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  return text;
}

std::optional<Sha256Digest> ParseHexDigest(std::string_view hex) {
  Sha256Digest digest;
  if (hex.size() != 2 * digest.size()) return std::nullopt;
  for (size_t i = 0; i < hex.size(); ++i) {
    const char c = hex[i];
    int nibble = 0;
    if (c >= '0' && c <= '9') {
      nibble = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      nibble = c - 'a' + 10;
    } else if (c >= 'A' && c <= 'F') {
      nibble = c - 'A' + 10;
    } else {
      return std::nullopt;
    }
    unsigned char& byte = digest[i / 2];
    byte = static_cast<unsigned char>(i % 2 == 0 ? nibble << 4 : byte | nibble);
  }
  return digest;
}

// Calls add(line) -> error text, empty when the line is good, for every line that says something.
template <typename Add>
Status ForEachLine(const std::string& path, Add add) {
  FOREBAY_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path));
  std::string_view rest = text;
  size_t entries = 0;
  for (size_t line_number = 1; !rest.empty(); ++line_number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = Trim(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty() || line.front() == '#') continue;
    std::string_view problem = add(line);
    if (++entries > kMaxCredentials) problem = "too many entries";
    if (!problem.empty()) {
      return Error(ErrorCode::kInvalidArgument,
                   fmt::format("{}:{}: {}", path, line_number, problem));
    }
  }
  if (entries == 0) {
    // An empty file would lock everyone out; most likely it is being written at this moment.
    return Error(ErrorCode::kInvalidArgument, fmt::format("{}: no entries", path));
  }
  return OkStatus();
}

bool SameDigest(const Sha256Digest& a, const Sha256Digest& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

std::optional<std::string> DecodeBase64(std::string_view text) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    int value = 0;
    if (c >= 'A' && c <= 'Z') {
      value = c - 'A';
    } else if (c >= 'a' && c <= 'z') {
      value = c - 'a' + 26;
    } else if (c >= '0' && c <= '9') {
      value = c - '0' + 52;
    } else if (c == '+') {
      value = 62;
    } else if (c == '/') {
      value = 63;
    } else {
      return std::nullopt;
    }
    bits = (bits << 6 | static_cast<uint32_t>(value)) & 0xffffff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xff);
    }
  }
  return out;
}

Result<std::shared_ptr<const Credentials>> Credentials::Load(const config::Auth& auth) {
  auto loaded = std::make_shared<Credentials>();
  if (!auth.basic_file.empty()) {
    FOREBAY_RETURN_IF_ERROR(ForEachLine(auth.basic_file, [&](std::string_view line) {
      const size_t colon = line.find(':');
      if (colon == std::string_view::npos || colon == 0) return "expected user:password";
      const std::string_view secret = line.substr(colon + 1);
      Entry entry{std::string(line.substr(0, colon)), Digest(line.substr(0, colon)),
                  Digest(secret)};
      if (secret.substr(0, kSha256Prefix.size()) == kSha256Prefix) {
        const auto digest = ParseHexDigest(secret.substr(kSha256Prefix.size()));
        if (!digest) return "expected 64 hex digits after {SHA256}";
        entry.digest = *digest;
      }
      loaded->basic_.push_back(std::move(entry));
      return "";
    }));
    loaded->challenges_.emplace_back("Basic realm=\"forebay\", charset=\"UTF-8\"");
  }
  if (!auth.bearer_file.empty()) {
    FOREBAY_RETURN_IF_ERROR(ForEachLine(auth.bearer_file, [&](std::string_view line) {
      const size_t colon = line.find(':');
      const bool named = colon != std::string_view::npos;
      const std::string_view token = named ? line.substr(colon + 1) : line;
      if (token.empty()) return "empty token";
      const std::string_view name = named ? line.substr(0, colon) : std::string_view();
      loaded->bearer_.push_back({std::string(name), Digest(name), Digest(token)});
      return "";
    }));
    loaded->challenges_.emplace_back("Bearer realm=\"forebay\"");
  }
  return std::shared_ptr<const Credentials>(std::move(loaded));
}

std::optional<std::string_view> Credentials::CheckBasic(std::string_view encoded) const {
  const auto decoded = DecodeBase64(encoded);
  if (!decoded) return std::nullopt;
  const size_t colon = decoded->find(':');
  if (colon == std::string::npos) return std::nullopt;
  const Sha256Digest user = Digest(std::string_view(*decoded).substr(0, colon));
  const Sha256Digest secret = Digest(std::string_view(*decoded).substr(colon + 1));
  const Entry* found = nullptr;
  for (const Entry& entry : basic_) {
    const bool same_user = SameDigest(user, entry.name_digest);
    const bool same_secret = SameDigest(secret, entry.digest);
    if (same_user && same_secret) found = &entry;
  }
  if (found == nullptr) return std::nullopt;
  return std::string_view(found->name);
}

std::optional<std::string_view> Credentials::Check(std::string_view authorization) const {
  const size_t blank = authorization.find(' ');
  if (blank == std::string_view::npos) return std::nullopt;
  const std::string_view scheme = authorization.substr(0, blank);
  const std::string_view value = Trim(authorization.substr(blank + 1));
  if (EqualsIgnoreCase(scheme, "Basic")) return CheckBasic(value);
  if (!EqualsIgnoreCase(scheme, "Bearer")) return std::nullopt;
  const Sha256Digest token = Digest(value);
  const Entry* found = nullptr;
  for (const Entry& entry : bearer_) {
    if (SameDigest(token, entry.digest)) found = &entry;
  }
  if (found == nullptr) return std::nullopt;
  return std::string_view(found->name);
}

}  // namespace forebay::http::internal
