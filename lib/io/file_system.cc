// The parts of the file system seam that do not depend on which file system is below.
#include "io/file_system.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace forebay::io {

Result<std::string> ReadFile(FileSystem& fs, const std::string& path, uint64_t max_bytes) {
  FOREBAY_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kRead));
  FOREBAY_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  if (size > max_bytes) {
    return Error(ErrorCode::kOutOfRange,
                 fmt::format("{}: {} bytes, more than the limit of {}", path, size, max_bytes));
  }
  std::string contents(size, '\0');
  FOREBAY_ASSIGN_OR_RETURN(const size_t read, file->ReadAt(0, contents));
  contents.resize(read);  // The file may have become shorter since Size().
  return contents;
}

Status WriteFileDurably(FileSystem& fs, const std::string& path, std::string_view contents) {
  const std::string temporary = path + std::string(kTemporarySuffix);
  FOREBAY_ASSIGN_OR_RETURN(auto file, fs.Open(temporary, OpenMode::kCreateOrTruncate));
  Status written = file->Write(contents);
  if (written.ok()) written = file->SyncData();
  if (written.ok()) written = file->Close();
  file.reset();
  if (written.ok()) written = fs.Rename(temporary, path);
  if (!written.ok()) {
    // The temporary file is of no use to anyone; a failure to remove it must not hide the first
    // error.
    (void)fs.Remove(temporary);
    return written;
  }
  return fs.SyncDirectory(DirectoryOf(path));
}

std::string JoinPath(std::string_view directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  std::string path;
  path.reserve(directory.size() + 1 + name.size());
  path += directory;
  if (path.back() != '/') path += '/';
  path += name;
  return path;
}

std::string_view BaseName(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string DirectoryOf(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  if (slash == 0) return "/";
  return std::string(path.substr(0, slash));
}

}  // namespace forebay::io
