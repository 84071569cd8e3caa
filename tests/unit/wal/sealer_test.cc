// Sealing: order, blocks, text rows, what is synced, and what a failed seal leaves behind.
#include "wal/sealer.h"

#include <catch2/catch.hpp>

#include <map>
#include <random>

#include "io/memory_file_system.h"
#include "support/doc_example.h"
#include "wal/segment_reader.h"

namespace forebay::wal {
namespace {

constexpr uint64_t kId = 0x1234;

struct SeriesRows {
  std::string table;
  int64_t series_id = 0;
  std::string name;
  std::vector<int64_t> timestamps;
  std::vector<uint64_t> values;

  bool operator==(const SeriesRows&) const = default;
};

struct TextBlock {
  uint32_t rows = 0;
  std::string value;
};

// A generation to be sealed into a directory in memory.
class SealerFixture {
 public:
  explicit SealerFixture(uint32_t shards = 1)
      : pool_(10),
        generation_(std::make_shared<Generation>(Generation::Identity{}, shards, pool_, [] {})),
        sealer_(fs, clock_, series_, tables_, "segments") {
    REQUIRE(fs.CreateDirectories("segments").ok());
  }

  table::TableId Table(const std::string& name) {
    const auto id = tables_.Intern("Db", name, table::DefaultMetricsSchema());
    REQUIRE(id.ok());
    return *id;
  }

  table::SeriesRef Series(const std::string& table, int64_t series_id, const std::string& name) {
    const std::vector<table::Label> labels = {{"name", name}};
    table::NewSeries added;
    added.table = Table(table);
    added.series_id = series_id;
    added.labels = labels;
    const auto ref = series_.Add(series_.HashKey(table + "/" + name, 0), added, 1);
    REQUIRE(ref.ok());
    return *ref;
  }

  void Append(table::SeriesRef ref, int64_t timestamp, uint64_t value, uint32_t shard = 0) {
    generation_->Append(shard, {{&ref, 1}, {&timestamp, 1}, {&value, 1}});
  }

  void AppendText(const std::string& table, const std::vector<std::string>& rows,
                  uint32_t shard = 0) {
    std::string text;
    std::vector<uint32_t> ends;
    for (const std::string& row : rows) {
      text += row;
      ends.push_back(static_cast<uint32_t>(text.size()));
    }
    generation_->AppendText(shard, {Table(table), text, ends});
  }

  // No more is appended.
  void Close() {
    generation_->Close();
    contents_ = generation_->Take();
  }

  Result<std::vector<SegmentInfo>> Seal(uint64_t sequence = 1) {
    return sealer_.Seal(kId, sequence, contents_);
  }

  // A new generation, in place of the one that was sealed.
  void Reopen() {
    generation_ = std::make_shared<Generation>(Generation::Identity{}, 1, pool_, [] {});
  }

  // Frees the refs of series last used before `sequence`; the next series get them.
  uint64_t Evict(uint64_t sequence) {
    const uint64_t evicted = series_.EvictIdle(sequence);
    series_.ReleaseUpTo(sequence);
    return evicted;
  }

  // The rows of all series in the order in which they are stored.
  std::vector<SeriesRows> Read(const std::vector<SegmentInfo>& segments) {
    std::vector<SeriesRows> all;
    SeriesBlockDecoder decoder;
    for (const SegmentInfo& segment : segments) {
      for (const auto& [header, value] : Blocks(segment)) {
        if (header.version != kBlockVersionSeries) continue;
        REQUIRE(decoder.Decode(value, header.row_count).ok());
        CHECK(decoder.header_line() == table::DefaultMetricsSchema().header_line());
        for (const auto& found : decoder.series()) {
          const auto timestamps = decoder.timestamps().subspan(found.first_row, found.rows);
          const auto values = decoder.values().subspan(found.first_row, found.rows);
          all.push_back({segment.name.table,
                         found.series_id,
                         std::string(decoder.LabelValue(found, 0)),
                         {timestamps.begin(), timestamps.end()},
                         {values.begin(), values.end()}});
        }
      }
    }
    return all;
  }

  std::vector<TextBlock> ReadText(const SegmentInfo& segment) {
    std::vector<TextBlock> texts;
    for (const auto& [header, value] : Blocks(segment)) {
      if (header.version == kBlockVersionRows) texts.push_back({header.row_count, value});
    }
    return texts;
  }

  std::vector<std::pair<BlockHeader, std::string>> Blocks(const SegmentInfo& segment) {
    auto reader = SegmentReader::Open(fs, "segments/" + segment.file_name);
    REQUIRE(reader.ok());
    std::vector<std::pair<BlockHeader, std::string>> blocks;
    while (true) {
      const auto block = (*reader)->Next();
      REQUIRE(block.ok());
      if (!block->has_value()) break;
      blocks.emplace_back((*block)->header,
                          std::string((*block)->payload.begin(), (*block)->payload.end()));
    }
    CHECK((*reader)->damage().empty());
    return blocks;
  }

  io::MemoryFileSystem fs;

 private:
  static table::SeriesTable::Options Options() {
    table::SeriesTable::Options options;
    options.hash_seed = 3;
    return options;
  }

  ManualClock clock_{UnixMillis{0x0102030405}};
  table::TableRegistry tables_{1000};
  table::SeriesTable series_{Options()};
  ChunkPool pool_;
  std::shared_ptr<Generation> generation_;
  GenerationContents contents_;
  Sealer sealer_;
};

size_t FilesIn(io::MemoryFileSystem& fs) { return fs.List("segments")->size(); }

// One sample in each of `tables` tables.
void AppendTables(SealerFixture& fixture, int tables) {
  for (int i = 0; i < tables; ++i) {
    fixture.Append(fixture.Series("T" + std::to_string(i), i, "s"), i, static_cast<uint64_t>(i));
  }
}

}  // namespace

TEST_CASE("sealer: a segment per table, series by SeriesId, samples in order of arrival") {
  constexpr int kShards = 3;
  SealerFixture fixture(kShards);
  std::mt19937 random(4);
  std::map<std::tuple<std::string, int64_t, std::string>, std::map<uint32_t, SeriesRows>> expected;
  // Several chunks in each shard; some ids belong to two series.
  for (uint64_t i = 0; i < 3 * kShards * kChunkSamples + 100; ++i) {
    const std::string table = "T" + std::to_string(random() % 3);
    const auto number = static_cast<uint32_t>(random() % 40);
    const std::string name = "s" + std::to_string(number);
    const int64_t id = number % 2 == 0 ? -static_cast<int64_t>(number) : number / 4;
    const auto shard = static_cast<uint32_t>(i % kShards);
    const auto timestamp = static_cast<int64_t>(random());
    fixture.Append(fixture.Series(table, id, name), timestamp, i, shard);
    SeriesRows& rows = expected[{table, id, name}][shard];
    rows.timestamps.push_back(timestamp);
    rows.values.push_back(i);
  }
  fixture.Close();
  const auto segments = fixture.Seal();
  REQUIRE(segments.ok());
  REQUIRE(segments->size() == 3);
  const std::vector<SeriesRows> all = fixture.Read(*segments);
  // A series may stand in two blocks; these are put together.
  std::map<std::tuple<std::string, int64_t, std::string>, SeriesRows> found;
  for (size_t i = 0; i < all.size(); ++i) {
    if (i > 0 && all[i].table == all[i - 1].table) CHECK(all[i - 1].series_id <= all[i].series_id);
    SeriesRows& rows = found[{all[i].table, all[i].series_id, all[i].name}];
    rows.timestamps.insert(rows.timestamps.end(), all[i].timestamps.begin(),
                           all[i].timestamps.end());
    rows.values.insert(rows.values.end(), all[i].values.begin(), all[i].values.end());
  }
  REQUIRE(found.size() == expected.size());
  for (const auto& [key, shards] : expected) {
    // Shard after shard, each in its order.
    SeriesRows rows;
    for (const auto& [shard, part] : shards) {
      rows.timestamps.insert(rows.timestamps.end(), part.timestamps.begin(), part.timestamps.end());
      rows.values.insert(rows.values.end(), part.values.begin(), part.values.end());
    }
    REQUIRE(found[key].timestamps == rows.timestamps);
    REQUIRE(found[key].values == rows.values);
  }
}

TEST_CASE(
    "sealer: seal after seal, whatever series come, go and come back, the order is the same") {
  SealerFixture fixture;
  std::mt19937 random(9);
  for (uint64_t sequence = 1; sequence <= 60; ++sequence) {
    std::map<std::tuple<std::string, int64_t, std::string>, SeriesRows> expected;
    const uint64_t share = random() % 3;  // few, many or all of the series
    for (uint32_t i = 0; i < 60; ++i) {
      if (random() % 3 > share) continue;
      // New tables on the way, whose series take the refs of those that went.
      const std::string table = "T" + std::to_string(random() % 3 + sequence / 20);
      const auto number = static_cast<uint32_t>(random() % 30);
      const std::string name = "s" + std::to_string(number);
      const int64_t id = number / 2 * 1'000'003 - 9'000'000;
      fixture.Append(fixture.Series(table, id, name), i, sequence * 1000 + i);
      SeriesRows& rows = expected[{table, id, name}];
      rows = {table, id, name, std::move(rows.timestamps), std::move(rows.values)};
      rows.timestamps.push_back(i);
      rows.values.push_back(sequence * 1000 + i);
    }
    fixture.Close();
    const auto segments = fixture.Seal(sequence);
    REQUIRE(segments.ok());
    const std::vector<SeriesRows> all = fixture.Read(*segments);
    REQUIRE(all.size() == expected.size());
    for (size_t i = 0; i < all.size(); ++i) {
      if (i > 0 && all[i].table == all[i - 1].table) {
        REQUIRE(all[i - 1].series_id <= all[i].series_id);
      }
      REQUIRE(expected[{all[i].table, all[i].series_id, all[i].name}] == all[i]);
    }
    if (sequence % 7 == 0) CHECK(fixture.Evict(sequence + sequence % 2) > 0);
    fixture.Reopen();
  }
}

TEST_CASE("sealer: what is told of a segment is what is in it, and what its summary says") {
  SealerFixture fixture;
  fixture.Append(fixture.Series("A", 1, "x"), 500, 1);
  fixture.Append(fixture.Series("A", 2, "y"), -20, 2);
  fixture.Append(fixture.Series("A", 1, "x"), 100, 3);
  fixture.Close();
  const auto segments = fixture.Seal();
  REQUIRE(segments.ok());
  REQUIRE(segments->size() == 1);
  const SegmentInfo& info = segments->front();
  CHECK(info.file_name == "Db_A_2cawzsrvl4mw4_1234.wal");
  CHECK(info.rows == 3);
  CHECK(info.min_timestamp == -20);
  CHECK(info.max_timestamp == 500);
  CHECK(info.file_bytes == fixture.fs.Contents("segments/" + info.file_name)->size());
  const auto summary = ReadSummary(fixture.fs, "segments/" + info.file_name);
  REQUIRE(summary.ok());
  REQUIRE(summary->has_value());
  CHECK((*summary)->rows == 3);
  CHECK((*summary)->row_bytes == info.row_bytes);
  CHECK((*summary)->blocks == 1);
}

TEST_CASE("sealer: a series of more rows than one entry holds comes back whole and in order") {
  SealerFixture fixture;
  const table::SeriesRef ref = fixture.Series("A", 7, "busy");
  const table::SeriesRef other = fixture.Series("A", 8, "other");
  constexpr uint64_t kRows = 2 * 65'536 + 3;
  for (uint64_t i = 0; i < kRows; ++i) fixture.Append(ref, static_cast<int64_t>(i), i * i);
  fixture.Append(other, 1, 2);
  fixture.Close();
  const auto segments = fixture.Seal();
  REQUIRE(segments.ok());
  const std::vector<SeriesRows> all = fixture.Read(*segments);
  REQUIRE(all.size() == 4);
  uint64_t next = 0;
  for (size_t entry = 0; entry < 3; ++entry) {
    CHECK(all[entry].series_id == 7);
    CHECK(all[entry].values.size() <= 65'536);
    for (const uint64_t value : all[entry].values) {
      REQUIRE(value == next * next);
      ++next;
    }
  }
  CHECK(next == kRows);
  CHECK(all[3].series_id == 8);
  CHECK(segments->front().rows == kRows + 1);
}

TEST_CASE("sealer: large tables become several blocks near the target size") {
  SealerFixture fixture;
  for (int i = 0; i < 300; ++i) {
    fixture.Append(fixture.Series("A", i, std::string(4000, 'v') + std::to_string(i)), i, 1);
  }
  fixture.Close();
  const auto segments = fixture.Seal();
  REQUIRE(segments.ok());
  const auto blocks = fixture.Blocks(segments->front());
  CHECK(blocks.size() == 5);
  for (const auto& [header, value] : blocks) CHECK(value.size() < kTargetBlockBytes + 5000);
  CHECK(fixture.Read(*segments).size() == 300);
}

TEST_CASE("sealer: text rows keep their line feeds and are never cut inside a row") {
  SealerFixture fixture(2);
  const std::string header_line = table::DefaultMetricsSchema().header_line();
  const std::vector<std::string> rows = {"1,\"a\nb\"\n", "2,c\n", "3,\"\n\n\"\n"};
  fixture.AppendText("Text", rows);
  fixture.AppendText("Text", {"4,d\n"}, 1);
  fixture.Close();
  const auto segments = fixture.Seal();
  REQUIRE(segments.ok());
  REQUIRE(segments->size() == 1);
  const auto blocks = fixture.ReadText(segments->front());
  REQUIRE(blocks.size() == 1);
  CHECK(blocks[0].rows == 4);
  CHECK(blocks[0].value == header_line + rows[0] + rows[1] + rows[2] + "4,d\n");
  CHECK(segments->front().rows == 4);
  CHECK(segments->front().row_bytes == blocks[0].value.size() - header_line.size());
}

TEST_CASE("sealer: much text becomes several blocks, each with the header line") {
  SealerFixture fixture;
  const std::string header_line = table::DefaultMetricsSchema().header_line();
  std::string all;
  for (int i = 0; i < 50; ++i) {
    const std::string row = std::to_string(i) + ",\"" + std::string(20'000, '\n') + "\"\n";
    fixture.AppendText("Text", {row});
    all += row;
  }
  fixture.Close();
  const auto segments = fixture.Seal();
  REQUIRE(segments.ok());
  std::string found;
  uint64_t rows = 0;
  const auto blocks = fixture.ReadText(segments->front());
  CHECK(blocks.size() == 4);
  for (const TextBlock& block : blocks) {
    REQUIRE(block.value.starts_with(header_line));
    found += block.value.substr(header_line.size());
    rows += block.rows;
  }
  CHECK(found == all);
  CHECK(rows == 50);
}

TEST_CASE("sealer: samples and text rows of one table share its segment") {
  SealerFixture fixture;
  fixture.Append(fixture.Series("Both", 1, "x"), 10, 11);
  fixture.AppendText("Both", {"row\n"});
  fixture.AppendText("Aaa", {"other\n"});
  fixture.Close();
  const auto segments = fixture.Seal();
  REQUIRE(segments.ok());
  REQUIRE(segments->size() == 2);
  CHECK(FilesIn(fixture.fs) == 2);
  CHECK(fixture.Read(*segments) == std::vector<SeriesRows>{{"Both", 1, "x", {10}, {11}}});
  size_t texts = 0;
  for (const SegmentInfo& segment : *segments) {
    texts += fixture.ReadText(segment).size();
    CHECK(segment.rows == (segment.name.table == "Both" ? 2 : 1));
  }
  CHECK(texts == 2);
}

TEST_CASE("sealer: up to sixteen segments are synced one by one, more by their volume") {
  for (const int tables : {1, 16, 17, 40}) {
    INFO("tables " << tables);
    SealerFixture fixture;
    AppendTables(fixture, tables);
    fixture.Close();
    const auto segments = fixture.Seal();
    REQUIRE(segments.ok());
    CHECK(fixture.fs.OperationCount(io::FileOperation::kSyncData) ==
          static_cast<uint64_t>(tables <= 16 ? tables : 0));
    CHECK(fixture.fs.OperationCount(io::FileOperation::kSyncVolume) == (tables <= 16 ? 0U : 1U));
    CHECK(fixture.fs.OperationCount(io::FileOperation::kSyncDirectory) == 1);
    fixture.fs.Crash({.keep_probability = 0});
    CHECK(fixture.Read(*segments).size() == static_cast<size_t>(tables));
  }
}

TEST_CASE("sealer: a seal that fails anywhere leaves no scrap and can be done again") {
  for (const int tables : {3, 20}) {
    for (const io::FileOperation operation :
         {io::FileOperation::kOpen, io::FileOperation::kWrite, io::FileOperation::kClose,
          io::FileOperation::kSyncData, io::FileOperation::kSyncVolume,
          io::FileOperation::kSyncDirectory}) {
      for (const uint64_t first : {1U, 2U, 3U, 5U}) {
        INFO("tables " << tables << " operation " << static_cast<int>(operation) << " number "
                       << first);
        SealerFixture fixture;
        AppendTables(fixture, tables);
        fixture.AppendText("Text", {"row\n"});
        fixture.Close();
        io::Fault fault;
        fault.operation = operation;
        fault.first = first;
        fault.short_write_bytes = 5;
        fault.error = Error(ErrorCode::kNoSpace, "injected");
        fixture.fs.AddFault(fault);
        const auto failed = fixture.Seal();
        if (!failed.ok()) {
          CHECK(failed.error().code() == ErrorCode::kNoSpace);
          CHECK(FilesIn(fixture.fs) == 0);
        }
        fixture.fs.ClearFaults();
        const auto segments = fixture.Seal();
        REQUIRE(segments.ok());
        CHECK(segments->size() == static_cast<size_t>(tables) + 1);
        CHECK(fixture.Read(*segments).size() == static_cast<size_t>(tables));
      }
    }
  }
}

TEST_CASE("sealer: the example in the format page is what it writes") {
  SealerFixture fixture;
  const table::SeriesRef up = fixture.Series("Up", 0x1122334455667788, "ab");
  fixture.Append(up, 1'700'000'000'000, 0x3ff0'0000'0000'0000);
  fixture.Append(up, 1'700'000'015'000, 0x3ff0'0000'0000'0000);
  fixture.Append(up, 1'700'000'030'001, 0x4000'0000'0000'0000);
  fixture.Close();
  const auto segments = fixture.Seal();
  REQUIRE(segments.ok());
  const std::string bytes = *fixture.fs.Contents("segments/" + segments->front().file_name);
  INFO("written:\n" << testing::HexDump(bytes));
  CHECK(testing::DocExample("A segment of one series") == bytes);
}

}  // namespace forebay::wal
