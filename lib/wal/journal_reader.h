// Reads a journal back, whatever happened to the file. A record counts when its checksums hold and
// its sequence was not seen yet. After damage the reader looks for the next record or end that
// holds; what lies between is reported. A journal ends at its end mark; behind it lies what an
// older journal left there. Where no mark is, nothing that holds follows: a torn tail, as a crash
// in mid-write leaves it.
//
// When the header is damaged, generation id and salt are taken from the file's name.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/file_system.h"
#include "wal/wal.h"

namespace forebay::wal {

// Searching costs at most so many times the file's size in checksums of payloads; then the rest is
// damage.
inline constexpr uint64_t kSearchBytesFactor = 16;

// Bytes of a journal that no record covers.
struct JournalDamage {
  uint64_t offset = 0;
  uint64_t length = 0;
  bool torn_tail = false;  // nothing that holds follows: what a crash leaves
};

// Memory: one record, at most kMaxRecordPayload, a window of the file, and a node for each
// damaged place. Threads:
// one at a time.
class JournalReader {
 public:
  struct Options {
    // Bytes behind it do not exist: those that a later journal names as abandoned.
    uint64_t limit = std::numeric_limits<uint64_t>::max();
  };
  // A record's header that holds.
  struct Head {
    bool first_of_group = false;
    RecordKind kind = RecordKind::kRemoteWrite1;
    RequestIdentity identity;
    UnixMillis received;
    RequestOutcome outcome;
    uint64_t offset = 0;  // this and the next: for PayloadHolds
    size_t bytes = 0;
  };

  // Errors: kCorruption when neither header nor name are a journal's; kNotFound, kIo.
  static Result<std::unique_ptr<JournalReader>> Open(io::FileSystem& fs, const std::string& path,
                                                     const Options& options);
  static Result<std::unique_ptr<JournalReader>> Open(io::FileSystem& fs, const std::string& path) {
    return Open(fs, path, Options());
  }

  // The next record that holds, nullopt at the end. Views are valid until the next call. Errors:
  // kIo.
  Result<std::optional<ReplayedRecord>> Next();
  // As Next, but reads headers only: the payload may be damaged. Not to be mixed with Next.
  Result<std::optional<Head>> NextHead();
  Result<bool> PayloadHolds(const Head& head);

  const JournalIdentity& identity() const { return identity_; }
  // False: the identity comes from the file's name.
  bool header_holds() const { return header_holds_; }
  // After the last record: false when the journal ended without its end mark or limit.
  bool complete() const { return end_found_ || limited_; }
  // Of the file, up to Options::limit.
  uint64_t size() const { return size_; }
  // Where the record of the last Next began.
  uint64_t offset() const { return record_offset_; }
  // Earlier journals of which only a part counts. So far; the writer puts them first.
  const std::vector<AbandonedJournal>& abandoned() const { return abandoned_; }
  // So far; complete once Next returned nullopt.
  const std::vector<JournalDamage>& damage() const { return damage_; }
  // The bytes of a damaged range, for quarantine.
  Result<std::string> ReadRange(uint64_t offset, uint64_t length);

 private:
  enum class Found : uint8_t { kNothing, kHeader, kRecord, kEnd };  // kHeader: of a bad payload
  struct Place {
    Found found = Found::kNothing;
    size_t bytes = 0;  // of header and payload
  };

  JournalReader(std::unique_ptr<io::File> file, uint64_t size, uint64_t limit);

  Result<bool> Fill(uint64_t offset, size_t bytes);
  bool Seen(uint32_t sequence) const;
  void MarkSeen(uint32_t sequence);
  Result<Place> HeaderAt(uint64_t offset);
  Result<Place> Look(uint64_t offset);
  Result<std::optional<uint64_t>> Resync(const Place& at, Place& found);
  Result<std::optional<uint64_t>> Search(uint64_t from, Place& found);
  void NoteTail();
  Result<bool> Advance(bool with_payload);
  void NoteAbandoned(uint64_t offset, size_t payload_bytes);
  ReplayedRecord Parse();

  std::unique_ptr<io::File> file_;
  const uint64_t size_;     // that counts
  const bool limited_;      // by Options::limit
  uint64_t search_budget_;  // bytes of payload checksums that searching may still cost
  bool end_found_ = false;
  bool search_spent_ = false;  // the search ended by its budget
  JournalIdentity identity_;
  bool header_holds_ = false;
  uint32_t seed_ = 0;
  uint64_t next_offset_ = 0;
  uint64_t record_offset_ = 0;
  size_t record_bytes_ = 0;
  std::map<uint32_t, uint64_t> seen_;  // sequences of the records taken: ranges, begin to end
  size_t window_bytes_;                // read at a time
  std::string window_;                 // bytes of the file from window_offset_
  uint64_t window_offset_ = 0;
  std::vector<uint32_t> refused_;  // of the last record, aligned
  std::vector<AbandonedJournal> abandoned_;
  std::vector<JournalDamage> damage_;
};

}  // namespace forebay::wal
