#include "wal/journal_reader.h"

#include <algorithm>
#include <cstring>

#include "io/crc.h"

namespace forebay::wal {
namespace {

constexpr size_t kWindowBytes = 1 << 20;
constexpr size_t kHeadWindowBytes = 32 << 10;  // where payloads are passed over

template <typename T>
T Get(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// The fields of a record's header, as they stand there.
struct Header {
  explicit Header(const char* at)
      : crc(Get<uint32_t>(at + 4)),
        payload(Get<uint32_t>(at + 8)),
        payload_crc(Get<uint32_t>(at + 12)),
        sequence(Get<uint32_t>(at + 16)),
        received(Get<int64_t>(at + 20)),
        kind(Get<uint8_t>(at + 28)),
        flags(Get<uint8_t>(at + 29)),
        tenant(Get<uint16_t>(at + 30)),
        refused(Get<uint32_t>(at + 32)),
        identity{Get<uint64_t>(at + 36), Get<uint64_t>(at + 44)},
        outcome{Get<uint32_t>(at + 52), Get<uint32_t>(at + 56), Get<uint32_t>(at + 60),
                Get<uint32_t>(at + 64)} {}

  bool Plausible() const {
    return payload <= kMaxRecordPayload && refused <= kMaxRefusedPerRecord &&
           uint64_t{refused} * sizeof(uint32_t) + tenant <= payload;
  }

  uint32_t crc;
  uint32_t payload;
  uint32_t payload_crc;
  uint32_t sequence;
  int64_t received;
  uint8_t kind;
  uint8_t flags;
  uint16_t tenant;
  uint32_t refused;
  RequestIdentity identity;
  RequestOutcome outcome;
};

bool ChecksumHolds(const char* at, size_t bytes, uint32_t seed) {
  return io::Crc32c({at + kChecksumEnd, bytes - kChecksumEnd}, seed) == Get<uint32_t>(at + 4);
}

std::optional<JournalIdentity> ParseFileHeader(std::string_view header) {
  if (header.size() < kJournalHeaderBytes || !header.starts_with(kJournalMagic)) {
    return std::nullopt;
  }
  constexpr size_t kCrcAt = kJournalHeaderBytes - sizeof(uint32_t);
  if (io::Crc32c(header.substr(0, kCrcAt)) != Get<uint32_t>(&header[kCrcAt])) return std::nullopt;
  return JournalIdentity{Get<uint64_t>(&header[8]), Get<uint32_t>(&header[16])};
}

}  // namespace

JournalReader::JournalReader(std::unique_ptr<io::File> file, uint64_t size, uint64_t limit)
    : file_(std::move(file)),
      size_(std::min(size, limit)),
      limited_(limit <= size),
      search_budget_(kSearchBytesFactor * size),
      window_bytes_(kWindowBytes) {}

Result<std::unique_ptr<JournalReader>> JournalReader::Open(io::FileSystem& fs,
                                                           const std::string& path,
                                                           const Options& options) {
  FOREBAY_ASSIGN_OR_RETURN(auto file, fs.Open(path, io::OpenMode::kRead));
  FOREBAY_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  char header[kJournalHeaderBytes];
  FOREBAY_ASSIGN_OR_RETURN(const size_t got, file->ReadAt(0, header));
  const auto from_header = ParseFileHeader(std::string_view(header, got));
  const auto from_name = ParseJournalFileName(io::BaseName(path));
  if (!from_header && !from_name) {
    return Error(ErrorCode::kCorruption, path + ": not a journal of this version");
  }
  auto reader =
      std::unique_ptr<JournalReader>(new JournalReader(std::move(file), size, options.limit));
  reader->header_holds_ = from_header.has_value();
  reader->identity_ = from_header ? *from_header : *from_name;
  reader->seed_ = JournalSeed(reader->identity_);
  reader->next_offset_ = from_header ? kJournalHeaderBytes : 0;
  return reader;
}

// Makes window_ hold [offset, offset + bytes). False when the file is shorter.
Result<bool> JournalReader::Fill(uint64_t offset, size_t bytes) {
  if (offset >= window_offset_ && offset + bytes <= window_offset_ + window_.size()) return true;
  if (offset + bytes > size_) return false;
  const size_t want =
      static_cast<size_t>(std::min<uint64_t>(std::max(bytes, window_bytes_), size_ - offset));
  window_.resize(want);
  window_offset_ = offset;
  const Result<size_t> got = file_->ReadAt(offset, window_);
  // After an error the window holds nothing: the next call reads again.
  window_.resize(got.ok() ? *got : 0);
  if (!got.ok()) return Error(got.error());
  return *got >= bytes;
}

bool JournalReader::Seen(uint32_t sequence) const {
  const auto behind = seen_.upper_bound(sequence);
  return behind != seen_.begin() && sequence < std::prev(behind)->second;
}

void JournalReader::MarkSeen(uint32_t sequence) {
  const auto behind = seen_.upper_bound(sequence);
  if (behind != seen_.begin() && std::prev(behind)->second == sequence) {
    ++std::prev(behind)->second;
  } else {
    seen_.emplace_hint(behind, sequence, uint64_t{sequence} + 1);
  }
}

// What begins at offset by marker, header checksum and bounds. A record seen before is none: bytes
// that stand in the file twice count once.
Result<JournalReader::Place> JournalReader::HeaderAt(uint64_t offset) {
  FOREBAY_ASSIGN_OR_RETURN(const bool has_end, Fill(offset, kJournalEndBytes));
  if (!has_end) return Place{};
  const char* at = window_.data() + (offset - window_offset_);
  if (Get<uint32_t>(at) != JournalMarker(seed_)) return Place{};
  if (Get<uint32_t>(at + kChecksumEnd) == kEndPayload) {
    const bool holds =
        ChecksumHolds(at, kJournalEndBytes, seed_) && Get<uint64_t>(at + 16) == offset;
    return holds ? Place{Found::kEnd, kJournalEndBytes} : Place{};
  }
  FOREBAY_ASSIGN_OR_RETURN(const bool has_header, Fill(offset, kRecordHeaderBytes));
  if (!has_header) return Place{};
  at = window_.data() + (offset - window_offset_);
  const Header header(at);
  if (!header.Plausible() || !ChecksumHolds(at, kRecordHeaderBytes, seed_)) return Place{};
  const size_t bytes = kRecordHeaderBytes + header.payload;
  if (Seen(header.sequence) || offset + bytes > size_) return Place{};
  return Place{Found::kHeader, bytes};
}

// HeaderAt, and the payload. A record that is found is in the window.
Result<JournalReader::Place> JournalReader::Look(uint64_t offset) {
  FOREBAY_ASSIGN_OR_RETURN(Place place, HeaderAt(offset));
  if (place.found != Found::kHeader) return place;
  FOREBAY_ASSIGN_OR_RETURN(const bool has_all, Fill(offset, place.bytes));
  if (!has_all) return Place{};
  const char* at = window_.data() + (offset - window_offset_);
  const std::span<const char> payload(at + kRecordHeaderBytes, place.bytes - kRecordHeaderBytes);
  if (io::Crc32c(payload) == Header(at).payload_crc) place.found = Found::kRecord;
  return place;
}

// Where reading goes on when nothing good is at next_offset_: `at` says what is there. Nothing:
// the journal ends here.
Result<std::optional<uint64_t>> JournalReader::Resync(const Place& at, Place& found) {
  if (at.found == Found::kHeader) {
    // The header says where the next one is.
    FOREBAY_ASSIGN_OR_RETURN(found, Look(next_offset_ + at.bytes));
    if (found.found == Found::kRecord || found.found == Found::kEnd) {
      return next_offset_ + at.bytes;
    }
  }
  return Search(next_offset_ + 1, found);
}

// The first place from `from` on where a record or the end holds. Nothing when there is none, or
// when the search has cost too much.
Result<std::optional<uint64_t>> JournalReader::Search(uint64_t from, Place& found) {
  const uint32_t marker = JournalMarker(seed_);
  const std::string_view wanted(reinterpret_cast<const char*>(&marker), sizeof marker);
  for (uint64_t offset = from; offset + kJournalEndBytes <= size_;) {
    FOREBAY_ASSIGN_OR_RETURN(const bool filled, Fill(offset, kJournalEndBytes));
    if (!filled) break;
    const size_t at = std::string_view(window_).find(wanted, offset - window_offset_);
    if (at == std::string_view::npos) {
      offset = window_offset_ + window_.size() - (sizeof marker - 1);
      continue;
    }
    offset = window_offset_ + at;
    FOREBAY_ASSIGN_OR_RETURN(found, HeaderAt(offset));
    if (found.found == Found::kEnd) return offset;
    if (found.found == Found::kHeader) {
      search_spent_ = found.bytes > search_budget_;
      if (search_spent_) return std::nullopt;
      search_budget_ -= found.bytes;
      FOREBAY_ASSIGN_OR_RETURN(found, Look(offset));
      if (found.found == Found::kRecord) return offset;
    }
    ++offset;
  }
  return std::nullopt;
}

// The journal ends without its mark. A file that has a journal's name had its header durably before
// it got it, and what a limit covers was durable: there it is damage.
void JournalReader::NoteTail() {
  const bool torn = next_offset_ != 0 && !search_spent_ && !limited_;
  damage_.push_back({next_offset_, size_ - next_offset_, torn});
  next_offset_ = size_;
}

// Goes to the next record of a request. False at the end.
Result<bool> JournalReader::Advance(bool with_payload) {
  window_bytes_ = with_payload ? kWindowBytes : kHeadWindowBytes;
  while (next_offset_ < size_) {
    uint64_t begin = next_offset_;
    Result<Place> looked = with_payload ? Look(begin) : HeaderAt(begin);
    if (!looked.ok()) return Error(std::move(looked.error()));
    Place at = *looked;
    const bool passable = !with_payload && at.found == Found::kHeader;
    if (at.found != Found::kRecord && at.found != Found::kEnd && !passable) {
      Place found;
      FOREBAY_ASSIGN_OR_RETURN(const std::optional<uint64_t> place, Resync(at, found));
      if (!place) {
        NoteTail();
        return false;
      }
      damage_.push_back({next_offset_, *place - next_offset_, /*torn_tail=*/false});
      begin = *place;
      at = found;
    }
    if (at.found == Found::kEnd) {
      end_found_ = true;
      next_offset_ = size_;
      return false;
    }
    const Header header(window_.data() + (begin - window_offset_));
    if (header.kind == static_cast<uint8_t>(RecordKind::kAbandoned)) {
      FOREBAY_ASSIGN_OR_RETURN(const Place whole, Look(begin));
      if (whole.found == Found::kRecord) NoteAbandoned(begin, header.payload);
    }
    MarkSeen(header.sequence);
    record_offset_ = begin;
    record_bytes_ = at.bytes;
    next_offset_ = begin + at.bytes;
    if (header.kind != static_cast<uint8_t>(RecordKind::kAbandoned)) return true;
  }
  return false;
}

void JournalReader::NoteAbandoned(uint64_t offset, size_t payload_bytes) {
  const char* rows = window_.data() + (offset - window_offset_) + kRecordHeaderBytes;
  for (size_t at = 0; at + sizeof(AbandonedJournal) <= payload_bytes;
       at += sizeof(AbandonedJournal)) {
    abandoned_.push_back({Get<uint64_t>(rows + at), Get<uint64_t>(rows + at + sizeof(uint64_t))});
  }
}

ReplayedRecord JournalReader::Parse() {
  const char* at = window_.data() + (record_offset_ - window_offset_);
  const Header header(at);
  const char* payload = at + kRecordHeaderBytes;
  refused_.resize(header.refused);
  const size_t refused_bytes = header.refused * sizeof(uint32_t);
  if (header.refused != 0) std::memcpy(refused_.data(), payload, refused_bytes);
  payload += refused_bytes;
  ReplayedRecord record;
  record.kind = static_cast<RecordKind>(header.kind);
  record.received = UnixMillis{header.received};
  record.refused = refused_;
  record.identity = header.identity;
  record.outcome = header.outcome;
  record.tenant = {payload, header.tenant};
  record.body = {payload + header.tenant, header.payload - refused_bytes - header.tenant};
  return record;
}

Result<std::optional<ReplayedRecord>> JournalReader::Next() {
  FOREBAY_ASSIGN_OR_RETURN(const bool found, Advance(/*with_payload=*/true));
  if (!found) return std::nullopt;
  return Parse();
}

Result<std::optional<JournalReader::Head>> JournalReader::NextHead() {
  FOREBAY_ASSIGN_OR_RETURN(const bool found, Advance(/*with_payload=*/false));
  if (!found) return std::nullopt;
  const Header header(window_.data() + (record_offset_ - window_offset_));
  return Head{(header.flags & kFirstOfGroup) != 0,
              static_cast<RecordKind>(header.kind),
              header.identity,
              UnixMillis{header.received},
              header.outcome,
              record_offset_,
              record_bytes_};
}

Result<bool> JournalReader::PayloadHolds(const Head& head) {
  FOREBAY_ASSIGN_OR_RETURN(const bool has_all, Fill(head.offset, head.bytes));
  if (!has_all) return false;
  const char* at = window_.data() + (head.offset - window_offset_);
  return io::Crc32c({at + kRecordHeaderBytes, head.bytes - kRecordHeaderBytes}) ==
         Header(at).payload_crc;
}

Result<std::string> JournalReader::ReadRange(uint64_t offset, uint64_t length) {
  std::string bytes(length, '\0');
  FOREBAY_ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(offset, bytes));
  bytes.resize(got);
  return bytes;
}

}  // namespace forebay::wal
