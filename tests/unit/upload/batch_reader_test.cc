#include "upload/batch_reader.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>
#include <tuple>

#include "io/memory_file_system.h"
#include "io/posix_file_system.h"
#include "support/segments.h"
#include "table/csv_row.h"
#include "table/json_text.h"
#include "upload/csv_renderer.h"

namespace forebay::upload {
namespace {

using testing::SegmentMaker;
using testing::TestSeries;

struct Row {
  int64_t series_id;
  size_t segment;
  std::string host;
  int64_t timestamp;
  uint64_t bits;
  auto operator<=>(const Row&) const = default;
};

struct ReaderFixture {
  ReaderFixture() { REQUIRE(quarantine.Open().ok()); }

  std::unique_ptr<BatchReader> Open(const std::vector<std::string>& names, bool has_schema = true,
                                    BatchReaderMemory* memory = nullptr) {
    std::vector<BatchReader::Source> sources;
    for (const std::string& name : names) sources.push_back({name, "segments/" + name});
    auto reader = BatchReader::Open(fs, std::move(sources), has_schema, quarantine, damage, memory);
    REQUIRE(reader.ok());
    return *std::move(reader);
  }

  io::MemoryFileSystem fs;
  wal::Quarantine quarantine{fs, "quarantine"};
  metrics::Counter damage;
  SegmentMaker maker{fs, "segments"};
};

std::string AllText(BatchReader& reader) {
  std::string text;
  while (true) {
    const auto kind = reader.Next();
    REQUIRE(kind.ok());
    if (*kind == RunKind::kEnd) return text;
    REQUIRE(*kind == RunKind::kText);
    text += reader.text().text;
  }
}

TEST_CASE_METHOD(ReaderFixture,
                 "batch reader: random segments come as a sort by series and segment") {
  uint64_t state = 11;
  const auto random = [&](uint64_t below) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33) % below;
  };
  uint64_t same_series = 0;
  for (int round = 0; round < 25; ++round) {
    std::vector<std::string> names;
    std::vector<Row> expected;
    const size_t segments = 1 + random(9);
    for (size_t s = 0; s < segments; ++s) {
      std::vector<TestSeries> list;
      for (int64_t id = -40; id < 40; ++id) {
        if (random(3) == 0) continue;
        TestSeries series;
        series.series_id = id * 1'000'000'007;
        // Two series of one id, which a hash may give, must not become one.
        series.host = "h" + std::to_string(random(2));
        for (uint64_t n = 1 + random(5); n > 0; --n) {
          series.timestamps.push_back(static_cast<int64_t>(random(1'000'000)));
          series.values.push_back(static_cast<double>(random(100)));
          expected.push_back({series.series_id, s, series.host, series.timestamps.back(),
                              std::bit_cast<uint64_t>(series.values.back())});
        }
        list.push_back(series);
      }
      names.push_back(
          maker.Write("Cpu", 100 * static_cast<uint64_t>(round) + s + 1, list, "", 1 + random(30)));
    }
    std::stable_sort(expected.begin(), expected.end(), [](const Row& a, const Row& b) {
      return std::tie(a.series_id, a.segment) < std::tie(b.series_id, b.segment);
    });
    auto reader = Open(names);
    size_t at = 0;
    std::pair<int64_t, std::string> last;
    while (true) {
      const auto kind = reader->Next();
      REQUIRE(kind.ok());
      if (*kind == RunKind::kEnd) break;
      REQUIRE(*kind == RunKind::kSeries);
      const SeriesRun& run = reader->series();
      REQUIRE(run.labels.size() == 1);
      REQUIRE(run.timestamps.size() == run.values.size());
      const std::pair<int64_t, std::string> series(run.series_id, run.labels[0].value);
      if (run.same_series) REQUIRE(series == last);
      same_series += run.same_series ? 1 : 0;
      last = series;
      for (size_t i = 0; i < run.timestamps.size(); ++i, ++at) {
        REQUIRE(at < expected.size());
        const Row row{run.series_id, expected[at].segment, std::string(run.labels[0].value),
                      run.timestamps[i], run.values[i]};
        REQUIRE(row == expected[at]);
      }
    }
    REQUIRE(at == expected.size());
    REQUIRE(reader->stats().rows == expected.size());
    REQUIRE(reader->stats().damaged_ranges == 0);
  }
  CHECK(same_series > 1000);
}

// The same rows, each rendered by itself, without anything that the reader knows.
std::string PlainCsv(const std::vector<std::vector<TestSeries>>& segments) {
  std::vector<std::pair<int64_t, std::string>> rows;
  for (const std::vector<TestSeries>& segment : segments) {
    for (const TestSeries& series : segment) {
      std::vector<std::string> names;
      for (int l = 1; l < series.labels; ++l) names.push_back("label_name_" + std::to_string(l));
      std::vector<table::Label> labels;
      if (!series.host.empty()) labels.push_back({"host", series.host});
      for (const std::string& name : names) labels.push_back({name, "a_common_value"});
      ByteBuffer field;
      table::AppendLabelsJsonCsv(labels, field);
      for (size_t i = 0; i < series.values.size(); ++i) {
        table::SeriesRowRenderer renderer;
        renderer.Begin(series.series_id, field.view(), "");
        ByteBuffer row;
        renderer.Append(UnixMillis{series.timestamps[i]}, std::bit_cast<uint64_t>(series.values[i]),
                        row);
        rows.emplace_back(series.series_id, row.view());
      }
    }
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string text;
  for (const auto& [id, row] : rows) text += row;
  return text;
}

TEST_CASE_METHOD(
    ReaderFixture,
    "batch reader: segments of the same series, of some that are the same and of others "
    "are rendered as if each row stood alone") {
  uint64_t state = 5;
  const auto random = [&](uint64_t below) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (state >> 33) % below;
  };
  const auto new_series = [&](int64_t id) {
    TestSeries series;
    series.series_id = id;
    series.host = random(8) == 0 ? "" : "h" + std::to_string(random(6));
    series.labels = 1 + static_cast<int>(random(3));
    return series;
  };
  BatchReaderMemory memory;  // with what the rounds before left in it
  for (int round = 0; round < 60; ++round) {
    INFO("round " << round);
    std::vector<TestSeries> known;
    for (int64_t id = 0; id < 30; ++id) known.push_back(new_series(id * 7));
    // What may change from one segment to the next: nothing in some rounds, much in others.
    const uint64_t calm = random(2) == 0 ? 1'000'000 : 3 + random(30);
    const size_t per_block = random(2) == 0 ? SIZE_MAX : 1 + random(30);
    std::vector<std::vector<TestSeries>> segments(2 + random(10));
    std::vector<std::string> names;
    for (size_t s = 0; s < segments.size(); ++s) {
      if (random(calm) == 0) known.erase(known.begin() + static_cast<ptrdiff_t>(random(5)));
      if (random(calm) == 0) known[random(known.size())].host = "other";
      if (random(calm) == 0) known[random(known.size())].labels += 1;
      if (random(calm) == 0) {
        const int64_t id = known.back().series_id + 1;
        known.push_back(new_series(id));
      }
      for (TestSeries series : known) {
        for (uint64_t n = random(calm) == 0 ? 2 : 1; n > 0; --n) {
          series.timestamps.push_back(static_cast<int64_t>(random(1'000'000)));
          series.values.push_back(static_cast<double>(random(1000)) / 8);
        }
        segments[s].push_back(series);
      }
      const size_t cut = random(calm) == 0 ? 5 : per_block;
      names.push_back(
          maker.Write("Cpu", 100 * static_cast<uint64_t>(round) + s + 1, segments[s], "", cut));
    }
    const auto reader = Open(names, true, &memory);
    CsvRenderer renderer;
    for (int pass = 0; pass < 2; ++pass) {
      std::string text;
      const auto rendered = renderer.Render(*reader, 0, [&](std::string_view piece) {
        text += piece;
        return OkStatus();
      });
      REQUIRE(rendered.ok());
      REQUIRE((text == PlainCsv(segments)));
      REQUIRE(reader->Rewind().ok());
    }
  }
}

TEST_CASE_METHOD(ReaderFixture,
                 "batch reader: series of the same segments are handed out one segment after the "
                 "other, and known to be the same") {
  const std::vector<TestSeries> known{{1, "a", {1}, {1}}, {2, "b", {1}, {1}}, {3, "z", {1}, {1}}};
  std::vector<std::string> names;
  for (uint64_t s = 1; s <= 4; ++s) {
    std::vector<TestSeries> series = known;
    if (s == 3) series[0].host = "c";
    for (TestSeries& one : series) one.timestamps[0] = static_cast<int64_t>(s);
    names.push_back(maker.Write("Cpu", s, series));
  }
  const auto reader = Open(names);
  std::string seen;  // of the last ones the blocks are gone when the next is compared
  while (*reader->Next() == RunKind::kSeries) {
    const SeriesRun& run = reader->series();
    REQUIRE(run.timestamps.size() == 1);
    seen += std::string(run.same_series ? "=" : " ") + std::string(run.labels[0].value) +
            std::to_string(run.timestamps[0]);
  }
  CHECK(seen == " a1=a2 c3 a4 b1=b2=b3=b4 z1=z2 z3 z4");
}

TEST_CASE_METHOD(ReaderFixture, "batch reader: text comes after all series, without header lines") {
  const auto first = maker.Write("Cpu", 1, {{5, "a", {1}, {1}}}, "t1,1,\"{}\",1\n");
  const auto second = maker.Write("Cpu", 2, {{4, "b", {2}, {2}}}, "t2,1,\"{}\",1\nt3,1,\"{}\",1\n");
  auto reader = Open({first, second});
  REQUIRE(*reader->Next() == RunKind::kSeries);
  CHECK(reader->series().series_id == 4);
  REQUIRE(*reader->Next() == RunKind::kSeries);
  CHECK(reader->series().series_id == 5);
  REQUIRE(*reader->Next() == RunKind::kText);
  CHECK(reader->text().text == "t1,1,\"{}\",1\n");
  CHECK(reader->text().rows == 1);
  REQUIRE(*reader->Next() == RunKind::kText);
  CHECK(reader->text().rows == 2);
  CHECK(*reader->Next() == RunKind::kEnd);
  CHECK(*reader->Next() == RunKind::kEnd);
  CHECK(reader->stats().rows == 5);
}

// Segments that adx-mon's own writer made, and what they hold.
std::string Slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

TEST_CASE_METHOD(ReaderFixture,
                 "batch reader: adx-mon's segments give their rows, header lines dropped") {
  io::PosixFileSystem posix;
  const std::string directory = std::string(FOREBAY_TEST_DATA) + "/adxmon/";
  for (const std::string name : {"Metrics_CpuBest_2cawzsrvl4mw4_2f24a73200006000",
                                 "Metrics_CpuFast_2cawzsrvl4mw4_2f24a73200004000",
                                 "Metrics_CpuSnappy_2cawzsrvl4mw4_2f24a73200008000"}) {
    auto reader = BatchReader::Open(posix, {{name + ".wal", directory + name + ".wal"}}, true,
                                    quarantine, damage);
    REQUIRE(reader.ok());
    const std::string text = AllText(**reader);
    std::string expected;
    uint64_t rows = 0;
    std::istringstream lines(Slurp(directory + name + ".decoded"));
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("Timestamp:datetime")) continue;
      expected += line + '\n';
      ++rows;
    }
    CHECK(rows > 0);
    CHECK((text == expected));
    CHECK((*reader)->stats().rows == rows);
    const auto schema = ReadSegmentSchema(posix, directory + name + ".wal");
    REQUIRE(schema.ok());
    REQUIRE(schema->has_value());
    CHECK((*schema)->hash_text() == "2cawzsrvl4mw4");
  }
}

TEST_CASE_METHOD(ReaderFixture,
                 "batch reader: of a block, only the first line is its header line") {
  io::PosixFileSystem posix;
  // One block of many writes: what is behind its first line is not judged.
  const std::string name = "Metrics_MemBig_2cawzsrvl4mw4_2f24a73200012000";
  const std::string path = std::string(FOREBAY_TEST_DATA) + "/adxmon/" + name;
  auto reader =
      BatchReader::Open(posix, {{name + ".wal", path + ".wal"}}, true, quarantine, damage);
  REQUIRE(reader.ok());
  const std::string decoded = Slurp(path + ".decoded");
  CHECK((AllText(**reader) == decoded.substr(decoded.find('\n') + 1)));
}

TEST_CASE_METHOD(ReaderFixture, "batch reader: names without a schema keep every line") {
  io::PosixFileSystem posix;
  const std::string path = std::string(FOREBAY_TEST_DATA) + "/adxmon/Logs_App_2f24a73200006002";
  auto reader = BatchReader::Open(posix, {{"Logs_App_2f24a73200006002.wal", path + ".wal"}}, false,
                                  quarantine, damage);
  REQUIRE(reader.ok());
  CHECK(AllText(**reader) == Slurp(path + ".decoded"));
  CHECK((*reader)->stats().rows > 0);
}

TEST_CASE_METHOD(ReaderFixture,
                 "batch reader: a damaged block goes to the quarantine once, the others are read") {
  std::vector<TestSeries> series;
  for (int64_t id = 0; id < 10; ++id) series.push_back({id, "h", {id}, {1}});
  const std::string name = maker.Write("Cpu", 1, series, "", 1);
  const std::string bytes = *fs.Contents("segments/" + name);
  // Inside the third frame: every block here is as long as the first.
  const uint64_t frame =
      8 + ((static_cast<uint8_t>(bytes[10]) << 8) | static_cast<uint8_t>(bytes[11]));
  REQUIRE(fs.Overwrite("segments/" + name, 8 + 2 * frame + 12, "XXXX").ok());
  for (int pass = 0; pass < 2; ++pass) {
    auto reader = Open({name});
    uint64_t runs = 0;
    while (*reader->Next() != RunKind::kEnd) ++runs;
    CHECK(runs == 9);
    CHECK(reader->stats().rows == 9);
    CHECK(reader->stats().damaged_ranges == 1);
    CHECK(reader->stats().damaged_bytes == frame);
    CHECK(damage.value() == 1);
  }
  CHECK(quarantine.files() == 1);
  const std::string kept = "quarantine/" + name + "." + std::to_string(8 + 2 * frame);
  CHECK(fs.Contents(kept)->size() == frame);
  CHECK(fs.Contents(kept + ".reason")->find("crc") != std::string::npos);
}

TEST_CASE_METHOD(ReaderFixture, "batch reader: a file that is no segment is damage, not the end") {
  const std::string good = maker.Write("Cpu", 1, {{1, "h", {1}, {1}}});
  const std::string bad = maker.Write("Cpu", 2, {{2, "h", {1}, {1}}});
  REQUIRE(fs.Replace("segments/" + bad, "something else, of whatever length").ok());
  auto reader = Open({good, bad});
  CHECK(*reader->Next() == RunKind::kSeries);
  CHECK(*reader->Next() == RunKind::kEnd);
  CHECK(reader->stats().damaged_ranges == 1);
  CHECK(*fs.Exists("quarantine/" + bad + ".0"));
}

TEST_CASE_METHOD(ReaderFixture,
                 "batch reader: a damaged magic costs no row and goes to quarantine") {
  const std::string bad = maker.Write("Cpu", 2, {{2, "h", {1}, {1}}});
  REQUIRE(fs.Overwrite("segments/" + bad, 0, "BADMAGIC").ok());
  auto reader = Open({bad});
  CHECK(*reader->Next() == RunKind::kSeries);
  CHECK(*reader->Next() == RunKind::kEnd);
  CHECK(reader->stats().damaged_ranges == 1);
  CHECK(*fs.Contents("quarantine/" + bad + ".0") == "BADMAGIC");
}

TEST_CASE_METHOD(ReaderFixture,
                 "batch reader: a full disk for the quarantine is an error of the source") {
  const std::string name = maker.Write("Cpu", 1, {{1, "h", {1}, {1}}, {2, "h", {1}, {1}}}, "", 1);
  auto reader = Open({name});
  REQUIRE(*reader->Next() == RunKind::kSeries);
  REQUIRE(fs.Overwrite("segments/" + name, 20, "XXXX").ok());
  fs.FailAlways(io::FileOperation::kWrite, Error(ErrorCode::kNoSpace, "injected"));
  std::vector<BatchReader::Source> sources{{name, "segments/" + name}};
  const auto failed = BatchReader::Open(fs, sources, true, quarantine, damage);
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.error().code() == ErrorCode::kNoSpace);
}

TEST_CASE_METHOD(ReaderFixture, "batch reader: a missing file is an error") {
  const auto failed =
      BatchReader::Open(fs, {{"no.wal", "segments/no.wal"}}, true, quarantine, damage);
  REQUIRE_FALSE(failed.ok());
  CHECK(failed.error().code() == ErrorCode::kNotFound);
}

TEST_CASE_METHOD(ReaderFixture, "batch reader: stops when it is cancelled") {
  auto reader = Open({maker.Write("Cpu", 1, {{1, "h", {1}, {1}}, {2, "h", {1}, {1}}})});
  std::stop_source stop;
  reader->set_stop(stop.get_token());
  CHECK(*reader->Next() == RunKind::kSeries);
  stop.request_stop();
  const auto kind = reader->Next();
  REQUIRE_FALSE(kind.ok());
  CHECK(kind.error().code() == ErrorCode::kCancelled);
  CHECK(reader->source_error());
}

TEST_CASE_METHOD(ReaderFixture, "batch reader: tells how much of the files it has read") {
  const std::string first = maker.Write("Cpu", 1, {{1, "h", {1}, {1}}, {2, "h", {1}, {1}}}, "", 1);
  const std::string second = maker.Write("Cpu", 2, {{3, "h", {1}, {1}}}, "", 1);
  auto reader = Open({first, second});
  std::atomic<uint64_t> read{0};
  reader->set_progress(read);
  const uint64_t begin = read;  // The first block of each.
  CHECK(begin > 0);
  while (*reader->Next() != RunKind::kEnd) CHECK(read == reader->stats().file_bytes);
  CHECK(read > begin);
  const uint64_t files =
      fs.Contents("segments/" + first)->size() + fs.Contents("segments/" + second)->size();
  CHECK(read < files);  // Heads and summaries are no blocks.
  CHECK(read * 2 > files);
  REQUIRE(reader->Rewind().ok());
  REQUIRE(*reader->Next() == RunKind::kSeries);
  CHECK(read == begin);
}

TEST_CASE_METHOD(ReaderFixture, "batch reader: rewound, it gives the same rows again") {
  const std::string first = maker.Write("Cpu", 1, {{1, "h", {1, 2}, {1, 2}}, {2, "h", {1}, {1}}});
  const std::string second = maker.Write("Cpu", 2, {{1, "h", {3}, {3}}, {3, "h", {1}, {1}}});
  auto reader = Open({first, second});
  const auto read = [&](size_t most) {
    std::vector<std::pair<int64_t, int64_t>> rows;
    while (rows.size() < most && *reader->Next() == RunKind::kSeries) {
      for (const int64_t time : reader->series().timestamps) {
        rows.emplace_back(reader->series().series_id, time);
      }
    }
    return rows;
  };
  const auto all = read(SIZE_MAX);
  REQUIRE(all.size() == 5);
  REQUIRE(reader->Rewind().ok());
  CHECK(reader->stats().rows == 0);
  CHECK(read(3).size() == 3);  // And from the middle.
  REQUIRE(reader->Rewind().ok());
  CHECK(read(SIZE_MAX) == all);
  CHECK(reader->stats().rows == 5);
}

}  // namespace
}  // namespace forebay::upload
