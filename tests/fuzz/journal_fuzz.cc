// DEPS: wal io
// Journals of any content. The first input byte says what is done to the rest: read as it is, read
// behind a good header, put between two good records, or behind a good journal's end.
//
// The oracle is a second reading of the format, written for clearness: the whole file in memory,
// each rule of docs/format/wal.md once. Records, damage and the end must be the same to the byte.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <string_view>

#include "io/crc.h"
#include "io/memory_file_system.h"
#include "wal/journal_reader.h"
#include "wal/journal_writer.h"

namespace {

using forebay::wal::kJournalEndBytes;
using forebay::wal::kJournalHeaderBytes;
using forebay::wal::kRecordHeaderBytes;

constexpr forebay::wal::JournalIdentity kJournal{1, 2};
constexpr std::string_view kGoodBody = "the body of a good record";

void Require(bool condition) {
  if (!condition) std::abort();
}

// Without its end mark.
std::string GoodJournal(uint32_t records) {
  forebay::io::MemoryFileSystem fs;
  forebay::wal::JournalWriter::Options options;
  options.identity = kJournal;
  options.durable = false;
  auto writer = forebay::wal::JournalWriter::Create(fs, ".", options);
  Require(writer.ok());
  for (uint32_t i = 0; i < records; ++i) {
    forebay::wal::PendingRecord record;
    record.tenant = "tenant";
    record.body = kGoodBody;
    Require((*writer)->Append(&record).ok());
  }
  const std::string bytes = *fs.Contents(forebay::wal::JournalFileName(kJournal));
  return bytes.substr(0, bytes.size() - kJournalEndBytes);
}

struct Range {
  uint64_t offset = 0;
  uint64_t length = 0;
  bool torn = false;
  bool operator==(const Range&) const = default;
};

struct Reading {
  std::vector<Range> records;
  std::vector<Range> damage;
  bool complete = false;
};

class Oracle {
 public:
  Oracle(std::string_view bytes, uint32_t seed, bool header_holds)
      : bytes_(bytes), seed_(seed), at_(header_holds ? kJournalHeaderBytes : 0) {}

  Reading Read() {
    uint64_t budget = forebay::wal::kSearchBytesFactor * bytes_.size();
    while (at_ < bytes_.size()) {
      if (EndHolds(at_)) return Finish(true);
      if (RecordHolds(at_)) {
        Take(at_);
        continue;
      }
      // The place right behind a record whose header holds comes first.
      uint64_t next = 0;
      const uint64_t behind = at_ + RecordBytes(at_);
      if (HeaderHolds(at_) && (EndHolds(behind) || RecordHolds(behind))) next = behind;
      bool spent = false;
      for (uint64_t at = at_ + 1; next == 0 && at < bytes_.size(); ++at) {
        if (EndHolds(at)) next = at;
        if (!HeaderHolds(at)) continue;
        spent = RecordBytes(at) > budget;
        if (spent) break;
        budget -= RecordBytes(at);
        if (RecordHolds(at)) next = at;
      }
      if (next == 0) {
        reading_.damage.push_back({at_, bytes_.size() - at_, !spent && at_ != 0});
        return Finish(false);
      }
      reading_.damage.push_back({at_, next - at_, false});
      at_ = next;
    }
    return Finish(false);
  }

 private:
  template <typename T>
  T Get(uint64_t at) const {
    T value;
    std::memcpy(&value, bytes_.data() + at, sizeof value);
    return value;
  }

  uint32_t Crc(uint64_t at, uint64_t length, uint32_t seed) const {
    return forebay::io::Crc32c(bytes_.substr(at, length), seed);
  }

  bool Marked(uint64_t at, uint64_t length) const {
    return at + length <= bytes_.size() && Get<uint32_t>(at) == forebay::wal::JournalMarker(seed_);
  }

  bool EndHolds(uint64_t at) const {
    return Marked(at, kJournalEndBytes) && Get<uint32_t>(at + 8) == 0xFFFF'FFFF &&
           Get<uint64_t>(at + 16) == at &&
           Get<uint32_t>(at + 4) == Crc(at + 8, kJournalEndBytes - 8, seed_);
  }

  uint64_t RecordBytes(uint64_t at) const {
    if (at + kRecordHeaderBytes > bytes_.size()) return 0;
    return kRecordHeaderBytes + Get<uint32_t>(at + 8);
  }

  bool HeaderHolds(uint64_t at) const {
    if (!Marked(at, kRecordHeaderBytes)) return false;
    const uint64_t payload = Get<uint32_t>(at + 8);
    const uint64_t refused = Get<uint32_t>(at + 32);
    return payload <= forebay::wal::kMaxRecordPayload &&
           refused <= forebay::wal::kMaxRefusedPerRecord &&
           refused * 4 + Get<uint16_t>(at + 30) <= payload &&
           !seen_.contains(Get<uint32_t>(at + 16)) && at + RecordBytes(at) <= bytes_.size() &&
           Get<uint32_t>(at + 4) == Crc(at + 8, kRecordHeaderBytes - 8, seed_);
  }

  bool RecordHolds(uint64_t at) const {
    return HeaderHolds(at) &&
           Get<uint32_t>(at + 12) == Crc(at + kRecordHeaderBytes, Get<uint32_t>(at + 8), 0);
  }

  void Take(uint64_t at) {
    constexpr uint8_t kAbandoned = 255;
    if (Get<uint8_t>(at + 28) != kAbandoned) reading_.records.push_back({at, RecordBytes(at)});
    seen_.insert(Get<uint32_t>(at + 16));
    at_ += RecordBytes(at);
  }

  Reading Finish(bool complete) {
    reading_.complete = complete;
    return reading_;
  }

  const std::string_view bytes_;
  const uint32_t seed_;
  uint64_t at_;
  std::set<uint32_t> seen_;
  Reading reading_;
};

// Reads all of it, twice. Returns how many records had the good body.
size_t ReadAll(std::string_view bytes) {
  forebay::io::MemoryFileSystem fs;
  const std::string name = forebay::wal::JournalFileName(kJournal);
  Require(forebay::io::WriteFileDurably(fs, name, bytes).ok());
  auto reader = forebay::wal::JournalReader::Open(fs, name);
  Require(reader.ok());
  size_t good = 0;
  Reading found;
  while (true) {
    const auto record = (*reader)->Next();
    Require(record.ok());
    if (!record->has_value()) break;
    const auto& parts = **record;
    found.records.push_back({(*reader)->offset(), kRecordHeaderBytes + parts.tenant.size() +
                                                      parts.body.size() +
                                                      parts.refused.size_bytes()});
    if (std::string_view(parts.body.data(), parts.body.size()) == kGoodBody) ++good;
  }
  for (const auto& damage : (*reader)->damage()) {
    found.damage.push_back({damage.offset, damage.length, damage.torn_tail});
  }
  found.complete = (*reader)->complete();
  const Reading expected =
      Oracle(bytes, forebay::wal::JournalSeed((*reader)->identity()), (*reader)->header_holds())
          .Read();
  Require(found.records == expected.records);
  Require(found.damage == expected.damage);
  Require(found.complete == expected.complete);
  // Heads are those of the records, unless something is damaged.
  auto heads = forebay::wal::JournalReader::Open(fs, name);
  Require(heads.ok());
  size_t count = 0;
  while ((*heads)->NextHead()->has_value()) ++count;
  if (found.damage.empty()) Require(count == found.records.size());
  return good;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const std::string header = GoodJournal(0);
  static const std::string good = GoodJournal(1);
  static const std::string two = GoodJournal(2);
  static const std::string end = [] {
    forebay::io::MemoryFileSystem fs;
    forebay::wal::JournalWriter::Options options;
    options.identity = kJournal;
    auto writer = forebay::wal::JournalWriter::Create(fs, ".", options);
    Require(writer.ok());
    return *fs.Contents(forebay::wal::JournalFileName(kJournal));
  }();
  const std::string input(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      ReadAll(input);
      break;
    case 1:
      ReadAll(header + input);
      break;
    case 2:
      // Whether the second one may be hidden, by bytes that hold and reach over it, the oracle
      // knows.
      Require(ReadAll(good + input + two.substr(good.size())) >= 1);
      break;
    default:
      // What lies behind the end does not count, whatever it is.
      Require(ReadAll(end + input) == 0);
      break;
  }
  return 0;
}
