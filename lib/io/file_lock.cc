// flock(2) behind io/file_lock.h.
#include "io/file_lock.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

namespace forebay::io {
namespace {

// The id that the holder wrote, "unknown" when it has not yet.
std::string HolderOf(int fd) {
  std::array<char, 32> text{};
  const ssize_t got = ::pread(fd, text.data(), text.size(), 0);
  std::string_view holder(text.data(), got > 0 ? static_cast<size_t>(got) : 0);
  holder = holder.substr(0, holder.find_first_not_of("0123456789"));
  return holder.empty() ? "unknown" : std::string(holder);
}

}  // namespace

Result<FileLock> FileLock::Acquire(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoError(errno, path + ": open");
  FileLock lock(fd);
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return ErrnoError(errno, path + ": flock");
    return Error(ErrorCode::kFailedPrecondition,
                 fmt::format("{}: locked by process {}", path, HolderOf(fd)));
  }
  const std::string text = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd, 0) != 0) return ErrnoError(errno, path + ": truncate");
  // The id is for people; the lock is held whether or not there is room for it.
  if (::pwrite(fd, text.data(), text.size(), 0) < 0 && errno != ENOSPC && errno != EDQUOT) {
    return ErrnoError(errno, path + ": write");
  }
  return lock;
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace forebay::io
