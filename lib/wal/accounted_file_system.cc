// Each verb is done below first and counted when it succeeded: for a moment the account is behind
// the disk, never for good.
#include "wal/accounted_file_system.h"

#include <optional>
#include <utility>

namespace forebay::wal {
namespace {

class AccountedFile final : public io::File {
 public:
  AccountedFile(std::unique_ptr<io::File> below, DiskAccount& account,
                DiskAccount::ChargePtr charge)
      : below_(std::move(below)), account_(account), charge_(std::move(charge)) {}

  Status Write(std::span<const std::string_view> parts) override {
    Status written = below_->Write(parts);
    if (!written.ok()) return Failed(std::move(written));
    account_.Grew(charge_, Bytes(parts));
    return written;
  }
  Status WriteAt(uint64_t offset, std::span<const std::string_view> parts) override {
    Status written = below_->WriteAt(offset, parts);
    if (!written.ok()) return Failed(std::move(written));
    account_.GrewTo(charge_, offset + Bytes(parts));
    return written;
  }
  Result<size_t> ReadAt(uint64_t offset, std::span<char> out) override {
    return below_->ReadAt(offset, out);
  }
  Result<uint64_t> Size() override { return below_->Size(); }
  Status Allocate(uint64_t size) override {
    Status allocated = below_->Allocate(size);
    if (allocated.ok()) account_.Reserved(charge_, size);
    return allocated;
  }
  Status Truncate(uint64_t size) override {
    Status truncated = below_->Truncate(size);
    if (truncated.ok()) account_.Resized(charge_, size);
    return truncated;
  }
  Status SyncData() override { return below_->SyncData(); }
  Status Close() override { return below_->Close(); }

 private:
  static uint64_t Bytes(std::span<const std::string_view> parts) {
    uint64_t bytes = 0;
    for (const std::string_view part : parts) bytes += part.size();
    return bytes;
  }
  // Some of the bytes may be there.
  Status Failed(Status written) {
    if (const auto size = below_->Size(); size.ok()) account_.Resized(charge_, *size);
    return written;
  }

  const std::unique_ptr<io::File> below_;
  DiskAccount& account_;
  const DiskAccount::ChargePtr charge_;
};

}  // namespace

Result<std::unique_ptr<io::File>> AccountedFileSystem::Open(const std::string& path,
                                                            io::OpenMode mode) {
  auto file = below_.Open(path, mode);
  if (!file.ok() || mode == io::OpenMode::kRead) return file;
  std::optional<uint64_t> size;
  if (mode == io::OpenMode::kReadWrite) {
    if (const auto found = (*file)->Size(); found.ok()) size = *found;
  } else {
    size = 0;
  }
  auto charge = account_.Opened(path, size);
  if (charge == nullptr) return file;
  return std::unique_ptr<io::File>(
      std::make_unique<AccountedFile>(*std::move(file), account_, std::move(charge)));
}

Status AccountedFileSystem::Rename(const std::string& from, const std::string& to) {
  Status renamed = below_.Rename(from, to);
  if (renamed.ok()) account_.Renamed(from, to);
  return renamed;
}

Status AccountedFileSystem::Remove(const std::string& path) {
  Status removed = below_.Remove(path);
  // One that is gone was taken by somebody else.
  if (removed.ok() || removed.error().code() == ErrorCode::kNotFound) account_.Removed(path);
  return removed;
}

}  // namespace forebay::wal
