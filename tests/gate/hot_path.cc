// A sample's way on one thread over a fixed input, for counting instructions: no clock, no random
// number, no disk. Each phase is one call of a function whose name begins with gate_, by which
// callgrind tells them apart (instructions.py). What each phase was about is printed as
// "<phase> <items> <what an item is>"; a wrong result ends the program.
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include "bench/pipeline.h"
#include "upload/clickhouse/native_block.h"
#include "upload/csv_renderer.h"
#include "upload/gzip.h"
#include "wal/journal_writer.h"

#define FOREBAY_GATE_PHASE extern "C" __attribute__((noinline, used))

namespace {

using namespace forebay;         // NOLINT
using namespace forebay::bench;  // NOLINT

constexpr uint64_t kRounds = 8;
constexpr size_t kGroupCommit = 8;
constexpr size_t kRowBytes = 512;  // of CSV, at most

PayloadOptions OptionsOf(loadgen::Protocol protocol) {
  return {.protocol = protocol, .series = 10'000, .tables = 20, .series_per_request = 2000};
}

struct Path {
  Payload payload_1{OptionsOf(loadgen::Protocol::kRemoteWrite1)};
  Payload payload_2{OptionsOf(loadgen::Protocol::kRemoteWrite2)};
  std::vector<std::string> bodies_1 = payload_1.Bodies(0);
  std::vector<std::string> bodies_2 = payload_2.Bodies(0);
  Pipeline pipeline;
  std::vector<receive::StagedWrite> staged{bodies_1.size()};
  std::unique_ptr<wal::Generation> generation;
  std::unique_ptr<wal::JournalWriter> journal;
  std::vector<wal::PendingRecord> records{bodies_1.size()};
  wal::Sealer sealer = pipeline.NewSealer();
  std::vector<std::vector<wal::SegmentInfo>> batches;  // by table
  uint64_t last_seal = 0;
  std::string text;
  ByteBuffer blocks;
};

uint64_t SamplesOf(const std::vector<receive::StagedWrite>& staged) {
  uint64_t samples = 0;
  for (const receive::StagedWrite& write : staged) samples += write.refs.size();
  return samples;
}

using Contents = std::vector<wal::GenerationContents>;

// Seals the generations; their segments are the batches then. Returns rows.
uint64_t Seal(Path& path, const Contents& contents) {
  uint64_t rows = 0;
  path.batches.assign(path.payload_1.options().tables, {});
  for (const wal::GenerationContents& generation : contents) {
    const auto segments = Must(path.sealer.Seal(++path.last_seal, 1, generation));
    Expect(segments.size() == path.batches.size(), "a table is missing");
    for (size_t i = 0; i < segments.size(); ++i) {
      rows += segments[i].rows;
      path.batches[i].push_back(segments[i]);
    }
  }
  return rows;
}

// Replaces path.text by all batches as CSV. Returns rows.
uint64_t Render(Path& path) {
  upload::CsvRenderer renderer;
  uint64_t rows = 0;
  path.text.clear();
  for (const auto& batch : path.batches) {
    const auto reader = path.pipeline.OpenBatch(batch);
    const auto take = [&path](std::string_view piece) {
      path.text += piece;
      return OkStatus();
    };
    rows += Must(renderer.Render(*reader, 0, take)).rows;
  }
  return rows;
}

}  // namespace

FOREBAY_GATE_PHASE void gate_new_series(Path* path) {
  for (size_t i = 0; i < path->bodies_1.size(); ++i) {
    path->pipeline.Decode(wal::RecordKind::kRemoteWrite1, path->bodies_1[i], path->staged[i]);
  }
}

FOREBAY_GATE_PHASE void gate_decode_1(Path* path) {
  for (size_t i = 0; i < path->bodies_1.size(); ++i) {
    path->pipeline.Decode(wal::RecordKind::kRemoteWrite1, path->bodies_1[i], path->staged[i]);
  }
}

FOREBAY_GATE_PHASE void gate_decode_2(Path* path) {
  for (size_t i = 0; i < path->bodies_2.size(); ++i) {
    path->pipeline.Decode(wal::RecordKind::kRemoteWrite2, path->bodies_2[i], path->staged[i]);
  }
}

FOREBAY_GATE_PHASE void gate_journal(Path* path) {
  for (size_t begin = 0; begin < path->records.size(); begin += kGroupCommit) {
    MustOk(path->journal->Append(&path->records[begin]));
  }
}

FOREBAY_GATE_PHASE void gate_append(Path* path) {
  for (const receive::StagedWrite& staged : path->staged) {
    path->generation->Append(0, staged.sample_columns());
  }
}

FOREBAY_GATE_PHASE uint64_t gate_seal(Path* path, const Contents* contents) {
  return Seal(*path, *contents);
}

// One sample of each series in a generation: what is done once a series counts most.
FOREBAY_GATE_PHASE uint64_t gate_seal_single(Path* path, const Contents* contents) {
  return Seal(*path, *contents);
}

FOREBAY_GATE_PHASE uint64_t gate_render(Path* path) { return Render(*path); }

// Of batches of several such generations.
FOREBAY_GATE_PHASE uint64_t gate_render_single(Path* path) { return Render(*path); }

FOREBAY_GATE_PHASE uint64_t gate_gzip(Path* path) {
  upload::GzipWriter gzip(config::FileSink{}.compression_level,
                          [](std::string_view) { return OkStatus(); });
  for (size_t at = 0; at < path->text.size(); at += upload::kRenderChunkBytes) {
    MustOk(gzip.Write(std::string_view(path->text).substr(at, upload::kRenderChunkBytes)));
  }
  MustOk(gzip.Finish());
  return gzip.bytes_in();
}

FOREBAY_GATE_PHASE uint64_t gate_native(Path* path) {
  const config::ClickHouseSink config;
  const table::Schema schema = table::DefaultMetricsSchema();
  const upload::TableLayout layout{config, {23, 8}, "Metrics", "Metric", {}};
  const auto columns = Must(layout.Match(schema, layout.Columns(schema)));
  upload::RowChunk chunk(schema);
  uint64_t rows = 0;
  for (const auto& batch : path->batches) {
    const auto reader = path->pipeline.OpenBatch(batch);
    chunk.Clear();
    while (Must(reader->Next()) == upload::RunKind::kSeries) {
      const upload::SeriesRun& run = reader->series();
      chunk.AppendSeries(run, 0, run.values.size(), static_cast<uint32_t>(chunk.rows()));
    }
    std::vector<uint32_t> picked(chunk.rows());
    std::iota(picked.begin(), picked.end(), 0U);
    path->blocks.clear();
    upload::BlockCompressor compressor(upload::BlockMethod::kLz4, path->blocks);
    upload::WriteNativeBlock(chunk, picked, columns, {1, "Metric"}, compressor);
    MustOk(compressor.Finish());
    rows += picked.size();
  }
  return rows;
}

FOREBAY_GATE_PHASE uint64_t gate_verify(std::vector<wal::PeerSegment>* segments) {
  uint64_t rows = 0;
  for (wal::PeerSegment& segment : *segments) {
    Expect(!wal::CheckBlocks(segment), "a block is bad");
    rows += segment.rows;
  }
  return rows;
}

namespace {

void BeginJournal(Path& path) {
  wal::JournalWriter::Options options;
  options.identity = {1, 2};
  options.durable = false;
  path.journal =
      Must(wal::JournalWriter::Create(path.pipeline.fs, path.pipeline.directory.path(), options));
  for (size_t i = 0; i < path.records.size(); ++i) {
    path.records[i].kind = wal::RecordKind::kRemoteWrite1;
    path.records[i].body = path.bodies_1[i];
    const bool ends_group = (i + 1) % kGroupCommit == 0 || i + 1 == path.records.size();
    path.records[i].next = ends_group ? nullptr : &path.records[i + 1];
  }
}

std::vector<wal::PeerSegment> PeerSegments(Path& path) {
  std::vector<wal::PeerSegment> segments;
  for (const auto& batch : path.batches) {
    const wal::SegmentInfo& info = batch.front();
    wal::PeerSegment& segment = segments.emplace_back();
    segment.name = info.name;
    segment.bytes = Must(
        io::ReadFile(path.pipeline.fs,
                     io::JoinPath(path.pipeline.segments_directory(), info.file_name), 1U << 30));
  }
  return segments;
}

// expected: what `items` must be.
void Report(const char* phase, uint64_t items, uint64_t expected, const char* unit = "sample") {
  Expect(items == expected, phase);
  std::printf("%s %llu %s\n", phase, static_cast<unsigned long long>(items), unit);
}

void RunSealed(Path& path, const Contents& whole, const Contents& single) {
  const uint64_t samples = kRounds * path.payload_1.options().series;
  (void)Seal(path, whole);  // what a sealer knows of the generation before is there
  Report("seal", gate_seal(&path, &whole), samples);
  Report("render", gate_render(&path), samples);
  Expect(gate_gzip(&path) == path.text.size(), "gzip");
  Report("gzip", samples, samples);
  Report("native", gate_native(&path), samples);
  auto segments = PeerSegments(path);
  Report("verify", gate_verify(&segments), samples);
  Report("seal_single", gate_seal_single(&path, &single), samples);
  const size_t text_bytes = path.text.size();
  Report("render_single", gate_render_single(&path), samples);
  Expect(path.text.size() == text_bytes, "the same rows are other text");
}

void Run() {
  Path path;
  const uint64_t series = path.payload_1.options().series;
  gate_new_series(&path);
  Report("new_series", path.pipeline.series.size(), series, "series");
  // The second time all memory is there.
  for (int i = 0; i < 2; ++i) {
    for (size_t request = 0; request < path.bodies_2.size(); ++request) {
      path.pipeline.Decode(wal::RecordKind::kRemoteWrite2, path.bodies_2[request],
                           path.staged[request]);
    }
  }
  gate_decode_2(&path);
  Report("decode_2", SamplesOf(path.staged), series);
  gate_decode_1(&path);
  Report("decode_1", SamplesOf(path.staged), series);
  BeginJournal(path);
  MustOk(path.journal->Append(&path.records.front()));
  const uint64_t before = path.journal->bytes();
  gate_journal(&path);
  Expect(path.journal->bytes() > before + TotalBytes(path.bodies_1), "the journal is short");
  Report("journal", path.records.size(), path.bodies_1.size(), "request");
  path.generation = path.pipeline.NewGeneration();
  for (const receive::StagedWrite& staged : path.staged) {
    path.generation->Append(0, staged.sample_columns());
  }
  path.generation->Discard();  // its chunks are there for the next
  gate_append(&path);
  Report("append", path.generation->samples(), series);
  path.generation->Close();
  (void)path.generation->Take();

  Contents whole;
  whole.push_back(path.pipeline.Fill(path.payload_1, 0, kRounds));
  Contents single;
  for (uint64_t round = 0; round < kRounds; ++round) {
    single.push_back(path.pipeline.Fill(path.payload_1, round, 1));
  }
  path.text.reserve(kRowBytes * kRounds * series);
  RunSealed(path, whole, single);
}

}  // namespace

int main() {
  Run();
  return 0;
}
