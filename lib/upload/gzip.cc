// The only file that knows igzip's stream.
#include "upload/gzip.h"

#include <fmt/core.h>
#include <isa-l/igzip_lib.h>

#include <algorithm>
#include <utility>

namespace forebay::upload {
namespace {

uint32_t LevelBufferBytes(uint32_t level) {
  switch (level) {
    case 0:
      return ISAL_DEF_LVL0_DEFAULT;
    case 1:
      return ISAL_DEF_LVL1_DEFAULT;
    case 2:
      return ISAL_DEF_LVL2_DEFAULT;
    default:
      return ISAL_DEF_LVL3_DEFAULT;
  }
}

}  // namespace

struct GzipWriter::State {
  isal_zstream stream;
  uint32_t level = 0;
  // Neither needs to be clear.
  std::unique_ptr<uint8_t[]> level_buffer;
  std::unique_ptr<uint8_t[]> out = std::make_unique_for_overwrite<uint8_t[]>(kGzipChunkBytes);
};

GzipWriter::GzipWriter(int level, Output output) : state_(std::make_unique<State>()) {
  state_->level = static_cast<uint32_t>(std::clamp(level, 0, 3));
  state_->level_buffer = std::make_unique_for_overwrite<uint8_t[]>(LevelBufferBytes(state_->level));
  Begin(std::move(output));
}

void GzipWriter::Begin(Output output) {
  output_ = std::move(output);
  bytes_in_ = 0;
  bytes_out_ = 0;
  isal_zstream& stream = state_->stream;
  isal_deflate_init(&stream);
  stream.level = state_->level;
  stream.level_buf = state_->level_buffer.get();
  stream.level_buf_size = LevelBufferBytes(state_->level);
  stream.gzip_flag = IGZIP_GZIP;
  stream.next_out = state_->out.get();
  stream.avail_out = kGzipChunkBytes;
}

GzipWriter::~GzipWriter() = default;

Status GzipWriter::Write(std::string_view bytes) {
  bytes_in_ += bytes.size();
  // avail_in is 32 bits wide.
  constexpr size_t kMaxInput = 1U << 30;
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kMaxInput);
    // igzip does not change its input; its interface has no const.
    state_->stream.next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(piece.data()));
    state_->stream.avail_in = static_cast<uint32_t>(piece.size());
    FOREBAY_RETURN_IF_ERROR(Run(false));
    bytes.remove_prefix(piece.size());
  }
  return OkStatus();
}

Status GzipWriter::Finish() {
  state_->stream.next_in = nullptr;
  state_->stream.avail_in = 0;
  return Run(true);
}

Status GzipWriter::Run(bool end) {
  isal_zstream& stream = state_->stream;
  stream.end_of_stream = end ? 1 : 0;
  while (true) {
    const int result = isal_deflate(&stream);
    if (result != COMP_OK) {
      return Error(ErrorCode::kInternal, fmt::format("igzip: error {}", result));
    }
    const bool finished = end && stream.internal_state.state == ZSTATE_END;
    const bool full = stream.avail_out == 0;
    if (full || finished) {
      const size_t bytes = kGzipChunkBytes - stream.avail_out;
      bytes_out_ += bytes;
      stream.next_out = state_->out.get();
      stream.avail_out = kGzipChunkBytes;
      FOREBAY_RETURN_IF_ERROR(output_({reinterpret_cast<const char*>(state_->out.get()), bytes}));
    }
    if (finished || (!end && stream.avail_in == 0 && !full)) return OkStatus();
  }
}

}  // namespace forebay::upload
