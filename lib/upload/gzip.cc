// The only file that knows igzip's stream.
#include "upload/gzip.h"

#include <fmt/core.h>
#include <isa-l/igzip_lib.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace forebay::upload {
namespace {

uint32_t LevelBufferBytes(int level) {
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
  std::vector<uint8_t> level_buffer;
  std::vector<uint8_t> out;
};

GzipWriter::GzipWriter(int level, Output output)
    : output_(std::move(output)), state_(std::make_unique<State>()) {
  const int clamped = std::clamp(level, 0, 3);
  isal_deflate_init(&state_->stream);
  state_->level_buffer.resize(LevelBufferBytes(clamped));
  state_->out.resize(kGzipChunkBytes);
  state_->stream.level = static_cast<uint32_t>(clamped);
  state_->stream.level_buf = state_->level_buffer.empty() ? nullptr : state_->level_buffer.data();
  state_->stream.level_buf_size = static_cast<uint32_t>(state_->level_buffer.size());
  state_->stream.gzip_flag = IGZIP_GZIP;
  state_->stream.next_out = state_->out.data();
  state_->stream.avail_out = static_cast<uint32_t>(state_->out.size());
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
      const size_t bytes = state_->out.size() - stream.avail_out;
      bytes_out_ += bytes;
      stream.next_out = state_->out.data();
      stream.avail_out = static_cast<uint32_t>(state_->out.size());
      FOREBAY_RETURN_IF_ERROR(output_({reinterpret_cast<const char*>(state_->out.data()), bytes}));
    }
    if (finished || (!end && stream.avail_in == 0 && !full)) return OkStatus();
  }
}

}  // namespace forebay::upload
