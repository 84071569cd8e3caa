#include "upload/file/file_sink.h"

#include <atomic>
#include <barrier>
#include <catch2/catch.hpp>
#include <limits>
#include <thread>
#include <vector>

#include "io/memory_file_system.h"
#include "support/segments.h"
#include "upload/gzip.h"

namespace forebay::upload {
namespace {

using testing::FilesBelow;
using testing::Gunzip;
using testing::kLoseAll;
using testing::SegmentMaker;

std::string Compress(int level, const std::vector<std::string_view>& pieces) {
  std::string out;
  size_t longest = 0;
  GzipWriter gzip(level, [&](std::string_view bytes) {
    longest = std::max(longest, bytes.size());
    out += bytes;
    return OkStatus();
  });
  uint64_t in = 0;
  for (const std::string_view piece : pieces) {
    REQUIRE(gzip.Write(piece).ok());
    in += piece.size();
  }
  REQUIRE(gzip.Finish().ok());
  CHECK(gzip.bytes_in() == in);
  CHECK(gzip.bytes_out() == out.size());
  CHECK(longest <= kGzipChunkBytes);
  return out;
}

TEST_CASE("gzip: zlib reads back every level, empty, repetitive and random input") {
  std::string random(3'000'000, '\0');
  uint64_t state = 3;
  for (char& c : random) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    c = static_cast<char>(state >> 40);
  }
  const std::string repetitive(5'000'000, 'a');
  for (const int level : {-1, 0, 1, 2, 3, 9}) {
    CHECK(Gunzip(Compress(level, {})).empty());
    CHECK(Gunzip(Compress(level, {"x"})) == "x");
    CHECK(Gunzip(Compress(level, {random, repetitive, "end"})) == random + repetitive + "end");
  }
  std::vector<std::string_view> bytes;
  for (size_t i = 0; i < 1000; ++i) bytes.push_back(std::string_view(random).substr(i * 7, i % 11));
  std::string joined;
  for (const auto piece : bytes) joined += piece;
  CHECK(Gunzip(Compress(1, bytes)) == joined);
}

TEST_CASE("gzip: a writer that begins anew knows nothing of the stream before") {
  std::string out;
  const auto collect = [&](std::string_view bytes) -> Status {
    out += bytes;
    return OkStatus();
  };
  GzipWriter gzip(1);
  for (const bool finished : {false, true, true}) {
    out.clear();
    gzip.Begin(collect);
    REQUIRE(gzip.Write("the quick brown fox, the quick brown fox").ok());
    CHECK(gzip.bytes_in() == 40);
    if (!finished) continue;  // as when a batch was cancelled
    REQUIRE(gzip.Finish().ok());
    CHECK(gzip.bytes_out() == out.size());
    CHECK(testing::Gunzip(out) == "the quick brown fox, the quick brown fox");
    CHECK((out == Compress(1, {"the quick brown fox, the quick brown fox"})));
  }
}

TEST_CASE("gzip: an error of the output is returned") {
  GzipWriter gzip(1, [](std::string_view) { return Status(Error(ErrorCode::kNoSpace, "full")); });
  (void)gzip.Write("x");
  const Status finished = gzip.Finish();
  REQUIRE_FALSE(finished.ok());
  CHECK(finished.error().code() == ErrorCode::kNoSpace);
}

struct FileSinkFixture {
  FileSinkFixture() {
    REQUIRE(quarantine.Open().ok());
    header.id = "00000000000000aa-0123456789abcdef";
    header.target = {"Metrics", "Cpu", table::DefaultMetricsSchema()};
    header.first_time = {1'793'577'599'999};  // 2026-11-01T23:59:59.999Z
  }
  std::unique_ptr<BatchReader> Open(const std::string& name) {
    auto reader = BatchReader::Open(fs, {{name, "segments/" + name}}, true, quarantine, damage);
    REQUIRE(reader.ok());
    return *std::move(reader);
  }

  io::MemoryFileSystem fs;
  wal::Quarantine quarantine{fs, "quarantine"};
  metrics::Counter damage;
  SegmentMaker maker{fs, "segments"};
  FileSink sink{"file", {.root = "out", .compression_level = 1}, fs};
  BatchHeader header;
  const std::string directory = "out/Metrics/Cpu/2026/11/01";
  const std::string path = directory + "/00000000000000aa-0123456789abcdef.csv.gz";
};

TEST_CASE_METHOD(FileSinkFixture, "file sink: rows, header and schema as documented, durable") {
  const std::string name = maker.Write("Cpu", 1,
                                       {{-7,
                                         "a\"b",
                                         {1'793'491'200'123, 1'793'491'201'000},
                                         {1.5, std::numeric_limits<double>::infinity()}},
                                        {9, "", {0}, {std::numeric_limits<double>::quiet_NaN()}}},
                                       "2026-11-01T00:00:00Z,1,\"{}\",2\n");
  REQUIRE(sink.Prepare(header.target).ok());
  auto reader = Open(name);
  const auto receipt = sink.Upload(header, *reader);
  REQUIRE(receipt.ok());
  fs.Crash(kLoseAll);
  const std::string csv = Gunzip(*fs.Contents(path));
  CHECK(csv ==
        "Timestamp,SeriesId,Labels,Value\n"
        "2026-11-01T00:00:00.123Z,-7,\"{\"\"host\"\":\"\"a\\\"\"b\"\"}\",1.5\n"
        "2026-11-01T00:00:01Z,-7,\"{\"\"host\"\":\"\"a\\\"\"b\"\"}\",Infinity\n"
        "1970-01-01T00:00:00Z,9,\"{}\",NaN\n"
        "2026-11-01T00:00:00Z,1,\"{}\",2\n");
  CHECK(receipt->rows == 4);
  CHECK(receipt->nans == 1);
  CHECK(receipt->infinities == 1);
  CHECK(receipt->stale_markers == 0);
  CHECK(receipt->text == path);
  CHECK(receipt->stored_bytes == fs.Contents(path)->size());
  CHECK(
      *fs.Contents("out/Metrics/Cpu/2cawzsrvl4mw4.schema.json") ==
      "{\"database\":\"Metrics\",\"table\":\"Cpu\",\"schema_hash\":\"2cawzsrvl4mw4\",\"columns\":["
      "{\"name\":\"Timestamp\",\"type\":\"datetime\"},{\"name\":\"SeriesId\",\"type\":\"long\"},"
      "{\"name\":\"Labels\",\"type\":\"dynamic\"},{\"name\":\"Value\",\"type\":\"real\"}]}\n");
  CHECK(fs.List(directory)->size() == 1);  // no temporary file
}

TEST_CASE_METHOD(FileSinkFixture, "file sink: a batch that is there is not written again") {
  const std::string name = maker.Write("Cpu", 1, {{1, "h", {1}, {1}}});
  REQUIRE(fs.CreateDirectories(directory).ok());
  REQUIRE(io::WriteFileDurably(fs, path, "earlier").ok());
  auto reader = Open(name);
  const auto receipt = sink.Upload(header, *reader);
  REQUIRE(receipt.ok());
  CHECK(receipt->already_there);
  CHECK(*fs.Contents(path) == "earlier");
}

TEST_CASE_METHOD(FileSinkFixture, "file sink: a temporary file of a try before is overwritten") {
  const std::string name = maker.Write("Cpu", 1, {{1, "h", {1}, {1}}});
  REQUIRE(fs.CreateDirectories(directory).ok());
  REQUIRE(io::WriteFileDurably(fs, directory + "/." + header.id + ".csv.gz.tmp",
                               std::string(100'000, 'x'))
              .ok());
  auto reader = Open(name);
  REQUIRE(sink.Upload(header, *reader).ok());
  CHECK(Gunzip(*fs.Contents(path)).starts_with("Timestamp,"));
  CHECK(fs.List(directory)->size() == 1);
}

TEST_CASE_METHOD(
    FileSinkFixture,
    "file sink: every failing operation is a retryable error and leaves no final file") {
  const std::string name = maker.Write("Cpu", 1, {{1, "h", {1}, {1}}});
  int failures = 0;
  int successes = 0;
  for (uint64_t n = 1; n <= 60; ++n) {
    auto reader = Open(name);
    io::Fault fault;
    fault.path_contains = "out";
    fault.first = n;
    fs.AddFault(fault);
    const auto prepared = sink.Prepare(header.target);
    auto receipt = prepared.ok() ? sink.Upload(header, *reader) : Result<Receipt>(prepared.error());
    fs.ClearFaults();
    // Final names are whole, whatever failed; the last directory sync comes after the rename.
    const auto file = fs.Contents(path);
    if (file.ok()) CHECK(Gunzip(*file).ends_with(",1\n"));
    if (receipt.ok()) {
      ++successes;
      REQUIRE(file.ok());
    } else {
      ++failures;
      CHECK(receipt.error().retryable());
      CHECK_FALSE(reader->source_error());
    }
    (void)fs.Remove(path);
    (void)fs.Remove("out/Metrics/Cpu/2cawzsrvl4mw4.schema.json");
  }
  CHECK(failures >= 8);
  CHECK(successes >= 8);
}

TEST_CASE_METHOD(FileSinkFixture, "file sink: workers prepare one table at the same time") {
  std::atomic<int> failed = 0;
  std::barrier together(4);
  std::vector<std::thread> workers;
  for (int worker = 0; worker < 4; ++worker) {
    workers.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        together.arrive_and_wait();
        const TableTarget target{"Metrics", "T" + std::to_string(i), table::DefaultMetricsSchema()};
        if (!sink.Prepare(target).ok()) ++failed;
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  CHECK(failed == 0);
  CHECK(fs.List("out/Metrics/T499")->size() == 1);
}

TEST_CASE_METHOD(FileSinkFixture,
                 "file sink: a table without a schema has neither header nor schema file") {
  const std::string name = maker.Write("Cpu", 1, {}, "2026,line one\n");
  header.target.schema.reset();
  REQUIRE(sink.Prepare(header.target).ok());
  auto reader = Open(name);
  REQUIRE(sink.Upload(header, *reader).ok());
  CHECK(Gunzip(*fs.Contents(path)) == "2026,line one\n");
  CHECK(FilesBelow(fs, "out", ".schema.json").empty());
}

TEST_CASE("csv renderer: a long run comes in pieces of whole rows") {
  io::MemoryFileSystem fs;
  wal::Quarantine quarantine(fs, "quarantine");
  REQUIRE(quarantine.Open().ok());
  SegmentMaker maker(fs, "segments");
  metrics::Counter damage;
  testing::TestSeries series{1, "h", {}, {}};
  for (int64_t i = 0; i < 50'000; ++i) {
    series.timestamps.push_back(i);
    series.values.push_back(static_cast<double>(i));
  }
  const std::string name = maker.Write("Cpu", 1, {series}, std::string(700'000, 'y') + "\n");
  auto reader = BatchReader::Open(fs, {{name, "segments/" + name}}, true, quarantine, damage);
  REQUIRE(reader.ok());
  std::string all;
  size_t pieces = 0;
  CsvRenderer renderer;
  const auto stats = renderer.Render(**reader, 2, [&](std::string_view text) {
    CHECK(text.size() < kRenderChunkBytes + 64 * 256);
    if (text[0] != 'y')
      CHECK(text.ends_with(",,\n"));  // two lifted columns that the series has not
    ++pieces;
    all += text;
    return OkStatus();
  });
  REQUIRE(stats.ok());
  CHECK(stats->rows == 50'001);
  CHECK(stats->bytes == all.size());
  CHECK(pieces > 10);
  CHECK(std::count(all.begin(), all.end(), '\n') == 50'001);
}

}  // namespace
}  // namespace forebay::upload
