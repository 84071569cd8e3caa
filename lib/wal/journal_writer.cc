#include "wal/journal_writer.h"

#include <bit>
#include <cstring>
#include <utility>

#include "io/crc.h"

namespace forebay::wal {
namespace {

static_assert(std::endian::native == std::endian::little);

template <typename T>
char* Put(char* out, T value) {
  std::memcpy(out, &value, sizeof value);
  return out + sizeof value;
}

std::span<const char> RefusedBytes(const PendingRecord& record) {
  return {reinterpret_cast<const char*>(record.refused.data()), record.refused.size_bytes()};
}

}  // namespace

Result<std::unique_ptr<JournalWriter>> JournalWriter::Create(io::FileSystem& fs,
                                                             const std::string& path,
                                                             uint64_t generation_id, bool durable) {
  FOREBAY_ASSIGN_OR_RETURN(auto file, fs.Open(path, io::OpenMode::kCreate));
  char header[kJournalHeaderBytes];
  std::memcpy(header, kJournalMagic.data(), kJournalMagic.size());
  Put(header + kJournalMagic.size(), generation_id);
  FOREBAY_RETURN_IF_ERROR(file->Write(std::string_view(header, sizeof header)));
  if (durable) {
    FOREBAY_RETURN_IF_ERROR(file->SyncData());
    FOREBAY_RETURN_IF_ERROR(fs.SyncDirectory(io::DirectoryOf(path)));
  }
  auto writer = std::unique_ptr<JournalWriter>(new JournalWriter(std::move(file)));
  writer->bytes_ = sizeof header;
  return writer;
}

Status JournalWriter::Append(PendingRecord* first) {
  parts_.clear();
  uint64_t total = 0;
  for (PendingRecord* record = first; record != nullptr; record = record->next) {
    const std::span<const char> refused = RefusedBytes(*record);
    const auto payload =
        static_cast<uint32_t>(refused.size() + record->tenant.size() + record->body.size());
    char* out = Put(record->header, kRecordMarker);
    out = Put(out, uint32_t{0});  // the checksum, below
    out = Put(out, payload);
    out = Put(out, sequence_++);
    out = Put(out, record->received.value);
    out = Put(out, static_cast<uint8_t>(record->kind));
    out = Put(out, uint8_t{0});
    out = Put(out, static_cast<uint16_t>(record->tenant.size()));
    out = Put(out, static_cast<uint32_t>(record->refused.size()));
    out = Put(out, record->identity.low);
    out = Put(out, record->identity.high);
    out = Put(out, record->outcome.samples);
    out = Put(out, record->outcome.histograms);
    out = Put(out, record->outcome.exemplars);
    Put(out, record->outcome.refused);
    constexpr size_t kChecksumEnd = 8;
    uint32_t crc = io::Crc32c({record->header + kChecksumEnd, kRecordHeaderBytes - kChecksumEnd});
    crc = io::Crc32c(refused, crc);
    crc = io::Crc32c(record->tenant, crc);
    crc = io::Crc32c(record->body, crc);
    Put(record->header + 4, crc);
    parts_.emplace_back(record->header, kRecordHeaderBytes);
    parts_.emplace_back(refused.data(), refused.size());
    parts_.push_back(record->tenant);
    parts_.emplace_back(record->body.data(), record->body.size());
    total += kRecordHeaderBytes + payload;
  }
  FOREBAY_RETURN_IF_ERROR(file_->Write(parts_));
  bytes_ += total;
  return {};
}

Status JournalWriter::Sync() { return file_->SyncData(); }

}  // namespace forebay::wal
