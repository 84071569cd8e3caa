// Linux system calls behind io/posix_file_system.h.
#include "io/posix_file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "io/internal/write_all.h"

namespace forebay::io {
namespace {

constexpr mode_t kFileMode = 0644;
constexpr mode_t kDirectoryMode = 0755;
constexpr uint64_t kStatBlock = 512;  // unit of st_blocks

Error Failure(int error_number, std::string_view call, const std::string& path) {
  return ErrnoError(error_number, fmt::format("{}: {}", path, call));
}

// Calls again while a signal interrupts. Returns what the call returns.
template <typename Call>
auto Uninterrupted(Call&& call) {
  while (true) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

// A descriptor that closes itself; for calls that need one for a moment.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

int OpenFlags(OpenMode mode) {
  switch (mode) {
    case OpenMode::kRead:
      return O_RDONLY;
    case OpenMode::kCreate:
      return O_RDWR | O_CREAT | O_EXCL;
    case OpenMode::kCreateOrTruncate:
      return O_RDWR | O_CREAT | O_TRUNC;
    case OpenMode::kReadWrite:
      return O_RDWR;
  }
  return O_RDONLY;
}

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path, uint64_t end) : fd_(fd), path_(std::move(path)), end_(end) {}
  ~PosixFile() override {
    if (fd_ >= 0) ::close(fd_);
  }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  // For a file that was there before: Write goes on behind what it holds.
  Status SeekToEnd() {
    FOREBAY_ASSIGN_OR_RETURN(end_, Size());
    return OkStatus();
  }

  Status Write(std::span<const std::string_view> parts) override { return WriteAt(end_, parts); }

  Status WriteAt(uint64_t offset, std::span<const std::string_view> parts) override {
    if (sync_failed_ || write_failed_) return GivenUp("write");
    uint64_t at = offset;
    const int error_number =
        internal::WriteAllParts(parts, [this, &at](const iovec* vectors, int count) {
          const ssize_t written = ::pwritev(fd_, vectors, count, static_cast<off_t>(at));
          if (written > 0) at += static_cast<uint64_t>(written);
          return written;
        });
    if (error_number == 0) {
      end_ = std::max(end_, at);
      return OkStatus();
    }
    write_failed_ = true;
    return Failure(error_number, "write", path_);
  }

  Result<size_t> ReadAt(uint64_t offset, std::span<char> out) override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t got = Uninterrupted([&] {
        return ::pread(fd_, out.data() + done, out.size() - done,
                       static_cast<off_t>(offset + done));
      });
      if (got < 0) return Failure(errno, "read", path_);
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    return done;
  }

  Result<uint64_t> Size() override {
    struct stat info {};
    if (::fstat(fd_, &info) != 0) return Failure(errno, "stat", path_);
    return static_cast<uint64_t>(info.st_size);
  }

  Status Allocate(uint64_t size) override {
    if (size == 0) return OkStatus();
    const int result = Uninterrupted(
        [&] { return ::fallocate(fd_, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size)); });
    if (result == 0) return OkStatus();
    if (errno == EOPNOTSUPP || errno == ENOSYS) {
      return Error(ErrorCode::kUnimplemented, path_ + ": this volume cannot reserve space");
    }
    return Failure(errno, "fallocate", path_);
  }

  Status Truncate(uint64_t size) override {
    if (Uninterrupted([&] { return ::ftruncate(fd_, static_cast<off_t>(size)); }) != 0) {
      return Failure(errno, "truncate", path_);
    }
    end_ = size;
    write_failed_ = false;  // The end is known again.
    return OkStatus();
  }

  Status SyncData() override {
    if (sync_failed_) return GivenUp("sync");
    // fdatasync writes the size too, since without it the new bytes could not be read back. EINTR
    // counts as a failure: nothing says which pages were written.
    if (::fdatasync(fd_) == 0) return OkStatus();
    sync_failed_ = true;
    return Failure(errno, "fdatasync", path_);
  }

  Status Close() override {
    if (fd_ < 0) return OkStatus();
    const int fd = std::exchange(fd_, -1);
    // Linux has released the descriptor even when it reports EINTR.
    if (::close(fd) != 0 && errno != EINTR) return Failure(errno, "close", path_);
    return OkStatus();
  }

 private:
  Error GivenUp(std::string_view call) const {
    return Error(ErrorCode::kFailedPrecondition,
                 fmt::format("{}: {} after an earlier {} failed", path_, call,
                             sync_failed_ ? "sync" : "write"));
  }

  int fd_;                     // -1 when closed
  std::string path_;           // for messages
  uint64_t end_;               // where Write goes on
  bool write_failed_ = false;  // the end of the file is unknown
  bool sync_failed_ = false;   // for good
};

}  // namespace

Result<std::unique_ptr<File>> PosixFileSystem::Open(const std::string& path, OpenMode mode) {
  const int flags = OpenFlags(mode) | O_CLOEXEC;
  const int fd = Uninterrupted([&] { return ::open(path.c_str(), flags, kFileMode); });
  if (fd < 0) return Failure(errno, "open", path);
  auto file = std::make_unique<PosixFile>(fd, path, 0);
  if (mode == OpenMode::kReadWrite) FOREBAY_RETURN_IF_ERROR(file->SeekToEnd());
  return std::unique_ptr<File>(std::move(file));
}

Status PosixFileSystem::Rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) return Failure(errno, "rename to " + to, from);
  return OkStatus();
}

Status PosixFileSystem::Remove(const std::string& path) {
  if (::unlink(path.c_str()) != 0) return Failure(errno, "remove", path);
  return OkStatus();
}

Status PosixFileSystem::CreateDirectories(const std::string& path) {
  for (size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    const std::string level = path.substr(0, end);
    if (level.empty() || level == "/" || level.back() == '/') continue;
    if (::mkdir(level.c_str(), kDirectoryMode) == 0) {
      FOREBAY_RETURN_IF_ERROR(SyncDirectory(DirectoryOf(level)));
      continue;
    }
    const int error_number = errno;
    // A volume that is mounted read-only above the wanted directory says EROFS rather than EEXIST.
    struct stat info {};
    if (::stat(level.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) continue;
    return Failure(error_number, "create directory", level);
  }
  return OkStatus();
}

Status PosixFileSystem::RemoveDirectory(const std::string& path) {
  if (::rmdir(path.c_str()) != 0) return Failure(errno, "remove directory", path);
  return OkStatus();
}

Result<std::vector<DirectoryEntry>> PosixFileSystem::List(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
  if (directory == nullptr) return Failure(errno, "list", path);
  std::vector<DirectoryEntry> entries;
  while (true) {
    errno = 0;
    // Safe in glibc: no other thread has this directory stream.
    const dirent* found = ::readdir(directory.get());  // NOLINT(concurrency-mt-unsafe)
    if (found == nullptr) {
      if (errno != 0) return Failure(errno, "list", path);
      return entries;
    }
    const std::string_view name = found->d_name;
    if (name == "." || name == "..") continue;
    struct stat info {};
    if (::fstatat(::dirfd(directory.get()), found->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;  // It vanished meanwhile.
      return Failure(errno, "stat", JoinPath(path, name));
    }
    const bool regular = S_ISREG(info.st_mode);
    entries.push_back(
        {.name = std::string(name),
         .size = regular ? static_cast<uint64_t>(info.st_size) : 0,
         .allocated = regular ? static_cast<uint64_t>(info.st_blocks) * kStatBlock : 0,
         .is_directory = S_ISDIR(info.st_mode),
         .is_other = !regular && !S_ISDIR(info.st_mode)});
  }
}

Result<bool> PosixFileSystem::Exists(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return Failure(errno, "stat", path);
}

Status PosixFileSystem::SyncDirectory(const std::string& path) {
  const Descriptor fd(
      Uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (fd.get() < 0) return Failure(errno, "open directory", path);
  if (::fsync(fd.get()) != 0) return Failure(errno, "sync directory", path);
  return OkStatus();
}

Status PosixFileSystem::SyncVolume(const std::string& path) {
  const Descriptor fd(Uninterrupted([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  if (fd.get() < 0) return Failure(errno, "open", path);
  if (::syncfs(fd.get()) != 0) return Failure(errno, "syncfs", path);
  return OkStatus();
}

Result<Space> PosixFileSystem::VolumeSpace(const std::string& path) {
  struct statvfs info {};
  if (Uninterrupted([&] { return ::statvfs(path.c_str(), &info); }) != 0) {
    return Failure(errno, "statvfs", path);
  }
  return Space{.total_bytes = static_cast<uint64_t>(info.f_blocks) * info.f_frsize,
               .available_bytes = static_cast<uint64_t>(info.f_bavail) * info.f_frsize,
               .total_files = static_cast<uint64_t>(info.f_files),
               .available_files = static_cast<uint64_t>(info.f_favail)};
}

}  // namespace forebay::io
