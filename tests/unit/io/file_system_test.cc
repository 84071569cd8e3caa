// The contract of the seam, the same cases on the kernel and in memory.
#include "io/file_system.h"

#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "io/memory_file_system.h"
#include "io/posix_file_system.h"

namespace forebay::io {
namespace {

// A directory of its own on the real disk, removed afterwards.
struct PosixFixture {
  PosixFixture() {
    std::string pattern = (std::filesystem::temp_directory_path() / "forebay-io-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    root = pattern;
  }
  ~PosixFixture() { std::filesystem::remove_all(root); }

  PosixFileSystem fs;
  std::string root;
};

struct MemoryFixture {
  MemoryFixture() { REQUIRE(fs.CreateDirectories(root).ok()); }

  MemoryFileSystem fs;
  std::string root = "/test";
};

}  // namespace

TEMPLATE_TEST_CASE("file system: contract", "", PosixFixture, MemoryFixture) {
  TestType fixture;
  FileSystem& fs = fixture.fs;
  const auto path = [&](std::string_view name) { return JoinPath(fixture.root, name); };

  SECTION("a write at a place goes over what is there, and appending goes on behind the end") {
    REQUIRE(WriteFileDurably(fs, path("a"), "0123456789").ok());
    auto file = std::move(*fs.Open(path("a"), OpenMode::kReadWrite));
    const std::string_view parts[] = {"ab", "", "c"};
    REQUIRE(file->WriteAt(2, parts).ok());
    CHECK(*ReadFile(fs, path("a"), 100) == "01abc56789");
    REQUIRE(file->Write("!").ok());
    CHECK(*ReadFile(fs, path("a"), 100) == "01abc56789!");
    REQUIRE(file->WriteAt(9, "XYZ").ok());
    REQUIRE(file->Write("?").ok());
    CHECK(*ReadFile(fs, path("a"), 100) == "01abc5678XYZ?");
    REQUIRE(file->WriteAt(15, "far").ok());
    CHECK(*ReadFile(fs, path("a"), 100) == std::string_view("01abc5678XYZ?\0\0far", 18));
  }
  SECTION("a created file takes appends and reads back at any offset") {
    auto file = std::move(*fs.Open(path("a"), OpenMode::kCreate));
    const std::vector<std::string_view> parts = {"he", "", "llo ", "world"};
    REQUIRE(file->Write(parts).ok());
    REQUIRE(file->Write("!").ok());
    CHECK(*file->Size() == 12);
    std::string out(100, '#');
    CHECK(*file->ReadAt(6, out) == 6);
    CHECK(out.substr(0, 7) == "world!#");
    CHECK(*file->ReadAt(12, out) == 0);
    CHECK(*file->ReadAt(5000, out) == 0);
    CHECK(file->SyncData().ok());
    CHECK(file->Close().ok());
  }
  SECTION("creating an existing file is refused, opening a missing one too") {
    REQUIRE(fs.Open(path("a"), OpenMode::kCreate).ok());
    CHECK(fs.Open(path("a"), OpenMode::kCreate).error().code() == ErrorCode::kAlreadyExists);
    CHECK(fs.Open(path("b"), OpenMode::kRead).error().code() == ErrorCode::kNotFound);
    CHECK(fs.Open(path("b"), OpenMode::kReadWrite).error().code() == ErrorCode::kNotFound);
    CHECK(fs.Open(path("no/b"), OpenMode::kCreate).error().code() == ErrorCode::kNotFound);
  }
  SECTION("an existing file opened for writing grows at its end, also after a truncation") {
    REQUIRE(WriteFileDurably(fs, path("a"), "12345").ok());
    auto file = std::move(*fs.Open(path("a"), OpenMode::kReadWrite));
    REQUIRE(file->Write("6").ok());
    REQUIRE(file->Truncate(3).ok());
    REQUIRE(file->Write("x").ok());
    CHECK(*ReadFile(fs, path("a"), 100) == "123x");
  }
  SECTION("create or truncate empties what was there") {
    REQUIRE(WriteFileDurably(fs, path("a"), "12345").ok());
    REQUIRE(fs.Open(path("a"), OpenMode::kCreateOrTruncate).ok());
    CHECK(ReadFile(fs, path("a"), 100)->empty());
  }
  SECTION("a file opened for reading refuses writes") {
    REQUIRE(WriteFileDurably(fs, path("a"), "1").ok());
    auto file = std::move(*fs.Open(path("a"), OpenMode::kRead));
    CHECK_FALSE(file->Write("x").ok());
  }
  SECTION("reserving space does not change the size") {
    auto file = std::move(*fs.Open(path("a"), OpenMode::kCreate));
    const Status reserved = file->Allocate(1 << 20);
    CHECK((reserved.ok() || reserved.error().code() == ErrorCode::kUnimplemented));
    CHECK(*file->Size() == 0);
    REQUIRE(file->Write("x").ok());
    CHECK(*file->Size() == 1);
  }
  SECTION("thousands of parts are one write") {
    auto file = std::move(*fs.Open(path("a"), OpenMode::kCreate));
    std::string expected;
    std::vector<std::string> texts;
    for (int i = 0; i < 5000; ++i) texts.push_back(std::to_string(i));
    std::vector<std::string_view> parts(texts.begin(), texts.end());
    for (const auto& text : texts) expected += text;
    REQUIRE(file->Write(parts).ok());
    CHECK(*ReadFile(fs, path("a"), 1 << 20) == expected);
  }
  SECTION("a rename replaces its target") {
    REQUIRE(WriteFileDurably(fs, path("a"), "1").ok());
    REQUIRE(WriteFileDurably(fs, path("b"), "2").ok());
    REQUIRE(fs.Rename(path("a"), path("b")).ok());
    CHECK_FALSE(*fs.Exists(path("a")));
    CHECK(*ReadFile(fs, path("b"), 10) == "1");
    CHECK(fs.Rename(path("a"), path("c")).error().code() == ErrorCode::kNotFound);
  }
  SECTION("directories are created level by level and listed with sizes") {
    REQUIRE(fs.CreateDirectories(path("x/y")).ok());
    REQUIRE(fs.CreateDirectories(path("x/y/")).ok());
    REQUIRE(WriteFileDurably(fs, path("x/f"), "123").ok());
    auto entries = *fs.List(path("x"));
    std::sort(entries.begin(), entries.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    REQUIRE(entries.size() == 2);
    CHECK(entries[0].name == "f");
    CHECK(entries[0].size == 3);
    CHECK_FALSE(entries[0].is_directory);
    CHECK(entries[1].name == "y");
    CHECK(entries[1].is_directory);
    CHECK(fs.RemoveDirectory(path("x")).error().code() == ErrorCode::kAlreadyExists);
    CHECK(fs.RemoveDirectory(path("x/y")).ok());
    CHECK_FALSE(*fs.Exists(path("x/y")));
    CHECK_FALSE(fs.CreateDirectories(path("x/f/z")).ok());
    CHECK_FALSE(*fs.Exists(path("x/f/z")));
    CHECK(fs.List(path("none")).error().code() == ErrorCode::kNotFound);
  }
  SECTION("removing what is not there is not found") {
    CHECK(fs.Remove(path("a")).error().code() == ErrorCode::kNotFound);
  }
  SECTION("syncs and space work on files and directories that exist") {
    REQUIRE(WriteFileDurably(fs, path("a"), "1").ok());
    CHECK(fs.SyncVolume(path("a")).ok());
    CHECK(fs.SyncDirectory(fixture.root).ok());
    CHECK(fs.SyncDirectory(path("none")).error().code() == ErrorCode::kNotFound);
    const Space space = *fs.VolumeSpace(fixture.root);
    CHECK(space.total_bytes >= space.available_bytes);
    CHECK(space.available_bytes > 0);
  }
  SECTION("reading a file above the limit is out of range") {
    REQUIRE(WriteFileDurably(fs, path("a"), "12345").ok());
    CHECK(ReadFile(fs, path("a"), 4).error().code() == ErrorCode::kOutOfRange);
    CHECK(*ReadFile(fs, path("a"), 5) == "12345");
  }
  SECTION("a durable write replaces the old contents and leaves no temporary file") {
    REQUIRE(WriteFileDurably(fs, path("a"), "old").ok());
    REQUIRE(WriteFileDurably(fs, path("a"), "new").ok());
    CHECK(*ReadFile(fs, path("a"), 10) == "new");
    CHECK(fs.List(fixture.root)->size() == 1);
  }
}

TEST_CASE("file system: a durable write survives every crash and every failing operation") {
  for (uint64_t n = 1;; ++n) {
    MemoryFileSystem fs;
    REQUIRE(fs.CreateDirectories("d").ok());
    REQUIRE(WriteFileDurably(fs, "d/a", "old").ok());
    fs.AddFault({.path_contains = {}, .first = n, .count = Fault::kForever});
    const bool written = WriteFileDurably(fs, "d/a", "new").ok();
    fs.Crash({.seed = n, .granularity = 1, .keep_probability = 0.5});
    const std::string contents = *fs.Contents("d/a");
    if (written) {
      CHECK(contents == "new");
      break;
    }
    CHECK((contents == "old" || contents == "new"));
    REQUIRE(n < 20);
  }
}

TEST_CASE("file system: paths are joined and split at the last slash") {
  CHECK(JoinPath("a", "b") == "a/b");
  CHECK(JoinPath("a/", "b") == "a/b");
  CHECK(JoinPath("/", "b") == "/b");
  CHECK(JoinPath("", "b") == "b");
  CHECK(DirectoryOf("a/b/c") == "a/b");
  CHECK(DirectoryOf("/a") == "/");
  CHECK(DirectoryOf("a") == ".");
}

}  // namespace forebay::io
