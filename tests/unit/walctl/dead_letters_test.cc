#include "walctl/dead_letters.h"

#include <catch2/catch.hpp>

#include "io/memory_file_system.h"

namespace forebay::walctl {
namespace {

constexpr const char* kOldId = "2f5933f1afa02000-cbdd0f90e45178b2";
constexpr const char* kNewId = "2f5a3fee79a02000-c4820b20cc0eb0a8";

struct Letters {
  io::MemoryFileSystem fs;

  void Put(const std::string& path, std::string_view text) {
    REQUIRE(fs.CreateDirectories(path.substr(0, path.rfind('/'))).ok());
    REQUIRE(io::WriteFileDurably(fs, path, text).ok());
  }

  Letters() {
    wal::BatchManifest manifest;
    manifest.id = kOldId;
    manifest.database = "Metrics";
    manifest.table = "Cpu";
    manifest.segments.push_back({"Metrics_Cpu_2f5933f1afa02000.wal", 12, 500});
    manifest.sinks.push_back({"good", wal::DeliveryState::kDone, 1, "there"});
    manifest.sinks.push_back({"bad", wal::DeliveryState::kFailed, 1, "no such column"});
    const std::string old_letter = std::string("d/dlq/") + kOldId + "/";
    Put(old_letter + "manifest.batch", wal::EncodeManifest(manifest));
    Put(old_letter + "reason.json", "{\"batch\":1}\n");
    Put(old_letter + "Metrics_Cpu_2f5933f1afa02000.wal", "segment");
    Put(std::string("d/dlq/") + kNewId + "/rejected.bad.csv", "rows");
    Put("d/dlq/something else", "x");
  }
};

TEST_CASE_METHOD(Letters, "dead letters: listed with what was refused and why, oldest first") {
  const auto letters = ListDeadLetters(fs, "d");
  REQUIRE(letters.ok());
  REQUIRE(letters->size() == 2);
  CHECK((*letters)[0].id == kOldId);
  CHECK((*letters)[0].segments == 1);
  CHECK((*letters)[0].manifest.rows() == 12);
  CHECK((*letters)[1].rejected == std::vector<std::string>{"rejected.bad.csv"});
  const std::string text = FormatDeadLetters(*letters, UnixMillis{1'793'577'600'000});
  CHECK(text.find("Metrics.Cpu  12 rows") != std::string::npos);
  CHECK(text.find("bad: no such column") != std::string::npos);
  CHECK(text.find("2 dead letters") != std::string::npos);
  CHECK(FormatDeadLettersJson(*letters).find("\"reason\":\"bad: no such column\"") !=
        std::string::npos);
  CHECK(DescribeDeadLetter(fs, (*letters)[0])->find("{\"batch\":1}") != std::string::npos);
  CHECK(ListDeadLetters(fs, "nowhere").error().code() == ErrorCode::kNotFound);
}

TEST_CASE_METHOD(Letters, "dead letters: selected by id, and never by accident") {
  const auto letters = *ListDeadLetters(fs, "d");
  CHECK(SelectDeadLetters(letters, {kNewId}, false)->size() == 1);
  CHECK(SelectDeadLetters(letters, {}, true)->size() == 2);
  CHECK_FALSE(SelectDeadLetters(letters, {}, false).ok());
  CHECK_FALSE(SelectDeadLetters(letters, {"x"}, false).ok());
}

TEST_CASE_METHOD(Letters, "dead letters: a replay is asked for where there is one, durably") {
  Put("d/dlq/2f5a3fee79a02001-c4820b20cc0eb0a8/note.txt", "by people");
  auto letters = *ListDeadLetters(fs, "d");
  REQUIRE(letters.size() == 3);
  REQUIRE(RequestReplay(fs, letters[0]).ok());
  REQUIRE(RequestReplay(fs, letters[1]).ok());  // rows alone
  CHECK_FALSE(RequestReplay(fs, letters[2]).ok());
  io::CrashOptions crash;
  crash.keep_probability = 0;
  fs.Crash(crash);
  letters = *ListDeadLetters(fs, "d");
  REQUIRE_FALSE(letters.empty());
  CHECK(letters[0].replay);
  CHECK(letters[1].replay);
  // It may be half done by then.
  CHECK_FALSE(DropDeadLetter(fs, letters[0]).ok());
}

TEST_CASE_METHOD(Letters, "dead letters: what is dropped is gone, the others stay") {
  const auto letters = *ListDeadLetters(fs, "d");
  REQUIRE(DropDeadLetter(fs, letters[0]).ok());
  const auto left = *ListDeadLetters(fs, "d");
  REQUIRE(left.size() == 1);
  CHECK(left[0].id == kNewId);
}

TEST_CASE_METHOD(Letters, "dead letters: a manifest that cannot be read is said, not hidden") {
  Put(std::string("d/dlq/") + kOldId + "/manifest.batch", "nonsense");
  const auto letters = *ListDeadLetters(fs, "d");
  REQUIRE(letters.size() == 2);
  CHECK_FALSE(letters[0].damage.empty());
  CHECK_FALSE(RequestReplay(fs, letters[0]).ok());
}

}  // namespace
}  // namespace forebay::walctl
