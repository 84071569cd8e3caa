// Inodes, names, faults and tearing: see io/internal/memory_core.h.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "io/internal/memory_core.h"

namespace forebay::io {
namespace internal {

bool Chance(double probability, std::mt19937_64& random) {
  // 53 bits as a fraction: the same on every standard library, unlike std::bernoulli_distribution.
  return static_cast<double>(random() >> 11) * 0x1p-53 < probability;
}

void Inode::Rewrite(uint64_t begin, uint64_t end) {
  std::vector<ByteRange> left;
  for (const ByteRange& range : lost) {
    if (range.begin < begin) left.push_back({range.begin, std::min(range.end, begin)});
    if (range.end > end) left.push_back({std::max(range.begin, end), range.end});
  }
  lost = std::move(left);
}

void Inode::Resize(uint64_t size) {
  MarkDirty(std::min<uint64_t>(size, content.size()));
  content.resize(size);
  for (ByteRange& range : lost) range.end = std::min(range.end, size);
  std::erase_if(lost, [](const ByteRange& range) { return range.begin >= range.end; });
}

void Inode::CopyWritten(uint64_t begin, uint64_t end, std::string& to) const {
  const std::string before = to;
  to.replace(begin, end - begin, content, begin, end - begin);
  for (const ByteRange& range : lost) {
    const uint64_t from = std::max(range.begin, begin);
    const uint64_t until = std::min(range.end, end);
    if (from < until) to.replace(from, until - from, before, from, until - from);
  }
}

void Inode::MakeDurable() {
  if (!Dirty()) return;
  durable.resize(content.size());  // Bytes that no write reached read as zeros.
  if (dirty_from < content.size()) CopyWritten(dirty_from, content.size(), durable);
  dirty_from = content.size();
}

void Inode::LoseDirty() {
  if (!Dirty()) return;
  if (dirty_from < content.size()) lost.push_back({dirty_from, content.size()});
  dirty_from = std::max(content.size(), durable.size());
  ++sync_errors;
}

void Inode::Tear(const CrashOptions& options, std::mt19937_64& random) {
  const uint64_t grain = std::max<uint64_t>(options.granularity, 1);
  if (!Dirty()) {
    // Nothing unsynced, or the kernel has already thrown it away.
    content = durable;
  } else {
    // The size that reached the disk: that of the last sync, that of the end, or one on the way.
    uint64_t size = durable.size();
    if (Chance(options.keep_probability, random)) {
      size = content.size();
    } else if (content.size() > durable.size() && options.keep_probability > 0) {
      const uint64_t steps = (content.size() - durable.size()) / grain;
      size += steps == 0 ? 0 : random() % (steps + 1) * grain;
    }
    std::string torn = durable;
    torn.resize(size);  // Bytes that the size covers and no write reached read as zeros.
    for (uint64_t piece = dirty_from / grain * grain; piece < size; piece += grain) {
      if (!Chance(options.keep_probability, random)) continue;
      const uint64_t begin = std::max(piece, dirty_from);
      const uint64_t end = std::min<uint64_t>({piece + grain, size, content.size()});
      if (begin < end) CopyWritten(begin, end, torn);
    }
    content = torn;
    durable = std::move(torn);
  }
  dirty_from = content.size();
  allocated = 0;
  lost.clear();
}

bool DirectoryChange::Touches(const DirectoryChange& other) const {
  if (inode == other.inode) return true;
  for (const Edit& mine : edits) {
    for (const Edit& theirs : other.edits) {
      if (mine.directory == theirs.directory && mine.name == theirs.name) return true;
    }
  }
  return false;
}

}  // namespace internal

using internal::DirectoryChange;
using internal::Inode;
using internal::InodePtr;
using internal::Location;

MemoryFileSystem::Core::Core() : root(std::make_shared<Inode>()) { root->is_directory = true; }

const Fault* MemoryFileSystem::Core::Meet(FileOperation operation, std::string_view path) {
  ++counts[static_cast<size_t>(operation)];
  ++counts[static_cast<size_t>(FileOperation::kAny)];
  bool met = false;
  for (Fault& fault : faults) {
    if (fault.operation != FileOperation::kAny && fault.operation != operation) continue;
    if (path.find(fault.path_contains) == std::string_view::npos) continue;
    if (fault.first > 1) {
      --fault.first;
      continue;
    }
    if (met) continue;  // One operation fails once; the others go on counting.
    met = true;
    met_ = fault;
    if (fault.count != Fault::kForever) --fault.count;
  }
  std::erase_if(faults, [](const Fault& fault) { return fault.count == 0; });
  return met ? &met_ : nullptr;
}

Status MemoryFileSystem::Core::Begin(FileOperation operation, std::string_view path) {
  const Fault* fault = Meet(operation, path);
  if (fault != nullptr) return fault->error.WithContext(path);
  return OkStatus();
}

void MemoryFileSystem::Core::Announce(FileOperation operation, const std::string& path) const {
  std::function<void(FileOperation, const std::string&)> observe;
  {
    MutexLock lock(observer_mutex);
    observe = observer;
  }
  if (observe) observe(operation, path);
}

Result<Location> MemoryFileSystem::Core::Find(std::string_view path) const {
  Location at{.parent = nullptr, .name = {}, .inode = root};
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view name = path.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      return Error(ErrorCode::kInvalidArgument, fmt::format("{}: '..' is not supported", path));
    }
    if (at.inode == nullptr || !at.inode->is_directory) {
      return Error(ErrorCode::kNotFound, fmt::format("{}: no such directory", path));
    }
    at.parent = std::move(at.inode);
    at.name = name;
    const auto found = at.parent->entries.find(name);
    at.inode = found == at.parent->entries.end() ? nullptr : found->second;
  }
  return at;
}

Result<Location> MemoryFileSystem::Core::FindExisting(std::string_view path) const {
  FOREBAY_ASSIGN_OR_RETURN(Location at, Find(path));
  if (at.inode == nullptr) {
    return Error(ErrorCode::kNotFound, fmt::format("{}: no such file or directory", path));
  }
  return at;
}

Result<InodePtr> MemoryFileSystem::Core::FindDirectory(std::string_view path) const {
  FOREBAY_ASSIGN_OR_RETURN(Location at, FindExisting(path));
  if (!at.inode->is_directory) {
    return Error(ErrorCode::kNotFound, fmt::format("{}: not a directory", path));
  }
  return at.inode;
}

void MemoryFileSystem::Core::Apply(DirectoryChange change) {
  for (const DirectoryChange::Edit& edit : change.edits) {
    if (edit.target == nullptr) {
      edit.directory->entries.erase(edit.name);
    } else {
      edit.directory->entries.insert_or_assign(edit.name, edit.target);
    }
  }
  pending.push_back(std::move(change));
}

void MemoryFileSystem::Core::MakeDurable(const DirectoryChange& change) {
  for (const DirectoryChange::Edit& edit : change.edits) {
    if (edit.target == nullptr) {
      edit.directory->durable_entries.erase(edit.name);
    } else {
      edit.directory->durable_entries.insert_or_assign(edit.name, edit.target);
    }
  }
}

void MemoryFileSystem::Core::SyncDirectory(const InodePtr& directory) {
  for (DirectoryChange& change : pending) {
    for (DirectoryChange::Edit& edit : change.edits) {
      if (edit.directory == directory) edit.synced = true;
    }
  }
  const auto synced = [](const DirectoryChange& change) {
    return std::all_of(change.edits.begin(), change.edits.end(),
                       [](const DirectoryChange::Edit& edit) { return edit.synced; });
  };
  // A change between two directories waits for the sync of both, unless a later one about the same
  // name or file becomes durable: that cannot be on the disk without it.
  for (size_t i = pending.size(); i-- > 0;) {
    if (!synced(pending[i])) continue;
    for (size_t earlier = 0; earlier < i; ++earlier) {
      if (!pending[i].Touches(pending[earlier])) continue;
      for (DirectoryChange::Edit& edit : pending[earlier].edits) edit.synced = true;
    }
  }
  for (const DirectoryChange& change : pending) {
    if (synced(change)) MakeDurable(change);
  }
  std::erase_if(pending, synced);
}

std::vector<InodePtr> MemoryFileSystem::Core::Inodes() const {
  std::vector<InodePtr> found = {root};
  for (size_t i = 0; i < found.size(); ++i) {
    const InodePtr inode = found[i];  // a copy: the vector grows
    for (const auto& [name, child] : inode->entries) found.push_back(child);
  }
  return found;
}

void MemoryFileSystem::Core::SyncEverything() {
  for (const DirectoryChange& change : pending) MakeDurable(change);
  pending.clear();
  for (const InodePtr& inode : Inodes()) {
    if (!inode->is_directory) inode->MakeDurable();
  }
}

void MemoryFileSystem::Core::LoseEverything() {
  for (const InodePtr& inode : Inodes()) {
    if (!inode->is_directory) inode->LoseDirty();
  }
}

void MemoryFileSystem::Core::CopyTo(Core& copy) const {
  std::map<const Inode*, InodePtr> copies;
  std::vector<std::pair<InodePtr, InodePtr>> left;  // original, copy
  const auto copy_of = [&](const InodePtr& original) -> InodePtr {
    if (original == nullptr) return nullptr;
    InodePtr& made = copies[original.get()];
    if (made == nullptr) {
      made = std::make_shared<Inode>(*original);
      left.emplace_back(original, made);
    }
    return made;
  };
  MutexLock copy_lock(copy.mutex);
  copy.root = copy_of(root);
  copy.pending = pending;
  for (DirectoryChange& change : copy.pending) {
    change.inode = copy_of(change.inode);
    for (DirectoryChange::Edit& edit : change.edits) {
      edit.directory = copy_of(edit.directory);
      edit.target = copy_of(edit.target);
    }
  }
  while (!left.empty()) {
    const auto [original, made] = left.back();
    left.pop_back();
    for (auto& [name, child] : made->entries) child = copy_of(child);
    for (auto& [name, child] : made->durable_entries) child = copy_of(child);
  }
  copy.capacity = capacity;
}

void MemoryFileSystem::Core::Crash(const CrashOptions& options) {
  std::mt19937_64 random(options.seed);
  std::vector<const Inode*> stale;  // a change of theirs was lost, so later ones are lost too
  for (const DirectoryChange& change : pending) {
    const bool depends = std::find(stale.begin(), stale.end(), change.inode.get()) != stale.end();
    if (!depends && internal::Chance(options.keep_probability, random)) {
      MakeDurable(change);
    } else {
      stale.push_back(change.inode.get());
    }
  }
  pending.clear();
  std::vector<InodePtr> left = {root};
  while (!left.empty()) {
    const InodePtr inode = std::move(left.back());
    left.pop_back();
    if (!inode->is_directory) {
      inode->Tear(options, random);
      continue;
    }
    inode->entries = inode->durable_entries;
    for (const auto& [name, child] : inode->entries) left.push_back(child);
  }
  faults.clear();
  ++epoch;
}

uint64_t MemoryFileSystem::Core::UsedBytes() const {
  uint64_t used = 0;
  std::vector<const Inode*> left = {root.get()};
  while (!left.empty()) {
    const Inode* inode = left.back();
    left.pop_back();
    used += inode->Used();
    for (const auto& [name, child] : inode->entries) left.push_back(child.get());
  }
  return used;
}

uint64_t MemoryFileSystem::Core::RoomFor(const Inode& inode) const {
  // Nobody asked for a limit: spare the walk.
  if (capacity == kDefaultCapacity) return kDefaultCapacity;
  const uint64_t used = UsedBytes();
  const uint64_t free = used < capacity ? capacity - used : 0;
  // What the file has reserved beyond its end is its own.
  return free + (inode.Used() - inode.content.size());
}

}  // namespace forebay::io
