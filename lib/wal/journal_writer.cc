#include "wal/journal_writer.h"

#include <algorithm>
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

void MakeHeader(const JournalIdentity& identity, char* out) {
  std::memcpy(out, kJournalMagic.data(), kJournalMagic.size());
  char* at = Put(out + kJournalMagic.size(), identity.id);
  at = Put(at, identity.salt);
  Put(at, io::Crc32c({out, static_cast<size_t>(at - out)}));
}

}  // namespace

JournalWriter::JournalWriter(const Options& options, std::unique_ptr<io::File> file,
                             uint64_t reserved)
    : file_(std::move(file)),
      seed_(JournalSeed(options.identity)),
      reserve_max_(options.reserve_max),
      reserved_(reserved) {}

// The header is written while the file is a spare by its name: a file with a journal's name is one.
Result<std::unique_ptr<JournalWriter>> JournalWriter::Create(io::FileSystem& fs,
                                                             const std::string& directory,
                                                             const Options& options) {
  const bool reuse = !options.spare.empty();
  const std::string path =
      reuse ? options.spare : io::JoinPath(directory, SpareFileName(options.identity.id));
  FOREBAY_ASSIGN_OR_RETURN(auto file,
                           fs.Open(path, reuse ? io::OpenMode::kReadWrite : io::OpenMode::kCreate));
  const auto begin = [&]() -> Result<std::unique_ptr<JournalWriter>> {
    uint64_t old_bytes = 0;
    if (reuse) {
      FOREBAY_ASSIGN_OR_RETURN(old_bytes, file->Size());
    }
    auto writer =
        std::unique_ptr<JournalWriter>(new JournalWriter(options, std::move(file), old_bytes));
    char header[kJournalHeaderBytes];
    MakeHeader(options.identity, header);
    writer->parts_.emplace_back(header, sizeof header);
    writer->parts_bytes_ = sizeof header;
    PendingRecord abandoned;
    if (!options.abandoned.empty()) {
      abandoned.kind = RecordKind::kAbandoned;
      abandoned.body = {reinterpret_cast<const char*>(options.abandoned.data()),
                        options.abandoned.size() * sizeof(AbandonedJournal)};
      writer->Add(abandoned);
    }
    FOREBAY_RETURN_IF_ERROR(writer->WriteAdded());
    writer->begin_ = writer->bytes_;
    if (options.durable) FOREBAY_RETURN_IF_ERROR(writer->file_->SyncData());
    const std::string name = io::JoinPath(directory, JournalFileName(options.identity));
    FOREBAY_RETURN_IF_ERROR(fs.Rename(path, name));
    if (options.durable) {
      Status synced = fs.SyncDirectory(directory);
      if (!synced.ok()) {
        (void)fs.Remove(name);
        return Error(std::move(synced.error()));
      }
    }
    return writer;
  };
  Result<std::unique_ptr<JournalWriter>> writer = begin();
  if (!writer.ok()) (void)fs.Remove(path);
  return writer;
}

// Puts the record's parts behind those of the write being made.
void JournalWriter::Add(PendingRecord& record) {
  const std::span<const char> refused = RefusedBytes(record);
  const auto payload =
      static_cast<uint32_t>(refused.size() + record.tenant.size() + record.body.size());
  uint32_t payload_crc = io::Crc32c(refused);
  payload_crc = io::Crc32c(record.tenant, payload_crc);
  payload_crc = io::Crc32c(record.body, payload_crc);
  const bool first = parts_.size() <= 1;  // the file's header may be before it
  char* out = Put(record.header, JournalMarker(seed_));
  out = Put(out, uint32_t{0});  // the checksum, below
  out = Put(out, payload);
  out = Put(out, payload_crc);
  out = Put(out, sequence_++);
  out = Put(out, record.received.value);
  out = Put(out, static_cast<uint8_t>(record.kind));
  out = Put(out, first ? kFirstOfGroup : uint8_t{0});
  out = Put(out, static_cast<uint16_t>(record.tenant.size()));
  out = Put(out, static_cast<uint32_t>(record.refused.size()));
  out = Put(out, record.identity.low);
  out = Put(out, record.identity.high);
  out = Put(out, record.outcome.samples);
  out = Put(out, record.outcome.histograms);
  out = Put(out, record.outcome.exemplars);
  Put(out, record.outcome.refused);
  Put(record.header + sizeof(uint32_t),
      io::Crc32c({record.header + kChecksumEnd, kRecordHeaderBytes - kChecksumEnd}, seed_));
  parts_.emplace_back(record.header, kRecordHeaderBytes);
  parts_.emplace_back(refused.data(), refused.size());
  parts_.push_back(record.tenant);
  parts_.emplace_back(record.body.data(), record.body.size());
  parts_bytes_ += kRecordHeaderBytes + payload;
}

// The end goes with the same write; the next one begins over it.
Status JournalWriter::WriteAdded() {
  const uint64_t end = bytes_ + parts_bytes_;
  char* out = Put(end_, JournalMarker(seed_));
  out = Put(out, uint32_t{0});
  out = Put(out, kEndPayload);
  out = Put(out, sequence_);
  Put(out, end);
  Put(end_ + sizeof(uint32_t),
      io::Crc32c({end_ + kChecksumEnd, kJournalEndBytes - kChecksumEnd}, seed_));
  parts_.emplace_back(end_, kJournalEndBytes);
  Status written = file_->WriteAt(bytes_, parts_);
  parts_.clear();
  parts_bytes_ = 0;
  if (written.ok()) bytes_ = end;
  return written;
}

// Never an error: what counts is whether the write succeeds.
void JournalWriter::Reserve(uint64_t end) {
  if (!reserves_ || end <= reserved_ || end > reserve_max_) return;
  const uint64_t step = std::clamp(reserved_, kFirstReserve, kMaxReserve);
  const uint64_t wanted = std::min(std::max(end, reserved_ + step), reserve_max_);
  const Status reserved = file_->Allocate(wanted);
  if (reserved.ok()) {
    reserved_ = wanted;
  } else {
    reserves_ = false;
  }
}

Status JournalWriter::Append(PendingRecord* first) {
  for (PendingRecord* record = first; record != nullptr; record = record->next) Add(*record);
  Reserve(bytes_ + parts_bytes_ + kJournalEndBytes);
  return WriteAdded();
}

Status JournalWriter::Sync() { return file_->SyncData(); }

void JournalWriter::CutBehind(uint64_t bytes) { (void)file_->Truncate(bytes); }

}  // namespace forebay::wal
