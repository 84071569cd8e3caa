// CRC conventions, the write loop against an awkward kernel, and the lock.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "io/crc.h"
#include "io/file_lock.h"
#include "io/internal/write_all.h"

namespace forebay::io {

TEST_CASE("crc: the check values of both polynomials") {
  const std::string digits = "123456789";
  CHECK(Crc32Ieee(digits) == 0xCBF43926u);
  CHECK(Crc32c(digits) == 0xE3069283u);
  CHECK(Crc32Ieee({}) == 0);
  CHECK(Crc32c({}) == 0);
}

TEST_CASE("crc: a message in two pieces has the sum of the whole") {
  std::string message(5000, '\0');
  std::iota(message.begin(), message.end(), '\0');
  const std::span<const char> bytes(message);
  for (const size_t split : {0u, 1u, 7u, 64u, 4999u, 5000u}) {
    CHECK(Crc32Ieee(bytes.subspan(split), Crc32Ieee(bytes.first(split))) == Crc32Ieee(bytes));
    CHECK(Crc32c(bytes.subspan(split), Crc32c(bytes.first(split))) == Crc32c(bytes));
  }
}

TEST_CASE("write loop: short writes and interruptions lose and repeat nothing") {
  std::vector<std::string> texts;
  std::string expected;
  for (size_t i = 0; i < 700; ++i) {
    texts.emplace_back(i % 13, static_cast<char>('a' + i % 26));
    expected += texts.back();
  }
  const std::vector<std::string_view> parts(texts.begin(), texts.end());
  for (const size_t per_call : {1u, 2u, 3u, 17u, 1000u, 100000u}) {
    std::string written;
    int calls = 0;
    const int result =
        internal::WriteAllParts(parts, [&](const iovec* vectors, int count) -> ssize_t {
          if (++calls % 3 == 0) {
            errno = EINTR;
            return -1;
          }
          REQUIRE(count > 0);
          REQUIRE(count <= IOV_MAX);
          size_t left = per_call;
          for (int i = 0; i < count && left > 0; ++i) {
            const size_t take = std::min(left, vectors[i].iov_len);
            written.append(static_cast<const char*>(vectors[i].iov_base), take);
            left -= take;
          }
          return static_cast<ssize_t>(per_call - left);
        });
    CHECK(result == 0);
    CHECK(written == expected);
  }
}

TEST_CASE("write loop: the error of a call is returned, and a call that takes nothing is one") {
  const std::vector<std::string_view> parts = {"ab", "cd"};
  int calls = 0;
  CHECK(internal::WriteAllParts(parts, [&](const iovec*, int) -> ssize_t {
          if (++calls == 1) return 3;
          errno = ENOSPC;
          return -1;
        }) == ENOSPC);
  CHECK(calls == 2);
  CHECK(internal::WriteAllParts(parts, [](const iovec*, int) -> ssize_t { return 0; }) == EIO);
  CHECK(internal::WriteAllParts({}, [](const iovec*, int) -> ssize_t { return 0; }) == 0);
}

TEST_CASE("file lock: a second holder is refused with the id of the first, and free after it") {
  std::string directory = (std::filesystem::temp_directory_path() / "forebay-lock-XXXXXX").string();
  REQUIRE(::mkdtemp(directory.data()) != nullptr);
  const std::string path = directory + "/LOCK";
  {
    auto first = FileLock::Acquire(path);
    REQUIRE(first.ok());
    FileLock moved = std::move(*first);
    const auto second = FileLock::Acquire(path);
    REQUIRE_FALSE(second.ok());
    CHECK(second.error().code() == ErrorCode::kFailedPrecondition);
    CHECK_THAT(second.error().message(),
               Catch::Contains("locked by process " + std::to_string(::getpid())));
  }
  CHECK(FileLock::Acquire(path).ok());
  CHECK(FileLock::Acquire(directory + "/none/LOCK").error().code() == ErrorCode::kNotFound);
  std::filesystem::remove_all(directory);
}

}  // namespace forebay::io
