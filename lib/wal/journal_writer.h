// Writes one journal file. Bytes: wal/journal_format.h. Nothing here retries: after an error the
// file is given up, since the kernel may have marked lost pages clean (Rebello et al. 2020).
//
// Space is reserved ahead in steps that double (kFirstReserve to kMaxReserve) up to
// Options::reserve_max. A spare file is written over from its beginning: its blocks are there
// already, so that a sync writes data and nothing else.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/file_system.h"
#include "wal/wal.h"

namespace forebay::wal {

// Threads: one at a time.
class JournalWriter {
 public:
  struct Options {
    JournalIdentity identity;
    bool durable = true;       // false: nothing is synced
    uint64_t reserve_max = 0;  // bytes of the file that may be reserved ahead; 0: none
    std::string spare;         // path of a file to write over; empty: a new file
    std::vector<AbandonedJournal> abandoned;
  };
  static constexpr uint64_t kFirstReserve = 64U << 10;
  static constexpr uint64_t kMaxReserve = 8U << 20;

  // Begins `<directory>/JournalFileName`: what lies under that name has a whole header. Durable:
  // header, abandoned list and name, when it returns (unless `durable` is false). After an error
  // there is no journal; the spare or half-made file is removed where that is possible.
  static Result<std::unique_ptr<JournalWriter>> Create(io::FileSystem& fs,
                                                       const std::string& directory,
                                                       const Options& options);

  // Appends the records of a list linked by `next`, in one write. Bounded by the caller.
  Status Append(PendingRecord* first);
  // Durable: all that was appended.
  Status Sync();
  // After an error: cuts the file behind its first `bytes`, as far as the disk still does that, so
  // that a restart of the process does not see the rest. Not durable.
  void CutBehind(uint64_t bytes);

  // Header and records: where the next one goes.
  uint64_t bytes() const { return bytes_; }
  // No record of a request was appended.
  bool empty() const { return bytes_ == begin_; }
  // What the file takes on the disk: reserved space and a spare's old bytes too.
  uint64_t disk_bytes() const { return std::max(bytes_ + kJournalEndBytes, reserved_); }

 private:
  JournalWriter(const Options& options, std::unique_ptr<io::File> file, uint64_t reserved);

  void Add(PendingRecord& record);
  Status WriteAdded();
  void Reserve(uint64_t end);

  std::unique_ptr<io::File> file_;
  const uint32_t seed_;
  const uint64_t reserve_max_;
  bool reserves_ = true;  // the volume can
  uint64_t begin_ = 0;    // where the first record of a request goes
  uint64_t bytes_ = 0;
  uint64_t reserved_ = 0;
  uint32_t sequence_ = 0;
  std::vector<std::string_view> parts_;  // of the write being made; kept for its memory
  uint64_t parts_bytes_ = 0;
  char end_[kJournalEndBytes] = {};
};

}  // namespace forebay::wal
