#include "walctl/quarantine.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "wal/quarantine.h"
#include "walctl/format.h"

namespace forebay::walctl {
namespace {

constexpr uint64_t kMaxReason = 64U << 10;
constexpr size_t kCopyBytes = 1U << 20;

std::string ReasonPath(const std::string& path) {
  return path + std::string(wal::kQuarantineReasonSuffix);
}

bool IsItem(const io::DirectoryEntry& entry) {
  return !entry.is_directory && !entry.is_other && !entry.name.ends_with(io::kTemporarySuffix) &&
         !entry.name.ends_with(wal::kQuarantineReasonSuffix);
}

Status Copy(io::FileSystem& fs, const std::string& from, const std::string& to) {
  FOREBAY_ASSIGN_OR_RETURN(const auto source, fs.Open(from, io::OpenMode::kRead));
  FOREBAY_ASSIGN_OR_RETURN(auto target, fs.Open(to, io::OpenMode::kCreate));
  std::string buffer(kCopyBytes, '\0');
  Status status;
  for (uint64_t offset = 0; status.ok();) {
    const auto read = source->ReadAt(offset, buffer);
    if (!read.ok()) {
      status = Status(read.error());
      break;
    }
    if (*read == 0) break;
    status = target->Write(std::string_view(buffer).substr(0, *read));
    offset += *read;
  }
  if (status.ok()) status = target->SyncData();
  if (!status.ok()) (void)fs.Remove(to);
  return status;
}

}  // namespace

Result<std::vector<QuarantineItem>> ListQuarantine(io::FileSystem& fs, const std::string& directory,
                                                   const ModifiedAt& modified_at) {
  FOREBAY_ASSIGN_OR_RETURN(const bool exists, fs.Exists(directory));
  if (!exists) {
    return Error(ErrorCode::kNotFound,
                 fmt::format("{}: no such data directory; name it by --dir", directory));
  }
  std::vector<QuarantineItem> items;
  const std::string folder = io::JoinPath(directory, "quarantine");
  const auto entries = fs.List(folder);
  if (!entries.ok()) {
    if (entries.error().code() == ErrorCode::kNotFound) return items;
    return Error(entries.error());
  }
  for (const io::DirectoryEntry& entry : *entries) {
    if (!IsItem(entry)) continue;
    QuarantineItem item;
    item.name = entry.name;
    item.path = io::JoinPath(folder, entry.name);
    item.bytes = entry.size;
    if (auto reason = io::ReadFile(fs, ReasonPath(item.path), kMaxReason); reason.ok()) {
      item.reason = reason->substr(0, reason->find('\n'));
      // A file that was moved here keeps its own time.
      item.since = modified_at(ReasonPath(item.path));
    } else {
      item.since = modified_at(item.path);
    }
    items.push_back(std::move(item));
  }
  std::sort(items.begin(), items.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return items;
}

Result<std::vector<QuarantineItem>> SelectItems(const std::vector<QuarantineItem>& items,
                                                const QuarantineSelection& selection) {
  if (selection.names.empty() && !selection.all && !selection.before) {
    return Error(ErrorCode::kInvalidArgument, "nothing is selected: name items, or --all");
  }
  for (const std::string& name : selection.names) {
    if (std::none_of(items.begin(), items.end(),
                     [&](const auto& item) { return item.name == name; })) {
      return Error(ErrorCode::kNotFound,
                   fmt::format("{}: no such item; forebay wal quarantine ls lists them", name));
    }
  }
  std::vector<QuarantineItem> selected;
  for (const QuarantineItem& item : items) {
    const auto& names = selection.names;
    const bool named = std::find(names.begin(), names.end(), item.name) != names.end();
    const bool old = selection.before && item.since && *item.since < *selection.before;
    if (named || selection.all || old) selected.push_back(item);
  }
  return selected;
}

Status ExportItem(io::FileSystem& fs, const QuarantineItem& item, const std::string& to) {
  const std::string target = io::JoinPath(to, item.name);
  FOREBAY_RETURN_IF_ERROR(Copy(fs, item.path, target));
  if (!item.reason.empty()) {
    Status copied = Copy(fs, ReasonPath(item.path), ReasonPath(target));
    if (!copied.ok()) {
      (void)fs.Remove(target);
      return copied;
    }
  }
  return fs.SyncDirectory(to);
}

Status DropItem(io::FileSystem& fs, const QuarantineItem& item) {
  for (const std::string& path : {item.path, ReasonPath(item.path)}) {
    Status removed = fs.Remove(path);
    if (!removed.ok() && removed.error().code() != ErrorCode::kNotFound) return removed;
  }
  return fs.SyncDirectory(io::DirectoryOf(item.path));
}

std::string FormatQuarantine(const std::vector<QuarantineItem>& items, UnixMillis now) {
  std::string out = fmt::format("{:>11} {:>6}  {:<60}  {}\n", "SIZE", "AGE", "ITEM", "REASON");
  uint64_t bytes = 0;
  for (const QuarantineItem& item : items) {
    bytes += item.bytes;
    fmt::format_to(std::back_inserter(out), "{:>11} {:>6}  {:<60}  {}\n", HumanBytes(item.bytes),
                   item.since ? HumanAge(*item.since, now) : "-", item.name, item.reason);
  }
  fmt::format_to(std::back_inserter(out), "{} items, {}\n", items.size(), HumanBytes(bytes));
  return out;
}

std::string FormatQuarantineJson(const std::vector<QuarantineItem>& items) {
  std::string out = "[";
  for (const QuarantineItem& item : items) {
    fmt::format_to(
        std::back_inserter(out), R"({}{{"name":{},"path":{},"bytes":{},"since":{},"reason":{}}})",
        out.size() > 1 ? ",\n" : "", JsonString(item.name), JsonString(item.path), item.bytes,
        item.since ? JsonString(FormatRfc3339(*item.since)) : "null", JsonString(item.reason));
  }
  return out + "]\n";
}

}  // namespace forebay::walctl
