// What a row costs to read, render and compress. Hidden: run with "[upload_cost]" in an optimised
// build.
#include <catch2/catch.hpp>
#include <ctime>

#include "io/memory_file_system.h"
#include "support/segments.h"
#include "upload/csv_renderer.h"
#include "upload/gzip.h"

namespace forebay::upload {
namespace {

TEST_CASE("cost: read, render and gzip 8 rows of each of 100000 series from 5 segments",
          "[.][upload_cost]") {
  io::MemoryFileSystem fs;
  wal::Quarantine quarantine(fs, "quarantine");
  REQUIRE(quarantine.Open().ok());
  metrics::Counter damage;
  testing::SegmentMaker maker(fs, "segments");
  for (const size_t per_run : {8, 1}) {
    std::vector<BatchReader::Source> sources;
    for (uint64_t s = 0; s < 5; ++s) {
      std::vector<testing::TestSeries> series;
      for (int64_t id = 0; id < 100'000; ++id) {
        testing::TestSeries one;
        one.series_id = id * 92'233'720'368'547 - INT64_MAX / 2;
        one.host = "host-" + std::to_string(id % 2000) + ".europe-west4.example.net:9100";
        one.labels = 10;
        for (size_t n = 0; n < per_run; ++n) {
          one.timestamps.push_back(
              static_cast<int64_t>(1'793'491'200'000 + (s * per_run + n) * 15'000));
          one.values.push_back(static_cast<double>(id * 7 + static_cast<int64_t>(n)) / 10);
        }
        series.push_back(one);
      }
      const std::string name = maker.Write("Cpu", 10 * per_run + s, series, "", 500);
      sources.push_back({name, "segments/" + name});
    }
    const auto cpu_seconds = [] { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; };
    const auto run = [&](const std::function<void(BatchReader&)>& body) {
      auto reader = BatchReader::Open(fs, sources, true, quarantine, damage);
      REQUIRE(reader.ok());
      const double begin = cpu_seconds();
      body(**reader);
      return (cpu_seconds() - begin) * 1e9 / static_cast<double>((*reader)->stats().rows);
    };
    const double read = run([](BatchReader& reader) {
      while (*reader.Next() != RunKind::kEnd) {
      }
    });
    CsvRenderer renderer;
    const double rendered = run([&](BatchReader& reader) {
      REQUIRE(renderer.Render(reader, 0, [](std::string_view) { return OkStatus(); }).ok());
    });
    uint64_t bytes_in = 0;
    uint64_t bytes_out = 0;
    const double compressed = run([&](BatchReader& reader) {
      GzipWriter gzip(1, [](std::string_view) { return OkStatus(); });
      REQUIRE(
          renderer.Render(reader, 0, [&](std::string_view text) { return gzip.Write(text); }).ok());
      REQUIRE(gzip.Finish().ok());
      bytes_in = gzip.bytes_in();
      bytes_out = gzip.bytes_out();
    });
    const double rows = 500'000.0 * static_cast<double>(per_run);
    WARN(per_run << " rows a run: ns a row: read " << read << ", render " << rendered - read
                 << ", gzip " << compressed - rendered
                 << "; bytes a row: " << static_cast<double>(bytes_in) / rows << " rendered, "
                 << static_cast<double>(bytes_out) / rows << " compressed");
  }
}

}  // namespace
}  // namespace forebay::upload
