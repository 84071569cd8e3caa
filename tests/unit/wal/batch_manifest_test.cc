#include "wal/batch_manifest.h"

#include <catch2/catch.hpp>

#include "io/memory_file_system.h"

namespace forebay::wal {
namespace {

// Everything that was not synced is gone.
const io::CrashOptions kLoseUnsynced{1, 4096, 0.0};

BatchManifest SampleManifest() {
  BatchManifest manifest;
  manifest.database = "Metrics";
  manifest.table = "Cpu";
  manifest.schema_hash = "2cawzsrvl4mw4";
  manifest.header_line = "Timestamp:datetime,SeriesId:long,Labels:dynamic,Value:real";
  manifest.created = {1'800'000'000'123};
  manifest.first_time = {1'799'999'999'000};
  manifest.reason = BatchReason::kAge;
  manifest.segments = {{"Metrics_Cpu_2cawzsrvl4mw4_1f.wal", 100, 12345},
                       {"Metrics_Cpu_2cawzsrvl4mw4_20.wal", 7, 99}};
  manifest.sinks = {{"file", DeliveryState::kDone, 3, "out/a b%c\n.csv.gz"},
                    {"second one", DeliveryState::kPending, 0, ""},
                    {"-", DeliveryState::kFailed, 1, "-"}};
  manifest.id = BatchId(0x1f, std::vector<std::string>{manifest.segments[0].file_name,
                                                       manifest.segments[1].file_name});
  return manifest;
}

TEST_CASE("batch id: the same for the same segments in any order, another for others") {
  const std::string id = BatchId(0x1f, std::vector<std::string>{"a_b_1f.wal", "a_b_20.wal"});
  CHECK(id == BatchId(0x1f, std::vector<std::string>{"a_b_20.wal", "a_b_1f.wal"}));
  CHECK(id != BatchId(0x1f, std::vector<std::string>{"a_b_1f.wal"}));
  CHECK(id != BatchId(0x1f, std::vector<std::string>{"a_b_1f.wal", "a_b_21.wal"}));
  CHECK(id.substr(0, 17) == "000000000000001f-");
  // Sinks have seen ids of earlier releases: this value may never change.
  CHECK(BatchId(0x1f, std::vector<std::string>{"a_b_1f.wal"}) ==
        "000000000000001f-63411e255380d92e");
  CHECK(IsBatchId(id));
  CHECK_FALSE(IsBatchId("000000000000001f"));
  CHECK_FALSE(IsBatchId("../../000000000000-1f00000000000000"));
  CHECK_FALSE(IsBatchId("00000000000000AF-0000000000000000"));
}

TEST_CASE("batch manifest: reads back what was written") {
  const BatchManifest manifest = SampleManifest();
  const auto parsed = ParseManifest(EncodeManifest(manifest));
  REQUIRE(parsed.ok());
  CHECK(*parsed == manifest);
  CHECK(parsed->rows() == 107);
  CHECK(parsed->row_bytes() == 12444);
  CHECK_FALSE(parsed->settled());
  CHECK(parsed->failed());
}

TEST_CASE("batch manifest: goes to sinks or to a peer") {
  BatchManifest manifest = SampleManifest();
  manifest.sinks.clear();
  CHECK_FALSE(ParseManifest(EncodeManifest(manifest)).ok());
  manifest.peer = "node 1";
  const auto parsed = ParseManifest(EncodeManifest(manifest));
  REQUIRE(parsed.ok());
  CHECK(*parsed == manifest);
  manifest.sinks = SampleManifest().sinks;
  CHECK_FALSE(ParseManifest(EncodeManifest(manifest)).ok());
}

TEST_CASE("batch manifest: no truncation and no changed byte is taken for a manifest") {
  const std::string text = EncodeManifest(SampleManifest());
  for (size_t i = 0; i < text.size(); ++i) {
    CHECK_FALSE(ParseManifest(std::string_view(text).substr(0, i)).ok());
    std::string changed = text;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    const auto parsed = ParseManifest(changed);
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().code() == ErrorCode::kCorruption);
  }
  CHECK_FALSE(ParseManifest(text + "x").ok());
}

TEST_CASE("manifest store: saved manifests are loaded after a crash, removed ones are not") {
  io::MemoryFileSystem fs;
  Quarantine quarantine(fs, "q");
  REQUIRE(quarantine.Open().ok());
  ManifestStore store(fs, "batches", quarantine);
  REQUIRE(store.Load().ok());
  BatchManifest first = SampleManifest();
  BatchManifest second = SampleManifest();
  second.id = BatchId(0x20, std::vector<std::string>{"x"});
  REQUIRE(store.Save(first).ok());
  REQUIRE(store.Save(second).ok());
  first.sinks[1].state = DeliveryState::kDone;
  REQUIRE(store.Save(first).ok());
  REQUIRE(store.Remove(second.id).ok());
  CHECK(store.Remove(second.id).ok());
  fs.Crash(kLoseUnsynced);
  const auto loaded = store.Load();
  REQUIRE(loaded.ok());
  REQUIRE(loaded->manifests.size() == 1);
  CHECK(loaded->manifests[0] == first);
  CHECK(loaded->damaged.empty());
}

TEST_CASE("manifest store: a damaged manifest goes to the quarantine with its id, others load") {
  io::MemoryFileSystem fs;
  Quarantine quarantine(fs, "q");
  REQUIRE(quarantine.Open().ok());
  ManifestStore store(fs, "batches", quarantine);
  REQUIRE(store.Load().ok());
  const BatchManifest good = SampleManifest();
  BatchManifest bad = SampleManifest();
  bad.id = BatchId(0x20, std::vector<std::string>{"x"});
  REQUIRE(store.Save(good).ok());
  REQUIRE(store.Save(bad).ok());
  REQUIRE(fs.Overwrite(store.PathOf(bad.id), 20, "XX").ok());
  // A copy under another id must not deliver the batch twice.
  REQUIRE(io::WriteFileDurably(fs, store.PathOf(BatchId(0x21, std::vector<std::string>{"y"})),
                               EncodeManifest(good))
              .ok());
  // What a crash inside of Save leaves.
  const std::string left = store.PathOf(BatchId(0x22, std::vector<std::string>{"z"})) + ".tmp";
  REQUIRE(io::WriteFileDurably(fs, left, "half").ok());
  REQUIRE(io::WriteFileDurably(fs, "batches/notes.batch", "").ok());
  REQUIRE(io::WriteFileDurably(fs, "batches/notes.batch.tmp", "an operator's").ok());
  REQUIRE(io::WriteFileDurably(fs, "batches/notes.txt", "an operator's").ok());
  const auto loaded = store.Load();
  REQUIRE(loaded.ok());
  REQUIRE(loaded->manifests.size() == 1);
  CHECK(loaded->manifests[0] == good);
  CHECK(loaded->damaged.size() == 2);
  CHECK(quarantine.items() == 2);
  CHECK(*fs.Exists("q/" + bad.id + ".batch"));
  CHECK(*fs.Exists("q/" + bad.id + ".batch.reason"));
  CHECK_FALSE(*fs.Exists(left));
  CHECK(*fs.Exists("batches/notes.batch.tmp"));
  CHECK(*fs.Exists("batches/notes.batch"));
  CHECK(*fs.Exists("batches/notes.txt"));
}

TEST_CASE("quarantine: keeps bytes and reason through a crash, once") {
  io::MemoryFileSystem fs;
  Quarantine quarantine(fs, "q", 10);
  REQUIRE(quarantine.Open().ok());
  CHECK(*quarantine.Keep("a.wal.8", "12345678", "bad crc"));
  CHECK_FALSE(*quarantine.Keep("a.wal.8", "12345678", "bad crc"));
  CHECK(quarantine.items() == 1);
  CHECK(quarantine.bytes() == 8);
  const auto full = quarantine.Keep("b.wal.8", "12345678", "bad crc");
  REQUIRE_FALSE(full.ok());
  CHECK(full.error().code() == ErrorCode::kResourceExhausted);
  CHECK_FALSE(full.error().retryable());
  fs.Crash(kLoseUnsynced);
  CHECK(*fs.Contents("q/a.wal.8") == "12345678");
  CHECK(*fs.Contents("q/a.wal.8.reason") == "bad crc\n");
  Quarantine again(fs, "q", 10);
  REQUIRE(again.Open().ok());
  CHECK(again.bytes() == 8);
  CHECK(again.files() == 1);
}

}  // namespace
}  // namespace forebay::wal
