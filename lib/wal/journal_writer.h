// Writes one journal file. Bytes: wal/journal_format.h. Nothing here retries: after an error the
// file is given up, since the kernel may have marked lost pages clean (Rebello et al. 2020).
#pragma once

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
  // Creates `path` with its header. Durable: header and name, when it returns (unless `durable` is
  // false).
  static Result<std::unique_ptr<JournalWriter>> Create(io::FileSystem& fs, const std::string& path,
                                                       uint64_t generation_id, bool durable);

  // Appends the records of a list linked by `next`, in one write. Bounded by the caller.
  Status Append(PendingRecord* first);
  // Durable: all that was appended.
  Status Sync();

  uint64_t bytes() const { return bytes_; }

 private:
  explicit JournalWriter(std::unique_ptr<io::File> file) : file_(std::move(file)) {}

  std::unique_ptr<io::File> file_;
  uint64_t bytes_ = 0;
  uint32_t sequence_ = 0;
  std::vector<std::string_view> parts_;  // of the write being made; kept for its memory
};

}  // namespace forebay::wal
