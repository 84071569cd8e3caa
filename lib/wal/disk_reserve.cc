#include "wal/disk_reserve.h"

#include <algorithm>
#include <vector>

#include "base/log.h"
#include "wal/disk_account.h"

namespace forebay::wal {

DiskReserve::DiskReserve(io::FileSystem& fs, const std::string& directory, uint64_t bytes)
    : fs_(fs),
      directory_(directory),
      path_(io::JoinPath(directory, kReserveFile)),
      bytes_(std::min(bytes, kReserveFileBytes)) {}

// Blocks without contents; where the volume cannot do that, zeros.
Status DiskReserve::Fill(io::File& file) const {
  FOREBAY_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  if (size != 0 && size != bytes_) {
    return Error(ErrorCode::kAlreadyExists,
                 path_ + ": a file that is not the reserve; move it away, so that one can be made");
  }
  if (size == bytes_) return {};  // zeros of an earlier run
  Status filled = file.Allocate(bytes_);
  if (!filled.ok() && filled.error().code() == ErrorCode::kUnimplemented) {
    filled = file.Write(std::string(bytes_, '\0'));
  }
  if (filled.ok()) filled = file.SyncData();
  return filled;
}

Status DiskReserve::Make() {
  if (bytes_ == 0 || ready_.load()) return {};
  auto file = fs_.Open(path_, io::OpenMode::kReadWrite);
  const bool made = !file.ok() && file.error().code() == ErrorCode::kNotFound;
  if (made) file = fs_.Open(path_, io::OpenMode::kCreate);
  if (!file.ok()) return Error(file.error());
  Status filled = Fill(**file);
  file->reset();
  if (filled.ok()) filled = fs_.SyncDirectory(directory_);
  if (!filled.ok()) {
    if (made) (void)fs_.Remove(path_);  // half of it is of no use
    return filled;
  }
  ready_.store(true);
  return {};
}

bool DiskReserve::GiveUp() {
  if (!ready_.exchange(false)) return false;
  given_up_.fetch_add(1, std::memory_order_relaxed);
  Status removed = fs_.Remove(path_);
  if (removed.ok()) removed = fs_.SyncDirectory(directory_);
  if (!removed.ok()) {
    LogError("the reserve of the volume cannot be given up",
             {{"file", path_}, {"error", removed.error().ToString()}});
    return false;
  }
  LogWarn("the volume is full: the reserve was given up, so that manifests can be written",
          {{"file", path_}, {"bytes", bytes_}});
  return true;
}

Status DiskReserve::WriteFileDurably(io::FileSystem& fs, const std::string& path,
                                     std::string_view contents) {
  Status written = io::WriteFileDurably(fs, path, contents);
  if (written.ok() || written.error().code() != ErrorCode::kNoSpace || !GiveUp()) return written;
  return io::WriteFileDurably(fs, path, contents);
}

}  // namespace forebay::wal
