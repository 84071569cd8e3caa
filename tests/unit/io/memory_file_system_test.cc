// What a crash, a fault and a full volume do in the file system that other modules' tests stand on.
#include "io/memory_file_system.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <set>
#include <string>

namespace forebay::io {
namespace {

const CrashOptions kLoseAll{.seed = 1, .granularity = 512, .keep_probability = 0};
const CrashOptions kKeepAll{.seed = 1, .granularity = 512, .keep_probability = 1};

std::unique_ptr<File> Create(MemoryFileSystem& fs, const std::string& path) {
  auto file = fs.Open(path, OpenMode::kCreate);
  REQUIRE(file.ok());
  return std::move(*file);
}

void Store(MemoryFileSystem& fs, const std::string& path, std::string_view contents) {
  REQUIRE(WriteFileDurably(fs, path, contents).ok());
}

}  // namespace

TEST_CASE("memory file system: a synced file whose directory is not synced can lose its name") {
  MemoryFileSystem fs;
  auto file = Create(fs, "a");
  REQUIRE(file->Write("data").ok());
  REQUIRE(file->SyncData().ok());
  SECTION("lost") {
    fs.Crash(kLoseAll);
    CHECK_FALSE(*fs.Exists("a"));
  }
  SECTION("kept with its contents") {
    fs.Crash({.seed = 1, .granularity = 512, .keep_probability = 1});
    CHECK(*fs.Contents("a") == "data");
  }
  SECTION("kept for certain after a sync of the directory") {
    REQUIRE(fs.SyncDirectory(".").ok());
    fs.Crash(kLoseAll);
    CHECK(*fs.Contents("a") == "data");
  }
}

TEST_CASE("memory file system: a durable name without synced contents is an empty file") {
  MemoryFileSystem fs;
  auto file = Create(fs, "a");
  REQUIRE(file->Write("data").ok());
  REQUIRE(fs.SyncDirectory(".").ok());
  fs.Crash(kLoseAll);
  CHECK(fs.Contents("a")->empty());
}

TEST_CASE(
    "memory file system: unsynced bytes written over synced ones leave the one or the other") {
  std::set<std::string> seen;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    MemoryFileSystem fs;
    Store(fs, "a", std::string(2048, 'o'));
    auto file = std::move(*fs.Open("a", OpenMode::kReadWrite));
    REQUIRE(file->WriteAt(512, std::string(1024, 'n')).ok());
    fs.Crash({.seed = seed, .granularity = 512, .keep_probability = 0.5});
    const std::string found = *fs.Contents("a");
    REQUIRE(found.size() == 2048);
    std::string pieces;
    for (size_t piece = 0; piece < 4; ++piece) {
      REQUIRE(found.substr(piece * 512, 512) == std::string(512, found[piece * 512]));
      pieces += found[piece * 512];
    }
    seen.insert(pieces);
  }
  CHECK(seen == std::set<std::string>{"oooo", "onoo", "oono", "onno"});
}

TEST_CASE("memory file system: a full volume takes what goes over bytes that are there") {
  MemoryFileSystem fs;
  Store(fs, "a", std::string(100, 'o'));
  fs.SetCapacity(100);
  auto file = std::move(*fs.Open("a", OpenMode::kReadWrite));
  REQUIRE(file->WriteAt(50, std::string(50, 'n')).ok());
  CHECK(file->WriteAt(90, std::string(11, 'x')).error().code() == ErrorCode::kNoSpace);
  CHECK(fs.Contents("a")->size() == 100);
}

TEST_CASE("memory file system: unsynced appends are kept, lost or torn, synced bytes never") {
  std::set<std::string> seen;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    MemoryFileSystem fs;
    auto file = Create(fs, "a");
    const std::string synced(700, 's');
    REQUIRE(file->Write(synced).ok());
    REQUIRE(file->SyncData().ok());
    REQUIRE(fs.SyncDirectory(".").ok());
    REQUIRE(file->Write(std::string(3000, 'u')).ok());
    fs.Crash({.seed = seed, .granularity = 512, .keep_probability = 0.5});
    const std::string contents = *fs.Contents("a");
    REQUIRE(contents.size() >= synced.size());
    REQUIRE(contents.size() <= 3700);
    REQUIRE(contents.substr(0, synced.size()) == synced);
    for (size_t i = synced.size(); i < contents.size(); ++i) {
      REQUIRE((contents[i] == 'u' || contents[i] == '\0'));
      // Pieces are whole.
      if (i % 512 != 0 && i > synced.size()) REQUIRE(contents[i] == contents[i - 1]);
    }
    seen.insert(contents);
  }
  CHECK(seen.size() > 20);
  CHECK(seen.count(std::string(700, 's')) == 1);
}

TEST_CASE("memory file system: the same seed gives the same crash") {
  std::string first;
  for (int run = 0; run < 2; ++run) {
    MemoryFileSystem fs;
    auto file = Create(fs, "a");
    REQUIRE(fs.SyncDirectory(".").ok());
    REQUIRE(file->Write(std::string(50000, 'u')).ok());
    fs.Crash({.seed = 7, .granularity = 4096, .keep_probability = 0.5});
    if (run == 0) first = *fs.Contents("a");
    CHECK(*fs.Contents("a") == first);
  }
}

TEST_CASE("memory file system: a rename is whole in every crash") {
  bool saw_old = false;
  bool saw_new = false;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    MemoryFileSystem fs;
    Store(fs, "final", "old");
    auto file = Create(fs, "temporary");
    REQUIRE(file->Write("new").ok());
    REQUIRE(file->SyncData().ok());
    REQUIRE(fs.Rename("temporary", "final").ok());
    fs.Crash({.seed = seed, .granularity = 512, .keep_probability = 0.5});
    const std::string contents = *fs.Contents("final");
    REQUIRE((contents == "old" || contents == "new"));
    if (contents == "new") REQUIRE_FALSE(*fs.Exists("temporary"));
    (contents == "new" ? saw_new : saw_old) = true;
  }
  CHECK(saw_old);
  CHECK(saw_new);
}

TEST_CASE("memory file system: a rename between directories is durable after the sync of both") {
  MemoryFileSystem fs;
  REQUIRE(fs.CreateDirectories("a").ok());
  REQUIRE(fs.CreateDirectories("b").ok());
  Store(fs, "a/x", "1");
  REQUIRE(fs.Rename("a/x", "b/y").ok());
  SECTION("one is not enough") {
    REQUIRE(fs.SyncDirectory("b").ok());
    fs.Crash(kLoseAll);
    CHECK(*fs.Exists("a/x"));
    CHECK_FALSE(*fs.Exists("b/y"));
  }
  SECTION("both are") {
    REQUIRE(fs.SyncDirectory("b").ok());
    REQUIRE(fs.SyncDirectory("a").ok());
    fs.Crash(kLoseAll);
    CHECK_FALSE(*fs.Exists("a/x"));
    CHECK(*fs.Contents("b/y") == "1");
  }
  SECTION("a later durable removal is not undone by the sync of the other") {
    REQUIRE(fs.SyncDirectory("b").ok());
    REQUIRE(fs.Remove("b/y").ok());
    REQUIRE(fs.SyncDirectory("b").ok());
    REQUIRE(fs.SyncDirectory("a").ok());
    fs.Crash(kLoseAll);
    CHECK_FALSE(*fs.Exists("a/x"));
    CHECK_FALSE(*fs.Exists("b/y"));
  }
}

TEST_CASE("memory file system: two renames in a row never leave two names of one file") {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    MemoryFileSystem fs;
    Store(fs, "a", "1");
    REQUIRE(fs.Rename("a", "b").ok());
    REQUIRE(fs.Rename("b", "c").ok());
    fs.Crash({.seed = seed, .granularity = 512, .keep_probability = 0.5});
    CHECK(fs.List(".")->size() == 1);
  }
}

TEST_CASE("memory file system: a removed file can come back unless its directory was synced") {
  MemoryFileSystem fs;
  Store(fs, "a", "1");
  REQUIRE(fs.Remove("a").ok());
  CHECK_FALSE(*fs.Exists("a"));
  SECTION("comes back") {
    fs.Crash(kLoseAll);
    CHECK(*fs.Contents("a") == "1");
  }
  SECTION("stays away") {
    REQUIRE(fs.SyncDirectory(".").ok());
    fs.Crash(kKeepAll);
    CHECK_FALSE(*fs.Exists("a"));
  }
}

TEST_CASE("memory file system: writes to a removed file go nowhere visible") {
  MemoryFileSystem fs;
  auto file = Create(fs, "a");
  REQUIRE(fs.Remove("a").ok());
  REQUIRE(file->Write("data").ok());
  REQUIRE(file->SyncData().ok());
  CHECK_FALSE(*fs.Exists("a"));
  CHECK(fs.UsedBytes() == 0);
  Create(fs, "a");
  CHECK(fs.Contents("a")->empty());
}

TEST_CASE("memory file system: created directories are durable at once") {
  MemoryFileSystem fs;
  REQUIRE(fs.CreateDirectories("/x/y/z").ok());
  fs.Crash(kLoseAll);
  CHECK(fs.List("x/y/z")->empty());
  CHECK(fs.RemoveDirectory("x/y").error().code() == ErrorCode::kAlreadyExists);
}

TEST_CASE("memory file system: a sync of the volume keeps every file and name") {
  MemoryFileSystem fs;
  REQUIRE(fs.CreateDirectories("d").ok());
  REQUIRE(Create(fs, "a")->Write("1").ok());
  REQUIRE(Create(fs, "d/b")->Write("2").ok());
  REQUIRE(fs.SyncVolume(".").ok());
  fs.Crash(kLoseAll);
  CHECK(*fs.Contents("a") == "1");
  CHECK(*fs.Contents("d/b") == "2");
}

TEST_CASE("memory file system: open files are dead after a crash") {
  MemoryFileSystem fs;
  auto file = Create(fs, "a");
  REQUIRE(fs.SyncVolume(".").ok());
  fs.Crash(kKeepAll);
  CHECK(file->Write("x").error().code() == ErrorCode::kIo);
  CHECK(file->SyncData().error().code() == ErrorCode::kIo);
  CHECK(fs.Contents("a")->empty());
}

TEST_CASE("memory file system: an unsynced truncation can be undone by a crash") {
  MemoryFileSystem fs;
  Store(fs, "a", "123456");
  auto file = std::move(*fs.Open("a", OpenMode::kReadWrite));
  REQUIRE(file->Truncate(2).ok());
  CHECK(*fs.Contents("a") == "12");
  SECTION("undone") {
    fs.Crash(kLoseAll);
    CHECK(*fs.Contents("a") == "123456");
  }
  SECTION("kept when synced") {
    REQUIRE(file->Write("x").ok());
    REQUIRE(file->SyncData().ok());
    fs.Crash(kLoseAll);
    CHECK(*fs.Contents("a") == "12x");
  }
}

TEST_CASE("memory file system: the nth operation of a kind fails once and has no effect") {
  MemoryFileSystem fs;
  fs.FailNth(FileOperation::kRemove, 2, Error(ErrorCode::kIo, "no"));
  Store(fs, "a", "1");
  Store(fs, "b", "1");
  Store(fs, "c", "1");
  CHECK(fs.Remove("a").ok());
  CHECK(fs.Remove("b").error().message() == "b: no");
  CHECK(*fs.Exists("b"));
  CHECK(fs.Remove("c").ok());
  CHECK(fs.OperationCount(FileOperation::kRemove) == 3);
}

TEST_CASE("memory file system: a fault for ever on one path stops when faults are cleared") {
  MemoryFileSystem fs;
  fs.AddFault({.path_contains = "journal", .first = 1, .count = Fault::kForever});
  CHECK_FALSE(fs.Open("journal/1", OpenMode::kCreate).ok());
  CHECK_FALSE(fs.CreateDirectories("journal").ok());
  CHECK(fs.CreateDirectories("segments").ok());
  fs.ClearFaults();
  CHECK(fs.CreateDirectories("journal").ok());
}

TEST_CASE(
    "memory file system: a failing write can leave some of its bytes, and truncating heals the "
    "file") {
  MemoryFileSystem fs;
  fs.AddFault({.operation = FileOperation::kWrite,
               .path_contains = {},
               .short_write_bytes = 3,
               .error = Error(ErrorCode::kNoSpace, "full")});
  auto file = Create(fs, "a");
  CHECK(file->Write("12345").error().code() == ErrorCode::kNoSpace);
  CHECK(*fs.Contents("a") == "123");
  CHECK(file->Write("x").error().code() == ErrorCode::kFailedPrecondition);
  REQUIRE(file->Truncate(0).ok());
  CHECK(file->Write("x").ok());
  CHECK(*fs.Contents("a") == "x");
}

TEST_CASE("memory file system: a file whose sync failed is lost and takes nothing more") {
  MemoryFileSystem fs;
  auto file = Create(fs, "a");
  REQUIRE(fs.SyncDirectory(".").ok());
  REQUIRE(file->Write("data").ok());
  fs.FailNth(FileOperation::kSyncData, 1, Error(ErrorCode::kIo, "EIO"));
  CHECK(file->SyncData().error().code() == ErrorCode::kIo);
  CHECK(file->SyncData().error().code() == ErrorCode::kFailedPrecondition);
  CHECK(file->Write("x").error().code() == ErrorCode::kFailedPrecondition);
  CHECK(*fs.Contents("a") == "data");
  REQUIRE(fs.SyncVolume(".").ok());
  fs.Crash(kKeepAll);
  CHECK(fs.Contents("a")->empty());
}

TEST_CASE("memory file system: a full volume takes what fits, refuses the rest, and recovers") {
  MemoryFileSystem fs;
  fs.SetCapacity(10);
  auto file = Create(fs, "a");
  REQUIRE(file->Write("123456").ok());
  CHECK(fs.VolumeSpace(".")->available_bytes == 4);
  CHECK(file->Write("789012").error().code() == ErrorCode::kNoSpace);
  CHECK(*fs.Contents("a") == "1234567890");
  REQUIRE(file->Truncate(6).ok());
  CHECK(file->Allocate(11).error().code() == ErrorCode::kNoSpace);
  REQUIRE(file->Allocate(10).ok());
  CHECK(fs.VolumeSpace(".")->available_bytes == 0);
  CHECK(Create(fs, "b")->Write("x").error().code() == ErrorCode::kNoSpace);
  CHECK(file->Write("7890").ok());  // into its own reservation
  REQUIRE(fs.Remove("a").ok());
  CHECK(fs.VolumeSpace(".")->available_bytes == 10);
}

TEST_CASE("memory file system: bit rot changes what is stored and what is seen") {
  MemoryFileSystem fs;
  Store(fs, "a", "12345");
  REQUIRE(fs.Overwrite("a", 3, "xyz").ok());
  CHECK(*fs.Contents("a") == "123xy");
  fs.Crash(kLoseAll);
  CHECK(*fs.Contents("a") == "123xy");
  CHECK(fs.Overwrite("none", 0, "x").error().code() == ErrorCode::kNotFound);
}

TEST_CASE(
    "memory file system: after a failed sync a new opening syncs fine, and a crash loses it") {
  MemoryFileSystem fs;
  Store(fs, "a", "old ");
  auto file = std::move(*fs.Open("a", OpenMode::kReadWrite));
  REQUIRE(file->Write("lost").ok());
  fs.FailNth(FileOperation::kSyncData, 1, Error(ErrorCode::kIo, "EIO"));
  REQUIRE_FALSE(file->SyncData().ok());
  auto again = std::move(*fs.Open("a", OpenMode::kReadWrite));
  SECTION("nothing more is written") {
    REQUIRE(again->SyncData().ok());
    CHECK(*fs.Contents("a") == "old lost");
    fs.Crash(kKeepAll);
    CHECK(*fs.Contents("a") == "old ");
  }
  SECTION("what is written behind it is kept, with a hole before it") {
    REQUIRE(again->Write("new").ok());
    REQUIRE(again->SyncData().ok());
    CHECK(*fs.Contents("a") == "old lostnew");
    fs.Crash(kKeepAll);
    CHECK(*fs.Contents("a") == std::string("old \0\0\0\0new", 11));
  }
  SECTION("what is written behind it and not synced is torn without it") {
    REQUIRE(again->Write("new").ok());
    fs.Crash(kKeepAll);
    CHECK(*fs.Contents("a") == std::string("old \0\0\0\0new", 11));
  }
  SECTION("what is written over it is kept, the rest of it is lost") {
    REQUIRE(again->WriteAt(5, "OS").ok());
    REQUIRE(again->SyncData().ok());
    CHECK(*fs.Contents("a") == "old lOSt");
    fs.Crash(kKeepAll);
    CHECK(*fs.Contents("a") == std::string("old \0OS\0", 8));
  }
  SECTION("a truncation ends the loss") {
    REQUIRE(again->Truncate(4).ok());
    REQUIRE(again->Write("good").ok());
    REQUIRE(again->SyncData().ok());
    fs.Crash(kLoseAll);
    CHECK(*fs.Contents("a") == "old good");
  }
}

TEST_CASE(
    "memory file system: a failed sync of the volume loses what every open file has written") {
  MemoryFileSystem fs;
  auto dirty = Create(fs, "dirty");
  auto clean = Create(fs, "clean");
  REQUIRE(fs.SyncDirectory(".").ok());
  REQUIRE(clean->Write("1").ok());
  REQUIRE(clean->SyncData().ok());
  REQUIRE(dirty->Write("1").ok());
  fs.FailNth(FileOperation::kSyncVolume, 1, Error(ErrorCode::kIo, "EIO"));
  REQUIRE_FALSE(fs.SyncVolume(".").ok());
  REQUIRE(fs.SyncVolume(".").ok());
  CHECK(dirty->SyncData().error().code() == ErrorCode::kIo);  // told once, then given up
  CHECK(dirty->SyncData().error().code() == ErrorCode::kFailedPrecondition);
  CHECK(clean->SyncData().ok());
  fs.Crash(kKeepAll);
  CHECK(fs.Contents("dirty")->empty());
  CHECK(*fs.Contents("clean") == "1");
}

TEST_CASE("memory file system: a failed sync of a directory loses no name") {
  MemoryFileSystem fs;
  REQUIRE(Create(fs, "a")->SyncData().ok());
  fs.FailNth(FileOperation::kSyncDirectory, 1, Error(ErrorCode::kIo, "EIO"));
  REQUIRE_FALSE(fs.SyncDirectory(".").ok());
  auto unsynced = fs.Clone();
  unsynced->Crash(kLoseAll);
  CHECK_FALSE(*unsynced->Exists("a"));
  REQUIRE(fs.SyncDirectory(".").ok());
  fs.Crash(kLoseAll);
  CHECK(*fs.Exists("a"));
}

TEST_CASE("memory file system: an operation may report a failure and be done nevertheless") {
  MemoryFileSystem fs;
  const auto fail = [&](FileOperation operation) {
    Fault fault;
    fault.operation = operation;
    fault.takes_effect = true;
    fs.AddFault(fault);
  };
  auto file = Create(fs, "a");
  REQUIRE(file->Write("data").ok());
  fail(FileOperation::kSyncData);
  CHECK_FALSE(file->SyncData().ok());
  CHECK(file->SyncData().error().code() == ErrorCode::kFailedPrecondition);
  SECTION("a directory's sync") {
    fail(FileOperation::kSyncDirectory);
    CHECK_FALSE(fs.SyncDirectory(".").ok());
    fs.Crash(kLoseAll);
    CHECK(*fs.Contents("a") == "data");
  }
  SECTION("a rename and a volume's sync") {
    fail(FileOperation::kRename);
    CHECK_FALSE(fs.Rename("a", "b").ok());
    fail(FileOperation::kSyncVolume);
    CHECK_FALSE(fs.SyncVolume(".").ok());
    fs.Crash(kLoseAll);
    CHECK(*fs.Contents("b") == "data");
    CHECK_FALSE(*fs.Exists("a"));
  }
  SECTION("a removal") {
    fail(FileOperation::kRemove);
    CHECK_FALSE(fs.Remove("a").ok());
    CHECK_FALSE(*fs.Exists("a"));
  }
}

TEST_CASE("memory file system: the n-th call fails as the kernel says, whatever the call is") {
  const auto run = [](MemoryFileSystem& fs) -> Status {
    FOREBAY_RETURN_IF_ERROR(fs.CreateDirectories("d"));
    FOREBAY_RETURN_IF_ERROR(WriteFileDurably(fs, "d/a", "data"));
    FOREBAY_ASSIGN_OR_RETURN(const std::string read, ReadFile(fs, "d/a", 100));
    REQUIRE(read == "data");
    FOREBAY_RETURN_IF_ERROR(fs.Rename("d/a", "d/b"));
    FOREBAY_RETURN_IF_ERROR(fs.Remove("d/b"));
    return fs.SyncDirectory("d");
  };
  MemoryFileSystem clean;
  REQUIRE(run(clean).ok());
  const uint64_t calls = clean.OperationCount();
  REQUIRE(calls > 8);
  const std::pair<int, ErrorCode> errors[] = {{EIO, ErrorCode::kIo},
                                              {ENOSPC, ErrorCode::kNoSpace},
                                              {EDQUOT, ErrorCode::kNoSpace},
                                              {EINTR, ErrorCode::kUnavailable},
                                              {EMFILE, ErrorCode::kResourceExhausted}};
  for (const auto& [error_number, code] : errors) {
    for (uint64_t n = 1; n <= calls + 1; ++n) {
      MemoryFileSystem fs;
      fs.FailNth(FileOperation::kAny, n, ErrnoError(error_number, "injected"));
      const Status status = run(fs);
      INFO("call " << n << " of " << calls);
      REQUIRE(status.ok() == (n > calls));
      if (n <= calls) CHECK(status.error().code() == code);
    }
  }
}

TEST_CASE("memory file system: creation, rename and removal are lost or kept each by itself") {
  std::set<std::string> seen;
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    MemoryFileSystem fs;
    Store(fs, "renamed", "");
    Store(fs, "removed", "");
    Create(fs, "created");
    REQUIRE(fs.Rename("renamed", "moved").ok());
    REQUIRE(fs.Remove("removed").ok());
    fs.Crash({.seed = seed, .granularity = 512, .keep_probability = 0.5});
    std::string state;
    for (const char* name : {"created", "moved", "removed"}) state += *fs.Exists(name) ? '1' : '0';
    CHECK(*fs.Exists("renamed") != *fs.Exists("moved"));
    seen.insert(state);
  }
  CHECK(seen.size() == 8);
}

TEST_CASE("memory file system: a clone goes its own way, with what is not durable") {
  MemoryFileSystem fs;
  REQUIRE(fs.CreateDirectories("d").ok());
  Store(fs, "d/old", "1");
  auto file = Create(fs, "d/new");
  REQUIRE(file->Write("data").ok());
  REQUIRE(fs.Remove("d/old").ok());
  auto lost = fs.Clone();
  auto kept = fs.Clone();
  CHECK(*lost->Contents("d/new") == "data");
  lost->Crash(kLoseAll);
  kept->Crash(kKeepAll);
  CHECK_FALSE(*lost->Exists("d/new"));
  CHECK(*lost->Contents("d/old") == "1");
  CHECK(*kept->Contents("d/new") == "data");
  CHECK_FALSE(*kept->Exists("d/old"));
  CHECK(*fs.Contents("d/new") == "data");
  REQUIRE(file->Write("+").ok());  // the original has had no crash
  CHECK(*kept->Contents("d/new") == "data");
}

TEST_CASE("memory file system: the observer sees every change before it happens, and may clone") {
  MemoryFileSystem fs;
  std::vector<std::string> before;
  fs.SetObserver([&](FileOperation operation, const std::string& path) {
    const auto now = fs.Clone()->Contents("a");
    before.push_back(path + ' ' + std::to_string(static_cast<int>(operation)) + ' ' +
                     (now.ok() ? *now : "-"));
  });
  auto file = Create(fs, "a");
  REQUIRE(file->Write("1").ok());
  REQUIRE(file->SyncData().ok());
  CHECK(*file->Size() == 1);  // changes nothing
  REQUIRE(fs.SyncDirectory(".").ok());
  fs.SetObserver({});
  REQUIRE(file->Write("2").ok());
  const auto step = [](const char* path, FileOperation operation, const char* contents) {
    return std::string(path) + ' ' + std::to_string(static_cast<int>(operation)) + ' ' + contents;
  };
  CHECK(before == std::vector<std::string>{step("a", FileOperation::kOpen, "-"),
                                           step("a", FileOperation::kWrite, ""),
                                           step("a", FileOperation::kSyncData, "1"),
                                           step(".", FileOperation::kSyncDirectory, "1")});
}

TEST_CASE("memory file system: a replaced file is durable, longer or shorter") {
  MemoryFileSystem fs;
  Store(fs, "a", "12345");
  REQUIRE(fs.Replace("a", "12").ok());
  fs.Crash(kLoseAll);
  CHECK(*fs.Contents("a") == "12");
  REQUIRE(fs.Replace("a", "123456789").ok());
  fs.Crash(kLoseAll);
  CHECK(*fs.Contents("a") == "123456789");
  CHECK(fs.Replace("none", "x").error().code() == ErrorCode::kNotFound);
}

}  // namespace forebay::io
