// Journals by JournalReader, segments by SegmentReader.
#include "model/damage.h"

#include <bit>
#include <map>

#include "support/wal_harness.h"
#include "wal/journal_format.h"
#include "wal/journal_reader.h"
#include "wal/segment_reader.h"

namespace forebay::testing {
namespace {

uint64_t NumberOf(uint64_t bits) { return static_cast<uint64_t>(std::bit_cast<double>(bits)); }

std::vector<StoredPart> PartsOfJournal(io::MemoryFileSystem& fs, const std::string& path) {
  std::vector<StoredPart> parts;
  auto reader = wal::JournalReader::Open(fs, path);
  if (!reader.ok()) return parts;
  while (true) {
    const auto record = (*reader)->Next();
    if (!record.ok() || !*record) break;
    StoredPart part;
    part.begin = (*reader)->offset();
    part.end = part.begin + wal::kRecordHeaderBytes + (*record)->refused.size() * 4 +
               (*record)->tenant.size() + (*record)->body.size();
    for (const TestSample& sample : DecodeBody((*record)->body)) {
      part.numbers.insert(NumberOf(sample.value));
    }
    parts.push_back(std::move(part));
  }
  if (!parts.empty()) parts.back().last = true;
  return parts;
}

std::vector<StoredPart> PartsOfSegment(io::MemoryFileSystem& fs, const std::string& path) {
  std::vector<StoredPart> parts;
  auto reader = wal::SegmentReader::Open(fs, path);
  if (!reader.ok()) return parts;
  wal::SeriesBlockDecoder decoder;
  while (true) {
    const auto block = (*reader)->Next();
    if (!block.ok() || !*block) break;
    StoredPart part;
    part.begin = (*block)->offset;
    part.end = part.begin + (*block)->frame.size();
    const std::string_view payload((*block)->payload.data(), (*block)->payload.size());
    if (!decoder.Decode(payload, (*block)->header.row_count).ok()) continue;
    for (const uint64_t value : decoder.values()) part.numbers.insert(NumberOf(value));
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace

std::vector<StoredPart> PartsOf(io::MemoryFileSystem& fs, const std::string& path) {
  if (path.find("/journal/") != std::string::npos) return PartsOfJournal(fs, path);
  if (path.find("/segments/") != std::string::npos) return PartsOfSegment(fs, path);
  return {};
}

std::set<uint64_t> NumbersIn(const std::vector<StoredPart>& parts, uint64_t begin, uint64_t end) {
  std::set<uint64_t> numbers;
  for (const StoredPart& part : parts) {
    if (part.begin < end && begin < part.end) {
      numbers.insert(part.numbers.begin(), part.numbers.end());
    }
  }
  return numbers;
}

std::set<uint64_t> AbandonedNumbers(io::MemoryFileSystem& fs, const std::string& directory) {
  std::set<uint64_t> numbers;
  const auto entries = fs.List(directory);
  if (!entries.ok()) return numbers;
  std::map<uint64_t, std::string> paths;  // by generation
  std::vector<wal::AbandonedJournal> abandoned;
  for (const io::DirectoryEntry& entry : *entries) {
    const auto identity = wal::ParseJournalFileName(entry.name);
    if (!identity) continue;
    paths[identity->id] = io::JoinPath(directory, entry.name);
    auto reader = wal::JournalReader::Open(fs, paths[identity->id]);
    if (!reader.ok() || !(*reader)->NextHead().ok()) continue;
    const auto& rows = (*reader)->abandoned();
    abandoned.insert(abandoned.end(), rows.begin(), rows.end());
  }
  for (const wal::AbandonedJournal& journal : abandoned) {
    if (!paths.contains(journal.id)) continue;
    for (const StoredPart& part : PartsOfJournal(fs, paths[journal.id])) {
      if (part.begin >= journal.bytes) numbers.insert(part.numbers.begin(), part.numbers.end());
    }
  }
  return numbers;
}

}  // namespace forebay::testing
