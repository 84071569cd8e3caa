// Reads a journal back, whatever happened to the file. A record counts when its checksum holds.
// After damage the reader looks for the next marker whose record holds; what lies between is
// reported. The end is reached at the end of the file or where nothing that holds follows: a torn
// tail is normal (a crash in mid-write), zeros are too.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/file_system.h"
#include "wal/wal.h"

namespace forebay::wal {

// Searching costs at most so many times the file's size in checksums; then the rest is damage.
inline constexpr uint64_t kSearchBytesFactor = 16;

// Bytes of a journal that no record covers.
struct JournalDamage {
  uint64_t offset = 0;
  uint64_t length = 0;
  bool torn_tail = false;  // the last bytes of the file: what a crash leaves
};

// Memory: one record, at most kMaxRecordPayload, and a window of the file. Threads: one at a time.
class JournalReader {
 public:
  // Errors: kCorruption when the header is not a journal's; kNotFound, kIo.
  static Result<std::unique_ptr<JournalReader>> Open(io::FileSystem& fs, const std::string& path);

  // The next record that holds, nullopt at the end. Views are valid until the next call. Errors:
  // kIo.
  Result<std::optional<ReplayedRecord>> Next();

  uint64_t generation_id() const { return generation_id_; }
  // Where the record of the last Next began.
  uint64_t offset() const { return record_offset_; }
  // So far; complete once Next returned nullopt.
  const std::vector<JournalDamage>& damage() const { return damage_; }
  // The bytes of a damaged range, for quarantine.
  Result<std::string> ReadRange(uint64_t offset, uint64_t length);

 private:
  JournalReader(std::unique_ptr<io::File> file, uint64_t size)
      : file_(std::move(file)), size_(size), search_budget_(kSearchBytesFactor * size) {}

  Result<bool> Fill(uint64_t offset, size_t bytes);
  Result<size_t> CandidateAt(uint64_t offset);
  Result<bool> Verify(uint64_t offset, size_t bytes);
  Result<std::optional<uint64_t>> FindMarker(uint64_t from);
  Status NoteTail(uint64_t from);
  ReplayedRecord Parse() const;

  std::unique_ptr<io::File> file_;
  const uint64_t size_;
  uint64_t search_budget_;     // bytes of checksums that searching may still cost
  bool search_spent_ = false;  // the search ended by its budget
  uint64_t generation_id_ = 0;
  uint64_t next_offset_ = 0;
  uint64_t record_offset_ = 0;
  size_t record_bytes_ = 0;
  std::string window_;  // bytes of the file from window_offset_
  uint64_t window_offset_ = 0;
  std::vector<uint32_t> refused_;  // of the last record, aligned
  std::vector<JournalDamage> damage_;
};

}  // namespace forebay::wal
