#include <bit>
#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/time.h"
#include "io/memory_file_system.h"
#include "io/posix_file_system.h"
#include "table/series_table.h"
#include "wal/batch_manifest.h"
#include "wal/journal_writer.h"
#include "wal/peer_segment.h"
#include "wal/request_ledger.h"
#include "wal/segment_name.h"
#include "wal/segment_writer.h"
#include "wal/series_block.h"
#include "walctl/format.h"
#include "walctl/inventory.h"
#include "walctl/quarantine.h"
#include "walctl/rows.h"
#include "walctl/verify.h"

using namespace forebay;
using namespace forebay::walctl;

namespace {

constexpr uint64_t kId = 0x2f24a73200006000;
const std::string kFixtures = std::string(FOREBAY_TEST_DATA) + "/adxmon/";

std::string Path(const std::string& table, uint64_t id) {
  return "data/segments/" + wal::FormatSegmentName({"Metrics", table, "2cawzsrvl4mw4", id}).value();
}

// A segment of two series blocks with `rows` rows each, one series "host"="h,1".
std::string WriteSeriesSegment(io::FileSystem& fs, const std::string& table, uint64_t id,
                               uint32_t rows) {
  table::SeriesTable series(table::SeriesTable::Options{});
  const std::vector<table::Label> labels{{"host", "h,1"}, {"note", "say \"hi\""}};
  table::NewSeries added;
  added.series_id = -42;
  added.labels = labels;
  const table::SeriesRef ref = series.Add(series.HashKey("a", 1), added, 1).value();
  const std::string path = Path(table, id);
  auto file = fs.Open(path, io::OpenMode::kCreate).value();
  wal::SegmentWriter writer;
  writer.Reset(*file, UnixMillis{1'790'000'000'000});
  wal::SeriesBlockEncoder encoder(series);
  for (int block = 0; block < 2; ++block) {
    std::vector<int64_t> times;
    std::vector<uint64_t> values;
    for (uint32_t i = 0; i < rows; ++i) {
      times.push_back(1'790'000'000'000 + block * 1000 + static_cast<int64_t>(i) * 15'000);
      values.push_back(std::bit_cast<uint64_t>(0.5 + i));
    }
    encoder.Reset("Timestamp:datetime,SeriesId:long,Labels:dynamic,Value:real\n");
    encoder.Add(ref, times, values);
    wal::BlockHeader header;
    header.version = wal::kBlockVersionSeries;
    header.type = wal::BlockType::kMetric;
    header.row_count = encoder.rows();
    const wal::BlockStats stats{encoder.row_bytes(), encoder.min_timestamp(),
                                encoder.max_timestamp()};
    REQUIRE(writer.Append(header, stats, encoder.Finish()).ok());
  }
  REQUIRE(writer.Finish().ok());
  return path;
}

// Records with bodies "abc" as a snappy block, or something that is none.
std::string WriteJournal(io::FileSystem& fs, const std::vector<std::string>& bodies) {
  wal::JournalWriter::Options options;
  options.identity = {0x2f24a73200007000, 0xABCD};
  const std::string path = "data/journal/" + wal::JournalFileName(options.identity);
  auto writer = wal::JournalWriter::Create(fs, "data/journal", options).value();
  const std::vector<uint32_t> refused{3};
  for (const std::string& body : bodies) {
    wal::PendingRecord record;
    record.kind = wal::RecordKind::kRemoteWrite2;
    record.received = UnixMillis{1'790'000'000'000};
    record.tenant = "team,a";
    record.refused = refused;
    record.body = body;
    REQUIRE(writer->Append(&record).ok());
  }
  return path;
}

const std::string kBody(
    "\x03\x08"
    "abc",
    5);

std::string Print(io::FileSystem& fs, const std::string& path, RowFormat format) {
  std::string out;
  const auto counts = PrintSegment(fs, path, {format, true}, [&out](std::string_view lines) {
    out += lines;
    return OkStatus();
  });
  REQUIRE(counts.ok());
  return out;
}

void MakeDirectories(io::FileSystem& fs) {
  for (const char* folder : {"segments", "journal", "batches", "quarantine"}) {
    REQUIRE(fs.CreateDirectories(std::string("data/") + folder).ok());
  }
}

std::string ReadFixture(const std::string& name) {
  std::ifstream in(kFixtures + name, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// The rows of a .decoded file with the header line once.
std::string WithOneHeader(const std::string& text) {
  std::istringstream in(text);
  std::string out;
  std::string line;
  while (std::getline(in, line)) {
    if (out.empty() || line.rfind("Timestamp:", 0) != 0) out += line + "\n";
  }
  return out;
}

}  // namespace

TEST_CASE("wal ls: a data directory is listed by kind, with rows, times and tables") {
  io::MemoryFileSystem fs;
  MakeDirectories(fs);
  WriteSeriesSegment(fs, "Cpu", kId, 3);
  WriteSeriesSegment(fs, "Cpu", kId + 1, 5);
  WriteSeriesSegment(fs, "Disk", kId + 2, 1);
  WriteJournal(fs, {kBody});
  wal::BatchManifest manifest;
  manifest.id = wal::BatchId(kId, std::vector<std::string>{"x"});
  manifest.database = "Metrics";
  manifest.table = "Cpu";
  manifest.schema_hash = "2cawzsrvl4mw4";
  manifest.segments.push_back({Path("Cpu", kId).substr(14), 6, 100});
  manifest.sinks.push_back({"file", wal::DeliveryState::kPending, 0, ""});
  REQUIRE(io::WriteFileDurably(fs, "data/batches/" + manifest.id + ".batch",
                               wal::EncodeManifest(manifest))
              .ok());
  REQUIRE(io::WriteFileDurably(fs, "data/quarantine/a.wal", "junk").ok());
  REQUIRE(io::WriteFileDurably(fs, "data/quarantine/a.wal.reason", "bad crc\n").ok());

  const auto entries = ListDirectory(fs, "data");
  REQUIRE(entries.ok());
  REQUIRE(entries->size() == 7);
  CHECK((*entries)[0].kind == FileKind::kSegment);
  CHECK((*entries)[0].table == "Metrics_Cpu_2cawzsrvl4mw4");
  CHECK((*entries)[0].rows == 6);
  CHECK((*entries)[0].first == UnixMillis{1'790'000'000'000});
  CHECK((*entries)[0].last == UnixMillis{1'790'000'031'000});
  CHECK((*entries)[3].kind == FileKind::kJournal);
  CHECK((*entries)[3].created.has_value());
  CHECK((*entries)[4].kind == FileKind::kManifest);
  CHECK((*entries)[4].rows == 6);

  const Totals totals = Summarize(*entries);
  REQUIRE(totals.tables.size() == 2);
  CHECK(totals.tables[0].segments == 2);
  CHECK(totals.tables[0].rows == 16);
  CHECK(totals.all.rows == 18);
  CHECK(totals.journals == 1);
  CHECK(totals.manifests == 1);
  CHECK(totals.quarantined == 1);
  CHECK(totals.unreadable == 0);
  const std::string text = FormatTotals(totals, UnixMillis{1'790'000'000'000});
  CHECK(text.find("Metrics_Disk_2cawzsrvl4mw4") != std::string::npos);
  CHECK(FormatListJson(*entries).find(R"("kind":"segment")") != std::string::npos);
}

TEST_CASE("wal cat: version 2 blocks become the rows that an upload sends, with the header once") {
  io::MemoryFileSystem fs;
  MakeDirectories(fs);
  const std::string path = WriteSeriesSegment(fs, "Cpu", kId, 1);
  CHECK(Print(fs, path, RowFormat::kCsv) ==
        "Timestamp:datetime,SeriesId:long,Labels:dynamic,Value:real\n"
        "2026-09-21T14:13:20Z,-42,\"{\"\"host\"\":\"\"h,1\"\",\"\"note\"\":\"\"say "
        "\\\"\"hi\\\"\"\"\"}\",0.5\n"
        "2026-09-21T14:13:21Z,-42,\"{\"\"host\"\":\"\"h,1\"\",\"\"note\"\":\"\"say "
        "\\\"\"hi\\\"\"\"\"}\",0.5\n");
  CHECK(
      Print(fs, path, RowFormat::kNdjson)
          .find(
              R"({"Timestamp":"2026-09-21T14:13:20Z","SeriesId":-42,"Labels":{"host":"h,1","note":"say \"hi\""},"Value":0.5})"
              "\n") == 0);
}

TEST_CASE("wal cat: adx-mon's segments give the rows that they hold, damaged ones all good rows") {
  io::PosixFileSystem fs;
  for (const char* name : {"Metrics_CpuBest_2cawzsrvl4mw4_2f24a73200006000",
                           "Metrics_CpuBetter_2cawzsrvl4mw4_2f24a73200002000",
                           "Metrics_CpuFast_2cawzsrvl4mw4_2f24a73200004000",
                           "Metrics_CpuSnappy_2cawzsrvl4mw4_2f24a73200008000",
                           "Metrics_DiskBitFlip_2cawzsrvl4mw4_2f24a73200008004",
                           "Metrics_DiskTornTail_2cawzsrvl4mw4_2f24a73200008001",
                           "Metrics_DiskHugeLength_2cawzsrvl4mw4_2f24a73200008005"}) {
    INFO(name);
    const std::string want = ReadFixture(std::string(name) + ".decoded");
    REQUIRE_FALSE(want.empty());
    // Of the damaged ones the file names what must survive at least.
    const std::string rows = Print(fs, kFixtures + name + ".wal", RowFormat::kCsv);
    if (std::string(name).find("Disk") != std::string::npos) {
      CHECK(rows.find(WithOneHeader(want)) == 0);
    } else {
      CHECK(rows == WithOneHeader(want));
    }
  }
}

TEST_CASE("wal cat: a sink that fails ends the reading with its error") {
  io::MemoryFileSystem fs;
  MakeDirectories(fs);
  const std::string path = WriteSeriesSegment(fs, "Cpu", kId, 1);
  const auto counts = PrintSegment(
      fs, path, {}, [](std::string_view) -> Status { return Error(ErrorCode::kNoSpace, "full"); });
  REQUIRE_FALSE(counts.ok());
  CHECK(counts.error().code() == ErrorCode::kNoSpace);
}

TEST_CASE("wal cat: journals are a line per record") {
  io::MemoryFileSystem fs;
  MakeDirectories(fs);
  const std::string path = WriteJournal(fs, {kBody, kBody});
  std::string out;
  const auto counts = PrintJournal(fs, path, true, [&out](std::string_view lines) {
    out += lines;
    return OkStatus();
  });
  REQUIRE(counts.ok());
  CHECK(counts->rows == 2);
  CHECK(out.find("offset,kind,tenant,received,bytes,refused\n"
                 "24,remote-write-2.0,\"team,a\",2026-09-21T14:13:20Z,5,1\n") == 0);
}

TEST_CASE(
    "wal verify: a good segment and journal are ok, a flipped bit and a bad body are found where "
    "they are") {
  io::MemoryFileSystem fs;
  MakeDirectories(fs);
  const std::string good = WriteSeriesSegment(fs, "Cpu", kId, 100);
  const auto clean = VerifyFile(fs, good);
  REQUIRE(clean.ok());
  CHECK_FALSE(clean->damaged());
  CHECK(clean->blocks == 2);
  CHECK(clean->rows == 200);

  const std::string bytes = fs.Contents(good).value();
  std::string flipped(1, static_cast<char>(bytes[30] ^ 1));
  REQUIRE(fs.Overwrite(good, 30, flipped).ok());
  const auto damaged = VerifyFile(fs, good);
  REQUIRE(damaged.ok());
  REQUIRE(damaged->damage.size() == 1);
  CHECK(damaged->damage[0].offset == 8);
  CHECK(damaged->damage[0].reason == "bad crc");
  CHECK(damaged->rows == 100);
  CHECK(FormatVerify(*damaged).find("DAMAGED") == 0);
  CHECK(FormatVerifyJson({*damaged}).find(R"("damaged":true)") != std::string::npos);

  const std::string journal = WriteJournal(fs, {kBody, "\xff\xff", kBody});
  const auto bodies = VerifyFile(fs, journal);
  REQUIRE(bodies.ok());
  CHECK(bodies->kind == FileKind::kJournal);
  CHECK(bodies->blocks == 2);
  REQUIRE(bodies->damage.size() == 1);
  CHECK(bodies->damage[0].reason.find("record's body") == 0);
}

TEST_CASE("wal verify: a peer's segment in a journal is looked through like one in a file") {
  io::MemoryFileSystem fs;
  MakeDirectories(fs);
  const std::string path = WriteSeriesSegment(fs, "Cpu", kId, 100);
  wal::PeerSegment segment;
  segment.origin = "node-1";
  segment.name = wal::ParseSegmentName(io::BaseName(path)).value();
  segment.bytes = fs.Contents(path).value();
  wal::JournalWriter::Options options;
  options.identity = {0x2f24a73200007000, 0xABCD};
  auto writer = wal::JournalWriter::Create(fs, "data/journal", options).value();
  const std::string description = wal::DescribePeerSegment(segment);
  std::string damaged = segment.bytes;
  damaged[30] = static_cast<char>(damaged[30] ^ 1);
  for (const std::string& body : {segment.bytes, damaged}) {
    wal::PendingRecord record;
    record.kind = wal::RecordKind::kPeerSegment;
    record.tenant = description;
    record.body = body;
    REQUIRE(writer->Append(&record).ok());
  }
  const auto report = VerifyFile(fs, "data/journal/" + wal::JournalFileName(options.identity));
  REQUIRE(report.ok());
  CHECK(report->blocks == 1);
  CHECK(report->rows == 200);
  REQUIRE(report->damage.size() == 1);
  CHECK(report->damage[0].reason.find("record's body: block 0: bad crc") == 0);
}

TEST_CASE("wal verify: the unfinished last record of a journal is a note, not damage") {
  io::MemoryFileSystem fs;
  MakeDirectories(fs);
  const std::string whole = fs.Contents(WriteJournal(fs, {kBody, kBody})).value();
  REQUIRE(fs.CreateDirectories("torn/journal").ok());
  const std::string torn = whole.substr(0, whole.size() - wal::kJournalEndBytes - 3);
  REQUIRE(io::WriteFileDurably(fs, "torn/journal/1.log", torn).ok());
  const auto report = VerifyFile(fs, "torn/journal/1.log");
  REQUIRE(report.ok());
  CHECK_FALSE(report->damaged());
  CHECK(report->blocks == 1);
  CHECK(report->notes.size() == 1);
}

TEST_CASE(
    "wal verify: what only bears the name of a segment or manifest is damaged, a vanished file is "
    "not there") {
  io::MemoryFileSystem fs;
  MakeDirectories(fs);
  REQUIRE(io::WriteFileDurably(fs, Path("Cpu", kId), "not a segment").ok());
  REQUIRE(io::WriteFileDurably(fs, "data/batches/1.batch", "rubbish").ok());
  CHECK(VerifyFile(fs, Path("Cpu", kId)).value().damaged());
  CHECK(VerifyFile(fs, "data/batches/1.batch").value().damaged());
  CHECK(VerifyFile(fs, Path("Cpu", kId + 9)).error().code() == ErrorCode::kNotFound);
  const auto entries = ListDirectory(fs, "data");
  REQUIRE(entries.ok());
  CHECK(Summarize(*entries).unreadable == 2);
}

TEST_CASE("wal ls: files that vanish while the directory is read are left out") {
  io::MemoryFileSystem fs;
  MakeDirectories(fs);
  WriteSeriesSegment(fs, "Cpu", kId, 1);
  WriteSeriesSegment(fs, "Disk", kId + 1, 1);
  io::Fault gone;
  gone.operation = io::FileOperation::kOpen;
  gone.path_contains = "Metrics_Cpu_";
  gone.count = io::Fault::kForever;
  gone.error = Error(ErrorCode::kNotFound, "gone");
  fs.AddFault(gone);
  const auto entries = ListDirectory(fs, "data");
  REQUIRE(entries.ok());
  REQUIRE(entries->size() == 1);
  CHECK((*entries)[0].table == "Metrics_Disk_2cawzsrvl4mw4");
}

TEST_CASE(
    "wal export: the segments of a table are found with and without the schema hash, oldest "
    "first") {
  io::MemoryFileSystem fs;
  MakeDirectories(fs);
  WriteSeriesSegment(fs, "Cpu", kId + 0x10, 1);
  WriteSeriesSegment(fs, "Cpu", kId, 1);
  WriteSeriesSegment(fs, "CpuTotal", kId + 1, 1);
  const std::vector<std::string> want{Path("Cpu", kId), Path("Cpu", kId + 0x10)};
  CHECK(FindSegments(fs, "data", "Metrics_Cpu").value() == want);
  CHECK(FindSegments(fs, "data", "Metrics_Cpu_2cawzsrvl4mw4").value() == want);
  CHECK(FindSegments(fs, "data", "Metrics_Nothing").error().code() == ErrorCode::kNotFound);
  REQUIRE(io::WriteFileDurably(fs, "data/segments/Metrics_Cpu_other_1.wal", "ADXWAL").ok());
  CHECK(FindSegments(fs, "data", "Metrics_Cpu").error().code() == ErrorCode::kInvalidArgument);
  CHECK(FindSegments(fs, "data", "Metrics_Cpu_2cawzsrvl4mw4").value() == want);
}

TEST_CASE("wal ls: the ledger and dead letters are listed, and dead letters are no segments") {
  io::MemoryFileSystem fs;
  MakeDirectories(fs);
  REQUIRE(fs.CreateDirectories("data/ledger").ok());
  REQUIRE(fs.CreateDirectories("data/dlq/batch").ok());
  REQUIRE(io::WriteFileDurably(fs, "data/ledger/1f.ids", wal::kLedgerMagic).ok());
  WriteSeriesSegment(fs, "Cpu", kId, 3);
  const std::string letter = "data/dlq/batch/" + Path("Cpu", kId).substr(14);
  REQUIRE(fs.Rename(Path("Cpu", kId), letter).ok());
  WriteSeriesSegment(fs, "Cpu", kId + 1, 1);
  const auto entries = ListDirectory(fs, "data");
  REQUIRE(entries.ok());
  REQUIRE(entries->size() == 3);
  CHECK((*entries)[1].kind == FileKind::kLedger);
  CHECK((*entries)[2].kind == FileKind::kDeadLetter);
  CHECK((*entries)[2].path == letter);
  CHECK((*entries)[2].rows.value_or(0) > 0);
  CHECK((*entries)[2].problem.empty());
  const Totals totals = Summarize(*entries);
  CHECK(totals.all.segments == 1);
  CHECK(totals.ledgers == 1);
  CHECK(totals.dead_letters == 1);
  CHECK(FindSegments(fs, "data", "Metrics_Cpu").value() ==
        std::vector<std::string>{Path("Cpu", kId + 1)});
}

TEST_CASE("wal quarantine: items are listed with reasons and ages, copied, and dropped") {
  io::MemoryFileSystem fs;
  MakeDirectories(fs);
  for (const char* name : {"b", "a", "c"}) {
    const std::string path = std::string("data/quarantine/") + name;
    REQUIRE(io::WriteFileDurably(fs, path, "junk").ok());
    REQUIRE(io::WriteFileDurably(fs, path + ".reason", "bad \"crc\"\n").ok());
  }
  REQUIRE(fs.Remove("data/quarantine/c.reason").ok());
  // A file that was moved here has an old time; the reason's is when it came.
  const auto modified = [](const std::string& path) -> std::optional<UnixMillis> {
    if (path == "data/quarantine/c") return std::nullopt;
    return UnixMillis{path == "data/quarantine/a.reason" ? 1000 : 5000};
  };
  const auto items = ListQuarantine(fs, "data", modified);
  REQUIRE(items.ok());
  REQUIRE(items->size() == 3);
  CHECK((*items)[0].name == "a");
  CHECK((*items)[0].bytes == 4);
  CHECK((*items)[0].reason == "bad \"crc\"");
  CHECK((*items)[0].since == UnixMillis{1000});
  CHECK((*items)[2].reason.empty());
  CHECK(FormatQuarantineJson({(*items)[0]}) ==
        R"([{"name":"a","path":"data/quarantine/a","bytes":4,)"
        R"("since":"1970-01-01T00:00:01Z","reason":"bad \"crc\""}])"
        "\n");
  CHECK(ListQuarantine(fs, "nowhere", modified).error().code() == ErrorCode::kNotFound);

  CHECK(SelectItems(*items, {}).error().code() == ErrorCode::kInvalidArgument);
  QuarantineSelection unknown;
  unknown.names = {"a", "z"};
  CHECK(SelectItems(*items, unknown).error().code() == ErrorCode::kNotFound);
  QuarantineSelection old;
  old.before = UnixMillis{5000};
  const auto selected = SelectItems(*items, old);
  REQUIRE(selected.ok());
  REQUIRE(selected->size() == 1);
  CHECK((*selected)[0].name == "a");

  REQUIRE(fs.CreateDirectories("copies").ok());
  CHECK(ExportItem(fs, (*items)[0], "copies").ok());
  CHECK(*fs.Contents("copies/a") == "junk");
  CHECK(*fs.Contents("copies/a.reason") == "bad \"crc\"\n");
  CHECK(ExportItem(fs, (*items)[0], "copies").error().code() == ErrorCode::kAlreadyExists);
  CHECK(*fs.Contents("copies/a") == "junk");
  fs.FailNth(io::FileOperation::kSyncData, 1, Error(ErrorCode::kNoSpace, "full"));
  CHECK_FALSE(ExportItem(fs, (*items)[1], "copies").ok());
  CHECK_FALSE(*fs.Exists("copies/b"));

  CHECK(DropItem(fs, (*items)[0]).ok());
  CHECK(DropItem(fs, (*items)[0]).ok());
  CHECK_FALSE(*fs.Exists("data/quarantine/a"));
  CHECK_FALSE(*fs.Exists("data/quarantine/a.reason"));
  CHECK(ListQuarantine(fs, "data", modified)->size() == 2);
}

TEST_CASE("csv record: quotes, commas, line breaks and doubled quotes are taken as RFC 4180 says") {
  std::vector<std::string> fields;
  const std::string text = "a,\"b,\"\"c\"\"\nd\",,e\r\nnext\n";
  const size_t used = SplitCsvRecord(text, fields);
  CHECK(fields == std::vector<std::string>{"a", "b,\"c\"\nd", "", "e"});
  CHECK(text.substr(used) == "next\n");
  CHECK(SplitCsvRecord("\"open", fields) == 5);
  CHECK(fields == std::vector<std::string>{"open"});
}

TEST_CASE("human sizes and ages: units change where the number would have five digits") {
  CHECK(HumanBytes(1023) == "1023 B");
  CHECK(HumanBytes(1024) == "1.0 KiB");
  CHECK(HumanBytes((1U << 20) - 1) == "1.0 MiB");
  CHECK(HumanBytes(5ULL << 30) == "5.0 GiB");
  CHECK(HumanAge(UnixMillis{0}, UnixMillis{119'000}) == "119s");
  CHECK(HumanAge(UnixMillis{0}, UnixMillis{120'000}) == "2m");
  CHECK(HumanAge(UnixMillis{5000}, UnixMillis{0}) == "0s");
}
