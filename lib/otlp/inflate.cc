// The only file of the module that knows igzip and zstd.
#include "otlp/inflate.h"

#include <fmt/core.h>
#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <algorithm>

#include "base/check.h"

namespace forebay::otlp {
namespace {

constexpr size_t kFirstRoom = 64U << 10;
constexpr size_t kMaxRoom = 1U << 20;
// zstd's frames may ask for windows of any size: this is what decoders must take by RFC 8878.
constexpr int kMaxWindowLog = 23;

Error TooLarge(uint64_t most) {
  return Error(ErrorCode::kOutOfRange,
               fmt::format("the decoded body has more than {} bytes (http.max_decoded_body); send "
                           "less per request",
                           most));
}

Error Broken(std::string_view what) {
  return Error(ErrorCode::kInvalidArgument,
               fmt::format("the body is not what its Content-Encoding says: {}", what));
}

// How much room the next step gets: one byte more than may be used tells that there is too much.
size_t RoomFor(const ByteBuffer& out, uint64_t most) {
  const uint64_t left = most + 1 - out.size();
  const size_t room = std::clamp(out.size(), kFirstRoom, kMaxRoom);
  return static_cast<size_t>(std::min<uint64_t>(room, left));
}

}  // namespace

struct Inflater::State {
  inflate_state gzip;
  ZSTD_DCtx* zstd = nullptr;
  ~State() { ZSTD_freeDCtx(zstd); }
};

Inflater::Inflater() : state_(std::make_unique<State>()) {}
Inflater::~Inflater() = default;

Status Inflater::Run(Compression compression, std::span<const char> body, uint64_t most,
                     ByteBuffer& out) {
  out.clear();
  if (compression == Compression::kGzip) return Gunzip(body, most, out);
  if (compression == Compression::kZstd) return Unzstd(body, most, out);
  if (body.size() > most) return TooLarge(most);
  out.Append({body.data(), body.size()});
  return OkStatus();
}

Status Inflater::Gunzip(std::span<const char> body, uint64_t most, ByteBuffer& out) {
  inflate_state& stream = state_->gzip;
  if (body.empty()) return Broken("no gzip");
  bool begun = false;
  // igzip does not change its input; its interface has no const.
  auto* next = reinterpret_cast<uint8_t*>(const_cast<char*>(body.data()));
  size_t left = body.size();
  while (left != 0) {
    if (!begun) {
      isal_inflate_init(&stream);
      stream.crc_flag = ISAL_GZIP;
      begun = true;
    }
    const size_t room = RoomFor(out, most);
    stream.next_in = next;
    stream.avail_in = static_cast<uint32_t>(left);
    stream.next_out = reinterpret_cast<uint8_t*>(out.Ensure(room));
    stream.avail_out = static_cast<uint32_t>(room);
    const int result = isal_inflate(&stream);
    if (result != ISAL_DECOMP_OK) return Broken("no gzip, or broken");
    const size_t taken = left - stream.avail_in;
    next += taken;
    left -= taken;
    const size_t made = room - stream.avail_out;
    out.SetEnd(out.data() + out.size() + made);
    if (out.size() > most) return TooLarge(most);
    if (stream.block_state == ISAL_BLOCK_FINISH) {
      begun = false;  // another member may follow
    } else if (taken == 0 && made == 0) {
      return Broken("gzip that is cut off");
    }
  }
  // What was read may wait in the stream for room.
  while (begun) {
    const size_t room = RoomFor(out, most);
    stream.avail_in = 0;
    stream.next_out = reinterpret_cast<uint8_t*>(out.Ensure(room));
    stream.avail_out = static_cast<uint32_t>(room);
    if (isal_inflate(&stream) != ISAL_DECOMP_OK) return Broken("no gzip, or broken");
    const size_t made = room - stream.avail_out;
    out.SetEnd(out.data() + out.size() + made);
    if (out.size() > most) return TooLarge(most);
    if (stream.block_state == ISAL_BLOCK_FINISH) return OkStatus();
    if (made == 0) return Broken("gzip that is cut off");
  }
  return OkStatus();
}

Status Inflater::Unzstd(std::span<const char> body, uint64_t most, ByteBuffer& out) {
  if (state_->zstd == nullptr) {
    state_->zstd = ZSTD_createDCtx();
    FOREBAY_CHECK(state_->zstd != nullptr);
    ZSTD_DCtx_setParameter(state_->zstd, ZSTD_d_windowLogMax, kMaxWindowLog);
  }
  ZSTD_DCtx_reset(state_->zstd, ZSTD_reset_session_only);
  if (body.empty()) return Broken("no zstd");
  ZSTD_inBuffer in{body.data(), body.size(), 0};
  for (;;) {
    const size_t room = RoomFor(out, most);
    ZSTD_outBuffer to{out.Ensure(room), room, 0};
    const size_t before = in.pos;
    const size_t result = ZSTD_decompressStream(state_->zstd, &to, &in);
    if (ZSTD_isError(result) != 0) return Broken(ZSTD_getErrorName(result));
    out.SetEnd(out.data() + out.size() + to.pos);
    if (out.size() > most) return TooLarge(most);
    if (result == 0 && in.pos == in.size) return OkStatus();
    if (in.pos == before && to.pos == 0) return Broken("zstd that is cut off");
  }
}

}  // namespace forebay::otlp
