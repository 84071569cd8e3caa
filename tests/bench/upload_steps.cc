// From sealed segments to what sinks are sent: reading and merging a batch, CSV rows, gzip, columns
// for ClickHouse. A batch is one table's segments: 4000 rows of 500 series.
#include <isa-l/igzip_lib.h>
#include <lz4.h>

#include <charconv>
#include <cstring>
#include <memory>
#include <numeric>

#include "bench/floors.h"
#include "bench/sealed.h"
#include "bench/steps.h"
#include "table/json_text.h"
#include "upload/clickhouse/native_block.h"
#include "upload/csv_renderer.h"
#include "upload/gzip.h"

namespace forebay::bench {
namespace {

constexpr size_t kGzipTables = 20;  // their text is 30 MB
constexpr size_t kMaxNumberChars = 32;

// The rows of all batches in their order, and their bytes as CSV.
struct FlatRows {
  std::vector<int64_t> timestamps;
  std::vector<uint64_t> values;
  std::vector<uint32_t> run_rows;
  std::vector<size_t> run_texts;  // where in `texts` a run's text begins
  std::string texts;              // what rows of a series have in common; a series' once
  std::vector<size_t> text_ends;  // by run
  std::string numbers;
  std::vector<uint8_t> number_chars;  // of each row

  void Add(const upload::SeriesRun& run) {
    ByteBuffer text;
    table::AppendLabelsJsonCsv(run.labels, text);
    const std::string fixed =
        "," + std::to_string(run.series_id) + "," + std::string(text.view()) + ",\n";
    if (run_texts.empty() || std::string_view(texts).substr(run_texts.back()) != fixed) {
      run_texts.push_back(texts.size());
      texts += fixed;
    } else {
      run_texts.push_back(run_texts.back());
    }
    text_ends.push_back(texts.size());
    run_rows.push_back(static_cast<uint32_t>(run.values.size()));
    timestamps.insert(timestamps.end(), run.timestamps.begin(), run.timestamps.end());
    values.insert(values.end(), run.values.begin(), run.values.end());
    for (const uint64_t value : run.values) {
      char number[kMaxNumberChars];
      const char* end =
          std::to_chars(number, number + sizeof number, std::bit_cast<double>(value)).ptr;
      numbers.append(number, static_cast<size_t>(end - number));
      number_chars.push_back(static_cast<uint8_t>(end - number));
    }
  }
};

const FlatRows& RowsOf(uint64_t samples_per_generation) {
  static FlatRows whole;
  static FlatRows single;
  FlatRows& rows = samples_per_generation == kRounds ? whole : single;
  if (!rows.values.empty()) return rows;
  const auto& sealed = SealedOf(samples_per_generation);
  for (const auto& batch : sealed->batches) {
    const auto reader = sealed->pipeline.OpenBatch(batch);
    while (Must(reader->Next()) == upload::RunKind::kSeries) rows.Add(reader->series());
  }
  Expect(rows.values.size() == sealed->rows, "rows are missing");
  rows.numbers.append(kMaxNumberChars, ' ');  // the last is copied as a whole, too
  return rows;
}

// Reads the files as little as can be, and copies times and values.
bool ReadFlat(Sealed& sealed, const FlatRows& rows, FlatColumns& columns) {
  const bool read = sealed.ReadFlat();
  std::memcpy(columns.timestamps.data(), rows.timestamps.data(), sealed.rows * sizeof(int64_t));
  std::memcpy(columns.values.data(), rows.values.data(), sealed.rows * sizeof(uint64_t));
  return read;
}

Step ReadBatches(uint64_t samples_per_generation) {
  const auto sealed = SealedOf(samples_per_generation);
  const auto& flat = RowsOf(samples_per_generation);
  const auto columns = std::make_shared<FlatColumns>(sealed->rows);
  Step step;
  step.items = sealed->rows;
  step.bytes = sealed->file_bytes;
  step.product.run = [sealed] {
    uint64_t rows = 0;
    for (const auto& batch : sealed->batches) {
      const auto reader = sealed->pipeline.OpenBatch(batch);
      while (true) {
        const auto kind = reader->Next();
        if (!kind.ok()) return false;
        if (*kind == upload::RunKind::kEnd) break;
        rows += reader->series().values.size();
      }
    }
    return rows == sealed->rows;
  };
  step.floor.run = [sealed, &flat, columns] { return ReadFlat(*sealed, flat, *columns); };
  return step;
}

// Every row is a copy of its time, of what its series' rows have in common, and of its number.
uint64_t RenderFlat(const FlatRows& rows, std::vector<char>& out) {
  static constexpr std::string_view kTime = "2025-11-01T12:26:40.123Z";
  uint64_t bytes = 0;
  size_t row = 0;
  const char* number = rows.numbers.data();
  for (size_t run = 0; run < rows.run_rows.size(); ++run) {
    const char* const text = rows.texts.data() + rows.run_texts[run];
    const size_t text_bytes = rows.text_ends[run] - rows.run_texts[run];
    char* to = out.data();
    for (const size_t end = row + rows.run_rows[run]; row < end; ++row) {
      std::memcpy(to, kTime.data(), kTime.size());
      to += kTime.size();
      std::memcpy(to, text, text_bytes);
      to += text_bytes;
      std::memcpy(to, number, kMaxNumberChars);
      to += rows.number_chars[row];
      number += rows.number_chars[row];
    }
    bytes += static_cast<uint64_t>(to - out.data());
  }
  return bytes;
}

Step Render(uint64_t samples_per_generation) {
  const auto sealed = SealedOf(samples_per_generation);
  const auto& flat = RowsOf(samples_per_generation);
  const auto columns = std::make_shared<FlatColumns>(sealed->rows);
  const auto renderer = std::make_shared<upload::CsvRenderer>();
  const auto out = std::make_shared<std::vector<char>>(ResidentBuffer(1U << 20));
  Step step;
  step.items = sealed->rows;
  const auto render = [sealed, renderer]() -> std::pair<uint64_t, uint64_t> {
    uint64_t rows = 0;
    uint64_t bytes = 0;
    for (const auto& batch : sealed->batches) {
      const auto reader = sealed->pipeline.OpenBatch(batch);
      const auto stats = renderer->Render(*reader, 0, [](std::string_view) { return OkStatus(); });
      if (!stats.ok()) return {};
      rows += stats->rows;
      bytes += stats->bytes;
    }
    return {rows, bytes};
  };
  step.bytes = render().second;
  step.product.run = [sealed, render, bytes = step.bytes] {
    return render() == std::pair(sealed->rows, bytes);
  };
  step.floor.run = [sealed, &flat, columns, out, bytes = step.bytes] {
    return ReadFlat(*sealed, flat, *columns) && RenderFlat(flat, *out) == bytes;
  };
  return step;
}

// igzip alone: one call for a text.
uint64_t GzipFlat(const std::string& text, int level, std::vector<uint8_t>& level_buffer,
                  std::vector<char>& out) {
  isal_zstream stream;
  isal_deflate_init(&stream);
  stream.level = static_cast<uint32_t>(level);
  stream.level_buf = level_buffer.data();
  stream.level_buf_size = static_cast<uint32_t>(level_buffer.size());
  stream.gzip_flag = IGZIP_GZIP;
  stream.end_of_stream = 1;
  stream.next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uint32_t>(text.size());
  stream.next_out = reinterpret_cast<uint8_t*>(out.data());
  stream.avail_out = static_cast<uint32_t>(out.size());
  if (isal_deflate(&stream) != COMP_OK || stream.avail_in != 0) return 0;
  return stream.total_out;
}

Step Gzip() {
  const auto sealed = SealedOf(kRounds);
  struct State {
    const int level = config::FileSink{}.compression_level;
    std::vector<std::string> texts;  // of tables
    uint64_t rows = 0;
    std::vector<uint8_t> level_buffer = std::vector<uint8_t>(ISAL_DEF_LVL3_DEFAULT);
    std::vector<char> out = ResidentBuffer(8U << 20);
  };
  const auto state = std::make_shared<State>();
  upload::CsvRenderer renderer;
  for (size_t i = 0; i < kGzipTables; ++i) {
    std::string& text = state->texts.emplace_back();
    const auto reader = sealed->pipeline.OpenBatch(sealed->batches[i]);
    const auto stats = Must(renderer.Render(*reader, 0, [&](std::string_view piece) {
      text += piece;
      return OkStatus();
    }));
    state->rows += stats.rows;
  }
  Step step;
  step.items = state->rows;
  step.bytes = TotalBytes(state->texts);
  // Both make about as much of it; less would be another level.
  uint64_t flat_bytes = 0;
  for (const std::string& text : state->texts) {
    flat_bytes += GzipFlat(text, state->level, state->level_buffer, state->out);
  }
  step.product.run = [state, flat_bytes] {
    uint64_t bytes_out = 0;
    for (const std::string& text : state->texts) {
      upload::GzipWriter writer(state->level, [](std::string_view) { return OkStatus(); });
      for (size_t at = 0; at < text.size(); at += upload::kRenderChunkBytes) {
        const auto piece = std::string_view(text).substr(at, upload::kRenderChunkBytes);
        if (!writer.Write(piece).ok()) return false;
      }
      if (!writer.Finish().ok() || writer.bytes_in() != text.size()) return false;
      bytes_out += writer.bytes_out();
    }
    return bytes_out > flat_bytes / 2 && bytes_out < flat_bytes * 2;
  };
  step.floor.run = [state, flat_bytes] {
    uint64_t bytes = 0;
    for (const std::string& text : state->texts) {
      bytes += GzipFlat(text, state->level, state->level_buffer, state->out);
    }
    return bytes == flat_bytes;
  };
  return step;
}

// Batches as blocks of the Native format.
struct Native {
  explicit Native(uint64_t samples_per_generation)
      : sealed(SealedOf(samples_per_generation)),
        schema(table::DefaultMetricsSchema()),
        chunk(schema) {
    const upload::TableLayout layout{config, {23, 8}, "Metrics", "Metric", {}};
    columns = Must(layout.Match(schema, layout.Columns(schema)));
  }
  // The batch's rows as one insert. Returns plain bytes, 0 when something is wrong.
  uint64_t Write(const std::vector<wal::SegmentInfo>& batch, upload::BlockMethod method) {
    const auto reader = sealed->pipeline.OpenBatch(batch);
    chunk.Clear();
    while (true) {
      const auto kind = reader->Next();
      if (!kind.ok() || *kind == upload::RunKind::kText) return 0;
      if (*kind == upload::RunKind::kEnd) break;
      const upload::SeriesRun& run = reader->series();
      chunk.AppendSeries(run, 0, run.values.size(), static_cast<uint32_t>(chunk.rows()));
    }
    rows.resize(chunk.rows());
    std::iota(rows.begin(), rows.end(), 0U);
    out.clear();
    upload::BlockCompressor compressor(method, out);
    upload::WriteNativeBlock(chunk, rows, columns, {1, "Metric"}, compressor);
    return compressor.Finish().ok() ? compressor.bytes_in() : 0;
  }

  const std::shared_ptr<Sealed> sealed;
  const config::ClickHouseSink config;
  const table::Schema schema;
  upload::RowChunk chunk;
  std::vector<upload::WireColumn> columns;
  std::vector<uint32_t> rows;
  ByteBuffer out;
  std::vector<std::string> plain;  // blocks, before compression
  std::vector<char> buffer = ResidentBuffer(2 * upload::kBlockBytes);
};

Step NativeColumns(uint64_t samples_per_generation) {
  const auto native = std::make_shared<Native>(samples_per_generation);
  const auto sealed = native->sealed;
  const auto& flat = RowsOf(samples_per_generation);
  const auto columns = std::make_shared<FlatColumns>(sealed->rows);
  Expect(native->config.compression == "lz4", "the default is not lz4");
  Step step;
  step.items = sealed->rows;
  for (const auto& batch : sealed->batches) {
    step.bytes += native->Write(batch, upload::BlockMethod::kNone);
    for (std::string_view rest = native->out.view(); !rest.empty();) {
      uint32_t size = 0;
      std::memcpy(&size, rest.data() + upload::kBlockHeaderBytes - sizeof size, sizeof size);
      native->plain.emplace_back(rest.substr(upload::kBlockHeaderBytes, size));
      rest.remove_prefix(upload::kBlockHeaderBytes + size);
    }
  }
  Expect(TotalBytes(native->plain) == step.bytes, "blocks are missing");
  step.product.run = [native, bytes = step.bytes] {
    uint64_t plain = 0;
    uint64_t rows = 0;
    for (const auto& batch : native->sealed->batches) {
      plain += native->Write(batch, upload::BlockMethod::kLz4);
      rows += native->rows.size();
    }
    return plain == bytes && rows == native->sealed->rows;
  };
  step.floor.run = [native, &flat, columns] {
    if (!ReadFlat(*native->sealed, flat, *columns)) return false;
    for (const std::string& block : native->plain) {
      const int size = ::LZ4_compress_default(block.data(), native->buffer.data(),
                                              static_cast<int>(block.size()),
                                              static_cast<int>(native->buffer.size()));
      if (size <= 0) return false;
    }
    return true;
  };
  return step;
}

}  // namespace

void AddUploadSteps() {
  for (const uint64_t samples : {kRounds, uint64_t{1}}) {
    const std::string of = ", " + std::to_string(samples) + " per generation";
    AddStep({"read and merge batches" + of, "sample", "segments read, times and values copied"},
            [samples] { return ReadBatches(samples); });
    AddStep({"the same and CSV rows" + of, "sample", "the same, and a copy of the rows"},
            [samples] { return Render(samples); });
    AddStep({"the same and Native columns, lz4" + of, "sample", "the same, lz4 alone"},
            [samples] { return NativeColumns(samples); });
  }
  AddStep({"gzip of CSV rows", "sample", "igzip alone"}, [] { return Gzip(); });
}

}  // namespace forebay::bench
