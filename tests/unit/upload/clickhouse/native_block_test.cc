// What is written is read back by a small reader of the formats, which shares no code with it.
#include "upload/clickhouse/native_block.h"

#include <lz4.h>
#include <zstd.h>

#include <bit>
#include <catch2/catch.hpp>
#include <cstring>
#include <numeric>
#include <random>

#include "table/number_text.h"
#include "upload/clickhouse/city_hash.h"

namespace forebay::upload {
namespace {

template <typename T>
T Load(std::string_view& bytes) {
  REQUIRE(bytes.size() >= sizeof(T));
  T value{};
  std::memcpy(&value, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return value;
}

uint64_t LoadLength(std::string_view& bytes) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = Load<uint8_t>(bytes);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) return value;
  }
}

std::string LoadText(std::string_view& bytes) {
  const uint64_t size = LoadLength(bytes);
  REQUIRE(bytes.size() >= size);
  std::string text(bytes.substr(0, size));
  bytes.remove_prefix(size);
  return text;
}

// Blocks to plain bytes; checksums and sizes are looked at.
std::string Plain(std::string_view blocks) {
  std::string plain;
  while (!blocks.empty()) {
    const auto low = Load<uint64_t>(blocks);
    const auto high = Load<uint64_t>(blocks);
    std::string_view rest = blocks;
    const auto method = Load<uint8_t>(rest);
    const auto size = Load<uint32_t>(rest);
    const auto plain_size = Load<uint32_t>(rest);
    REQUIRE(plain_size <= kBlockBytes);
    REQUIRE(blocks.size() >= size);
    CHECK(CityHash128(blocks.substr(0, size)) == Hash128{low, high});
    std::string out(plain_size, '\0');
    const std::string_view body = rest.substr(0, size - 9);
    if (method == 0x82) {
      REQUIRE(LZ4_decompress_safe(body.data(), out.data(), static_cast<int>(body.size()),
                                  static_cast<int>(out.size())) == static_cast<int>(plain_size));
    } else if (method == 0x90) {
      REQUIRE(ZSTD_decompress(out.data(), out.size(), body.data(), body.size()) == plain_size);
    } else {
      REQUIRE(method == 0x02);
      out = body;
    }
    plain += out;
    blocks.remove_prefix(size);
  }
  return plain;
}

constexpr BlockMethod kMethods[] = {BlockMethod::kNone, BlockMethod::kLz4, BlockMethod::kZstd};

TEST_CASE("clickhouse blocks: any bytes in pieces of any size come out as they went in") {
  std::mt19937 random(7);
  for (const BlockMethod method : kMethods) {
    std::string all;
    ByteBuffer out;
    BlockCompressor compressor(method, out);
    while (all.size() < 3 * kBlockBytes) {
      std::string piece(random() % 300'000, '\0');
      for (char& c : piece) c = static_cast<char>(random() % 5 == 0 ? random() : 'a');
      compressor.Write(piece);
      all += piece;
    }
    REQUIRE(compressor.Finish().ok());
    CHECK(compressor.bytes_in() == all.size());
    CHECK(Plain(out.view()) == all);
  }
}

struct Rows {
  table::Schema schema = *table::Schema::ParseHeaderLine(
      "Timestamp:datetime,SeriesId:long,Labels:dynamic,Value:real,Host:string");
  RowChunk chunk{schema};
  std::vector<table::Label> labels_a = {{"a", "x\"y"}};
  std::vector<std::string_view> host_a = {"h1"};
  std::vector<int64_t> times = {1'000, -1, 2'500};
  std::vector<uint64_t> values = {std::bit_cast<uint64_t>(1.5), table::kStaleMarkerBits,
                                  0x7ff8'0000'0000'1234};

  Rows() {
    SeriesRun run;
    run.series_id = -5;
    run.labels = labels_a;
    run.lifted = host_a;
    run.timestamps = times;
    run.values = values;
    chunk.AppendSeries(run, 0, 3, 10);
    run.series_id = 6;
    run.labels = {};
    run.lifted = {};
    chunk.AppendSeries(run, 1, 1, 13);
  }
};

std::vector<WireColumn> Wire(std::initializer_list<std::pair<const char*, WireKind>> kinds) {
  std::vector<WireColumn> columns;
  size_t source = 0;
  for (const auto& [type, kind] : kinds) {
    WireColumn column;
    column.name = "c" + std::to_string(source);
    column.type = type;
    column.kind = kind;
    column.source = source++;
    columns.push_back(column);
  }
  return columns;
}

std::string Block(const RowChunk& chunk, std::vector<uint32_t> rows,
                  const std::vector<WireColumn>& columns) {
  ByteBuffer out;
  BlockCompressor compressor(BlockMethod::kLz4, out);
  WriteNativeBlock(chunk, rows, columns, {0xABCD, "Metric1"}, compressor);
  REQUIRE(compressor.Finish().ok());
  return Plain(out.view());
}

void ReadHead(std::string_view& bytes, const char* name, const char* type) {
  CHECK(LoadText(bytes) == name);
  CHECK(LoadText(bytes) == type);
}

TEST_CASE_METHOD(Rows, "clickhouse native: every value is there, bit by bit") {
  auto columns = Wire({{"DateTime64(3, 'UTC')", WireKind::kMillis},
                       {"UInt64", WireKind::kInteger64},
                       {"String", WireKind::kText},
                       {"Float64", WireKind::kFloat64},
                       {"String", WireKind::kText}});
  WireColumn extra;
  extra.name = "forebay_batch";
  extra.type = "UInt64";
  extra.kind = WireKind::kBatch;
  columns.push_back(extra);
  extra.name = "forebay_row";
  extra.type = "UInt32";
  extra.kind = WireKind::kRow;
  columns.push_back(extra);
  extra.name = "Metric";
  extra.type = "String";
  extra.kind = WireKind::kName;
  columns.push_back(extra);
  const std::string block = Block(chunk, {0, 1, 2, 3}, columns);
  std::string_view at = block;
  CHECK(LoadLength(at) == 8);
  CHECK(LoadLength(at) == 4);
  ReadHead(at, "c0", "DateTime64(3, 'UTC')");
  for (const int64_t time : {1000, -1, 2500, -1}) CHECK(Load<int64_t>(at) == time);
  ReadHead(at, "c1", "UInt64");
  for (const int64_t id : {-5, -5, -5, 6}) CHECK(Load<int64_t>(at) == id);
  ReadHead(at, "c2", "String");
  for (int i = 0; i < 3; ++i) CHECK(LoadText(at) == "{\"a\":\"x\\\"y\"}");
  CHECK(LoadText(at) == "{}");
  ReadHead(at, "c3", "Float64");
  for (const size_t i : {0U, 1U, 2U, 1U}) CHECK(Load<uint64_t>(at) == values[i]);
  ReadHead(at, "c4", "String");
  for (const char* host : {"h1", "h1", "h1", ""}) CHECK(LoadText(at) == host);
  ReadHead(at, "forebay_batch", "UInt64");
  for (int i = 0; i < 4; ++i) CHECK(Load<uint64_t>(at) == 0xABCD);
  ReadHead(at, "forebay_row", "UInt32");
  for (uint32_t i = 10; i < 14; ++i) CHECK(Load<uint32_t>(at) == i);
  ReadHead(at, "Metric", "String");
  for (int i = 0; i < 4; ++i) CHECK(LoadText(at) == "Metric1");
  CHECK(at.empty());
}

TEST_CASE_METHOD(Rows,
                 "clickhouse native: only the rows asked for, and a dictionary of their texts") {
  auto columns = Wire({{"DateTime", WireKind::kSeconds},
                       {"Int64", WireKind::kInteger64},
                       {"LowCardinality(String)", WireKind::kText},
                       {"Nullable(Float32)", WireKind::kFloat32}});
  columns[2].dictionary = true;
  columns[3].nullable = true;
  const std::string block = Block(chunk, {3, 0}, columns);
  std::string_view at = block;
  CHECK(LoadLength(at) == 4);
  CHECK(LoadLength(at) == 2);
  ReadHead(at, "c0", "DateTime");
  CHECK(Load<uint32_t>(at) == 0);  // before 1970
  CHECK(Load<uint32_t>(at) == 1);
  ReadHead(at, "c1", "Int64");
  CHECK(Load<int64_t>(at) == 6);
  CHECK(Load<int64_t>(at) == -5);
  ReadHead(at, "c2", "LowCardinality(String)");
  CHECK(Load<uint64_t>(at) == 1);
  CHECK(Load<uint64_t>(at) == 0x600);
  CHECK(Load<uint64_t>(at) == 2);
  CHECK(LoadText(at) == "{}");
  CHECK(LoadText(at) == "{\"a\":\"x\\\"y\"}");
  CHECK(Load<uint64_t>(at) == 2);
  CHECK(Load<uint8_t>(at) == 0);
  CHECK(Load<uint8_t>(at) == 1);
  ReadHead(at, "c3", "Nullable(Float32)");
  CHECK(Load<uint16_t>(at) == 0);
  CHECK(std::isnan(Load<float>(at)));
  CHECK(Load<float>(at) == 1.5F);
  CHECK(at.empty());
}

TEST_CASE("clickhouse chunk: rows and bytes are counted, and Clear forgets them") {
  Rows rows;
  CHECK(rows.chunk.rows() == 4);
  CHECK(rows.chunk.wire_bytes() > 4 * 40);
  rows.chunk.Clear();
  CHECK(rows.chunk.rows() == 0);
  CHECK(rows.chunk.wire_bytes() == 0);
}

}  // namespace
}  // namespace forebay::upload
