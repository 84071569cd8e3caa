// Segment files for tests, made of readable rows, and gzip read by zlib.
#pragma once

#include <zlib.h>

#include <bit>
#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "io/file_system.h"
#include "io/memory_file_system.h"
#include "table/schema.h"
#include "table/series_table.h"
#include "table/table_registry.h"
#include "wal/segment_name.h"
#include "wal/segment_store.h"
#include "wal/segment_writer.h"
#include "wal/series_block.h"

namespace forebay::testing {

// Everything that was not synced is gone.
inline const io::CrashOptions kLoseAll = [] {
  io::CrashOptions options;
  options.keep_probability = 0;
  return options;
}();

// Rows of one series of a segment.
struct TestSeries {
  int64_t series_id = 0;
  std::string host;  // value of the label host; empty: none
  std::vector<int64_t> timestamps;
  std::vector<double> values;
  int labels = 1;  // more than one: others with values that are the same in all series
};

// Writes segments of one table with the default metrics schema. `segments` is the directory.
class SegmentMaker {
 public:
  SegmentMaker(io::FileSystem& fs, std::string directory)
      : fs_(fs), directory_(std::move(directory)) {
    REQUIRE(fs_.CreateDirectories(directory_).ok());
  }

  // The series as version 2 blocks, `per_block` series each, then the text as version 1 block with
  // its header line. Durable. Returns the file name.
  std::string Write(const std::string& table, uint64_t id, const std::vector<TestSeries>& series,
                    const std::string& text = "", size_t per_block = SIZE_MAX) {
    wal::SegmentName name{"Metrics", table, "2cawzsrvl4mw4", id};
    const std::string file_name = *wal::FormatSegmentName(name);
    auto file = fs_.Open(io::JoinPath(directory_, file_name), io::OpenMode::kCreateOrTruncate);
    REQUIRE(file.ok());
    const std::string header_line = table::DefaultMetricsSchema().header_line();
    wal::SegmentWriter writer;
    writer.Reset(**file, wal_created_);
    table::SeriesTable table_of_series(
        {.max_series = 100'000, .max_bytes = 1 << 28, .hash_seed = 1});
    wal::SeriesBlockEncoder encoder(table_of_series);
    for (size_t i = 0; i < series.size();) {
      encoder.Reset(header_line);
      for (size_t n = 0; n < per_block && i < series.size(); ++n, ++i) {
        std::vector<table::Label> labels;
        if (!series[i].host.empty()) labels.push_back({"host", series[i].host});
        std::vector<std::string> names;
        for (int l = 1; l < series[i].labels; ++l)
          names.push_back("label_name_" + std::to_string(l));
        for (const std::string& label : names) labels.push_back({label, "a_common_value"});
        const std::string key = std::to_string(series[i].series_id) + "/" + series[i].host;
        table::NewSeries fresh;
        fresh.series_id = series[i].series_id;
        fresh.labels = labels;
        const auto ref = table_of_series.Add(table_of_series.HashKey(key, 0), fresh, 1);
        REQUIRE(ref.ok());
        std::vector<uint64_t> bits;
        for (const double value : series[i].values) bits.push_back(std::bit_cast<uint64_t>(value));
        encoder.Add(*ref, series[i].timestamps, bits);
      }
      wal::BlockHeader header{wal::kBlockVersionSeries, wal::BlockType::kMetric, encoder.rows()};
      const wal::BlockStats stats{encoder.row_bytes(), encoder.min_timestamp(),
                                  encoder.max_timestamp()};
      REQUIRE(writer.Append(header, stats, encoder.Finish()).ok());
    }
    if (!text.empty()) {
      const std::string payload = table::DefaultMetricsSchema().header_line() + text;
      uint32_t rows = 0;
      for (const char c : text) rows += c == '\n' ? 1 : 0;
      wal::BlockHeader header{wal::kBlockVersionRows, wal::BlockType::kMetric, rows};
      wal::BlockStats stats;
      stats.row_bytes = text.size();
      REQUIRE(writer.Append(header, stats, payload).ok());
    }
    REQUIRE(writer.Finish().ok());
    REQUIRE((*file)->SyncData().ok());
    REQUIRE(fs_.SyncDirectory(directory_).ok());
    return file_name;
  }

 private:
  io::FileSystem& fs_;
  const std::string directory_;
  UnixMillis wal_created_{1'793'491'200'000};
};

// What a gzip file of any number of members holds. Read by zlib, which shares no code with the
// writer.
inline std::string Gunzip(std::string_view bytes) {
  std::string out;
  z_stream stream{};
  REQUIRE(inflateInit2(&stream, 15 + 16) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  std::string buffer(1 << 16, '\0');
  int result = Z_OK;
  while (result != Z_STREAM_END) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer.data());
    stream.avail_out = static_cast<uInt>(buffer.size());
    result = inflate(&stream, Z_NO_FLUSH);
    REQUIRE((result == Z_OK || result == Z_STREAM_END));
    out.append(buffer, 0, buffer.size() - stream.avail_out);
  }
  REQUIRE(stream.avail_in == 0);
  inflateEnd(&stream);
  return out;
}

// Contents of every file below `directory` whose name ends so, by path.
inline std::map<std::string, std::string> FilesBelow(io::FileSystem& fs,
                                                     const std::string& directory,
                                                     std::string_view ending) {
  std::map<std::string, std::string> files;
  const auto entries = fs.List(directory);
  if (!entries.ok()) return files;
  for (const io::DirectoryEntry& entry : *entries) {
    const std::string path = io::JoinPath(directory, entry.name);
    if (entry.is_directory) {
      files.merge(FilesBelow(fs, path, ending));
    } else if (entry.name.ends_with(ending)) {
      files[path] = *io::ReadFile(fs, path, 1ULL << 30);
    }
  }
  return files;
}

}  // namespace forebay::testing
