// Rows of a chunk as one block of ClickHouse's Native format: u-LEB128 counts of columns and rows,
// and for each column its name, its type and its values, little-endian and side by side.
// Source: ClickHouse documentation, "Native format"; LowCardinality as its serialisation of keys
// and indexes has it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "upload/clickhouse/block_compressor.h"
#include "upload/clickhouse/row_chunk.h"
#include "upload/clickhouse/table_layout.h"

namespace forebay::upload {

// What is the same in all rows of a block.
struct BlockConstants {
  uint64_t batch_hash = 0;
  std::string metric;
};

// Writes those rows of the chunk whose indexes are in `rows`, in that order. Memory: 64 KiB and for
// LowCardinality 4 B a text. Threads: any, each with its own `out`.
void WriteNativeBlock(const RowChunk& chunk, std::span<const uint32_t> rows,
                      const std::vector<WireColumn>& columns, const BlockConstants& constants,
                      BlockCompressor& out);

}  // namespace forebay::upload
