// DEPS: wal
// Payloads of series blocks of any content: an error or arrays that agree with each other, and no
// byte read or allocated beyond what the payload can hold. The first four bytes are the row count.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "wal/series_block.h"

namespace {

using forebay::wal::SeriesBlockDecoder;

void Require(bool condition) {
  if (!condition) std::abort();
}

uint64_t TextBytes(const SeriesBlockDecoder& decoder, const SeriesBlockDecoder::Series& series) {
  uint64_t sum = 0;
  const auto add = [&sum](std::string_view text) {
    for (const char c : text) sum += static_cast<unsigned char>(c);
  };
  for (uint32_t i = 0; i < series.label_count; ++i) {
    add(decoder.LabelName(series, i));
    add(decoder.LabelValue(series, i));
  }
  for (uint32_t i = 0; i < series.lifted_count; ++i) add(decoder.LiftedValue(series, i));
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint32_t rows = 0;
  if (size < sizeof rows) return 0;
  std::memcpy(&rows, data, sizeof rows);
  const std::string_view payload(reinterpret_cast<const char*>(data) + sizeof rows,
                                 size - sizeof rows);
  static SeriesBlockDecoder decoder;  // reused, as its callers do
  if (!decoder.Decode(payload, rows).ok()) return 0;
  Require(rows <= payload.size());
  Require(decoder.timestamps().size() == rows && decoder.values().size() == rows);
  uint32_t next = 0;
  uint64_t checked = 0;
  for (const auto& series : decoder.series()) {
    Require(series.first_row == next && series.rows > 0);
    next += series.rows;
    // Texts may be shared by many series; reading each of them every time would be slow.
    if (checked < (1U << 20)) checked += TextBytes(decoder, series) + 1;
  }
  Require(next == rows);
  return 0;
}
