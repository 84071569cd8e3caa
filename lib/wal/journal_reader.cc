#include "wal/journal_reader.h"

#include <algorithm>
#include <cstring>

#include "io/crc.h"

namespace forebay::wal {
namespace {

constexpr size_t kWindowBytes = 1 << 20;
constexpr size_t kChecksumEnd = 8;

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
        received(Get<int64_t>(at + 16)),
        kind(Get<uint8_t>(at + 24)),
        tenant(Get<uint16_t>(at + 26)),
        refused(Get<uint32_t>(at + 28)),
        identity{Get<uint64_t>(at + 32), Get<uint64_t>(at + 40)},
        outcome{Get<uint32_t>(at + 48), Get<uint32_t>(at + 52), Get<uint32_t>(at + 56),
                Get<uint32_t>(at + 60)} {}

  bool Plausible() const {
    return payload <= kMaxRecordPayload && refused <= kMaxRefusedPerRecord &&
           uint64_t{refused} * sizeof(uint32_t) + tenant <= payload;
  }

  uint32_t crc;
  uint32_t payload;
  int64_t received;
  uint8_t kind;
  uint16_t tenant;
  uint32_t refused;
  RequestIdentity identity;
  RequestOutcome outcome;
};

}  // namespace

Result<std::unique_ptr<JournalReader>> JournalReader::Open(io::FileSystem& fs,
                                                           const std::string& path) {
  FOREBAY_ASSIGN_OR_RETURN(auto file, fs.Open(path, io::OpenMode::kRead));
  FOREBAY_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  char header[kJournalHeaderBytes];
  FOREBAY_ASSIGN_OR_RETURN(const size_t got, file->ReadAt(0, header));
  if (got < sizeof header || std::string_view(header, kJournalMagic.size()) != kJournalMagic) {
    return Error(ErrorCode::kCorruption, path + ": not a journal of this version");
  }
  auto reader = std::unique_ptr<JournalReader>(new JournalReader(std::move(file), size));
  reader->generation_id_ = Get<uint64_t>(header + kJournalMagic.size());
  reader->next_offset_ = kJournalHeaderBytes;
  return reader;
}

// Makes window_ hold [offset, offset + bytes). False when the file is shorter.
Result<bool> JournalReader::Fill(uint64_t offset, size_t bytes) {
  if (offset >= window_offset_ && offset + bytes <= window_offset_ + window_.size()) return true;
  if (offset + bytes > size_) return false;
  const size_t want =
      static_cast<size_t>(std::min<uint64_t>(std::max(bytes, kWindowBytes), size_ - offset));
  window_.resize(want);
  window_offset_ = offset;
  const Result<size_t> got = file_->ReadAt(offset, window_);
  // After an error the window holds nothing: the next call reads again.
  window_.resize(got.ok() ? *got : 0);
  if (!got.ok()) return Error(got.error());
  return *got >= bytes;
}

// The bytes of the record that may begin at offset by its marker and bounds; 0 when none does.
Result<size_t> JournalReader::CandidateAt(uint64_t offset) {
  FOREBAY_ASSIGN_OR_RETURN(const bool has_header, Fill(offset, kRecordHeaderBytes));
  if (!has_header) return size_t{0};
  const char* at = window_.data() + (offset - window_offset_);
  if (Get<uint32_t>(at) != kRecordMarker) return size_t{0};
  const Header header(at);
  if (!header.Plausible()) return size_t{0};
  const size_t bytes = kRecordHeaderBytes + header.payload;
  return offset + bytes <= size_ ? bytes : 0;
}

// True when the checksum of these bytes holds; the record is then in the window.
Result<bool> JournalReader::Verify(uint64_t offset, size_t bytes) {
  FOREBAY_ASSIGN_OR_RETURN(const bool has_all, Fill(offset, bytes));
  if (!has_all) return false;
  const char* at = window_.data() + (offset - window_offset_);
  if (io::Crc32c({at + kChecksumEnd, bytes - kChecksumEnd}) != Header(at).crc) return false;
  record_offset_ = offset;
  record_bytes_ = bytes;
  return true;
}

// The offset of the next record that holds, from `from` on. Nothing when there is none, or when the
// search has cost too much: bodies are the senders', and may be full of markers.
Result<std::optional<uint64_t>> JournalReader::FindMarker(uint64_t from) {
  const char marker_first = static_cast<char>(kRecordMarker & 0xff);
  for (uint64_t offset = from; offset + kRecordHeaderBytes <= size_;) {
    FOREBAY_ASSIGN_OR_RETURN(const bool filled, Fill(offset, kRecordHeaderBytes));
    if (!filled) break;
    const std::string_view window(window_);
    const size_t found = window.find(marker_first, offset - window_offset_);
    if (found == std::string_view::npos) {
      offset = window_offset_ + window_.size();
      continue;
    }
    offset = window_offset_ + found;
    FOREBAY_ASSIGN_OR_RETURN(const size_t bytes, CandidateAt(offset));
    if (bytes != 0) {
      search_spent_ = bytes > search_budget_;
      if (search_spent_) return std::nullopt;
      search_budget_ -= bytes;
      FOREBAY_ASSIGN_OR_RETURN(const bool holds, Verify(offset, bytes));
      if (holds) return offset;
    }
    ++offset;
  }
  return std::nullopt;
}

// Reports the bytes from `from` to the end of the file, unless they are zeros.
Status JournalReader::NoteTail(uint64_t from) {
  for (uint64_t offset = from; offset < size_;) {
    const auto bytes = static_cast<size_t>(std::min<uint64_t>(kWindowBytes, size_ - offset));
    FOREBAY_ASSIGN_OR_RETURN(const bool filled, Fill(offset, bytes));
    if (!filled) break;
    const std::string_view chunk = std::string_view(window_).substr(offset - window_offset_, bytes);
    if (chunk.find_first_not_of('\0') != std::string_view::npos) {
      damage_.push_back({from, size_ - from, /*torn_tail=*/!search_spent_});
      return {};
    }
    offset += bytes;
  }
  return {};
}

ReplayedRecord JournalReader::Parse() const {
  const char* at = window_.data() + (record_offset_ - window_offset_);
  const Header header(at);
  const char* payload = at + kRecordHeaderBytes + header.refused * sizeof(uint32_t);
  ReplayedRecord record;
  record.kind = static_cast<RecordKind>(header.kind);
  record.received = UnixMillis{header.received};
  record.refused = refused_;
  record.identity = header.identity;
  record.outcome = header.outcome;
  record.tenant = {payload, header.tenant};
  record.body = {payload + header.tenant,
                 header.payload - header.refused * sizeof(uint32_t) - header.tenant};
  return record;
}

Result<std::optional<ReplayedRecord>> JournalReader::Next() {
  if (next_offset_ >= size_) return std::nullopt;
  FOREBAY_ASSIGN_OR_RETURN(const size_t bytes, CandidateAt(next_offset_));
  bool holds = false;
  if (bytes != 0) {
    FOREBAY_ASSIGN_OR_RETURN(holds, Verify(next_offset_, bytes));
  }
  if (!holds) {
    FOREBAY_ASSIGN_OR_RETURN(const std::optional<uint64_t> found, FindMarker(next_offset_ + 1));
    if (!found) {
      FOREBAY_RETURN_IF_ERROR(NoteTail(next_offset_));
      next_offset_ = size_;
      return std::nullopt;
    }
    damage_.push_back({next_offset_, *found - next_offset_, /*torn_tail=*/false});
  }
  const char* at = window_.data() + (record_offset_ - window_offset_);
  const Header header(at);
  refused_.resize(header.refused);
  if (header.refused != 0) {
    std::memcpy(refused_.data(), at + kRecordHeaderBytes, header.refused * sizeof(uint32_t));
  }
  next_offset_ = record_offset_ + record_bytes_;
  return Parse();
}

Result<std::string> JournalReader::ReadRange(uint64_t offset, uint64_t length) {
  std::string bytes(length, '\0');
  FOREBAY_ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(offset, bytes));
  bytes.resize(got);
  return bytes;
}

}  // namespace forebay::wal
