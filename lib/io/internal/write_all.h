// The loop that makes one write out of many: gathers parts into writev calls of at most IOV_MAX
// parts, goes on after short writes and EINTR. A template over the system call, so that tests can
// hand it a kernel that takes one byte at a time.
#pragma once

#include <limits.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string_view>

namespace forebay::io::internal {

inline constexpr size_t kMaxPartsPerCall = IOV_MAX < 256 ? IOV_MAX : 256;

// Writes all parts by calls of `writev(iovecs, count)`, which returns as writev(2) does.
// Returns 0, or the errno value of the call that failed (EIO when a call accepts nothing).
// Threads: as writev.
template <typename Writev>
int WriteAllParts(std::span<const std::string_view> parts, Writev&& writev) {
  std::array<iovec, kMaxPartsPerCall> vectors;
  size_t next = 0;    // first part that is not written completely
  size_t offset = 0;  // bytes of it that are
  while (true) {
    int count = 0;
    size_t skip = offset;
    for (size_t i = next; i < parts.size() && count < static_cast<int>(vectors.size()); ++i) {
      const std::string_view rest = parts[i].substr(skip);
      skip = 0;
      if (rest.empty()) continue;
      vectors[static_cast<size_t>(count++)] = {const_cast<char*>(rest.data()), rest.size()};
    }
    if (count == 0) return 0;
    const ssize_t written = writev(vectors.data(), count);
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    if (written == 0)
      return EIO;  // A regular file never does this; without it the loop had no bound.
    size_t left = static_cast<size_t>(written);
    while (next < parts.size() && left >= parts[next].size() - offset) {
      left -= parts[next].size() - offset;
      offset = 0;
      ++next;
    }
    offset += left;
  }
}

}  // namespace forebay::io::internal
