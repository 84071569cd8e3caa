// The dead letters as people handle them: what lies there and why, back on the way, or gone for
// good. Safe beside a running daemon: a replay is only asked for here (a file `replay`); the daemon
// does it within 10 s, or when it starts next (upload/dead_letter_replay.h).
// Format: docs/format/batches.md, "Dead letters".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "io/file_system.h"
#include "wal/batch_manifest.h"

namespace forebay::walctl {

struct DeadLetter {
  std::string id;
  std::string path;
  wal::BatchManifest manifest;        // of a batch; empty where only rows were rejected
  std::string damage;                 // why there is no manifest that can be read
  uint64_t segments = 0;              // whose files are there
  uint64_t bytes = 0;                 // of all files
  std::vector<std::string> rejected;  // names of rejected.<sink>.csv
  bool replay = false;                // asked for
};

// All below `directory`/dlq, by id, which is oldest first. Errors: kNotFound when there is no such
// data directory; those of listing.
Result<std::vector<DeadLetter>> ListDeadLetters(io::FileSystem& fs, const std::string& directory);

// Those of the ids; all: every one. Errors: kNotFound when an id is none of them;
// kInvalidArgument when nothing is selected.
Result<std::vector<DeadLetter>> SelectDeadLetters(const std::vector<DeadLetter>& letters,
                                                  const std::vector<std::string>& ids, bool all);

// Asks for a replay of the batch and of rows that were rejected alone. Durable: when it returns OK.
// Errors: kFailedPrecondition: there is nothing that could be replayed.
Status RequestReplay(io::FileSystem& fs, const DeadLetter& letter);
// Removes it for good. Durable: when it returns OK. Errors: kFailedPrecondition: a replay was asked
// for.
Status DropDeadLetter(io::FileSystem& fs, const DeadLetter& letter);

std::string FormatDeadLetters(const std::vector<DeadLetter>& letters, UnixMillis now);
std::string FormatDeadLettersJson(const std::vector<DeadLetter>& letters);
// One with all that is known of it. Errors: those of reading.
Result<std::string> DescribeDeadLetter(io::FileSystem& fs, const DeadLetter& letter);

}  // namespace forebay::walctl
