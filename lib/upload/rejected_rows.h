// Rows that a sink rejected alone, made into a dead letter that can be replayed: a batch with one
// segment of text rows, for that sink. Its ids are made from the batch's and the sink's name, so
// doing it again gives the same files.
#pragma once

#include <string>

#include "base/result.h"
#include "io/file_system.h"
#include "wal/batch_manifest.h"

namespace forebay::upload {

struct RejectedLetter {
  wal::BatchManifest manifest;  // the sink has failed
  std::string segment;          // the bytes of its only segment
};

// at: the directory with rejected.<sink>.csv and .json. batch_id: whose rows they are. Shape:
// limits are those of the files, kMaxRejectedFile. Errors: kCorruption: the files do not say which
// columns of which table they are; those of reading. Threads: any.
Result<RejectedLetter> MakeRejectedLetter(io::FileSystem& fs, const std::string& at,
                                          const std::string& batch_id, const std::string& sink);

// Writes it to its directory in dead_letters, as DeadLetters::Take leaves a batch; again when it is
// there. Errors: kCorruption: a letter of that id with other rows is there; those of the disk.
// Durable: when it returns OK.
Status WriteRejectedLetter(io::FileSystem& fs, const std::string& dead_letters,
                           const RejectedLetter& letter);

}  // namespace forebay::upload
