// The state of a MemoryFileSystem: inodes with two contents, directories with two sets of names,
// the changes of directories that are not durable yet, faults and counters. Shared by the file
// system and its files.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "io/memory_file_system.h"

namespace forebay::io::internal {

bool Chance(double probability, std::mt19937_64& random);

struct Inode;
using InodePtr = std::shared_ptr<Inode>;
using Entries = std::map<std::string, InodePtr, std::less<>>;

// Bytes [begin, end) of a file.
struct ByteRange {
  uint64_t begin = 0;
  uint64_t end = 0;
};

struct Inode {
  bool is_directory = false;
  // Files.
  std::string content;      // what readers see
  std::string durable;      // what a crash leaves for certain
  uint64_t dirty_from = 0;  // nothing below it waits for a sync
  uint64_t allocated = 0;   // by Allocate
  // Pages that a failed sync has marked clean: readers see them, no later sync writes them.
  std::vector<ByteRange> lost;
  uint64_t sync_errors = 0;  // grows with each loss: every file that is open then learns of it
  // Directories.
  Entries entries;          // what lookups see
  Entries durable_entries;  // what a crash leaves for certain

  uint64_t Used() const { return std::max<uint64_t>(content.size(), allocated); }
  void MarkDirty(uint64_t from) { dirty_from = std::min(dirty_from, from); }
  bool Dirty() const { return dirty_from < std::max(content.size(), durable.size()); }
  // [begin, end) was written again: no loss any more.
  void Rewrite(uint64_t begin, uint64_t end);
  // Sets the size. What was lost beyond it is no loss any more.
  void Resize(uint64_t size);
  void MakeDurable();
  // A sync has failed: what it was to write is lost, and counts as written from now on.
  void LoseDirty();
  // content[begin, end) to `to`, except what is lost.
  void CopyWritten(uint64_t begin, uint64_t end, std::string& to) const;
  // Keeps or loses each unsynced piece.
  void Tear(const CrashOptions& options, std::mt19937_64& random);
};

// A change of names that a crash keeps or loses as a whole.
struct DirectoryChange {
  struct Edit {
    InodePtr directory;
    std::string name;
    InodePtr target;  // null: the name goes away
    bool synced = false;
  };
  InodePtr inode;           // what is created, renamed or removed
  std::vector<Edit> edits;  // a rename has two

  // Whether the order of the two matters.
  bool Touches(const DirectoryChange& other) const;
};

// Where a path leads: the directory that holds the name, and what it names if anything.
struct Location {
  InodePtr parent;
  std::string name;  // empty: the root itself, then parent is null
  InodePtr inode;    // null: no such name
};

}  // namespace forebay::io::internal

namespace forebay::io {

struct MemoryFileSystem::Core {
  using Inode = internal::Inode;
  using InodePtr = internal::InodePtr;

  static constexpr uint64_t kDefaultCapacity = uint64_t{1} << 40;

  mutable Mutex mutex;
  InodePtr root GUARDED_BY(mutex);
  std::vector<internal::DirectoryChange> pending GUARDED_BY(mutex);  // oldest first
  std::vector<Fault> faults GUARDED_BY(mutex);
  std::array<uint64_t, static_cast<size_t>(FileOperation::kAny) + 1> counts GUARDED_BY(mutex) = {};
  uint64_t capacity GUARDED_BY(mutex) = kDefaultCapacity;
  uint64_t total_files GUARDED_BY(mutex) = 0;
  uint64_t available_files GUARDED_BY(mutex) = 0;
  uint64_t epoch GUARDED_BY(mutex) = 0;  // crashes so far; files of an older one are dead

  // Called without the mutex, so that it can clone.
  mutable Mutex observer_mutex;
  std::function<void(FileOperation, const std::string&)> observer GUARDED_BY(observer_mutex);

  Core();

  // Tells the observer, if any, what is about to change something.
  void Announce(FileOperation operation, const std::string& path) const
      EXCLUDES(mutex, observer_mutex);

  // Counts the operation and returns the fault that it meets, if any.
  const Fault* Meet(FileOperation operation, std::string_view path) REQUIRES(mutex);
  // As Meet, for operations that fail without effect.
  Status Begin(FileOperation operation, std::string_view path) REQUIRES(mutex);
  Result<internal::Location> Find(std::string_view path) const REQUIRES(mutex);
  // Find, and it must be there.
  Result<internal::Location> FindExisting(std::string_view path) const REQUIRES(mutex);
  Result<InodePtr> FindDirectory(std::string_view path) const REQUIRES(mutex);
  // Makes the change visible and remembers it as not durable.
  void Apply(internal::DirectoryChange change) REQUIRES(mutex);
  static void MakeDurable(const internal::DirectoryChange& change);
  void SyncDirectory(const InodePtr& directory) REQUIRES(mutex);
  void SyncEverything() REQUIRES(mutex);
  // A failed SyncVolume: all that is dirty is lost.
  void LoseEverything() REQUIRES(mutex);
  // Every inode that has a name now.
  std::vector<InodePtr> Inodes() const REQUIRES(mutex);
  void CopyTo(Core& copy) const REQUIRES(mutex);
  void Crash(const CrashOptions& options) REQUIRES(mutex);
  // How many more bytes `inode` may use.
  uint64_t RoomFor(const Inode& inode) const REQUIRES(mutex);
  uint64_t UsedBytes() const REQUIRES(mutex);

 private:
  Fault met_ GUARDED_BY(mutex);  // the fault that Meet returned last
};

}  // namespace forebay::io
