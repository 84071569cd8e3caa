// The rows of a segment as text, and the records of a journal as lines.
//
// CSV rows are byte for byte what an upload sends: version 2 blocks are rendered by the table
// module's renderer, version 1 blocks hold them already. Rows come in the order of the file.
// Memory: one block. Damage is passed over; `wal verify` names it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "io/file_system.h"

namespace forebay::walctl {

enum class RowFormat { kCsv, kNdjson };
// "csv", "ndjson". Errors: kInvalidArgument.
Result<RowFormat> ParseRowFormat(std::string_view text);

// Takes whole lines. An error ends the reading and is returned (a closed pipe).
using TextSink = std::function<Status(std::string_view lines)>;

struct RowCounts {
  uint64_t rows = 0;
  uint64_t damaged_ranges = 0;
};

struct RowOptions {
  RowFormat format = RowFormat::kCsv;
  // CSV: begin with the line of column names, where the segment has one.
  bool header = true;
};

// All rows of a segment. Errors: kNotFound, kCorruption when it is no segment, io, those of the
// sink.
Result<RowCounts> PrintSegment(io::FileSystem& fs, const std::string& path,
                               const RowOptions& options, const TextSink& sink);

// One CSV line per record: offset,kind,tenant,received,bytes,refused. Errors: as PrintSegment.
Result<RowCounts> PrintJournal(io::FileSystem& fs, const std::string& path, bool header,
                               const TextSink& sink);

// Segments below `directory` of that table, oldest first. Shape: "<database>_<table>", or with
// "_<hash>" when the table has segments of several schemas, whose rows differ in columns. Errors:
// kNotFound when there is none, kInvalidArgument when there are several schemas; those of listing.
Result<std::vector<std::string>> FindSegments(io::FileSystem& fs, const std::string& directory,
                                              std::string_view table);

// Splits one CSV record (RFC 4180) off the front of `text`; the fields are unquoted. Returns the
// bytes of the record with its line end. A quote that is not closed ends at the end of the text.
size_t SplitCsvRecord(std::string_view text, std::vector<std::string>& fields);

}  // namespace forebay::walctl
