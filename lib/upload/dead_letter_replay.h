// Puts dead letters back on their way: batches for which a replay was asked (a file `replay`,
// forebay dlq replay), at start and beside the workers.
//
// A batch goes back under its own id: its segments to `segments`, and a manifest in which the sinks
// that refused it wait for it again; those that have it do not. Rows that a sink rejected alone
// become a dead letter of their own first: a segment of text rows, for that sink, under an id made
// from the batch's and the sink's name. So nobody gets anything twice, however often it is begun
// again. Files and order of the steps: docs/format/batches.md, "Dead letters".
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "io/file_system.h"
#include "wal/batch_manifest.h"

namespace forebay::upload {

struct ReplayOptions {
  std::string dead_letters;  // directories
  std::string segments;
  // Whether a batch is on its way in this process: its letter is left for later then. Empty: none.
  std::function<bool(const std::string& id)> is_live;
  // Called with what was put back; segments and manifest are durable. Empty: the caller loads them
  // later.
  std::function<void(wal::BatchManifest manifest)> returned;
};

// Does what is asked for now. A crash or an error anywhere is continued by the next call. What is
// wrong with one letter is logged, and it stays. Errors: those of the disk. Durable: when it
// returns OK. Threads: one at a time.
Status ReplayDeadLetters(io::FileSystem& fs, wal::ManifestStore& manifests,
                         const ReplayOptions& options);

}  // namespace forebay::upload
