// Checks every byte of a file: lengths, CRCs, and that everything decodes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/file_system.h"
#include "walctl/inventory.h"

namespace forebay::walctl {

struct Finding {
  uint64_t offset = 0;
  uint64_t length = 0;
  std::string reason;
};

struct VerifyReport {
  std::string path;
  FileKind kind = FileKind::kOther;
  uint64_t bytes = 0;
  uint64_t blocks = 0;          // of a segment, or records of a journal, that are good
  uint64_t rows = 0;            // in good blocks; of journals: of peers' segments
  std::vector<Finding> damage;  // in file order
  // What looks unfinished but is what a crash or a writer at work leaves: a journal's torn last
  // record.
  std::vector<Finding> notes;

  bool damaged() const { return !damage.empty(); }
};

// Segments: frames, CRCs, S2, series blocks, summary. Journals: record checksums, snappy of the
// requests, peers' segments like segments. Manifests: checksum and fields. Files of other kinds are
// not looked into. Errors: kNotFound when the file is gone, io. Damage is in the report, never an
// error.
Result<VerifyReport> VerifyFile(io::FileSystem& fs, const std::string& path);

}  // namespace forebay::walctl
