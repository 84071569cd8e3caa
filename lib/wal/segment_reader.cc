// Iterating over frames, and finding the next good one after damage.
#include "wal/segment_reader.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "io/crc.h"
#include "wal/internal/big_endian.h"
#include "wal/s2_decoder.h"

namespace forebay::wal {
namespace {

using internal::LoadBigEndian;

// FetchSome gives at least so much of what the file has.
constexpr size_t kLeastFetched = 512;
// What the search budget is charged for an element of an S2 block, in bytes of CRC.
constexpr uint64_t kElementCost = 8;
constexpr uint64_t kMinSearchBudget = 1U << 20;

bool IsMagic(std::span<const char> bytes) {
  return bytes.size() >= kSegmentMagic.size() &&
         std::string_view(bytes.data(), kSegmentMagicChecked) ==
             kSegmentMagic.substr(0, kSegmentMagicChecked);
}

bool IsZero(std::span<const char> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char byte) { return byte == '\0'; });
}

bool IsSummary(const BlockHeader& header) {
  return header.version == kBlockVersionSeries && header.type == BlockType::kSummary;
}

bool LengthIsPossible(uint32_t length, uint64_t bytes_left) {
  return length > 0 && length <= kMaxBlockCompressed && length <= bytes_left;
}

bool CrcIsRight(std::span<const char> frame) {
  return LoadBigEndian<uint32_t>(frame.data() + 4) ==
         io::Crc32Ieee(frame.subspan(kFrameHeaderBytes));
}

// Splits decoded bytes into header and value.
BlockHeader TakeHeader(std::span<const char>& decoded) {
  BlockHeader header{.version = kBlockVersionLegacy, .type = BlockType::kUnknown, .row_count = 0};
  if (decoded.size() < kBlockHeaderBytes || static_cast<uint8_t>(decoded[0]) != kBlockMarker ||
      static_cast<uint8_t>(decoded[1]) != kBlockMarker) {
    return header;
  }
  header.version = static_cast<uint8_t>(decoded[2]);
  header.type = static_cast<BlockType>(decoded[3]);
  header.row_count = LoadBigEndian<uint32_t>(decoded.data() + 4);
  decoded = decoded.subspan(kBlockHeaderBytes);
  return header;
}

SegmentSummary ParseSummary(std::span<const char> value) {
  const char* at = value.data();
  const auto flags_and_created = LoadBigEndian<uint64_t>(at + 36);
  return {.rows = LoadBigEndian<uint64_t>(at),
          .row_bytes = LoadBigEndian<uint64_t>(at + 8),
          .min_timestamp = LoadBigEndian<int64_t>(at + 16),
          .max_timestamp = LoadBigEndian<int64_t>(at + 24),
          .blocks = LoadBigEndian<uint32_t>(at + 32),
          .created_ms = flags_and_created & ((uint64_t{1} << kSummaryCreatedBits) - 1),
          .frames_bytes = LoadBigEndian<uint64_t>(at + 44),
          .from_peer = (flags_and_created >> kSummaryCreatedBits & kSummaryFromPeer) != 0};
}

Error NotASegment(const std::string& path) {
  return Error(ErrorCode::kCorruption, path + ": not a segment");
}

// Bytes in memory as a file to read from.
class BytesFile final : public io::File {
 public:
  explicit BytesFile(std::span<const char> bytes) : bytes_(bytes) {}

  Status Write(std::span<const std::string_view>) override { return ReadOnly(); }
  Result<size_t> ReadAt(uint64_t offset, std::span<char> out) override {
    if (offset >= bytes_.size()) return size_t{0};
    const auto part = bytes_.subspan(offset, std::min<size_t>(out.size(), bytes_.size() - offset));
    std::copy(part.begin(), part.end(), out.begin());
    return part.size();
  }
  Result<uint64_t> Size() override { return uint64_t{bytes_.size()}; }
  Status WriteAt(uint64_t, std::span<const std::string_view>) override { return ReadOnly(); }
  Status Allocate(uint64_t) override { return ReadOnly(); }
  Status Truncate(uint64_t) override { return ReadOnly(); }
  Status SyncData() override { return ReadOnly(); }
  Status Close() override { return OkStatus(); }

 private:
  static Error ReadOnly() { return Error(ErrorCode::kUnimplemented, "bytes in memory: read only"); }

  std::span<const char> bytes_;
};

}  // namespace

std::string_view Name(DamageReason reason) {
  switch (reason) {
    case DamageReason::kTornFrame:
      return "torn frame";
    case DamageReason::kBadLength:
      return "bad length";
    case DamageReason::kBadCrc:
      return "bad crc";
    case DamageReason::kUndecodable:
      return "undecodable block";
    case DamageReason::kZeros:
      return "zeros inside";
    case DamageReason::kBadMagic:
      return "bad magic";
  }
  return "unknown";
}

SegmentReader::SegmentReader(std::unique_ptr<io::File> file, std::string path, uint64_t size,
                             SegmentReaderOptions options)
    : file_(std::move(file)),
      path_(std::move(path)),
      size_(size),
      options_(options),
      search_budget_(size * kResyncBytesFactor + kMinSearchBudget),
      window_(options.memory != nullptr ? options.memory->window : own_memory_.window),
      decoded_(options.memory != nullptr ? options.memory->decoded : own_memory_.decoded) {
  window_.clear();
}

Result<std::unique_ptr<SegmentReader>> SegmentReader::Open(io::FileSystem& fs,
                                                           const std::string& path,
                                                           SegmentReaderOptions options) {
  FOREBAY_ASSIGN_OR_RETURN(auto file, fs.Open(path, io::OpenMode::kRead));
  return FromFile(std::move(file), path, options, /*magic_may_be_damaged=*/true);
}

Result<std::unique_ptr<SegmentReader>> SegmentReader::OpenBytes(std::span<const char> bytes,
                                                                SegmentReaderOptions options) {
  return FromFile(std::make_unique<BytesFile>(bytes), "segment", options,
                  /*magic_may_be_damaged=*/false);
}

Result<std::unique_ptr<SegmentReader>> SegmentReader::FromFile(std::unique_ptr<io::File> file,
                                                               std::string path,
                                                               SegmentReaderOptions options,
                                                               bool magic_may_be_damaged) {
  FOREBAY_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  if (size < kSegmentMagic.size()) return NotASegment(path);
  std::unique_ptr<SegmentReader> reader(
      new SegmentReader(std::move(file), std::move(path), size, options));
  FOREBAY_ASSIGN_OR_RETURN(const auto magic, reader->Fetch(0, kSegmentMagic.size()));
  if (IsMagic(magic)) return reader;
  if (!magic_may_be_damaged) return NotASegment(reader->path_);
  // A file that holds a good frame is a segment whose first bytes are damaged.
  FOREBAY_ASSIGN_OR_RETURN(const auto found, reader->FindFrame(kSegmentMagic.size(), size));
  if (!found) return NotASegment(reader->path_);
  reader->position_ = 0;
  reader->AddDamage(*found, DamageReason::kBadMagic);
  reader->position_ = *found;
  return reader;
}

Result<std::optional<Block>> SegmentReader::Next() {
  while (position_ < size_) {
    const uint64_t left = size_ - position_;
    const uint64_t offset = position_;
    if (left < kFrameHeaderBytes) {
      FOREBAY_ASSIGN_OR_RETURN(const auto rest, Fetch(position_, left));
      if (!IsZero(rest)) AddDamage(size_, DamageReason::kTornFrame);
      position_ = size_;
      break;
    }
    FOREBAY_ASSIGN_OR_RETURN(const auto head, Fetch(position_, kFrameHeaderBytes));
    if (IsMagic(head)) {
      // Whole files were put one after the other; or rubbish that ends in a part of the magic is
      // followed by a frame, whose length begins with the zeros that the magic ends in.
      FOREBAY_ASSIGN_OR_RETURN(const bool frame_follows,
                               FrameMayBegin(position_ + kSegmentMagic.size()));
      if (frame_follows) {
        position_ += kSegmentMagic.size();
      } else {
        FOREBAY_RETURN_IF_ERROR(Resync(position_ + 1, DamageReason::kBadLength));
      }
      continue;
    }
    const auto length = LoadBigEndian<uint32_t>(head.data());
    if (length == 0) {
      FOREBAY_RETURN_IF_ERROR(SkipZeros());
      continue;
    }
    if (!LengthIsPossible(length, left - kFrameHeaderBytes)) {
      FOREBAY_RETURN_IF_ERROR(Resync(position_ + 1, length > kMaxBlockCompressed
                                                        ? DamageReason::kBadLength
                                                        : DamageReason::kTornFrame));
      continue;
    }
    const uint64_t frame_bytes = kFrameHeaderBytes + length;
    FOREBAY_ASSIGN_OR_RETURN(const auto frame, Fetch(position_, frame_bytes));
    if (!CrcIsRight(frame)) {
      FOREBAY_RETURN_IF_ERROR(SkipBadFrame(frame_bytes));
      continue;
    }
    std::optional<Block> block = Decode(frame);
    if (!block.has_value()) AddDamage(position_ + frame_bytes, DamageReason::kUndecodable);
    position_ += frame_bytes;
    if (!block.has_value() || (IsSummary(block->header) && !options_.include_summary)) continue;
    block->offset = offset;
    return block;
  }
  return std::optional<Block>();
}

// The bytes [offset, offset + bytes) of the file, which must be inside it. Valid until the next
// Fetch.
Result<std::span<const char>> SegmentReader::Fetch(uint64_t offset, uint64_t bytes) {
  const uint64_t window_end = window_offset_ + window_.size();
  if (offset < window_offset_ || offset + bytes > window_end) {
    // Keep what the window already has of it, and read the rest with some more.
    const size_t kept = offset >= window_offset_ && offset < window_end
                            ? static_cast<size_t>(window_end - offset)
                            : 0;
    if (kept > 0) std::memmove(window_.data(), window_.data() + (window_.size() - kept), kept);
    window_.Truncate(kept);
    window_offset_ = offset;
    const uint64_t wanted = std::min(std::max<uint64_t>(bytes, kSegmentReadBytes), size_ - offset);
    window_.reserve(static_cast<size_t>(wanted));  // exactly: Ensure would double
    char* const to = window_.Ensure(static_cast<size_t>(wanted) - kept);
    FOREBAY_ASSIGN_OR_RETURN(
        const size_t got,
        file_->ReadAt(offset + kept, std::span(to, static_cast<size_t>(wanted) - kept)));
    window_.SetEnd(to + got);
    if (window_.size() < bytes) {
      return Error(ErrorCode::kIo, path_ + ": became shorter while it was read");
    }
  }
  return std::span<const char>(window_.data() + (offset - window_offset_),
                               static_cast<size_t>(bytes));
}

// What is at hand from offset on: at least kLeastFetched bytes, or all up to the end of the file.
Result<std::span<const char>> SegmentReader::FetchSome(uint64_t offset) {
  const uint64_t window_end = window_offset_ + window_.size();
  const uint64_t least = std::min<uint64_t>(kLeastFetched, size_ - offset);
  if (offset < window_offset_ || offset + least > window_end) {
    return Fetch(offset, std::min<uint64_t>(kSegmentReadBytes, size_ - offset));
  }
  return Fetch(offset, window_end - offset);
}

// Whether a frame with a right CRC begins at offset.
Result<bool> SegmentReader::FrameVerifies(uint64_t offset) {
  if (size_ - offset < kFrameHeaderBytes) return false;
  FOREBAY_ASSIGN_OR_RETURN(const auto head, Fetch(offset, kFrameHeaderBytes));
  const auto length = LoadBigEndian<uint32_t>(head.data());
  if (!LengthIsPossible(length, size_ - offset - kFrameHeaderBytes)) return false;
  FOREBAY_ASSIGN_OR_RETURN(const auto frame, Fetch(offset, kFrameHeaderBytes + length));
  return CrcIsRight(frame);
}

// Whether the framing is in order at offset: the end, zeros up to the end, another file's magic, or
// a good frame.
Result<bool> SegmentReader::FrameMayBegin(uint64_t offset) {
  if (offset == size_) return true;
  FOREBAY_ASSIGN_OR_RETURN(const auto head,
                           Fetch(offset, std::min<uint64_t>(kFrameHeaderBytes, size_ - offset)));
  if (IsMagic(head)) return true;
  if (IsZero(head)) {
    FOREBAY_ASSIGN_OR_RETURN(const auto data, FindNonZero(offset));
    return !data.has_value();
  }
  return FrameVerifies(offset);
}

Result<std::optional<uint64_t>> SegmentReader::FindNonZero(uint64_t offset) {
  while (offset < size_) {
    FOREBAY_ASSIGN_OR_RETURN(const auto piece,
                             Fetch(offset, std::min<uint64_t>(kSegmentReadBytes, size_ - offset)));
    const auto found =
        std::find_if(piece.begin(), piece.end(), [](char byte) { return byte != 0; });
    if (found != piece.end()) {
      return std::optional<uint64_t>(offset + static_cast<uint64_t>(found - piece.begin()));
    }
    offset += piece.size();
  }
  return std::optional<uint64_t>();
}

// Whether the search can still pay for so much work.
bool SegmentReader::Charge(uint64_t cost) {
  const bool affordable = cost <= search_budget_;
  search_budget_ = affordable ? search_budget_ - cost : 0;
  return affordable;
}

// Whether [offset, offset + bytes) has the structure of an S2 block within the limits.
Result<bool> SegmentReader::IsS2Block(uint64_t offset, uint64_t bytes) {
  S2Walker walker(bytes);
  while (!walker.done()) {
    const uint64_t at = offset + walker.position();
    // A long literal leads out of the window, and its end may not be read ahead for nothing.
    const bool at_hand = at >= window_offset_ && at < window_offset_ + window_.size();
    if (!at_hand && !Charge(2 * kSegmentReadBytes)) return false;
    if (at >= offset + bytes) return false;
    FOREBAY_ASSIGN_OR_RETURN(auto in, FetchSome(at));
    in = in.first(std::min<uint64_t>(in.size(), offset + bytes - at));
    const bool all = at + in.size() == offset + bytes;
    size_t used = 0;
    while (!walker.done() && used <= in.size() &&
           (all || in.size() - used >= S2Walker::kMaxElementHead)) {
      if (!Charge(kElementCost) || !walker.Step(in.subspan(used))) return false;
      used = static_cast<size_t>(offset + walker.position() - at);
    }
  }
  return true;
}

// The first good frame within [offset, end). Linear in the file: almost every place
// fails by its length word or by the first elements of its block, and the budget bounds what the
// others cost.
Result<std::optional<uint64_t>> SegmentReader::FindFrame(uint64_t offset, uint64_t end) {
  const std::optional<uint64_t> none;
  while (offset + kFrameHeaderBytes < end) {
    FOREBAY_ASSIGN_OR_RETURN(const auto piece, FetchSome(offset));
    const uint64_t places = std::min<uint64_t>(piece.size(), end - offset) - kFrameHeaderBytes;
    size_t place = 0;
    uint32_t length = 0;
    for (; place < places; ++place) {
      length = LoadBigEndian<uint32_t>(piece.data() + place);
      if (LengthIsPossible(length, end - offset - place - kFrameHeaderBytes)) break;
    }
    offset += place;
    if (place == places) continue;
    FOREBAY_ASSIGN_OR_RETURN(const bool is_block, IsS2Block(offset + kFrameHeaderBytes, length));
    if (is_block && Charge(length)) {
      FOREBAY_ASSIGN_OR_RETURN(const bool verifies, FrameVerifies(offset));
      if (verifies) return std::optional<uint64_t>(offset);
    }
    if (search_budget_ == 0) return none;
    ++offset;
  }
  return none;
}

// Goes on at the next good frame from `from` on; all before it is damage.
Status SegmentReader::Resync(uint64_t from, DamageReason reason) {
  FOREBAY_ASSIGN_OR_RETURN(const auto found, FindFrame(from, size_));
  const uint64_t end = found.value_or(size_);
  // A length beyond the end with good frames behind it was not a write that the end cut off.
  if (reason == DamageReason::kTornFrame && end < size_) reason = DamageReason::kBadLength;
  AddDamage(end, reason);
  position_ = end;
  return OkStatus();
}

// Where the good frames end that lie one after the other from offset on; at most end.
Result<uint64_t> SegmentReader::EndOfFrames(uint64_t offset, uint64_t end) {
  while (offset < end) {
    FOREBAY_ASSIGN_OR_RETURN(const bool verifies, FrameVerifies(offset));
    if (!verifies) break;
    FOREBAY_ASSIGN_OR_RETURN(const auto head, Fetch(offset, kFrameHeaderBytes));
    offset += kFrameHeaderBytes + LoadBigEndian<uint32_t>(head.data());
  }
  return offset;
}

// The beginning of the good frames that fill [from, end) up to its end; nothing when the last bytes
// before it are in none.
Result<std::optional<uint64_t>> SegmentReader::FindFramesUpTo(uint64_t from, uint64_t end) {
  while (true) {
    FOREBAY_ASSIGN_OR_RETURN(const auto found, FindFrame(from, end));
    if (!found.has_value()) return found;
    FOREBAY_ASSIGN_OR_RETURN(from, EndOfFrames(*found, end));
    if (from == end) return found;
  }
}

// The CRC of the frame at position_ is wrong. Its length is believed when it leads to where a frame
// may begin, unless good frames fill its end: then the length is what is wrong, and leads there by
// chance.
Status SegmentReader::SkipBadFrame(uint64_t frame_bytes) {
  const uint64_t end = position_ + frame_bytes;
  FOREBAY_ASSIGN_OR_RETURN(const bool framing_holds, FrameMayBegin(end));
  if (!framing_holds) return Resync(position_ + 1, DamageReason::kBadCrc);
  FOREBAY_ASSIGN_OR_RETURN(const auto inside, FindFramesUpTo(position_ + 1, end));
  const uint64_t next = inside.value_or(end);
  AddDamage(next, DamageReason::kBadCrc);
  position_ = next;
  return OkStatus();
}

// A length of zero is the end, if only zeros follow.
Status SegmentReader::SkipZeros() {
  FOREBAY_ASSIGN_OR_RETURN(const auto data, FindNonZero(position_));
  if (!data.has_value()) {
    position_ = size_;
    return OkStatus();
  }
  // The high bytes of a length are mostly zeros too: the frame may begin up to three bytes before.
  const uint64_t from = std::max(position_ + 1, *data - std::min<uint64_t>(*data, 3));
  return Resync(from, DamageReason::kZeros);
}

// The frame's block, or nothing when it is no S2 block within the limits.
std::optional<Block> SegmentReader::Decode(std::span<const char> frame) {
  const auto s2 = frame.subspan(kFrameHeaderBytes);
  const auto length = S2DecodedLength(s2);
  if (!length.ok() || *length > kMaxBlockDecoded) return std::nullopt;
  const size_t wanted =
      options_.decode ? *length : std::min<size_t>(*length, kBlockHeaderBytes + kPeekBytes);
  decoded_.clear();
  decoded_.reserve(wanted);
  const std::span<char> out(decoded_.Ensure(wanted), wanted);
  if (options_.decode) {
    if (!S2Decode(s2, out).ok()) return std::nullopt;
  } else if (!S2DecodePrefix(s2, out).ok()) {
    return std::nullopt;
  }
  Block block{.header = {}, .payload = out, .frame = frame};
  block.header = TakeHeader(block.payload);
  block.decoded_bytes = static_cast<uint32_t>(*length);
  return block;
}

// [position_, end) is damaged.
void SegmentReader::AddDamage(uint64_t end, DamageReason reason) {
  if (damage_.size() < kMaxDamageRanges) {
    damage_.push_back({.offset = position_, .length = end - position_, .reason = reason});
  } else {
    damage_.back().length = end - damage_.back().offset;
  }
}

Result<std::optional<SegmentSummary>> ReadSummary(io::FileSystem& fs, const std::string& path) {
  FOREBAY_ASSIGN_OR_RETURN(auto file, fs.Open(path, io::OpenMode::kRead));
  FOREBAY_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  std::array<char, kSegmentMagic.size()> magic{};
  FOREBAY_ASSIGN_OR_RETURN(const size_t magic_bytes, file->ReadAt(0, magic));
  if (!IsMagic(std::span(magic).first(magic_bytes))) return NotASegment(path);
  const std::optional<SegmentSummary> none;
  if (size < kSegmentMagic.size() + kSummaryFrameBytes) return none;
  std::array<char, kSummaryFrameBytes> frame;
  FOREBAY_ASSIGN_OR_RETURN(const size_t got, file->ReadAt(size - frame.size(), frame));
  if (got != frame.size()) return none;
  if (LoadBigEndian<uint32_t>(frame.data()) != frame.size() - kFrameHeaderBytes) return none;
  if (!CrcIsRight(frame)) return none;
  std::array<char, kSummaryDecodedBytes> decoded;
  if (!S2Decode(std::span(frame).subspan(kFrameHeaderBytes), decoded).ok()) return none;
  std::span<const char> value = decoded;
  if (!IsSummary(TakeHeader(value))) return none;
  const SegmentSummary summary = ParseSummary(value);
  if (summary.frames_bytes != size - frame.size()) return none;
  return std::optional<SegmentSummary>(summary);
}

Result<SegmentSummary> ScanSummary(io::FileSystem& fs, const std::string& path,
                                   const BlockPeek& peek) {
  FOREBAY_ASSIGN_OR_RETURN(
      auto reader, SegmentReader::Open(fs, path, {.decode = false, .include_summary = true}));
  SegmentSummary summary;
  while (true) {
    FOREBAY_ASSIGN_OR_RETURN(const auto block, reader->Next());
    if (!block.has_value()) break;
    if (IsSummary(block->header)) {
      if (block->payload.size() != kSummaryValueBytes || summary.created_ms != 0) continue;
      summary.created_ms = ParseSummary(block->payload).created_ms;
      continue;
    }
    const bool legacy = block->header.version == kBlockVersionLegacy;
    const uint32_t value_bytes =
        block->decoded_bytes - (legacy ? 0 : static_cast<uint32_t>(kBlockHeaderBytes));
    BlockStats stats{.row_bytes = value_bytes};
    if (peek) stats = peek(block->header, block->payload, value_bytes);
    summary.rows += block->header.row_count;
    summary.row_bytes += stats.row_bytes;
    summary.min_timestamp = std::min(summary.min_timestamp, stats.min_timestamp);
    summary.max_timestamp = std::max(summary.max_timestamp, stats.max_timestamp);
    summary.blocks += 1;
  }
  summary.frames_bytes = reader->file_bytes();
  return summary;
}

}  // namespace forebay::wal
