// DEPS: wal io
// Journals of any content. The first input byte says what is done to the rest: read as it is, read
// behind a good header, or put between two good records, of which none may be lost.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "io/crc.h"
#include "io/memory_file_system.h"
#include "wal/journal_reader.h"
#include "wal/journal_writer.h"

namespace {

constexpr std::string_view kGoodBody = "the body of a good record";

void Require(bool condition) {
  if (!condition) std::abort();
}

std::string GoodJournal() {
  forebay::io::MemoryFileSystem fs;
  auto writer = forebay::wal::JournalWriter::Create(fs, "j", 1, false);
  Require(writer.ok());
  forebay::wal::PendingRecord record;
  record.tenant = "tenant";
  record.body = kGoodBody;
  Require((*writer)->Append(&record).ok());
  return *fs.Contents("j");
}

// Reads all of it. Returns how many records had the good body.
size_t ReadAll(std::string_view bytes) {
  forebay::io::MemoryFileSystem fs;
  Require(forebay::io::WriteFileDurably(fs, "j", bytes).ok());
  auto reader = forebay::wal::JournalReader::Open(fs, "j");
  if (!reader.ok()) return 0;
  size_t good = 0;
  uint64_t covered = forebay::wal::kJournalHeaderBytes;
  while (true) {
    const auto record = (*reader)->Next();
    Require(record.ok());
    if (!record->has_value()) break;
    const auto& found = **record;
    Require((*reader)->offset() >= forebay::wal::kJournalHeaderBytes);
    covered += forebay::wal::kRecordHeaderBytes + found.tenant.size() + found.body.size() +
               found.refused.size_bytes();
    if (std::string_view(found.body.data(), found.body.size()) == kGoodBody) ++good;
  }
  for (const auto& damage : (*reader)->damage()) {
    Require(damage.length > 0 && damage.offset + damage.length <= bytes.size());
    covered += damage.length;
  }
  // Every byte is in a record, in damage or in the zeros at the end.
  Require(covered <= bytes.size());
  Require(bytes.substr(covered).find_first_not_of('\0') == std::string_view::npos);
  return good;
}

// Whether a record that begins in [from, to) has a right checksum and reaches beyond `to`: it hides
// what lies there. The fuzzer is able to find the checksum. Counts in `cost` what the search is
// charged for every candidate before `to`.
struct Candidates {
  bool hides = false;
  uint64_t cost = 0;
};
Candidates CandidatesIn(std::string_view bytes, size_t from, size_t to) {
  const auto word = [&](size_t at) {
    uint32_t value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
  };
  Candidates candidates;
  for (size_t at = from; at < to && at + forebay::wal::kRecordHeaderBytes <= bytes.size(); ++at) {
    const size_t record = forebay::wal::kRecordHeaderBytes + size_t{word(at + 8)};
    if (word(at) != forebay::wal::kRecordMarker || at + record > bytes.size()) continue;
    candidates.cost += record;
    const std::string_view checked = bytes.substr(at + 8, record - 8);
    const bool holds = forebay::io::Crc32c(checked) == word(at + 4);
    candidates.hides = candidates.hides || (holds && at + record > to);
  }
  return candidates;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const std::string good = GoodJournal();
  static const std::string header = good.substr(0, forebay::wal::kJournalHeaderBytes);
  static const std::string record = good.substr(forebay::wal::kJournalHeaderBytes);
  const std::string input(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      ReadAll(input);
      break;
    case 1:
      ReadAll(header + input);
      break;
    default: {
      const std::string bytes = good + input + record;
      const Candidates found = CandidatesIn(bytes, good.size(), good.size() + input.size());
      // The search gives up when markers everywhere have made it too dear.
      const bool may_lose = found.hides || found.cost + record.size() >
                                               forebay::wal::kSearchBytesFactor * bytes.size();
      Require(ReadAll(bytes) >= (may_lose ? 1 : 2));
      break;
    }
  }
  return 0;
}
