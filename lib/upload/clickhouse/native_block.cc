#include "upload/clickhouse/native_block.h"

#include <bit>
#include <cstring>
#include <limits>

namespace forebay::upload {
namespace {

constexpr size_t kStageBytes = 64 << 10;
// Serialisation of LowCardinality: keys are with every block, none are shared with others.
constexpr uint64_t kKeysVersion = 1;
constexpr uint64_t kHasAdditionalKeys = 1 << 9;
constexpr uint64_t kNeedUpdateDictionary = 1 << 10;

// Small pieces gathered for the compressor.
class Stage {
 public:
  explicit Stage(BlockCompressor& out) : out_(out), bytes_(kStageBytes) {}
  ~Stage() { Flush(); }
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  template <typename T>
  void Put(T value) {
    // The formats' byte order is that of the machines we build for.
    static_assert(std::endian::native == std::endian::little);
    char* at = Room(sizeof(value));
    std::memcpy(at, &value, sizeof(value));
    bytes_.SetEnd(at + sizeof(value));
  }
  void Length(uint64_t length) {
    while (length >= 0x80) {
      Put(static_cast<uint8_t>(length | 0x80));
      length >>= 7;
    }
    Put(static_cast<uint8_t>(length));
  }
  void Text(std::string_view text) {
    Length(text.size());
    Raw(text);
  }
  void Raw(std::string_view bytes) {
    if (bytes.size() > kStageBytes / 4) {
      Flush();
      out_.Write(bytes);
      return;
    }
    char* at = Room(bytes.size());
    std::memcpy(at, bytes.data(), bytes.size());
    bytes_.SetEnd(at + bytes.size());
  }

 private:
  char* Room(size_t bytes) {
    if (bytes_.size() + bytes > kStageBytes) Flush();
    return bytes_.Ensure(bytes);
  }
  void Flush() {
    out_.Write(bytes_.view());
    bytes_.clear();
  }

  BlockCompressor& out_;
  ByteBuffer bytes_;
};

template <typename Narrow>
void PutIndexes(const std::vector<uint32_t>& indexes, Stage& out) {
  for (const uint32_t index : indexes) out.Put(static_cast<Narrow>(index));
}

// Only the texts that the rows use, in the order of their first use.
void PutDictionary(const RowChunk::Column& column, std::span<const uint32_t> rows, Stage& out) {
  constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  std::vector<uint32_t> place(column.starts.size(), kNone);
  std::vector<uint32_t> keys;
  std::vector<uint32_t> indexes;
  indexes.reserve(rows.size());
  for (const uint32_t row : rows) {
    uint32_t& at = place[column.picks[row]];
    if (at == kNone) {
      at = static_cast<uint32_t>(keys.size());
      keys.push_back(column.picks[row]);
    }
    indexes.push_back(at);
  }
  const uint64_t width = keys.size() <= 0x100 ? 0 : keys.size() <= 0x10000 ? 1 : 2;
  out.Put(kKeysVersion);
  out.Put(width | kHasAdditionalKeys | kNeedUpdateDictionary);
  out.Put(static_cast<uint64_t>(keys.size()));
  for (const uint32_t key : keys) out.Raw(column.text(key));
  out.Put(static_cast<uint64_t>(indexes.size()));
  if (width == 0) PutIndexes<uint8_t>(indexes, out);
  if (width == 1) PutIndexes<uint16_t>(indexes, out);
  if (width == 2) PutIndexes<uint32_t>(indexes, out);
}

// The one text as a LowCardinality column.
void PutOneKey(std::string_view text, size_t rows, Stage& out) {
  out.Put(kKeysVersion);
  out.Put(kHasAdditionalKeys | kNeedUpdateDictionary);
  out.Put(uint64_t{1});
  out.Text(text);
  out.Put(static_cast<uint64_t>(rows));
  for (size_t i = 0; i < rows; ++i) out.Put(uint8_t{0});
}

template <typename Convert>
void PutNumbers(const RowChunk::Column& column, std::span<const uint32_t> rows, Stage& out,
                Convert convert) {
  for (const uint32_t row : rows) out.Put(convert(column.numbers[row]));
}

// Whole seconds, rounded down; times that u32 does not hold become its nearest end.
uint32_t Seconds(uint64_t millis) {
  const auto value = static_cast<int64_t>(millis);
  if (value < 0) return 0;
  constexpr int64_t kLast = std::numeric_limits<uint32_t>::max();
  return static_cast<uint32_t>(std::min(value / 1000, kLast));
}

int64_t Ticks(uint64_t millis, int64_t scale) {
  const auto value = static_cast<int64_t>(millis);
  if (scale == 1000) return value;
  if (scale < 1000) {
    const int64_t divisor = 1000 / scale;
    return value / divisor - (value % divisor < 0 ? 1 : 0);
  }
  int64_t ticks = 0;
  if (__builtin_mul_overflow(value, scale / 1000, &ticks)) {
    return value < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
  }
  return ticks;
}

void PutColumn(const RowChunk& chunk, std::span<const uint32_t> rows, const WireColumn& wire,
               const BlockConstants& constants, Stage& out) {
  const RowChunk::Column& column = chunk.columns()[wire.source];
  switch (wire.kind) {
    case WireKind::kText:
      if (wire.dictionary) {
        PutDictionary(column, rows, out);
      } else {
        for (const uint32_t row : rows) out.Raw(column.text(column.picks[row]));
      }
      return;
    case WireKind::kName:
      if (wire.dictionary) {
        PutOneKey(constants.metric, rows.size(), out);
      } else {
        for (size_t i = 0; i < rows.size(); ++i) out.Text(constants.metric);
      }
      return;
    case WireKind::kInteger8:
      return PutNumbers(column, rows, out, [](uint64_t n) { return static_cast<uint8_t>(n); });
    case WireKind::kInteger32:
      return PutNumbers(column, rows, out, [](uint64_t n) { return static_cast<uint32_t>(n); });
    case WireKind::kInteger64:
    case WireKind::kFloat64:
      return PutNumbers(column, rows, out, [](uint64_t n) { return n; });
    case WireKind::kFloat32:
      return PutNumbers(column, rows, out,
                        [](uint64_t n) { return static_cast<float>(std::bit_cast<double>(n)); });
    case WireKind::kSeconds:
      return PutNumbers(column, rows, out, Seconds);
    case WireKind::kMillis:
      return PutNumbers(column, rows, out, [&](uint64_t n) { return Ticks(n, wire.scale); });
    case WireKind::kBatch:
      for (size_t i = 0; i < rows.size(); ++i) out.Put(constants.batch_hash);
      return;
    case WireKind::kRow:
      for (const uint32_t row : rows) out.Put(chunk.numbers()[row]);
      return;
  }
}

}  // namespace

void WriteNativeBlock(const RowChunk& chunk, std::span<const uint32_t> rows,
                      const std::vector<WireColumn>& columns, const BlockConstants& constants,
                      BlockCompressor& compressor) {
  Stage out(compressor);
  out.Length(columns.size());
  out.Length(rows.size());
  for (const WireColumn& column : columns) {
    out.Text(column.name);
    out.Text(column.type);
    if (column.nullable) {
      for (size_t i = 0; i < rows.size(); ++i) out.Put(uint8_t{0});
    }
    PutColumn(chunk, rows, column, constants, out);
  }
}

}  // namespace forebay::upload
